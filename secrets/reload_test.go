package secrets_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/secrets"
)

// flipReloads returns, by id, the findings of loaders that fail it.
func flipReloads(t *testing.T) map[string]map[string]hardening.Finding {
	t.Helper()
	type live struct {
		L *secrets.Live `secret:"L,kind=token"`
	}
	type fixed struct {
		L secrets.Secret `secret:"L,kind=token"`
	}
	out := map[string]map[string]hardening.Finding{}
	after := func(id string, dst any, opts secrets.Options, path string, text string) {
		t.Helper()
		opts.PollInterval, opts.Logger = time.Hour, quiet
		l, err := secrets.Load(t.Context(), dst, opts)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		if f := byID(t, l)[id]; path != "" && !f.Passed {
			t.Errorf("%s fails from the start: %s", id, f)
		}
		if path != "" {
			check(t, os.WriteFile(path, []byte(text), 0o600))
			_ = l.Reload(t.Context())
		}
		out[id] = byID(t, l)
	}
	mount := func() (string, secrets.Options) {
		dir := t.TempDir()
		return write(t, dir, "L", goodToken), secrets.Options{Sources: []secrets.Source{secrets.Dir(dir)}}
	}
	path, opts := mount()
	after("HDN-SECRETS-020", new(live), opts, path, "changeme")
	path, opts = mount()
	after("HDN-SECRETS-021", new(fixed), opts, path, "tk-Zx8Cv5Bn2Mq9Wd4Eh7Jy")
	_, opts = mount()
	opts.DangerouslyKeepEnvironment = true
	after("HDN-SECRETS-022", new(live), opts, "", "")
	path, opts = mount()
	opts.PollInterval, opts.Logger = time.Hour, quiet
	mounted, err := secrets.Load(t.Context(), new(live), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer mounted.Close()
	mounted.PretendMounted(path)
	out["HDN-SECRETS-023"] = byID(t, mounted)
	env := write(t, t.TempDir(), ".env", "L="+goodToken)
	after("HDN-SECRETS-024", new(live), secrets.Options{Environment: hardening.Development, Sources: []secrets.Source{secrets.DotEnv(env)}}, "", "")
	return out
}

// rotation is a value that differs for each i.
func rotation(i int) string { return fmt.Sprintf("tk-Zx8Cv5Bn2Mq9Wd4Eh%04d", i) }

// Whoever replaces a file, and however: the value is taken over within three
// looks, nobody sees an empty or mixed one, and subscribers hear of it once.
func TestEveryWayToRewriteAFileIsNoticed(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links")
	}
	const changes = 20
	must := func(errs ...error) {
		if err := errors.Join(errs...); err != nil {
			panic(err)
		}
	}
	put := func(path, text string) { must(os.WriteFile(path, []byte(text), 0o600)) }
	link := func(target, path string) {
		must(os.Symlink(target, path+".tmp"), os.Rename(path+".tmp", path))
	}
	styles := []struct {
		name    string
		prepare func(dir, text string) (mount string)
		// rewrite may call tick to let a look happen half-way.
		rewrite func(dir string, i int, text string, tick func())
	}{
		{"in place", nil, func(dir string, _ int, text string, _ func()) { put(dir+"/L", text) }},
		{"temporary file and rename", nil, func(dir string, _ int, text string, _ func()) {
			put(dir+"/.L.tmp", text)
			must(os.Rename(dir+"/.L.tmp", dir+"/L"))
		}},
		{"remove, a while, create", nil, func(dir string, _ int, text string, tick func()) {
			must(os.Remove(dir + "/L"))
			tick()
			tick()
			put(dir+"/L", text)
		}},
		{"..data swap, the old one removed", preparedData, func(dir string, i int, text string, _ func()) {
			swapData(dir, i, map[string]string{"L": text})
			must(os.RemoveAll(fmt.Sprintf("%s/..gen%d", dir, i-1)))
		}},
		{"..data swap, the old one kept", preparedData, func(dir string, i int, text string, _ func()) {
			swapData(dir, i, map[string]string{"L": text})
		}},
		{"the directory is the link", func(dir, text string) string {
			must(os.Mkdir(dir+"/r0", 0o700))
			put(dir+"/r0/L", text)
			link("r0", dir+"/current")
			return dir + "/current"
		}, func(dir string, i int, text string, _ func()) {
			next := fmt.Sprintf("r%d", i)
			must(os.Mkdir(filepath.Join(dir, next), 0o700))
			put(filepath.Join(dir, next, "L"), text)
			link(next, dir+"/current")
		}},
		{"a link that dangles for a while", func(dir, text string) string {
			put(dir+"/v0", text)
			link("v0", dir+"/L")
			return dir
		}, func(dir string, i int, text string, tick func()) {
			next := fmt.Sprintf("v%d", i)
			link(next, dir+"/L")
			tick()
			tick()
			put(filepath.Join(dir, next), text)
		}},
		{"written slowly", nil, func(dir string, _ int, text string, tick func()) {
			f, err := os.OpenFile(dir+"/L", os.O_WRONLY|os.O_TRUNC, 0o600)
			must(err)
			for n := 0; n < len(text); n += 7 {
				_, err := f.WriteString(text[n:min(n+7, len(text))])
				must(err)
				tick()
			}
			must(f.Close())
		}},
	}
	if len(styles) != 8 {
		t.Fatal("eight styles")
	}
	for _, style := range styles {
		t.Run(style.name, func(t *testing.T) {
			dir := t.TempDir()
			mount := dir
			if style.prepare != nil {
				mount = style.prepare(dir, rotation(0))
			} else {
				put(dir+"/L", rotation(0))
			}
			synctest.Test(t, func(t *testing.T) {
				var cfg struct {
					L *secrets.Live `secret:"L,kind=token"`
				}
				opts := from(secrets.Dir(mount))
				opts.PollInterval = time.Second
				l, err := secrets.Load(t.Context(), &cfg, opts)
				if err != nil {
					t.Fatal(err)
				}
				var heard atomic.Int64
				l.Subscribe(func(c secrets.Change) {
					if slices.Equal(c.Names, []string{"L"}) {
						heard.Add(1)
					}
				})
				stop := make(chan struct{})
				var wg sync.WaitGroup
				wg.Go(func() { // a reader, all the time
					for {
						select {
						case <-stop:
							return
						case <-time.After(50 * time.Millisecond):
							if s := secrets.Expose(cfg.L.Get()); len(s) != len(rotation(0)) || !strings.HasPrefix(s, "tk-Zx8Cv5Bn2Mq9Wd4Eh") {
								t.Errorf("a reader saw %q", s)
							}
						}
					}
				})
				tick := func() { time.Sleep(time.Second); synctest.Wait() } // virtual time
				for i := 1; i <= changes; i++ {
					style.rewrite(dir, i, rotation(i), tick)
					tick()
					tick()
					tick()
					if got := secrets.Expose(cfg.L.Get()); got != rotation(i) {
						t.Errorf("three looks after change %d the value is %q", i, got)
					}
				}
				if got := heard.Load(); got != changes {
					t.Errorf("the subscriber heard %d changes of %d", got, changes)
				}
				close(stop)
				wg.Wait()
				check(t, l.Close()) // the bubble fails if a goroutine is left
			})
		})
	}
}

