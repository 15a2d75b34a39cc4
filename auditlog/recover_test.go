package auditlog

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestATornTailIsQuarantinedCountedAndRecorded(t *testing.T) {
	for name, tear := range map[string]struct {
		garbage string
		records int
	}{
		"half a record":        {"R 4 abcd", 0},
		"an unsigned record":   {"", 1},
		"zeros":                {strings.Repeat("\x00", 4096), 0},
		"zeros and a line end": {strings.Repeat("\x00", 100) + "\n", 0},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(privateDir(t))
			l := open(t, cfg)
			record(t, l, read("p"))
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(cfg.Dir, segmentName(0))
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			torn := string(whole)
			if tear.garbage == "" { // everything but the last checkpoint
				torn = torn[:strings.LastIndex(torn[:len(torn)-1], "\n")+1]
			} else {
				torn += tear.garbage
			}
			if err := os.WriteFile(path, []byte(torn), 0o600); err != nil {
				t.Fatal(err)
			}
			if r := verify(t, cfg.Dir, l.VerifierKey()); r.Status != StatusTornTail || r.TornRecords != tear.records || r.Line == 0 {
				t.Errorf("before: %+v", r)
			}
			var said *lockedBuffer
			cfg.ErrorLog, said = quiet()
			l = open(t, cfg)
			r := verify(t, cfg.Dir, l.VerifierKey())
			if r.Status != StatusOK || r.Recovered != 1 || r.Events != 1 {
				t.Errorf("after: %+v", r)
			}
			if !strings.Contains(said.String(), "quarantine") {
				t.Errorf("said %q", said)
			}
			files, _ := filepath.Glob(filepath.Join(cfg.Dir, quarantinePrefix+"*"))
			if len(files) != 1 || strings.HasSuffix(files[0], pendingSuffix) {
				t.Fatalf("%v", files)
			}
			kept, _ := os.ReadFile(files[0])
			text, _ := os.ReadFile(path)
			if !strings.HasSuffix(torn, string(kept)) || !strings.Contains(string(text), filepath.Base(files[0])) || len(kept) == 0 {
				t.Errorf("kept %q", kept)
			}
			if f := l.checkTail(); f.Passed {
				t.Error("the finding passes")
			}
		})
	}
}

func TestAQuarantineThatACrashLeftUnaccountedIsRecordedLater(t *testing.T) {
	cfg := testConfig(privateDir(t))
	l := open(t, cfg)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cfg.Dir, quarantinePrefix+"x"+pendingSuffix), []byte("R 3 x\nR 4"), 0o600); err != nil {
		t.Fatal(err)
	}
	l = open(t, cfg)
	if r := verify(t, cfg.Dir, l.VerifierKey()); r.Recovered != 1 {
		t.Errorf("%+v", r)
	}
}

func TestOpenRefusesWhatItDidNotWrite(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(t *testing.T, dir string)
		want error
	}{
		"a changed record": {func(t *testing.T, dir string) {
			edit(t, dir, func(s string) string { return strings.Replace(s, "vermeer", "vermees", 1) })
		}, ErrTampered},
		"a changed checkpoint": {func(t *testing.T, dir string) {
			edit(t, dir, func(s string) string { return s[:len(s)-9] + "x" + s[len(s)-8:] })
		}, ErrTampered},
		"no key": {func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, keyName))) }, ErrKey},
		"no segment": {func(t *testing.T, dir string) {
			must(t, os.Remove(filepath.Join(dir, segmentName(0))))
		}, ErrTampered},
		"a key that others can read": {func(t *testing.T, dir string) { must(t, os.Chmod(filepath.Join(dir, keyName), 0o644)) }, ErrKey},
		"a key that is none": {func(t *testing.T, dir string) {
			must(t, os.WriteFile(filepath.Join(dir, keyName), []byte(`{"secret":"hunter2`), 0o600))
		}, ErrKey},
		"a renamed segment": {func(t *testing.T, dir string) {
			must(t, os.Rename(filepath.Join(dir, segmentName(0)), filepath.Join(dir, segmentName(7))))
		}, ErrTampered},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(privateDir(t))
			l := open(t, cfg)
			record(t, l, read("p"))
			must(t, l.Close())
			c.harm(t, cfg.Dir)
			_, err := Open(t.Context(), cfg)
			if !errors.Is(err, c.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAnInterruptedBeginningIsFinished(t *testing.T) {
	for name, undo := range map[string]func(dir string) error{
		"key written, no segment yet": func(dir string) error {
			return errors.Join(os.Rename(filepath.Join(dir, keyName), filepath.Join(dir, keyName+nextSuffix)), os.Remove(filepath.Join(dir, segmentName(0))))
		},
		"segment written, key not yet in force": func(dir string) error {
			return os.Rename(filepath.Join(dir, keyName), filepath.Join(dir, keyName+nextSuffix))
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(privateDir(t))
			l := open(t, cfg)
			must(t, l.Close())
			must(t, undo(cfg.Dir))
			again := open(t, cfg)
			record(t, again, read("p"))
			if r := verify(t, cfg.Dir, again.VerifierKey()); r.Status != StatusOK || again.VerifierKey() != l.VerifierKey() {
				t.Errorf("%v", r)
			}
		})
	}
}

// A crash or a full disk while the very first key is written leaves half a
// file. Nothing was signed with it, so it must not stop the log for ever.
func TestHalfAKeyFromTheVeryFirstStartIsReplaced(t *testing.T) {
	for _, half := range []string{"", "{", `{"origin":"auditlog-x"}`} {
		cfg := testConfig(privateDir(t))
		must(t, os.Mkdir(cfg.Dir, 0o700))
		must(t, os.WriteFile(filepath.Join(cfg.Dir, keyName+nextSuffix), []byte(half), 0o600))
		l := open(t, cfg)
		record(t, l, read("p"))
		if r := verify(t, cfg.Dir, l.VerifierKey()); r.Status != StatusOK {
			t.Errorf("%q: %v", half, r)
		}
	}
}
