package secrets_test

import (
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