func preparedData(dir, text string) string {
	swapData(dir, 0, map[string]string{"L": text})
	if err := os.Symlink("..data/L", filepath.Join(dir, "L")); err != nil {
		panic(err)
	}
	return dir
}

// swapData writes a generation of a Kubernetes volume as the kubelet does.
func swapData(dir string, i int, files map[string]string) {
	gen := fmt.Sprintf("..gen%d", i)
	err := os.Mkdir(filepath.Join(dir, gen), 0o700)
	for name, text := range files {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, gen, name), []byte(text), 0o600))
	}
	tmp := filepath.Join(dir, "..data_tmp")
	if err = errors.Join(err, os.Symlink(gen, tmp), os.Rename(tmp, filepath.Join(dir, "..data"))); err != nil {
		panic(err)
	}
}

func TestAPairIsNeverMixed(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links")
	}
	const rotations = 200
	dir := t.TempDir()
	generation := func(i int) {
		swapData(dir, i, map[string]string{"USER": fmt.Sprintf("user-Zx8Cv5Bn2Mq9Wd4Eh%04d", i), "PASSWORD": rotation(i)})
		if i > 0 {
			_ = os.RemoveAll(fmt.Sprintf("%s/..gen%d", dir, i-1))
		}
	}
	generation(0)
	check(t, os.Symlink("..data/USER", dir+"/USER"), os.Symlink("..data/PASSWORD", dir+"/PASSWORD"))
	var cfg struct {
		User     *secrets.Live `secret:"USER,kind=token"`
		Password *secrets.Live `secret:"PASSWORD,kind=password"`
	}
	opts := from(secrets.Dir(dir))
	l, err := secrets.Load(t.Context(), &cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	changed := make(chan secrets.Change, 2*rotations)
	l.Subscribe(func(c secrets.Change) {
		if !slices.Equal(c.Names, []string{"USER", "PASSWORD"}) {
			t.Errorf("half a pair was announced: %v", c.Names)
		}
		changed <- c
	})
	done := make(chan struct{})
	var wg sync.WaitGroup
	var reads atomic.Int64
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				pair := secrets.Together(cfg.User, cfg.Password)
				user, password := secrets.Expose(pair[0]), secrets.Expose(pair[1])
				if len(user) < 4 || len(password) < 4 || user[len(user)-4:] != password[len(password)-4:] {
					t.Errorf("a mixed pair: %q %q", user, password)
					return
				}
				reads.Add(1)
			}
		})
	}
	wg.Go(func() { // looks as often as it can, also in the middle of a swap
		for {
			select {
			case <-done:
				return
			default:
				_ = l.Reload(t.Context())
			}
		}
	})
	for i := 1; i <= rotations; i++ {
		generation(i)
		if i%2 == 0 { // every other generation stands until it was taken over
			for secrets.Expose(cfg.User.Get()) != fmt.Sprintf("user-Zx8Cv5Bn2Mq9Wd4Eh%04d", i) {
				select {
				case <-changed:
				case <-t.Context().Done():
					t.Fatal("it was not taken over")
				}
			}
		}
	}
	close(done)
	wg.Wait()
	check(t, l.Close())
	if reads.Load() < rotations {
		t.Errorf("only %d reads", reads.Load())
	}
}

