package secrets_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/secrets"
)

func TestSystemdCredentialsAreReadFirst(t *testing.T) {
	type config struct {
		S secrets.Secret `secret:"S,kind=token"`
	}
	dir := t.TempDir()
	write(t, dir, "S", goodToken)
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	t.Setenv("S", goodToken)
	var cfg config
	l, err := secrets.Load(t.Context(), &cfg, secrets.Options{Logger: quiet, DangerouslyKeepEnvironment: true}) // the default sources
	if err != nil || l.Report()[0].Source != filepath.Join(dir, "S") {
		t.Fatalf("%v", err)
	}
	check(t, l.Close())
	t.Setenv("CREDENTIALS_DIRECTORY", "relative")
	_, err = secrets.Load(t.Context(), new(config), from(secrets.Systemd(), secrets.Env()))
	if lines := faultsOf(t, err); len(lines) != 1 || !strings.Contains(lines[0], "absolute") {
		t.Errorf("got %q", lines)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if _, err := secrets.Load(t.Context(), new(config), from(secrets.Systemd(), secrets.Env())); err != nil {
		t.Errorf("outside systemd it holds nothing: %v", err)
	}
}

func TestDotEnvIsForDevelopment(t *testing.T) {
	type config struct {
		S      secrets.Secret `secret:"S,kind=token"`
		Region string         `secret:"REGION,public"`
		Live   *secrets.Live  `secret:"L,kind=password"`
	}
	path := write(t, t.TempDir(), ".env.local", "\xef\xbb\xbf# local\r\nexport S="+goodToken+"\r\nREGION=eu # near\r\nL='pa$HOME #1 \"x\" 9fKx'\r\nUNRELATED=1\r\n")
	if runtime.GOOS != "windows" {
		chmod(t, path, 0o644)
	}
	opts := from(secrets.DotEnv(path), secrets.Env())
	opts.Environment, opts.PollInterval = hardening.Development, time.Hour
	var cfg config
	l, err := secrets.Load(t.Context(), &cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if secrets.Expose(cfg.S) != goodToken || cfg.Region != "eu" || secrets.Expose(cfg.Live.Get()) != `pa$HOME #1 "x" 9fKx` {
		t.Errorf("%s %s %q", secrets.Expose(cfg.S), cfg.Region, secrets.Expose(cfg.Live.Get()))
	}
	check(t, os.WriteFile(path, []byte("S="+goodToken+"\nREGION=us\nL=q7Wz9fKx3Lm8Tn2Vb"), 0o600))
	check(t, l.Reload(t.Context()))
	if secrets.Expose(cfg.Live.Get()) != "q7Wz9fKx3Lm8Tn2Vb" || cfg.Region != "eu" {
		t.Error("a Live follows the file, and a public setting does not")
	}
	check(t, os.WriteFile(path, []byte("S="+goodToken+"\nthis is q7Wz9fKx\nL=q7Wz9fKx3Lm8Tn2Vb"), 0o600))
	if lines := faultsOf(t, l.Reload(t.Context()), "q7Wz9fKx"); len(lines) != 2 || !strings.Contains(lines[0], "line 2 has no =") {
		t.Errorf("got %q", lines)
	}
	for _, environment := range []hardening.Environment{hardening.Production, hardening.Staging} {
		opts.Environment = environment
		_, err = secrets.Load(t.Context(), new(config), opts)
		if lines := faultsOf(t, err, goodToken); len(lines) < 2 || !strings.Contains(lines[0], "exists outside Development") {
			t.Errorf("got %q", lines)
		}
		t.Setenv("S", goodToken)
		t.Setenv("REGION", "eu")
		t.Setenv("L", "q7Wz9fKx3Lm8Tn2Vb")
		opts.Sources[0] = secrets.DotEnv(path + ".none")
		if _, err = secrets.Load(t.Context(), new(config), opts); err != nil {
			t.Errorf("one that does not exist holds nothing: %v", err)
		}
		opts.Sources[0] = secrets.DotEnv(path)
		for _, name := range []string{"S", "REGION", "L"} {
			check(t, os.Unsetenv(name))
		}
	}
	_, err = secrets.Load(t.Context(), new(config), from(secrets.DotEnv("")))
	if lines := faultsOf(t, err); !strings.Contains(lines[0], "without a path") {
		t.Errorf("got %q", lines)
	}
}

func TestAnEncryptedFileIsOpenedByItsFunction(t *testing.T) {
	type config struct {
		S secrets.Secret `secret:"S,kind=token"`
		L *secrets.Live  `secret:"L,kind=token"`
	}
	flip := func(text string) []byte {
		b := []byte(text)
		for i := range b {
			b[i] ^= 0x5a
		}
		return b
	}
	path := write(t, t.TempDir(), "secrets.x", string(flip("S="+goodToken+"\nL="+rotation(0))))
	t.Setenv("THE_KEY", "of the file")
	open := func(_ context.Context, sealed []byte) ([]byte, error) { return flip(string(sealed)), nil }
	opts := secrets.Options{Sources: []secrets.Source{secrets.Encrypted(path, open, "THE_KEY")}, Logger: quiet, PollInterval: time.Hour}
	var cfg config
	l, err := secrets.Load(t.Context(), &cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if secrets.Expose(cfg.S) != goodToken || secrets.Expose(cfg.L.Get()) != rotation(0) || os.Getenv("THE_KEY") != "" {
		t.Error("not loaded, or the key of the file is left in the environment")
	}
	check(t, os.WriteFile(path, flip("S="+goodToken+"\nL="+rotation(1)), 0o600))
	check(t, l.Reload(t.Context()))
	if secrets.Expose(cfg.L.Get()) != rotation(1) {
		t.Error("a new file is not taken over")
	}
	for name, tt := range map[string]struct {
		source secrets.Source
		reason string
	}{
		"an error that holds a value": {secrets.Encrypted(path, func(context.Context, []byte) ([]byte, error) { return nil, fmt.Errorf("bad: %s", goodToken) }), "could not be decrypted"},
		"an error that is safe": {secrets.Encrypted(path, func(context.Context, []byte) ([]byte, error) {
			return nil, fmt.Errorf("%s: %w", goodToken, &hardening.ConfigError{Room: "x", Field: "Identity", Reason: "does not match", Fix: "use another"})
		}), "could not be decrypted: Identity does not match; fix: use another"},
		"a panic":               {secrets.Encrypted(path, func(context.Context, []byte) ([]byte, error) { panic(goodToken) }), "could not be decrypted"},
		"something else inside": {secrets.Encrypted(path, func(context.Context, []byte) ([]byte, error) { return []byte(goodToken), nil }), "line 1 has no ="},
		"no file":               {secrets.Encrypted(path+".none", open), "does not exist"},
		"no path":               {secrets.Encrypted("", open), "without a path"},
		"no function":           {secrets.Encrypted(path, nil), "function"},
	} {
		_, err := secrets.Load(t.Context(), new(config), from(tt.source))
		if lines := faultsOf(t, err, goodToken); !strings.Contains(lines[0], tt.reason) || !strings.Contains(lines[0], "Sources[0]") {
			t.Errorf("%s: got %q", name, lines)
		}
	}
}

// vault is a Provider of what values holds.
type vault struct {
	values  atomic.Pointer[map[string]string]
	created time.Time
	fetched atomic.Int64
}

func (v *vault) set(values map[string]string) { v.values.Store(&values) }

func (v *vault) Fetch(ctx context.Context, name string) (secrets.Secret, secrets.Meta, error) {
	v.fetched.Add(1)
	text, ok := (*v.values.Load())[name]
	switch {
	case !ok:
		return secrets.Secret{}, secrets.Meta{}, fmt.Errorf("vault: %w", secrets.ErrNotFound)
	case text == "fail":
		return secrets.Secret{}, secrets.Meta{}, errors.New("GET https://vault/?token=" + goodToken)
	case text == "panic":
		panic(goodToken)
	case text == "hang":
		<-ctx.Done()
		return secrets.Secret{}, secrets.Meta{}, ctx.Err()
	}
	return secrets.NewSecret(text), secrets.Meta{Version: "1", Created: v.created}, nil
}

func TestAProviderIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{created: time.Now().AddDate(0, 0, -80)}
		v.set(map[string]string{"USER": rotation(1000), "PASSWORD": rotation(0), "FIXED": goodToken})
		var cfg struct {
			User     *secrets.Live  `secret:"USER,kind=token"`
			Password *secrets.Live  `secret:"PASSWORD,kind=password"`
			Fixed    secrets.Secret `secret:"FIXED,kind=token"`
			Spare    *secrets.Live  `secret:"SPARE,kind=token,optional"`
		}
		opts := from(secrets.From("the vault", v))
		opts.FetchInterval = time.Minute
		l, err := secrets.Load(t.Context(), &cfg, opts)
		if err != nil {
			t.Fatal(err)
		}
		if r := l.Report(); len(r) != 3 || r[0].Confidence != secrets.Exact || r[0].State != secrets.Due || r[0].Source != "the vault" {
			t.Errorf("%+v", r)
		}
		if cfg.Spare != nil {
			t.Error("an optional Live came from nowhere")
		}
		wait := func() { time.Sleep(time.Minute + time.Second); synctest.Wait() } // virtual time
		expect := func(what, user, password string) {
			t.Helper()
			wait()
			if secrets.Expose(cfg.User.Get()) != user || secrets.Expose(cfg.Password.Get()) != password {
				t.Errorf("%s: %s %s", what, secrets.Expose(cfg.User.Get()), secrets.Expose(cfg.Password.Get()))
			}
		}
		v.set(map[string]string{"USER": rotation(1001), "PASSWORD": rotation(1), "FIXED": goodToken})
		expect("a rotation", rotation(1001), rotation(1))
		for _, bad := range []string{"fail", "panic", "hang", "changeme", ""} {
			v.set(map[string]string{"USER": rotation(1002), "PASSWORD": bad, "FIXED": goodToken})
			expect("half of what belongs together is bad: "+bad, rotation(1001), rotation(1))
			time.Sleep(20 * time.Second) // what hangs
			synctest.Wait()
			if byID(t, l)["HDN-SECRETS-020"].Passed {
				t.Error("Check does not tell")
			}
		}
		v.set(map[string]string{"USER": rotation(1002)})
		expect("gone", rotation(1001), rotation(1))
		v.set(map[string]string{"USER": rotation(1003), "PASSWORD": rotation(3), "FIXED": rotation(9)})
		expect("good again", rotation(1003), rotation(3))
		check(t, l.Reload(t.Context()))
		if f := byID(t, l); f["HDN-SECRETS-021"].Passed || !f["HDN-SECRETS-020"].Passed {
			t.Error("Reload asks for Secret fields too")
		}
		check(t, l.Close())
	})
}

