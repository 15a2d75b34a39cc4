package secrets_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/secrets"
)

func TestARingFollowsItsFile(t *testing.T) {
	dir := t.TempDir()
	first, second := generate(t), generate(t)
	day := func(n int) string { return time.Now().UTC().AddDate(0, 0, -n).Format(time.DateOnly) }
	path := write(t, dir, "R", "v1@"+day(3)+":"+first)
	var cfg struct {
		R *secrets.Ring `secret:"R"`
	}
	opts := from(secrets.Dir(dir))
	opts.PollInterval = time.Hour
	l, err := secrets.Load(t.Context(), &cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	before, generation := cfg.R.Derive("test/x", 32), cfg.R.Generation()
	check(t, os.WriteFile(path, []byte("v2@"+day(1)+":"+second+",v1@"+day(3)+":"+first), 0o600))
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if len(cfg.R.Derive("test/x", 32)) == 0 {
					t.Error("a reader found no keys")
				}
			}
		}
	})
	check(t, l.Reload(t.Context()))
	close(stop)
	wg.Wait()
	after := cfg.R.Derive("test/x", 32)
	if len(before) != 1 || len(after) != 2 || string(after[0]) != string(before[0]) || cfg.R.Generation() <= generation {
		t.Errorf("%d keys, then %d; generation %d, then %d", len(before), len(after), generation, cfg.R.Generation())
	}
	if r := l.Report()[0]; r.Version != 1 { // whatever its date, a key that just came only opens
		t.Errorf("report: %+v", r)
	}
	check(t, os.WriteFile(path, []byte("v3:short"), 0o600))
	faultsOf(t, l.Reload(t.Context()), "short")
	if again := cfg.R.Derive("test/x", 32); len(again) != 2 {
		t.Error("a bad ring replaced a good one")
	}
}

func TestClosedLoadersDoNothing(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "L", rotation(0))
	synctest.Test(t, func(t *testing.T) {
		var cfg struct {
			L *secrets.Live  `secret:"L,kind=token"`
			S secrets.Secret `secret:"S,kind=token,optional"`
		}
		opts := from(secrets.Dir(dir))
		opts.PollInterval = time.Second
		ctx, cancel := context.WithCancel(t.Context())
		l, err := secrets.Load(ctx, &cfg, opts)
		if err != nil {
			t.Fatal(err)
		}
		cancel() // bounds the load, not the watching
		check(t, os.WriteFile(path, []byte(rotation(1)), 0o600))
		time.Sleep(3 * time.Second)
		synctest.Wait()
		kept := cfg.L.Get()
		if secrets.Expose(kept) != rotation(1) {
			t.Error("the end of Load's context ended the watching")
		}
		l.Subscribe(func(secrets.Change) { t.Error("called after Close") })
		check(t, l.Close(), l.Close())
		check(t, os.WriteFile(path, []byte(rotation(2)), 0o600))
		if err := l.Reload(t.Context()); !errors.Is(err, secrets.ErrClosed) {
			t.Errorf("Reload after Close: %v", err)
		}
		if !cfg.L.IsZero() || !kept.IsZero() {
			t.Error("Close left a value")
		}
		l.Subscribe(func(secrets.Change) {})()
		if err := l.Reload(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled context: %v", err)
		}
	})
}

