package secrets_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/secrets"
)

// A value may be refused for something else than what it is; once that is mended
// it is taken over, though the file itself stays as it is.
func TestWhatWasRefusedIsTakenOverOnceTheReasonIsGone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes")
	}
	var sealed atomic.Bool
	for name, tt := range map[string]struct {
		spoil, mend func(path string) error // mend may be nil: time is enough
		reason      string
	}{
		"a mode":      {func(p string) error { return os.Chmod(p, 0o622) }, func(p string) error { return os.Chmod(p, 0o600) }, "may be written by group or others"},
		"a directory": {func(p string) error { return os.Chmod(filepath.Dir(p), 0o777) }, func(p string) error { return os.Chmod(filepath.Dir(p), 0o700) }, "directory that group or others may write"}, // #nosec G302 -- what is refused
		"the clock": {func(p string) error {
			return os.WriteFile(p+"_CREATED_AT", []byte(time.Now().Add(time.Hour).UTC().Format(time.RFC3339)), 0o600)
		}, nil, "lies in the future"},
		"a key": {func(string) error { sealed.Store(true); return nil }, func(string) error { sealed.Store(false); return nil }, "could not be decrypted"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path, text := write(t, dir, "L", rotation(0)), func(i int) []byte { return []byte(rotation(i)) }
			source := secrets.Dir(dir)
			if name == "a key" {
				path, text = write(t, dir, "sealed", "L="+rotation(0)), func(i int) []byte { return []byte("L=" + rotation(i)) }
				source = secrets.Encrypted(path, func(_ context.Context, text []byte) ([]byte, error) {
					if sealed.Load() {
						return nil, errors.New("no key")
					}
					return slices.Clone(text), nil
				})
			}
			synctest.Test(t, func(t *testing.T) {
				var cfg struct {
					L *secrets.Live `secret:"L,kind=token"`
				}
				opts := from(source)
				opts.PollInterval = time.Minute
				l, err := secrets.Load(t.Context(), &cfg, opts)
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				later := func(d time.Duration) { time.Sleep(d + time.Second); synctest.Wait() } // virtual time
				check(t, tt.spoil(path), os.WriteFile(path, text(1), 0o600))
				later(3 * time.Minute)
				if s := l.Report()[0]; s.State != secrets.Invalid || !strings.Contains(s.LastError, tt.reason) || secrets.Expose(cfg.L.Get()) != rotation(0) {
					t.Fatalf("it should be refused: %+v", s)
				}
				if tt.mend != nil {
					check(t, tt.mend(path))
				}
				later(time.Hour)
				if s := l.Report()[0]; s.State == secrets.Invalid || secrets.Expose(cfg.L.Get()) != rotation(1) {
					t.Errorf("it was not looked at again: %+v", s)
				}
				// What was good before is so still, once it is back.
				check(t, tt.spoil(path), os.WriteFile(path, text(2), 0o600))
				later(3 * time.Minute)
				check(t, os.WriteFile(path, text(1), 0o600))
				if tt.mend != nil {
					check(t, tt.mend(path))
				}
				later(time.Hour)
				if s := l.Report()[0]; s.State == secrets.Invalid || secrets.Expose(cfg.L.Get()) != rotation(1) {
					t.Errorf("the old value was not taken back: %+v", s)
				}
			})
		})
	}
}

func TestAFileThatIsOpenedToOthersLaterIsNoticed(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes")
	}
	dir := t.TempDir()
	path := write(t, dir, "L", rotation(0))
	synctest.Test(t, func(t *testing.T) {
		var cfg struct {
			L *secrets.Live `secret:"L,kind=token"`
		}
		opts := from(secrets.Dir(dir))
		opts.PollInterval = time.Second
		l, err := secrets.Load(t.Context(), &cfg, opts)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for _, tt := range []struct {
			mode os.FileMode
			pass bool
		}{{0o666, false}, {0o600, true}} {
			check(t, os.Chmod(path, tt.mode)) // #nosec G302 -- what is refused
			time.Sleep(5 * time.Second)       // virtual time
			synctest.Wait()
			if f := byID(t, l)["HDN-SECRETS-020"]; f.Passed != tt.pass || secrets.Expose(cfg.L.Get()) != rotation(0) {
				t.Errorf("%v: %s", tt.mode, f)
			}
		}
	})
}