func TestAProviderThatFailsIsAFault(t *testing.T) {
	type config struct {
		S secrets.Secret `secret:"S,kind=token"`
	}
	for text, reason := range map[string]string{"fail": "could not be fetched", "panic": "could not be fetched", "hang": "did not come in time", "short": "shorter than", "": "is missing in the vault"} {
		synctest.Test(t, func(t *testing.T) {
			v := new(vault)
			v.set(map[string]string{"S": text})
			start := time.Now()
			_, err := secrets.Load(t.Context(), new(config), from(secrets.From("the vault", v)))
			if lines := faultsOf(t, err, goodToken); len(lines) != 1 || !strings.Contains(lines[0], reason) {
				t.Errorf("%q: got %q", text, lines)
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("%q took %v", text, took)
			}
		})
	}
	for _, s := range []secrets.Source{secrets.From("", new(vault)), secrets.From("x", nil), secrets.From("x", (*vault)(nil))} {
		_, err := secrets.Load(t.Context(), new(config), from(s))
		if lines := faultsOf(t, err); !strings.Contains(lines[0], "without a name or a Provider") {
			t.Errorf("got %q", lines)
		}
	}
}

// The order of the lines is the writer's.
func TestAFileOfSeveralValuesMayHaveThemInAnyOrder(t *testing.T) {
	path := write(t, t.TempDir(), "values", "UNRELATED=1\nB="+rotation(2)+"\nREGION=eu\nA="+rotation(1)+"\n")
	for name, source := range map[string]secrets.Source{
		"dotenv":    secrets.DotEnv(path),
		"encrypted": secrets.Encrypted(path, func(_ context.Context, sealed []byte) ([]byte, error) { return bytes.Clone(sealed), nil }),
	} {
		var cfg struct {
			A      secrets.Secret `secret:"A,kind=token"`
			Region string         `secret:"REGION,public"`
			B      *secrets.Live  `secret:"B,kind=token"`
		}
		opts := from(source) // alone
		opts.Environment = hardening.Development
		l, err := secrets.Load(t.Context(), &cfg, opts)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if secrets.Expose(cfg.A) != rotation(1) || secrets.Expose(cfg.B.Get()) != rotation(2) || cfg.Region != "eu" {
			t.Errorf("%s: a field has the value of another", name)
		}
		check(t, l.Close())
	}
}

// brokenError panics when it is looked into, as a nil pointer in an error does.
type brokenError struct{ inner error }

func (e *brokenError) Error() string { return e.inner.Error() }
func (e *brokenError) Unwrap() error { return e.inner }

// What others return as an error must not end the process, from whose goroutines
// nobody recovers.
func TestAnErrorThatPanicsIsAFaultAsAnyOther(t *testing.T) {
	path := write(t, t.TempDir(), "values", "S="+goodToken)
	for name, source := range map[string]secrets.Source{
		"could not be fetched": secrets.From("the vault", providerFunc(func(context.Context, string) (secrets.Secret, secrets.Meta, error) {
			return secrets.Secret{}, secrets.Meta{}, (*brokenError)(nil)
		})),
		"could not be decrypted": secrets.Encrypted(path, func(context.Context, []byte) ([]byte, error) { return nil, (*brokenError)(nil) }),
	} {
		var cfg struct {
			S *secrets.Live `secret:"S,kind=token"`
		}
		_, err := secrets.Load(t.Context(), &cfg, from(source))
		if lines := faultsOf(t, err); len(lines) != 1 || !strings.Contains(lines[0], name) {
			t.Errorf("want one fault with %q, got %q", name, lines)
		}
	}
}
