package secrets_test

import (
	"encoding/pem"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/inovy/hardening/secrets"
)

func TestHostileValuesAreRefused(t *testing.T) {
	good := map[string]string{"key": generate(t), "token": goodToken, "password": "q7Wz 9fKx3Lm8Tn2Vb", "url": "https://svc:9fKx3Lm8Tn2@host/x", "pem": string(pem.EncodeToMemory(&pem.Block{Type: "KEY", Bytes: []byte("x")}))}
	type fieldOf struct {
		kind string
		dst  func() (any, *secrets.Secret)
	}
	key, token, password, url, block := &struct {
		S secrets.Secret `secret:"S,kind=key"`
	}{}, &struct {
		S secrets.Secret `secret:"S,kind=token"`
	}{}, &struct {
		S secrets.Secret `secret:"S,kind=password"`
	}{}, &struct {
		S secrets.Secret `secret:"S,kind=url"`
	}{}, &struct {
		S secrets.Secret `secret:"S,kind=pem"`
	}{}
	fields := []fieldOf{
		{"key", func() (any, *secrets.Secret) { return key, &key.S }},
		{"token", func() (any, *secrets.Secret) { return token, &token.S }},
		{"password", func() (any, *secrets.Secret) { return password, &password.S }},
		{"url", func() (any, *secrets.Secret) { return url, &url.S }},
		{"pem", func() (any, *secrets.Secret) { return block, &block.S }},
	}
	const all = "key token password url pem"
	for _, tt := range []struct {
		name   string
		change func(string) string
		bad    string // kinds that refuse it; the others accept
	}{
		{"as it is", func(s string) string { return s }, ""},
		{"one newline", func(s string) string { return strings.TrimSuffix(s, "\n") + "\n" }, ""},
		{"one CRLF", func(s string) string { return strings.TrimSuffix(s, "\n") + "\r\n" }, ""},
		{"two newlines", func(s string) string { return s + "\n\n" }, "key token password url"},
		{"a trailing space", func(s string) string { return s + " " }, "key token url"},
		{"a leading space", func(s string) string { return " " + s }, "key token url pem"},
		{"a byte-order mark", func(s string) string { return "\xef\xbb\xbf" + s }, all},
		{"a NUL", func(s string) string { return s[:5] + "\x00" + s[5:] }, all},
		{"a tab inside", func(s string) string { return s[:12] + "\t" + s[12:] }, all},
		{"an escape character", func(s string) string { return s[:5] + "\x1b[2J" + s[5:] }, all},
		{"Latin-1", func(s string) string { return s + "\xe9" }, all},
		{"the marker", func(string) string { return "[REDACTED]" }, all},
		{"the marker in a URL", func(string) string { return "https://svc:[REDACTED]@host/x" }, all},
		{"the marker as a URL escapes it", func(string) string { return "https://svc:%5bREDACTED%5D@host/x" }, all},
		{"the marker as JSON may escape it", func(string) string { return `https://svc:\u005bredacted\u005D@host/x` }, all},
		{"a zero-width space", func(s string) string { return s + "\u200b" }, all},
		{"a byte-order mark inside", func(s string) string { return s[:12] + "\ufeff" + s[12:] }, all},
		{"what url.Redacted writes", func(string) string { return "https://svc:xxxxx@host/x" }, "key pem url"},
		{"a template", func(string) string { return "${DATABASE_PASSWORD}" }, all},
		{"a placeholder", func(string) string { return "changeme-changeme-changeme" }, all},
		{"nothing", func(string) string { return "" }, all},
		{"a newline only", func(string) string { return "\n" }, all},
		{"cut in half", func(s string) string { return s[:len(s)/2-3] }, "key token password pem"},
	} {
		for _, f := range fields {
			for _, source := range []string{"file", "environment"} {
				value := tt.change(good[f.kind])
				if source == "environment" && strings.Contains(value, "\x00") {
					continue // can not exist there
				}
				t.Run(tt.name+" "+f.kind+" "+source, func(t *testing.T) {
					dir := t.TempDir()
					if source == "file" {
						write(t, dir, "S", value)
					} else {
						t.Setenv("S", value)
					}
					dst, s := f.dst()
					*s = secrets.Secret{}
					_, err := secrets.Load(t.Context(), dst, from(secrets.Dir(dir), secrets.Env()))
					refused := strings.Contains(tt.bad, f.kind)
					if refused != (err != nil) {
						t.Errorf("%q: got %v", value, err)
					}
					if err != nil {
						faultsOf(t, err, value, good[f.kind])
						if !s.IsZero() {
							t.Error("dst was filled")
						}
					}
				})
			}
		}
	}
}

