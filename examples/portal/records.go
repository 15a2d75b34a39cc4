package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// record is one entry in a patient's file.
type record struct {
	ID      string    `json:"id"`
	Patient string    `json:"patient"`
	Kind    string    `json:"kind"`
	Title   string    `json:"title"`
	Body    string    `json:"body"`
	Author  string    `json:"author"`
	Changed time.Time `json:"changed"`
	Version int       `json:"version"`
}

var (
	errNoRecord = errors.New("no such record")
	errConflict = errors.New("the record was changed by someone else in the meantime")
)

// recordStore keeps all records in one JSON file. It is safe for concurrent
// use by one process.
type recordStore struct {
	path string

	mu  sync.RWMutex
	all []record // guarded by mu; ordered as written
}

// openRecords reads the file, or fills it with the demo's records.
func openRecords(path string) (*recordStore, error) {
	s := &recordStore{path: path}
	text, err := os.ReadFile(path) // #nosec G304 -- the operator chose the state directory
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.all = demoRecords()
		return s, s.save(s.all)
	case err != nil:
		return nil, err
	}
	if err := json.Unmarshal(text, &s.all); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// of returns the records of one patient.
func (s *recordStore) of(patientID string) []record {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []record
	for _, r := range s.all {
		if r.Patient == patientID {
			out = append(out, r)
		}
	}
	return out
}

// get returns a record of this patient. A record of another patient does not
// exist here: the check of who may read belongs to the patient in the path.
func (s *recordStore) get(patientID, id string) (record, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if i := s.index(patientID, id); i >= 0 {
		return s.all[i], nil
	}
	return record{}, errNoRecord
}

// change replaces title and body of the version that the author saw. It
// returns once the file is on disk.
func (s *recordStore) change(patientID, id string, version int, title, body, author string) (record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.index(patientID, id)
	if i < 0 {
		return record{}, errNoRecord
	}
	if s.all[i].Version != version {
		return s.all[i], errConflict
	}
	next := slices.Clone(s.all)
	r := &next[i]
	r.Title, r.Body, r.Author, r.Version, r.Changed = title, body, author, version+1, time.Now().UTC()
	if err := s.save(next); err != nil {
		return s.all[i], err
	}
	s.all = next
	return *r, nil
}

func (s *recordStore) index(patientID, id string) int {
	return slices.IndexFunc(s.all, func(r record) bool { return r.Patient == patientID && r.ID == id })
}

// save replaces the file by a complete new one, so that a crash leaves either
// the old or the new.
func (s *recordStore) save(all []record) error {
	text, err := json.MarshalIndent(all, "", "\t")
	if err != nil {
		return err
	}
	return writeFile(s.path, append(text, '\n'))
}

// writeFile writes a private file under a temporary name, syncs and renames it.
func writeFile(path string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(text); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func demoRecords() []record {
	at := func(day, hour int) time.Time { return time.Date(2026, time.February, day, hour, 15, 0, 0, time.UTC) }
	return []record{
		{ID: "r1001", Patient: "jansen", Kind: "Consultation", Title: "Headaches since January", Author: "Dr. Noor Vermeer", Changed: at(3, 9), Version: 1,
			Body: "Headaches in the morning, three to four times a week, since new work began.\nBlood pressure 128/82, neurological examination without findings.\nPlan: headache diary for four weeks, less screen time in the evening."},
		{ID: "r1002", Patient: "jansen", Kind: "Laboratory", Title: "Blood count and ferritin", Author: "Clinical laboratory", Changed: at(5, 14), Version: 1,
			Body: "Haemoglobin 8.1 mmol/l (7.5 to 10.0)\nFerritin 18 ug/l (15 to 150)\nCRP below 1 mg/l"},
		{ID: "r1003", Patient: "bakker", Kind: "Medication", Title: "Metoprolol 50 mg, once a day", Author: "Dr. Noor Vermeer", Changed: at(10, 11), Version: 1,
			Body: "Started for palpitations. Check pulse and blood pressure after two weeks."},
		{ID: "r1004", Patient: "visser", Kind: "Letter", Title: "Discharge from the cardiology ward", Author: "Cardiology", Changed: at(18, 16), Version: 1,
			Body: "Admitted for two days for observation after a collapse. ECG and echo normal.\nNo change of medication. Follow-up with the general practitioner in six weeks."},
	}
}
