package secrets_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/secrets"
)

const day = 24 * time.Hour

// bubbleStart is when the clock of a synctest bubble starts.
var bubbleStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// untilDay sleeps in a bubble until a day, and until what that sets off is done.
func untilDay(days int, more time.Duration) {
	time.Sleep(time.Until(bubbleStart.AddDate(0, 0, days).Add(more)))
	synctest.Wait()
}

// trail is an audit handler that remembers names and objects, and may refuse.
type trail struct {
	slog.Handler
	mu      sync.Mutex
	refuse  error
	records []string
}

func (a *trail) Handle(_ context.Context, r slog.Record) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	line := r.Message
	r.Attrs(func(at slog.Attr) bool {
		if at.Key == "object" {
			line += " " + at.Value.String()
		}
		return true
	})
	a.records = append(a.records, line)
	return a.refuse
}

func (a *trail) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.records
	a.records = nil
	return out
}

// The life of a key: ok, due, overdue; rotated; and its predecessor gone.
func TestAKeyIsDueOnDay75OverdueOnDay90AndGoneAWeekAfterItsRotation(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-13.3.4")
	dir := t.TempDir()
	first, second := generate(t), generate(t)
	write(t, dir, "SESSION_KEY", "v1@2000-01-01T00:00:00Z:"+first)
	synctest.Test(t, func(t *testing.T) {
		var cfg struct {
			Session *secrets.Ring `secret:"SESSION_KEY,maxage=90d,grace=7d"`
		}
		log := &trail{}
		opts := from(secrets.Dir(dir))
		opts.Audit, opts.PollInterval = log, 30*day
		l, err := secrets.Load(t.Context(), &cfg, opts)
		check(t, err)
		defer l.Close()
		var heard []string
		l.Subscribe(func(c secrets.Change) {
			for _, s := range c.States {
				heard = append(heard, fmt.Sprintf("%d:%s", int(s.Age.Hours()/24), s.State))
			}
			for _, n := range c.Names {
				heard = append(heard, "new "+n)
			}
		})
		sealed, err := cfg.Session.Seal([]byte("x"), nil)
		check(t, err)
		state := func(days int, more time.Duration, want secrets.State, records ...string) {
			t.Helper()
			untilDay(days, more)
			if s := l.Report()[0]; s.State != want {
				t.Errorf("day %d: %s, want %s: %+v", days, s.State, want, s)
			}
			if got := log.take(); !slices.Equal(got, records) {
				t.Errorf("day %d: records %q, want %q", days, got, records)
			}
			if err := l.Health(); err != nil {
				t.Errorf("day %d: %v", days, err)
			}
		}
		opens := func(when string, wantStale, wantOK bool) {
			t.Helper()
			if _, stale, err := cfg.Session.Open(sealed, nil); (err == nil) != wantOK || stale != wantStale {
				t.Errorf("%s: stale %v, %v", when, stale, err)
			}
		}
		state(0, 0, secrets.OK, "secret_loaded")
		state(74, 0, secrets.OK)
		state(75, -time.Second, secrets.OK)
		state(75, 0, secrets.Due, "secret_due SESSION_KEY")
		state(76, 0, secrets.Due)
		state(90, -time.Second, secrets.Due)
		state(90, 0, secrets.Overdue, "secret_overdue SESSION_KEY")
		opens("an overdue key still works", false, true)
		write(t, dir, "SESSION_KEY", "v2@2000-03-31T00:00:00Z:"+second+",v1@2000-01-01T00:00:00Z:"+first)
		check(t, l.Reload(t.Context()))
		state(90, time.Minute, secrets.Overdue, "secret_rotated SESSION_KEY") // v2 only opens yet
		state(90, 11*time.Minute, secrets.OK)
		opens("the old key opens", true, true)
		state(97, 9*time.Minute, secrets.OK)
		opens("until the grace time is over", true, true)
		state(97, 10*time.Minute, secrets.OK)
		opens("then it is gone", false, false)
		state(165, 0, secrets.Due, "secret_due SESSION_KEY")
		want := []string{"75:due", "90:overdue", "new SESSION_KEY", "0:ok", "75:due"}
		if !slices.Equal(heard, want) {
			t.Errorf("subscribers heard %q, want %q", heard, want)
		}
	})
}

func TestAStateThatTheAuditTrailRefusesIsAnnouncedAgain(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "R", "v1@2000-01-01T00:00:00Z:"+generate(t))
	synctest.Test(t, func(t *testing.T) {
		log := &trail{}
		opts := from(secrets.Dir(dir))
		opts.Audit, opts.PollInterval = log, 30*day
		l, err := secrets.Load(t.Context(), &struct {
			R *secrets.Ring `secret:"R"`
		}{}, opts)
		check(t, err)
		heard := 0
		l.Subscribe(func(secrets.Change) { heard++ })
		untilDay(74, 0)
		log.take()
		log.mu.Lock()
		log.refuse = errors.New("disk full")
		log.mu.Unlock()
		untilDay(75, 2*time.Minute)
		if got := log.take(); len(got) != 3 || heard != 0 {
			t.Errorf("records %q, %d changes", got, heard)
		}
		log.mu.Lock()
		log.refuse = nil
		log.mu.Unlock()
		untilDay(76, 0)
		if got := log.take(); len(got) != 1 || got[0] != "secret_due R" || heard != 1 {
			t.Errorf("records %q, %d changes", got, heard)
		}
		check(t, l.Close())
		untilDay(91, 0)
		if got := log.take(); len(got) != 0 || heard != 1 {
			t.Errorf("a closed loader announces %q", got)
		}
		if err := l.Health(); !errors.Is(err, secrets.ErrClosed) {
			t.Errorf("a closed loader is healthy: %v", err)
		}
	})
}