func TestFilesAreReadByTheRules(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("has no FIFOs and mode bits")
	}
	for _, tt := range []struct {
		name   string
		make   func(t *testing.T, path string)
		reason string
	}{
		{"mode 0400", func(t *testing.T, p string) { chmod(t, p, 0o400) }, ""},
		{"mode 0440", func(t *testing.T, p string) { chmod(t, p, 0o440) }, ""},
		{"mode 0666", func(t *testing.T, p string) { chmod(t, p, 0o666) }, "may be written by group or others"},
		{"mode 0620", func(t *testing.T, p string) { chmod(t, p, 0o620) }, "may be written by group or others"},
		{"a directory", func(t *testing.T, p string) { check(t, os.Remove(p), os.Mkdir(p, 0o700)) }, "not a regular file"},
		{"a named pipe", func(t *testing.T, p string) { check(t, os.Remove(p), mkfifo(p)) }, "not a regular file"},
		{"a link", func(t *testing.T, p string) { check(t, os.Rename(p, p+"2"), os.Symlink(p+"2", p)) }, ""},
		{"a dangling link", func(t *testing.T, p string) { check(t, os.Remove(p), os.Symlink(p+"2", p)) }, "points nowhere"},
		{"a link to a device", func(t *testing.T, p string) { check(t, os.Remove(p), os.Symlink("/dev/zero", p)) }, "not a regular file"},
		{"2 MiB", func(t *testing.T, p string) {
			check(t, os.WriteFile(p, []byte(strings.Repeat("a", 2<<20)), 0o600))
		}, "larger than 1 MiB"},
		{"an empty file", func(t *testing.T, p string) { check(t, os.Truncate(p, 0)) }, "missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			tt.make(t, write(t, dir, "S", goodToken))
			var cfg struct {
				S secrets.Secret `secret:"S,kind=token"`
			}
			_, err := secrets.Load(t.Context(), &cfg, from(secrets.Dir(dir)))
			if tt.reason == "" {
				if err != nil || secrets.Expose(cfg.S) != goodToken {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if lines := faultsOf(t, err, goodToken); len(lines) != 1 || !strings.Contains(lines[0], tt.reason) {
				t.Errorf("want one fault with %q, got %q", tt.reason, lines)
			}
		})
	}
}

func TestAKubernetesMountIsReadThroughItsLinks(t *testing.T) {
	dir := t.TempDir()
	generation := filepath.Join(dir, "..2026_11_01")
	check(t, os.Mkdir(generation, 0o755))
	write(t, generation, "S", goodToken)
	check(t, os.Symlink("..2026_11_01", filepath.Join(dir, "..data")), os.Symlink("..data/S", filepath.Join(dir, "S")))
	var cfg struct {
		S secrets.Secret `secret:"S,kind=token"`
	}
	if _, err := secrets.Load(t.Context(), &cfg, from(secrets.Dir(dir))); err != nil || secrets.Expose(cfg.S) != goodToken {
		t.Error(err)
	}
}

func TestSourcesMustAgree(t *testing.T) {
	type config struct {
		S secrets.Secret `secret:"S,kind=token"`
	}
	const other = "tk-Zx8Cv5Bn2Mq9Wd4Eh7Jy"
	first, second := t.TempDir(), t.TempDir()
	write(t, first, "S", goodToken+"\n")
	write(t, second, "S", goodToken)
	t.Setenv("S", goodToken)
	var cfg config
	loader, err := secrets.Load(t.Context(), &cfg, from(secrets.Dir(first), secrets.Dir(second), secrets.Env()))
	if err != nil {
		t.Fatal(err)
	}
	if got := loader.Report()[0].Source; got != filepath.Join(first, "S") {
		t.Errorf("the first source must be reported, got %s", got)
	}
	t.Setenv("S", other)
	_, err = secrets.Load(t.Context(), new(config), from(secrets.Dir(first), secrets.Dir(second), secrets.Env()))
	if lines := faultsOf(t, err, goodToken, other); len(lines) != 1 || !strings.Contains(lines[0], "another in the environment") {
		t.Errorf("got %q", lines)
	}
	if _, err := secrets.Load(t.Context(), new(config), from(secrets.Dir(filepath.Join(first, "nowhere")), secrets.Dir(second))); err != nil {
		t.Errorf("a directory that does not exist holds nothing: %v", err)
	}
	_, err = secrets.Load(t.Context(), new(config), from(secrets.Dir(filepath.Join(first, "S")), secrets.Dir(second)))
	if lines := faultsOf(t, err); len(lines) != 1 || !strings.Contains(lines[0], "can not be listed") {
		t.Errorf("a file for a directory: %q", lines)
	}
	nowhere := filepath.Join(t.TempDir(), "link")
	check(t, os.Symlink(filepath.Join(first, "nowhere"), nowhere))
	_, err = secrets.Load(t.Context(), new(config), from(secrets.Dir(nowhere), secrets.Dir(second)))
	if lines := faultsOf(t, err); len(lines) != 1 || !strings.Contains(lines[0], "a link to nothing") {
		t.Errorf("a link to nothing for a directory: %q", lines)
	}
	// Where nobody could be asked, what the sources say is the whole truth.
	_, err = secrets.Load(t.Context(), new(config), from(secrets.Dir(filepath.Join(first, "S"))))
	if lines := faultsOf(t, err); len(lines) != 1 || !strings.Contains(lines[0], "can not be listed") {
		t.Errorf("a file for the only directory: %q", lines)
	}
	if _, err := secrets.Load(t.Context(), new(config), secrets.Options{Sources: []secrets.Source{}}); err == nil {
		t.Error("no sources at all must be a fault")
	}
}

func TestTwoFieldsMayNotShareAValue(t *testing.T) {
	key := generate(t)
	var cfg struct {
		A *secrets.Ring  `secret:"A,kind=key"`
		B secrets.Secret `secret:"B,kind=key"`
		C secrets.Secret `secret:"C,kind=token"`
		D secrets.Secret `secret:"D,kind=password"`
		E secrets.Secret `secret:"E,kind=token"`
	}
	t.Setenv("E", key) // and once more, as no key
	t.Setenv("A", key)
	t.Setenv("B", "base64:"+key) // the same key, written another way
	t.Setenv("C", goodToken)
	t.Setenv("D", goodToken)
	_, err := secrets.Load(t.Context(), &cfg, from(secrets.Env()))
	lines := faultsOf(t, err, key, goodToken)
	if len(lines) != 3 || !strings.Contains(lines[0], "B: is the same as A") || !strings.Contains(lines[1], "D: is the same as C") || !strings.Contains(lines[2], "E: is the same as A") {
		t.Errorf("got %q", lines)
	}
}
