//go:build unix

package auditlog

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A pipe is waited for until somebody writes to it, and a link leads anywhere.
func TestWhatIsNoRegularFileIsTamperingAndNotWaitedFor(t *testing.T) {
	put := map[string]func(path string) error{
		"a pipe":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"a link":      func(path string) error { return os.Symlink(path+".moved", path) },
	}
	for name, harm := range put {
		for _, file := range []string{segmentName(0), prunedName} {
			t.Run(name+" for "+file, func(t *testing.T) {
				dir, key, _ := smallLog(t, 3)
				path := filepath.Join(dir, file)
				if err := os.Rename(path, path+".moved"); err != nil && file != prunedName {
					t.Fatal(err)
				}
				must(t, harm(path))
				if r := verify(t, dir, key); r.Status != StatusTampered {
					t.Errorf("%v", r)
				}
				if _, err := Open(t.Context(), testConfig(dir)); !errors.Is(err, ErrTampered) {
					t.Errorf("opened: %v", err)
				}
				if _, err := Prove(t.Context(), dir, key, 1); !errors.Is(err, ErrTampered) {
					t.Errorf("proven: %v", err)
				}
			})
		}
	}
}
