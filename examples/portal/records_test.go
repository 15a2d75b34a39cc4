package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestOfManyChangesToOneVersionOneWins(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.json")
	s, err := openRecords(path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	results := make([]error, 16)
	for i := range results {
		wg.Go(func() { _, results[i] = s.change("jansen", "r1001", 1, "Title", strings.Repeat("x", i+1), "Author") })
	}
	wg.Wait()
	won := 0
	for _, err := range results {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, errConflict):
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d changes won", won)
	}
	again, err := openRecords(path)
	if err != nil {
		t.Fatal(err)
	}
	kept, _ := again.get("jansen", "r1001")
	if shown, _ := s.get("jansen", "r1001"); kept != shown || kept.Version != 2 {
		t.Errorf("on disk %+v, in memory %+v", kept, shown)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".new-*")); err != nil || len(left) != 0 {
		t.Errorf("temporary files are left: %v, %v", left, err)
	}
}

func TestAChangeThatCannotBeSavedIsNotShown(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := openRecords(filepath.Join(dir, "records.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := s.change("jansen", "r1001", 1, "Title", "Body", "Author"); err == nil {
		t.Error("no error, although the directory is gone")
	}
	if r, _ := s.get("jansen", "r1001"); r.Version != 1 {
		t.Errorf("the record shows what was not saved: %+v", r)
	}
}

func TestADamagedRecordsFileIsNeverOverwritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.json")
	if err := os.WriteFile(path, []byte("[{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openRecords(path); err == nil {
		t.Error("a damaged file is accepted")
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "[{" {
		t.Errorf("the file is now %q, %v", text, err)
	}
}
