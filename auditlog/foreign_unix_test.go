//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package auditlog

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/inovy/hardening/internal/testenv"
)

// What stands where a file of the log belongs is never waited for, never taken
// for that file, and never written through.
func TestThingsInPlaceOfTheLogsFiles(t *testing.T) {
	const pending = "quarantine-00000000000000000001-abcdefgh.pending"
	others := filepath.Join(t.TempDir(), "others")
	must(t, os.WriteFile(others, []byte("hello\n"), 0o600))
	for how, put := range map[string]func(path string) error{
		"pipe": func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"dir":  func(path string) error { return os.Mkdir(path, 0o700) },
		"link": func(path string) error { return os.Symlink(others, path) },
		"void": func(path string) error { return os.WriteFile(path, nil, 0o600) },
	} {
		for name, want := range map[string]error{
			lockName: nil, reserveName: nil, keyName: ErrKey, keyName + nextSuffix: nil, "subjects.keys": ErrKey,
			prunedName: ErrTampered, pending: ErrTampered, segmentName(0): ErrTampered, segmentName(99): ErrTampered,
		} {
			switch {
			case how == "dir" && name == lockName:
				want = syscall.EISDIR
			case how == "void" && name == pending: // a crash came before its first byte
				want = nil
			}
			t.Run(how+" "+name, func(t *testing.T) {
				cfg := testConfig(privateDir(t))
				l := open(t, cfg)
				record(t, l, read("p"))
				must(t, l.Close())
				path := filepath.Join(cfg.Dir, name)
				must(t, os.RemoveAll(path))
				if err := put(path); err != nil {
					testenv.Missing(t, "this can not be made here: "+err.Error())
				}
				opened := make(chan error, 1)
				go func() {
					l, err := Open(context.Background(), cfg)
					if err == nil {
						err = errors.Join(l.Record(context.Background(), read("q")), l.Close())
					}
					opened <- err
				}()
				select {
				case err := <-opened:
					if !errors.Is(err, want) {
						t.Errorf("%v, want %v", err, want)
					}
				case <-time.After(time.Minute):
					t.Fatal("Open waits")
				}
				if b, err := os.ReadFile(others); err != nil || string(b) != "hello\n" {
					t.Errorf("the file behind the link holds %q now, %v", b, err)
				}
				if info, err := os.Lstat(filepath.Join(cfg.Dir, reserveName)); want == nil && (err != nil || !info.Mode().IsRegular() || info.Size() != reserveBytes) {
					t.Errorf("nothing is set apart: %v %v", info, err)
				}
			})
		}
	}
}

// Whoever removes a lock file that looks stale must not let a second writer in.
func TestALockFileThatWasRemovedLetsNobodyIn(t *testing.T) {
	cfg := testConfig(privateDir(t))
	l := open(t, cfg)
	must(t, os.Remove(filepath.Join(cfg.Dir, lockName)))
	if second, err := Open(t.Context(), cfg); !errors.Is(err, ErrLocked) {
		if err == nil {
			_ = second.Close()
		}
		t.Errorf("%v", err)
	}
	record(t, l, read("p"))
}

// The lines of a failing log must say what is wrong however ErrorLog behaves.
func TestAPipeThatNobodyReadsAsErrorLog(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	defer w.Close()
	full := []byte(strings.Repeat("x", 1<<20))
	_ = w.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	_, _ = w.Write(full) // until the pipe is full
	must(t, w.SetWriteDeadline(time.Time{}))
	cfg := testConfig(privateDir(t))
	cfg.ErrorLog = slog.New(slog.NewTextHandler(w, nil))
	l := open(t, cfg)
	must(t, os.Remove(l.live.path))
	for range 3 {
		if err := l.Record(t.Context(), read("p")); !errors.Is(err, ErrTampered) {
			t.Errorf("%v", err)
		}
	}
	if err := l.Healthy(); !errors.Is(err, ErrFailed) {
		t.Errorf("%v", err)
	}
	if err := l.Close(); !errors.Is(err, ErrFailed) {
		t.Errorf("%v", err)
	}
}