// Across restarts, which is what the ledger is for.
func TestALedgerOutlivesTheProcess(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-13.3.4")
	ledger := filepath.Join(t.TempDir(), "ledger")
	first, second := generate(t), generate(t)
	synctest.Test(t, func(t *testing.T) {
		start := func(token, ring, date string) map[string]secrets.Status {
			t.Helper()
			t.Setenv("TOKEN", token)
			t.Setenv("RING", ring)
			t.Setenv("TOKEN_CREATED_AT", date)
			opts := from(secrets.Env())
			opts.Ledger = secrets.FileLedger(ledger)
			l, err := secrets.Load(t.Context(), &struct {
				Token secrets.Secret `secret:"TOKEN,kind=token"`
				Ring  *secrets.Ring  `secret:"RING"`
			}{}, opts)
			check(t, err)
			defer l.Close()
			out := map[string]secrets.Status{}
			for _, s := range l.Report() {
				out[s.Name] = s
			}
			for _, f := range l.Check() {
				if f.ID == "HDN-SECRETS-044" && !f.Passed || f.ID == "HDN-SECRETS-045" && !f.Passed {
					t.Errorf("%s", f)
				}
			}
			return out
		}
		is := func(when string, s secrets.Status, state secrets.State, confidence secrets.Confidence, days int, note string) {
			t.Helper()
			if s.State != state || s.Confidence != confidence || int(s.Age.Hours()/24) != days || (note == "") != (s.Note == "") || !strings.Contains(s.Note, note) {
				t.Errorf("%s: %+v", when, s)
			}
		}
		got := start(goodToken, first, "")
		is("a new token", got["TOKEN"], secrets.Unproven, secrets.AtLeast, 0, "")
		is("a new ring", got["RING"], secrets.Unproven, secrets.AtLeast, 0, "")
		untilDay(60, 0)
		got = start(goodToken, "base64:"+first, "")
		is("60 days later", got["TOKEN"], secrets.Unproven, secrets.AtLeast, 60, "")
		is("in another spelling", got["RING"], secrets.Unproven, secrets.AtLeast, 60, "")
		untilDay(91, 0)
		got = start(goodToken, "v2@2000-03-01:"+first, "2000-03-20")
		is("91 days later, with a date of yesterday", got["TOKEN"], secrets.Overdue, secrets.AtLeast, 91, "re-stamped, not rotated")
		is("an old key as a new version", got["RING"], secrets.Overdue, secrets.AtLeast, 91, "re-stamped, not rotated")
		untilDay(91, time.Hour)
		got = start("tk-Zx8Cv5Bn2Mq9Wd4Eh7Jy", "v2@2000-04-01:"+second+",v1:"+first, "2000-04-01")
		is("rotated", got["TOKEN"], secrets.OK, secrets.Exact, 0, "")
		is("rotated, and not active yet", got["RING"], secrets.Overdue, secrets.AtLeast, 91, "")
		untilDay(100, 0)
		got = start("tk-9fKx3Lm8Tn2Qw5Rz7YbA4", "v2@2000-04-01:"+second+",v1:"+first, "2000-04-01")
		is("another value with that date", got["TOKEN"], secrets.Unproven, secrets.AtLeast, 0, "without a new date")
		is("unchanged", got["RING"], secrets.OK, secrets.Exact, 9, "")
		untilDay(101, 0)
		got = start("tk-9fKx3Lm8Tn2Qw5Rz7YbA4", "v2@2000-04-01:"+second, "2000-04-01")
		is("still", got["TOKEN"], secrets.Unproven, secrets.AtLeast, 1, "without a new date")
		got = start("tk-Zx8Cv5Bn2Mq9Wd4Eh7Jy", "v2@2000-04-01:"+second, "")
		is("the value before, without its date", got["TOKEN"], secrets.OK, secrets.Exact, 10, "")
	})
}