func TestAClosedLoaderSaysSoWhateverItLoadedFrom(t *testing.T) {
	t.Setenv("S", rotation(0))
	for name, source := range map[string]secrets.Source{
		"the environment":            secrets.Env(),
		"a file that nobody follows": secrets.Dir(filepath.Dir(write(t, t.TempDir(), "S", rotation(0)))),
	} {
		var cfg struct {
			S secrets.Secret `secret:"S,kind=token"`
		}
		l, err := secrets.Load(t.Context(), &cfg, from(source))
		if err != nil {
			t.Fatal(name, err)
		}
		check(t, l.Reload(t.Context()), l.Close())
		if err := l.Reload(t.Context()); !errors.Is(err, secrets.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestASecretFieldNeverChangesAndSaysSo(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "S", rotation(0))
	var cfg struct {
		S secrets.Secret `secret:"S,kind=token"`
	}
	l, err := secrets.Load(t.Context(), &cfg, from(secrets.Dir(dir)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	check(t, os.WriteFile(path, []byte(rotation(1)), 0o600))
	check(t, l.Reload(t.Context()))
	if f := byID(t, l)["HDN-SECRETS-021"]; secrets.Expose(cfg.S) != rotation(0) || f.Passed || !strings.Contains(f.Observed, "S") {
		t.Errorf("%s", f)
	}
	check(t, os.WriteFile(path, []byte(rotation(0)), 0o600))
	check(t, l.Reload(t.Context()))
	if f, s := byID(t, l)["HDN-SECRETS-021"], l.Report()[0]; !f.Passed || s.Note != "" {
		t.Errorf("the value was put back: %s, note %q", f, s.Note)
	}
}

// A Secret and a Live of one directory come from one generation of it at Load.
func TestASecretAndALiveAreLoadedFromOneGeneration(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links")
	}
	dir := t.TempDir()
	generation := func(i int) {
		swapData(dir, i, map[string]string{"USER": fmt.Sprintf("user-Zx8Cv5Bn2Mq9Wd4Eh%04d", i), "PASSWORD": rotation(i)})
	}
	generation(0)
	check(t, os.Symlink("..data/USER", dir+"/USER"), os.Symlink("..data/PASSWORD", dir+"/PASSWORD"))
	const generations = 200
	var wg sync.WaitGroup
	var swapped atomic.Bool
	wg.Go(func() {
		defer swapped.Store(true)
		for i := 1; i <= generations; i++ {
			generation(i)
		}
	})
	for loads := 0; loads == 0 || !swapped.Load(); {
		var cfg struct {
			User     secrets.Secret `secret:"USER,kind=token"`
			Password *secrets.Live  `secret:"PASSWORD,kind=password"`
		}
		l, err := secrets.Load(t.Context(), &cfg, from(secrets.Dir(dir)))
		if err != nil { // that it kept changing is a fault, never half of each
			if !strings.Contains(err.Error(), "kept changing") {
				t.Error(err)
			}
			continue
		}
		loads++
		user, password := secrets.Expose(cfg.User), secrets.Expose(cfg.Password.Get())
		check(t, l.Close())
		if user[len(user)-4:] != password[len(password)-4:] {
			t.Fatalf("a mixed pair: %q %q", user, password)
		}
	}
	wg.Wait()
}

// A Live that rotated beside a Secret of its directory says so, a Live of
// another directory does not, and it ends when the Secret is put back.
func TestALiveThatRotatesBesideASecretNamesIt(t *testing.T) {
	pair, other := t.TempDir(), t.TempDir()
	user := write(t, pair, "USER", rotation(10))
	password := write(t, pair, "PASSWORD", rotation(20))
	token := write(t, other, "TOKEN", rotation(30))
	var cfg struct {
		User     secrets.Secret `secret:"USER,kind=token"`
		Password *secrets.Live  `secret:"PASSWORD,kind=password"`
		Token    *secrets.Live  `secret:"TOKEN,kind=token"`
	}
	var reasons []string
	opts := from(secrets.Dir(pair), secrets.Dir(other))
	opts.Audit = handlerFunc(func(r slog.Record) error {
		if r.Message == "secret_rotated" {
			r.Attrs(func(a slog.Attr) bool {
				if a.Key == "reason" {
					reasons = append(reasons, a.Value.String())
				}
				return true
			})
		}
		return nil
	})
	l, err := secrets.Load(t.Context(), &cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	check(t, os.WriteFile(user, []byte(rotation(11)), 0o600), os.WriteFile(password, []byte(rotation(21)), 0o600),
		os.WriteFile(token, []byte(rotation(31)), 0o600))
	check(t, l.Reload(t.Context()))
	if secrets.Expose(cfg.User) != rotation(10) || secrets.Expose(cfg.Password.Get()) != rotation(21) || secrets.Expose(cfg.Token.Get()) != rotation(31) {
		t.Error("Lives follow their source and a Secret does not")
	}
	if len(reasons) != 2 || !strings.Contains(reasons[0], "so has USER beside it") || strings.Contains(reasons[1], "beside it") {
		t.Errorf("records %q", reasons)
	}
	status := l.Report()
	if !strings.Contains(status[1].Note, "beside USER") || status[2].Note != "" {
		t.Errorf("notes %q and %q", status[1].Note, status[2].Note)
	}
	if f := byID(t, l)["HDN-SECRETS-021"]; f.Passed || !strings.Contains(f.Observed, "PASSWORD (rotated beside USER)") || strings.Contains(f.Observed, "TOKEN") {
		t.Errorf("%s", f)
	}
	check(t, os.WriteFile(user, []byte(rotation(10)), 0o600))
	check(t, l.Reload(t.Context()))
	if f, s := byID(t, l)["HDN-SECRETS-021"], l.Report(); !f.Passed || s[1].Note != "" {
		t.Errorf("the Secret was put back: %s, note %q", f, s[1].Note)
	}
}

func TestALedgerWithoutAPathIsAFault(t *testing.T) {
	opts := from(secrets.Env())
	opts.Ledger = secrets.FileLedger("")
	_, err := secrets.Load(t.Context(), &struct {
		P string `secret:"P,public,default=x"`
	}{}, opts)
	if lines := faultsOf(t, err); len(lines) != 1 || !strings.Contains(lines[0], "Options.Ledger") {
		t.Errorf("got %q", lines)
	}
}

func TestNegativeAndTinyIntervalsAreFaults(t *testing.T) {
	opts := from(secrets.Env())
	opts.PollInterval, opts.FetchInterval = -1, -1
	_, err := secrets.Load(t.Context(), &struct {
		P string `secret:"P,public,default=x"`
	}{}, opts)
	if lines := faultsOf(t, err); len(lines) != 2 {
		t.Errorf("got %q", lines)
	}
	opts.PollInterval, opts.FetchInterval = 999*time.Millisecond, 0
	_, err = secrets.Load(t.Context(), &struct {
		P string `secret:"P,public,default=x"`
	}{}, opts)
	if lines := faultsOf(t, err); len(lines) != 1 || !strings.Contains(lines[0], "shorter than a second") {
		t.Errorf("got %q", lines)
	}
}
