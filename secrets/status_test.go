package secrets_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/inovy/hardening/secrets"
)

// Report tells what a restart is needed for: what systemd passed, what came from
// the environment, and what a Secret field keeps.
func TestReportSaysWhatNeedsARestart(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-13.3.4")
	credentials, mount := t.TempDir(), t.TempDir()
	write(t, credentials, "SYSTEMD", "tk-Zx8Cv5Bn2Mq9Wd4Eh7Jy")
	write(t, mount, "FOLLOWS", "tk-Pw7Rk3Ls9Vn4Xb6Tq2Hd")
	keeps := write(t, mount, "KEEPS", "tk-Jf5Gy8Uc2Zm6Ea9Ro3Wi")
	t.Setenv("CREDENTIALS_DIRECTORY", credentials)
	t.Setenv("ENV", goodToken)
	var cfg struct {
		Systemd *secrets.Live  `secret:"SYSTEMD,kind=token"`
		Env     *secrets.Live  `secret:"ENV,kind=token"`
		Follows *secrets.Live  `secret:"FOLLOWS,kind=token"`
		Keeps   secrets.Secret `secret:"KEEPS,kind=token"`
	}
	l, err := secrets.Load(t.Context(), &cfg, from(secrets.Systemd(), secrets.Dir(mount), secrets.Env()))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	check(t, os.WriteFile(keeps, []byte("tk-Qa1Ws2Ed3Rf4Tg5Yh6Uj"), 0o600), l.Reload(t.Context()))
	want := map[string]struct {
		restart bool
		note    string
	}{
		"SYSTEMD": {true, "restart needed after a rotation: systemd"},
		"ENV":     {true, ""},
		"FOLLOWS": {false, ""},
		"KEEPS":   {true, "restart needed: its source has a new value"},
	}
	for _, s := range l.Report() {
		w := want[s.Name]
		if s.NeedsRestart != w.restart || !strings.HasPrefix(s.Note, w.note) || w.note == "" && s.Note != "" {
			t.Errorf("%s: %v %q", s.Name, s.NeedsRestart, s.Note)
		}
	}
}

// Report tells when a value was taken over last, and why the last look failed.
func TestReportTellsTheLastReloadAndItsError(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "L", goodToken)
	synctest.Test(t, func(t *testing.T) {
		var cfg struct {
			L *secrets.Live `secret:"L,kind=token"`
		}
		l, err := secrets.Load(t.Context(), &cfg, from(secrets.Dir(dir)))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if s := l.Report()[0]; !s.LastReload.IsZero() || s.LastError != "" {
			t.Errorf("at first: %v %q", s.LastReload, s.LastError)
		}
		time.Sleep(time.Minute)
		check(t, os.WriteFile(path, []byte(rotation(1)), 0o600), l.Reload(t.Context()))
		taken := time.Now()
		if s := l.Report()[0]; !s.LastReload.Equal(taken) || s.LastError != "" {
			t.Errorf("after a rotation: %v %q", s.LastReload, s.LastError)
		}
		time.Sleep(time.Minute)
		check(t, os.WriteFile(path, []byte("changeme"), 0o600))
		_ = l.Reload(t.Context())
		if s := l.Report()[0]; !s.LastReload.Equal(taken) || !strings.Contains(s.LastError, "shorter than") && !strings.Contains(s.LastError, "placeholder") || strings.Contains(s.LastError, "changeme") {
			t.Errorf("after a bad value: %v %q", s.LastReload, s.LastError)
		}
		check(t, os.WriteFile(path, []byte(rotation(1)), 0o600), l.Reload(t.Context()))
		if s := l.Report()[0]; s.LastError != "" {
			t.Errorf("once it is mended: %q", s.LastError)
		}
	})
}

// A Loader that watches nothing is collected when it is let go of, although the
// next change of a state is weeks away.
func TestALoaderThatNobodyClosesIsCollected(t *testing.T) {
	t.Setenv("S", goodToken)
	t.Setenv("S_CREATED_AT", time.Now().UTC().Add(-time.Hour).Format(time.RFC3339)) // so that it becomes due
	var cfg struct {
		S secrets.Secret `secret:"S,kind=token"`
	}
	loader, err := secrets.Load(t.Context(), &cfg, from(secrets.Env()))
	if err != nil {
		t.Fatal(err)
	}
	if s := loader.Report()[0]; s.State != secrets.OK {
		t.Fatalf("the test needs a state that changes with time, not %s", s.State)
	}
	left := weak.Make(loader)
	loader = nil
	for i := 0; left.Value() != nil; i++ {
		if i == 10 {
			t.Fatal("something keeps it")
		}
		runtime.GC()
	}
	if secrets.Expose(cfg.S) != goodToken {
		t.Error("its secret went with it")
	}
}

// Each missing value is reported with the names under which sources look for
// it, and with what makes one; a source that is broken comes first and does not
// hide the fields.
func TestMissingValuesSayWhereToPutThemAndABrokenSourceComesFirst(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "age")
	type config struct {
		Ring *secrets.Ring  `secret:"RING"`
		Key  secrets.Secret `secret:"KEY,kind=key"`
		Tok  secrets.Secret `secret:"TOK,kind=token"`
		Port int            `secret:"PORT,public"`
	}
	opts := from(secrets.Env(), secrets.Dir(dir), secrets.Encrypted(broken, nil))
	_, err := secrets.Load(t.Context(), new(config), opts)
	lines := faultsOf(t, err)
	if len(lines) != 5 {
		t.Fatalf("%d faults: %q", len(lines), lines)
	}
	if !strings.Contains(lines[0], "Options.Sources[2]") {
		t.Errorf("the source does not come first: %s", lines[0])
	}
	for i, name := range []string{"RING", "KEY", "TOK", "PORT"} {
		line := lines[i+1]
		for _, want := range []string{name + ": is missing in", name + "_FILE", filepath.Join(dir, name), "the encrypted file " + broken + " could not be asked"} {
			if !strings.Contains(line, want) {
				t.Errorf("no %q in %s", want, line)
			}
		}
		if generated := name == "RING" || name == "KEY"; strings.Contains(line, "secrets generate") != generated {
			t.Errorf("hint of a generator is %v: %s", !generated, line)
		}
	}
	if !strings.Contains(lines[1], "write v1@") {
		t.Errorf("it does not say how a ring is written: %s", lines[1])
	}
}