func TestWithADamagedLedgerNothingIsProven(t *testing.T) {
	ledger := filepath.Join(t.TempDir(), "ledger")
	t.Setenv("RING", "v1@"+time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly)+":"+generate(t))
	load := func() (*secrets.Loader, secrets.Status) {
		t.Helper()
		opts := from(secrets.Env())
		opts.DangerouslyKeepEnvironment = true
		opts.Ledger = secrets.FileLedger(ledger)
		l, err := secrets.Load(t.Context(), &struct {
			Ring *secrets.Ring `secret:"RING"`
		}{}, opts)
		check(t, err)
		t.Cleanup(func() { _ = l.Close() })
		return l, l.Report()[0]
	}
	if l, s := load(); s.State != secrets.OK || s.Note != "" || !byID(t, l)["HDN-SECRETS-045"].Passed {
		t.Errorf("%+v", s)
	}
	text, err := os.ReadFile(ledger)
	check(t, err)
	text[len(text)/2] ^= 1
	check(t, os.WriteFile(ledger, text, 0o600))
	if l, s := load(); s.State != secrets.Unproven || !strings.Contains(s.Note, "ledger") || byID(t, l)["HDN-SECRETS-045"].Passed || l.Health() != nil {
		t.Errorf("%+v", s)
	}
	check(t, os.Remove(ledger))
	if _, s := load(); s.State != secrets.OK {
		t.Errorf("begun anew: %+v", s)
	}
}

// flipRotation returns, by id, the findings of loaders that fail it.
func flipRotation(t *testing.T) map[string]map[string]hardening.Finding {
	t.Helper()
	out := map[string]map[string]hardening.Finding{}
	load := func(id string, dst any, dir string, ledger secrets.Ledger) *secrets.Loader {
		t.Helper()
		opts := from(secrets.Dir(dir))
		opts.Ledger = ledger
		l, err := secrets.Load(t.Context(), dst, opts)
		check(t, err)
		t.Cleanup(func() { _ = l.Close() })
		out[id] = byID(t, l)
		return l
	}
	type live struct {
		S *secrets.Live `secret:"S,kind=token"`
	}
	date := func(ago int) string { return time.Now().UTC().AddDate(0, 0, -ago).Format(time.DateOnly) }
	dated := func(ago int) string {
		dir := t.TempDir()
		write(t, dir, "S", goodToken)
		write(t, dir, "S_CREATED_AT", date(ago))
		return dir
	}
	dir := dated(5)
	write(t, dir, "S_EXPIRES_AT", date(1))
	load("HDN-SECRETS-040", new(live), dir, secrets.Ledger{})
	dir = dated(20)
	l := load("HDN-SECRETS-041", new(live), dir, secrets.Ledger{})
	write(t, dir, "S_CREATED_AT", date(1))
	check(t, l.Reload(t.Context()))
	out["HDN-SECRETS-041"] = byID(t, l)
	dir = dated(20)
	l = load("HDN-SECRETS-042", new(live), dir, secrets.Ledger{})
	write(t, dir, "S", "tk-Zx8Cv5Bn2Mq9Wd4Eh7Jy")
	check(t, l.Reload(t.Context()))
	out["HDN-SECRETS-042"] = byID(t, l)
	load("HDN-SECRETS-043", &struct {
		S secrets.Secret `secret:"S,kind=token,maxage=0,reason=the vendor makes one for life"`
	}{}, dated(5), secrets.Ledger{})
	dir = t.TempDir()
	write(t, dir, "S", goodToken)
	load("HDN-SECRETS-044", new(live), dir, secrets.Ledger{})
	load("HDN-SECRETS-045", new(live), dir, secrets.FileLedger(filepath.Join(dir, "no", "ledger")))
	return out
}

// A volume that is mounted late, or a disk that was full, is no reason to know
// nothing until the next restart.
func TestALedgerThatCouldNotBeUsedIsTriedAgain(t *testing.T) {
	for name, again := range map[string]func(*secrets.Loader){
		"in time": func(*secrets.Loader) { time.Sleep(time.Hour + time.Second); synctest.Wait() }, // virtual time
		"at once": func(l *secrets.Loader) { _ = l.Reload(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, volume := t.TempDir(), filepath.Join(t.TempDir(), "volume")
			write(t, dir, "L", rotation(0))
			write(t, dir, "L_CREATED_AT", "2000-01-01")
			synctest.Test(t, func(t *testing.T) {
				var cfg struct {
					L secrets.Secret `secret:"L,kind=token"`
				}
				opts := from(secrets.Dir(dir))
				opts.Ledger = secrets.FileLedger(filepath.Join(volume, "ledger"))
				l, err := secrets.Load(t.Context(), &cfg, opts)
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				heard := make(chan secrets.Change, 1)
				l.Subscribe(func(c secrets.Change) { heard <- c })
				if s := l.Report()[0]; s.State != secrets.Unproven || byID(t, l)["HDN-SECRETS-045"].Passed {
					t.Errorf("without a ledger: %+v", s)
				}
				check(t, os.Mkdir(volume, 0o700))
				again(l)
				if s := l.Report()[0]; s.State != secrets.OK || !byID(t, l)["HDN-SECRETS-045"].Passed {
					t.Errorf("with one: %+v", s)
				}
				if c := <-heard; len(c.Names) != 0 || len(c.States) != 1 || c.States[0].State != secrets.OK {
					t.Errorf("subscribers heard %+v", c)
				}
			})
		})
	}
}
