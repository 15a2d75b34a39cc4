package secrets_test

import (
	"bytes"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/secrets"
)

func TestSubscribersHoldUpNobody(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "L", rotation(0))
	beside := write(t, dir, "M", rotation(1000))
	synctest.Test(t, func(t *testing.T) {
		var cfg struct {
			L *secrets.Live `secret:"L,kind=token"`
			M *secrets.Live `secret:"M,kind=token"`
		}
		var out bytes.Buffer
		opts := from(secrets.Dir(dir))
		opts.PollInterval, opts.Logger = time.Hour, slog.New(slog.NewTextHandler(&out, nil))
		l, err := secrets.Load(t.Context(), &cfg, opts)
		if err != nil {
			t.Fatal(err)
		}
		gate := make(chan struct{})
		var slow [][]string
		l.Subscribe(func(c secrets.Change) { // blocks
			<-gate
			slow = append(slow, c.Names)
		})
		quick := 0
		var cancel func()
		cancel = l.Subscribe(func(secrets.Change) { // ends itself
			if quick++; quick == 3 {
				cancel()
			}
		})
		l.Subscribe(func(secrets.Change) { panic("with " + goodToken) })
		seen := ""
		l.Subscribe(func(secrets.Change) { // the value is in place, and Reload may be called
			seen = secrets.Expose(cfg.L.Get())
			_ = l.Reload(t.Context())
			_ = l.Report()
		})
		for i := 1; i <= 30; i++ {
			check(t, os.WriteFile(path, []byte(rotation(i)), 0o600))
			if i == 30 {
				check(t, os.WriteFile(beside, []byte(rotation(1030)), 0o600))
			}
			check(t, l.Reload(t.Context()))
			synctest.Wait()
		}
		if seen != rotation(30) || quick != 3 {
			t.Errorf("seen %q, quick %d", seen, quick)
		}
		close(gate)
		synctest.Wait()
		// One under way, 16 that waited; the rest is in the last.
		if len(slow) != 17 || !slices.Equal(slow[0], []string{"L"}) || !slices.Equal(slow[16], []string{"L", "M"}) {
			t.Errorf("a slow subscriber heard %d: %v", len(slow), slow)
		}
		if text := out.String(); strings.Count(text, "a subscriber panicked") != 30 || strings.Contains(text, "9fKx") {
			t.Errorf("the log: %s", text)
		}
		check(t, l.Close())
	})
}
