package secrets_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/secrets"
)

func count(records []slog.Record, name string) (n int) {
	for _, r := range records {
		if r.Message == name {
			n++
		}
	}
	return n
}

func TestTheAuditTrailHearsOfARotationBeforeItCounts(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "L", rotation(0))
	synctest.Test(t, func(t *testing.T) {
		var cfg struct {
			L *secrets.Live `secret:"L,kind=token"`
		}
		var mu sync.Mutex // guards cfg and the fields below
		var seen []string
		var refuse error
		set := func(err error) {
			mu.Lock()
			defer mu.Unlock()
			refuse = err
		}
		opts := from(secrets.Dir(dir))
		opts.PollInterval = time.Second
		opts.Audit = handlerFunc(func(r slog.Record) error {
			mu.Lock()
			defer mu.Unlock()
			now := "unset"
			if cfg.L != nil {
				now = secrets.Expose(cfg.L.Get())
			}
			seen = append(seen, r.Message+" "+now)
			return refuse
		})
		l, err := secrets.Load(t.Context(), &cfg, opts)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		full := errors.New("disk full")
		set(full)
		check(t, os.WriteFile(path, []byte(rotation(1)), 0o600))
		if err := l.Reload(t.Context()); !errors.Is(err, full) || secrets.Expose(cfg.L.Get()) != rotation(0) {
			t.Errorf("a rotation that can not be recorded must not happen: %v", err)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		set(nil)
		time.Sleep(time.Second) // it is offered again, though the file did not change
		synctest.Wait()
		if secrets.Expose(cfg.L.Get()) != rotation(1) {
			t.Error("a refused record must be tried again")
		}
		if seen[0] != "secret_loaded unset" || seen[1] != "secret_rotated "+rotation(0) {
			t.Errorf("records and the value in use at that moment: %q", seen)
		}
	})
}

type handlerFunc func(slog.Record) error

func (handlerFunc) Enabled(context.Context, slog.Level) bool { return true }

func (f handlerFunc) Handle(_ context.Context, r slog.Record) error { return f(r) }

func (f handlerFunc) WithAttrs([]slog.Attr) slog.Handler { return f }

func (f handlerFunc) WithGroup(string) slog.Handler { return f }
