package auditlog

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestWhatIdentifiesTheSubjectIsSealedAndComesBack(t *testing.T) {
	t.Attr("control", "GDPR 25(1)")
	cfg := testConfig(privateDir(t))
	l := open(t, cfg)
	e := read("patient-4711")
	e.Object = Object{Type: "record", ID: "r-jansen-1", Part: "medication"}
	e.Reason = "asked by Anna Jansen"
	e.Attrs = []slog.Attr{slog.String("ward", "jansen's")}
	record(t, l, e)
	own := read("patient-4711")
	own.Actor.ID = "patient-4711"
	record(t, l, own)
	record(t, l, read("patient-9"))
	must(t, l.Close())
	l = open(t, cfg) // the keys are on the disk
	all := entries(t, l, Filter{Subject: "patient-4711"})
	if len(all) != 2 || all[0].Object != e.Object || all[0].Reason != e.Reason || len(all[0].Attrs) != 1 || all[1].Actor.ID != "patient-4711" || all[0].Erased {
		t.Fatalf("%+v", all)
	}
	if len(entries(t, l, Filter{Subject: "nobody"})) != 0 || len(entries(t, l, Filter{})) != 3 {
		t.Error("the filter chooses wrongly")
	}
	text, err := os.ReadFile(filepath.Join(cfg.Dir, segmentName(0)))
	must(t, err)
	for _, word := range []string{"4711", "jansen", "Jansen", "medication", "patient-9"} {
		if bytes.Contains(text, []byte(word)) || bytes.Contains(text, []byte(base64.StdEncoding.EncodeToString([]byte(word)))) {
			t.Errorf("%q can be read in the log", word)
		}
	}
	if !bytes.Contains(text, []byte("vermeer")) || !bytes.Contains(text, []byte(`"type":"record"`)) {
		t.Error("who did what to which kind of thing is not there any more")
	}
}

func TestAPersonWhoseKeyIsDestroyedIsGoneAndTheLogVerifies(t *testing.T) {
	t.Attr("control", "GDPR 17(1)")
	cfg := testConfig(privateDir(t))
	l := open(t, cfg)
	record(t, l, read("gone"))
	record(t, l, read("stays"))
	must(t, l.Close())
	// What erasing does: the row keeps its ref, and loses the rest.
	path := filepath.Join(cfg.Dir, subjectName)
	text, err := os.ReadFile(path)
	must(t, err)
	row := bytes.IndexByte(text, '\n') + 1
	_, r, _, err := parseRow(text[row : row+rowBytes])
	must(t, err)
	copy(text[row:], appendRow(nil, [32]byte{}, r, [32]byte{}))
	must(t, os.WriteFile(path, text, 0o600))
	l = open(t, cfg)
	all := entries(t, l, Filter{})
	if len(all) != 2 || !all[0].Erased || all[0].Subject.ID != "" || all[0].Actor.ID != "vermeer" || all[1].Subject.ID != "stays" {
		t.Fatalf("%+v", all)
	}
	if r := verify(t, cfg.Dir, l.VerifierKey()); r.Status != StatusOK {
		t.Errorf("%v", r)
	}
	record(t, l, read("gone")) // somebody new under the old id
	if all := entries(t, l, Filter{Subject: "gone"}); len(all) != 1 || all[0].Erased {
		t.Errorf("%+v", all)
	}
}

func TestTheFileOfTheSubjectsKeys(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(text []byte) []byte
		want error
	}{
		"gone":               {nil, ErrKey},
		"empty":              {func([]byte) []byte { return nil }, ErrKey},
		"a changed row":      {func(b []byte) []byte { b[len(b)-60] ^= 1; return b }, ErrKey},
		"another version":    {func(b []byte) []byte { return bytes.Replace(b, []byte("/1 "), []byte("/2 "), 1) }, ErrKey},
		"half a row":         {func(b []byte) []byte { return append(b, b[len(b)-rowBytes:][:50]...) }, nil},
		"a row of no record": {func(b []byte) []byte { return appendRow(b, [32]byte{1}, ref{1}, [32]byte{1}) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(privateDir(t))
			l := open(t, cfg)
			record(t, l, read("p"))
			must(t, l.Close())
			path := filepath.Join(cfg.Dir, subjectName)
			text, err := os.ReadFile(path)
			must(t, err)
			if c.harm == nil {
				must(t, os.Remove(path))
			} else {
				must(t, os.WriteFile(path, c.harm(text), 0o600))
			}
			again, err := Open(t.Context(), cfg)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v", err)
			}
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = again.Close() })
			record(t, again, read("q"))
			if all := entries(t, again, Filter{}); len(all) != 2 || all[0].Subject.ID != "p" || all[1].Subject.ID != "q" {
				t.Errorf("%v", all)
			}
		})
	}
}

func TestManyCallersMakeOneKeyForAPerson(t *testing.T) {
	cfg := testConfig(privateDir(t))
	l := open(t, cfg)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range 20 {
				if err := l.Record(t.Context(), read(fmt.Sprintf("p%d", i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if l.subjects.rows != 20 {
		t.Errorf("%d keys for 20 people", l.subjects.rows)
	}
	if all := entries(t, l, Filter{Subject: "p7"}); len(all) != 16 {
		t.Errorf("%d entries of one", len(all))
	}
}

func TestAnOldCopyOfTheKeysIsNoticed(t *testing.T) {
	cfg := testConfig(privateDir(t))
	l := open(t, cfg)
	path := filepath.Join(cfg.Dir, subjectName)
	old, err := os.ReadFile(path)
	must(t, err)
	record(t, l, read("p"))
	must(t, l.Close())
	must(t, os.WriteFile(path, old, 0o600))
	l = open(t, cfg)
	for _, err := range l.Query(t.Context(), Filter{}) {
		if err == nil || !strings.Contains(err.Error(), "old copy") {
			t.Errorf("got %v", err)
		}
	}
}

func FuzzSubjectRow(f *testing.F) {
	f.Add(appendRow(nil, [32]byte{1}, ref{2}, [32]byte{3}))
	f.Add(bytes.Repeat([]byte("A"), rowBytes))
	f.Fuzz(func(t *testing.T, row []byte) {
		mac, r, key, err := parseRow(row)
		if err == nil && !bytes.Equal(appendRow(nil, mac, r, key), row) {
			t.Errorf("%q does not round-trip", row)
		}
	})
}

// json.RawMessage can hold numbers that no float64 can.
func TestWhateverIsRecordedCanBeRead(t *testing.T) {
	l := open(t, testConfig(privateDir(t)))
	log := slog.New(l.Handler())
	for _, v := range []any{rawJSON("1e999"), rawJSON("-1e999"), rawJSON("18446744073709551615"), rawJSON("[1e999]"), rawJSON(`{"a":1e-999}`), 1e308, uint64(1) << 63} {
		log.Info(SysStartup, "n", v)
		e := read("p")
		e.Attrs = []slog.Attr{slog.Any("n", v)}
		record(t, l, e)
	}
	if n := len(entries(t, l, Filter{})); n != 14 {
		t.Errorf("%d of 14 entries", n)
	}
}

type rawJSON string

func (r rawJSON) MarshalJSON() ([]byte, error) { return []byte(r), nil }
