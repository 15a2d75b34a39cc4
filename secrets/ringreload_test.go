package secrets_test

import (
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/secrets"
)

// Two nodes learn a key from the same file at different times; what one seals
// in between, the other must open.
func TestAKeyIsActiveOnlyAfterTheNodeHasHadItForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(400 * 24 * time.Hour) // to a time that has a past
		old := "v1@2000-02-01:" + generate(t)
		for _, date := range []string{
			time.Now().UTC().Format(time.DateOnly),
			time.Now().UTC().Add(-8 * 24 * time.Hour).Format(time.RFC3339), // longer ago than the grace time
		} {
			a, b := t.TempDir(), t.TempDir()
			write(t, a, "K", old)
			write(t, b, "K", old)
			type config struct {
				R *secrets.Ring `secret:"K,kind=key"`
			}
			var one, two config
			opts := from(secrets.Dir(a))
			opts.PollInterval = time.Hour
			first, err := secrets.Load(t.Context(), &one, opts)
			check(t, err)
			opts.Sources = []secrets.Source{secrets.Dir(b)}
			second, err := secrets.Load(t.Context(), &two, opts)
			check(t, err)
			before, err := one.R.Seal([]byte("before"), nil)
			check(t, err)
			text := "v2@" + date + ":" + generate(t) + "," + old
			write(t, a, "K", text)
			check(t, first.Reload(t.Context()))
			sealed, err := one.R.Seal([]byte("x"), nil)
			check(t, err)
			if _, _, err := two.R.Open(sealed, nil); err != nil {
				t.Errorf("%s: the node without the new key can not open: %v", date, err)
			}
			if _, _, err := one.R.Open(before, nil); err != nil {
				t.Errorf("%s: what was sealed before is lost: %v", date, err)
			}
			write(t, b, "K", text)
			check(t, second.Reload(t.Context()))
			time.Sleep(11 * time.Minute)
			if sealed, err = one.R.Seal([]byte("x"), nil); err != nil {
				t.Fatal(err)
			}
			if _, _, err := two.R.Open(sealed, nil); err != nil {
				t.Errorf("%s: with the key everywhere: %v", date, err)
			}
			if got := first.Report()[0].Version; got != 2 {
				t.Errorf("%s: version %d is primary", date, got)
			}
			if _, stale, err := one.R.Open(before, nil); err != nil || !stale {
				t.Errorf("%s: in the grace time: %v, stale %v", date, err, stale)
			}
			time.Sleep(7 * 24 * time.Hour)
			if _, _, err := one.R.Open(before, nil); err == nil {
				t.Errorf("%s: after the grace time the old key still opens", date)
			}
			check(t, first.Close(), second.Close())
		}
	})
}

func TestARotationIsNotClaimedByANewDateAlone(t *testing.T) {
	dir, key := t.TempDir(), generate(t)
	day := func(n int) string {
		return time.Now().UTC().Add(-time.Duration(n) * 24 * time.Hour).Format(time.DateOnly)
	}
	write(t, dir, "K", "v1@"+day(120)+":"+key)
	write(t, dir, "T", goodToken)
	meta := func(n int) { write(t, dir, "T.meta", `{"created":"`+day(n)+`"}`) }
	meta(100)
	var cfg struct {
		R *secrets.Ring `secret:"K,kind=key"`
		T *secrets.Live `secret:"T,kind=token"`
	}
	opts := from(secrets.Dir(dir))
	opts.PollInterval = time.Hour
	l, err := secrets.Load(t.Context(), &cfg, opts)
	check(t, err)
	defer l.Close()
	write(t, dir, "K", "v1@"+day(0)+":"+key)
	for n := 99; n >= 90; n-- { // a day at a time
		meta(n)
		check(t, l.Reload(t.Context()))
	}
	for _, s := range l.Report() {
		if s.State != secrets.Overdue || s.Age < 100*24*time.Hour {
			t.Errorf("%s is %s and %v old: %s", s.Name, s.State, s.Age, s.Note)
		}
	}
	if f := byID(t, l)["HDN-SECRETS-041"]; f.Passed {
		t.Errorf("a new date on old values passes: %s", f)
	}
}

