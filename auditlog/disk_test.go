package auditlog

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

func TestALogThatIsTakenAwayIsSeenAtTheNextRecord(t *testing.T) {
	t.Attr("control", "BIO2 8.15.05")
	for name, harm := range map[string]func(path string) error{
		"removed":   os.Remove,
		"renamed":   func(p string) error { return os.Rename(p, p+".old") },
		"truncated": func(p string) error { return os.Truncate(p, 100) },
		"grown":     func(p string) error { return appendTo(p, "R 9 x\n") },
		"replaced": func(p string) error {
			b, err := os.ReadFile(p)
			return errors.Join(err, os.Remove(p), os.WriteFile(p, b, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(privateDir(t))
			var said *lockedBuffer
			cfg.ErrorLog, said = quiet()
			l := open(t, cfg)
			record(t, l, read("p"))
			if err := harm(filepath.Join(cfg.Dir, segmentName(0))); err != nil {
				t.Fatal(err)
			}
			err := l.Record(t.Context(), read("q"))
			if !errors.Is(err, ErrTampered) || !errors.Is(err, ErrFailed) {
				t.Errorf("got %v", err)
			}
			if l.Healthy() == nil || !strings.Contains(said.String(), "the log has stopped") {
				t.Errorf("healthy: %v; said %s", l.Healthy(), said)
			}
		})
	}
}

// faulty lets writes or syncs fail.
type faulty struct {
	appendFile
	short, sync *atomic.Bool
	syncs       *atomic.Int64
}

var errDisk = errors.New("input/output error")

func (f faulty) Write(p []byte) (int, error) {
	if f.short.Load() {
		n, err := f.appendFile.Write(p[:len(p)/2])
		return n, errors.Join(err, errDisk)
	}
	return f.appendFile.Write(p)
}

func (f faulty) Sync() error {
	f.syncs.Add(1)
	if f.sync.Load() {
		return errDisk
	}
	return f.appendFile.Sync()
}

func TestADiskThatFailsStopsTheLogAndNothingIsTriedAgain(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.5.3")
	for _, kind := range []string{"short write", "failed sync"} {
		t.Run(kind, func(t *testing.T) {
			var short, sync atomic.Bool
			var syncs atomic.Int64
			cfg := testConfig(privateDir(t))
			cfg.openFile = func(path string) (appendFile, error) {
				f, err := openAppend(path)
				return faulty{f, &short, &sync, &syncs}, err
			}
			l := open(t, cfg)
			record(t, l, read("before"))
			short.Store(kind == "short write")
			sync.Store(kind == "failed sync")
			for range 3 {
				if err := l.Record(t.Context(), read("lost")); !errors.Is(err, ErrFailed) || !errors.Is(err, errDisk) {
					t.Errorf("got %v", err)
				}
			}
			n := syncs.Load()
			short.Store(false)
			sync.Store(false)
			if err := l.Record(t.Context(), read("lost")); !errors.Is(err, ErrFailed) {
				t.Errorf("it came back to life: %v", err)
			}
			if err := l.Close(); !errors.Is(err, ErrFailed) {
				t.Errorf("Close hides the failure: %v", err)
			}
			if syncs.Load() != n {
				t.Error("a sync was tried again")
			}
			l = open(t, cfg)
			for _, e := range entries(t, l, Filter{}) {
				if kind == "short write" && e.Subject.ID == "lost" {
					t.Error("a record that was refused is there")
				}
			}
			r := verify(t, cfg.Dir, l.VerifierKey())
			if r.Status != StatusOK || kind == "short write" && r.Recovered != 1 {
				t.Errorf("%v recovered %d", r, r.Recovered)
			}
		})
	}
}

// fullDisk is a disk that has no room left after some bytes, but for what
// the removal of a file frees.
type fullDisk struct {
	appendFile
	room    *atomic.Int64
	reserve string
}

func (f fullDisk) Write(p []byte) (int, error) {
	left := f.room.Load()
	if there, _ := exists(f.reserve); !there {
		left += reserveBytes
	}
	if int64(len(p)) <= left {
		f.room.Add(-int64(len(p)))
		return f.appendFile.Write(p)
	}
	n, err := f.appendFile.Write(p[:left])
	f.room.Store(0)
	return n, errors.Join(err, &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC})
}

func TestAFullDiskIsToldOfInTheLog(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.5.3")
	var room atomic.Int64
	room.Store(1 << 40)
	cfg := testConfig(privateDir(t))
	cfg.openFile = func(path string) (appendFile, error) {
		f, err := openAppend(path)
		return fullDisk{f, &room, reservePath(cfg.Dir)}, err
	}
	var told []error
	cfg.OnError = func(err error) { told = append(told, err) }
	l := open(t, cfg)
	record(t, l, read("before"))
	room.Store(100) // less than a record
	err := l.Record(t.Context(), read("lost"))
	if !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
	if err := l.Record(t.Context(), read("lost")); !errors.Is(err, ErrFailed) {
		t.Errorf("it goes on: %v", err)
	}
	_ = l.Close()
	if len(told) == 0 || !errors.Is(told[0], ErrFailed) {
		t.Errorf("OnError was told %v", told)
	}
	r := verify(t, cfg.Dir, l.VerifierKey())
	if r.Status != StatusOK || r.Lost != 1 || r.Events != 1 {
		t.Errorf("%v: %d lost", r, r.Lost)
	}
	room.Store(1 << 40)
	l = open(t, cfg)
	record(t, l, read("after"))
	if info, err := os.Stat(reservePath(cfg.Dir)); err != nil || info.Size() != reserveBytes {
		t.Errorf("the reserve is not kept again: %v", err)
	}
	if r := verify(t, cfg.Dir, l.VerifierKey()); r.Status != StatusOK || r.Events != 2 {
		t.Errorf("%v", r)
	}
}