// What is wrong with a new value is one clear error, and changes nothing.
func TestABadValueKeepsTheLastGoodOne(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes and pipes")
	}
	for _, tt := range []struct {
		name    string
		rewrite func(path string) error
		reason  string
	}{
		{"gone", os.Remove, "does not exist"},
		{"empty", func(p string) error { return os.Truncate(p, 0) }, "is empty now"},
		{"a newline", func(p string) error { return os.WriteFile(p, []byte("\n"), 0o600) }, "is empty now"},
		{"the marker", func(p string) error { return os.WriteFile(p, []byte("[REDACTED]"), 0o600) }, "redaction marker"},
		{"a placeholder", func(p string) error { return os.WriteFile(p, []byte("changeme-changeme-changeme"), 0o600) }, "placeholder"},
		{"cut short", func(p string) error { return os.WriteFile(p, []byte("tk-Zx8Cv5B"), 0o600) }, "shorter than"},
		{"a NUL", func(p string) error { return os.WriteFile(p, []byte("tk-Zx8Cv5Bn2Mq9Wd4Eh7\x00Jy"), 0o600) }, "NUL"},
		{"a byte-order mark", func(p string) error { return os.WriteFile(p, []byte("\xef\xbb\xbftk-Zx8Cv5Bn2Mq9Wd4Eh7Jy"), 0o600) }, "byte-order mark"},
		{"mode 0666", func(p string) error { return os.Chmod(p, 0o666) }, "may be written"},
		{"a directory", func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o700)) }, "regular file"},
		{"a pipe", func(p string) error { return errors.Join(os.Remove(p), mkfifo(p)) }, "regular file"},
		{"2 MiB", func(p string) error { return os.WriteFile(p, []byte(strings.Repeat("a", 2<<20)), 0o600) }, "1 MiB"},
		{"a dangling link", func(p string) error { return errors.Join(os.Remove(p), os.Symlink("nowhere", p)) }, "points nowhere"},
		{"against its own rule", func(p string) error {
			return os.WriteFile(p, []byte("tk-"+strings.Repeat("Zx8Cv5Bn2Mq9Wd4Eh7Jy", 3)), 0o600)
		}, "rule max"},
		{"the value of another field", func(p string) error { return os.WriteFile(p, []byte(rotation(500)), 0o600) }, "is the same as"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, other := t.TempDir(), t.TempDir()
			path := write(t, dir, "L", rotation(0))
			write(t, dir, "BESIDE", rotation(100))
			write(t, other, "OTHER", rotation(500))
			var cfg struct {
				L      *secrets.Live `secret:"L,kind=token" validate:"max=40"`
				Beside *secrets.Live `secret:"BESIDE,kind=token"`
				Other  *secrets.Live `secret:"OTHER,kind=token"`
			}
			a := &audit{}
			opts := from(secrets.Dir(dir), secrets.Dir(other))
			opts.Audit, opts.PollInterval = a, time.Hour
			l, err := secrets.Load(t.Context(), &cfg, opts)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			a.records = nil
			check(t, tt.rewrite(path))
			check(t, os.WriteFile(dir+"/BESIDE", []byte(rotation(101)), 0o600)) // belongs to what is broken
			if !strings.Contains(tt.name, "another field") {
				check(t, os.WriteFile(other+"/OTHER", []byte(rotation(501)), 0o600)) // does not
			}
			err = l.Reload(t.Context())
			lines := faultsOf(t, err, "Zx8Cv5Bn2", "changeme-changeme")
			if len(lines) != 1 || !strings.Contains(lines[0], tt.reason) {
				t.Errorf("want one fault with %q, got %q", tt.reason, lines)
			}
			if secrets.Expose(cfg.L.Get()) != rotation(0) || secrets.Expose(cfg.Beside.Get()) != rotation(100) {
				t.Error("a bad value was taken over, or half of what belongs together")
			}
			if !strings.Contains(tt.name, "another field") && secrets.Expose(cfg.Other.Get()) != rotation(501) {
				t.Error("what is not concerned was held back")
			}
			if a.records[0].Message != "secret_reload_fail" {
				t.Errorf("records: %v", a.records)
			}
			_ = l.Reload(t.Context())
			if n := count(a.records, "secret_reload_fail"); n != 1 {
				t.Errorf("one failure was announced %d times", n)
			}
			check(t, os.RemoveAll(path))
			check(t, os.WriteFile(path, []byte(rotation(1)+"\n"), 0o600))
			check(t, os.Chmod(path, 0o600))
			if err := l.Reload(t.Context()); err != nil || secrets.Expose(cfg.L.Get()) != rotation(1) || secrets.Expose(cfg.Beside.Get()) != rotation(101) {
				t.Errorf("a good value must end it: %v", err)
			}
			if !byID(t, l)["HDN-SECRETS-020"].Passed {
				t.Error("the finding stays")
			}
		})
	}
}