// A restart is how most services get a key. By its date alone it would seal at
// once what no other node can open, and the one before it would be gone.
func TestAKeyThatARestartBringsIsActiveOnlyAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(400 * 24 * time.Hour) // to a time that has a past
		type config struct {
			R *secrets.Ring `secret:"K,kind=key"`
		}
		dir, ledger := t.TempDir(), filepath.Join(t.TempDir(), "ledger")
		start := func() (*secrets.Ring, *secrets.Loader) {
			t.Helper()
			var cfg config
			opts := from(secrets.Dir(dir))
			opts.Ledger, opts.PollInterval = secrets.FileLedger(ledger), time.Hour
			l, err := secrets.Load(t.Context(), &cfg, opts)
			check(t, err)
			return cfg.R, l
		}
		observed := func(l *secrets.Loader, want string) {
			t.Helper()
			if f := byID(t, l)["HDN-SECRETS-009"]; !f.Passed || !strings.Contains(f.Observed, want) {
				t.Errorf("%s", f)
			}
		}
		// What was there before the ledger is taken by its dates.
		one := "v1@2000-02-01:" + generate(t)
		two := "v2@2000-03-01:" + generate(t)
		write(t, dir, "K", two+","+one)
		ring, l := start()
		if got := l.Report()[0].Version; got != 2 {
			t.Errorf("version %d is primary at the first start", got)
		}
		observed(l, "the ledger saw a key first")
		before, err := ring.Seal([]byte("before"), nil)
		check(t, err)
		check(t, l.Close())
		time.Sleep(time.Hour)

		three := "v3@" + time.Now().UTC().Add(-8*24*time.Hour).Format(time.RFC3339) + ":" + generate(t) // longer ago than the grace time
		write(t, dir, "K", three+","+two)
		for range 3 { // restarts do not begin anew
			ring, l = start()
			if got := l.Report()[0].Version; got != 2 {
				t.Errorf("version %d is primary right after the restart that brought 3", got)
			}
			if _, _, err := ring.Open(before, nil); err != nil {
				t.Errorf("what was sealed before is lost: %v", err)
			}
			check(t, l.Close())
			time.Sleep(3 * time.Minute)
		}
		time.Sleep(2 * time.Minute)
		ring, l = start()
		if got := l.Report()[0].Version; got != 3 {
			t.Errorf("version %d is primary when 3 had its time", got)
		}
		if _, stale, err := ring.Open(before, nil); err != nil || !stale {
			t.Errorf("what was sealed before: stale %t, %v", stale, err)
		}
		time.Sleep(7 * 24 * time.Hour)
		if _, _, err := ring.Open(before, nil); err == nil {
			t.Error("the key before opens after its grace time")
		}
		check(t, l.Close())

		write(t, filepath.Dir(ledger), "ledger", "damaged")
		_, l = start()
		observed(l, "the ledger can not be used")
		check(t, l.Close())
	})
}

// A ring that is destroyed while a reload brings it new keys has none.
func TestAReloadDoesNotBringADestroyedRingBack(t *testing.T) {
	dir, old := t.TempDir(), "v1@2000-02-01:"+generate(t)
	for range 20 { // who comes first is not ours to say
		write(t, dir, "K", old)
		var cfg struct {
			R *secrets.Ring `secret:"K,kind=key"`
		}
		opts := from(secrets.Dir(dir))
		opts.PollInterval = time.Hour
		l, err := secrets.Load(t.Context(), &cfg, opts)
		check(t, err)
		write(t, dir, "K", "v2@2000-03-01:"+generate(t)+","+old)
		var wg sync.WaitGroup
		secrets.HoldKeys(cfg.R, func(waiting func() bool) {
			wg.Go(func() {
				if err := l.Reload(t.Context()); err != nil {
					t.Error(err)
				}
			})
			for !waiting() {
				runtime.Gosched()
			}
			wg.Go(cfg.R.Destroy)
			for range 1000 {
				runtime.Gosched()
			}
		})
		wg.Wait()
		if keys := cfg.R.Derive("test/x", 32); keys != nil {
			t.Fatalf("a destroyed ring has %d keys", len(keys))
		}
		check(t, l.Close())
	}
}
