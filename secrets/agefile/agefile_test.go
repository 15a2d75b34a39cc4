package agefile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/filepoll"
	"github.com/inovy/hardening/secrets"
	"github.com/inovy/hardening/secrets/agefile"
)

const (
	token  = "sk-9fKx3Lm8Tn2Qw5Rz7Yb4"
	phrase = "correct-9fKx-battery-3Lm8"
)

type config struct {
	S secrets.Secret `secret:"S,kind=token"`
}

var quiet = slog.New(slog.DiscardHandler)

func identity(t testing.TB) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func put(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func seal(t testing.TB, plain string, to ...age.Recipient) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := age.Encrypt(&b, to...)
	if err == nil {
		_, err = io.WriteString(w, plain)
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sealPhrase(t testing.TB, plain, phrase string, workFactor int) []byte {
	t.Helper()
	r, err := age.NewScryptRecipient(phrase)
	if err != nil {
		t.Fatal(err)
	}
	r.SetWorkFactor(workFactor)
	return seal(t, plain, r)
}

func load(t testing.TB, cfg agefile.Config) (string, error) {
	t.Helper()
	source, err := agefile.New(cfg)
	if err != nil {
		return "", err
	}
	var dst config
	l, err := secrets.Load(t.Context(), &dst, secrets.Options{Sources: []secrets.Source{source}, Logger: quiet, DangerouslyKeepEnvironment: true})
	if err != nil {
		return "", err
	}
	defer l.Close()
	return secrets.Expose(dst.S), nil
}

func TestAFileOpensWithWhatItWasMadeFor(t *testing.T) {
	id := identity(t)
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	plain := "# mine\nS=" + token + "\n"
	var armored bytes.Buffer
	w := armor.NewWriter(&armored)
	if _, err := w.Write(seal(t, plain, id.Recipient())); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	var ours bytes.Buffer
	if err := agefile.Encrypt(&ours, []byte(plain), id.Recipient().String()); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AGE_PASSPHRASE", phrase+"\n")
	t.Setenv("AGE_IDENTITY", "# two\n"+identity(t).String()+"\n"+id.String()+"\n")
	for name, cfg := range map[string]agefile.Config{
		"a variable":                 {Path: put(t, "f", seal(t, plain, id.Recipient())), IdentityVariable: "AGE_IDENTITY"},
		"a file":                     {Path: put(t, "f", seal(t, plain, id.Recipient())), IdentityFile: put(t, "id", []byte("# created: x\n"+id.String()+"\n"))},
		"a hybrid one":               {Path: put(t, "f", seal(t, plain, hybrid.Recipient())), IdentityFile: put(t, "id", []byte(hybrid.String()))},
		"a passphrase in a variable": {Path: put(t, "f", sealPhrase(t, plain, phrase, 10)), PassphraseVariable: "AGE_PASSPHRASE"},
		"a passphrase":               {Path: put(t, "f", sealPhrase(t, plain, phrase, 10)), Passphrase: secrets.NewSecret(phrase)},
		"an armored file":            {Path: put(t, "f", armored.Bytes()), IdentityVariable: "AGE_IDENTITY"},
		"Encrypt's own":              {Path: put(t, "f", ours.Bytes()), IdentityVariable: "AGE_IDENTITY"},
	} {
		if got, err := load(t, cfg); err != nil || got != token {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
}

func TestTheIdentityIsTakenOutOfTheEnvironment(t *testing.T) {
	id := identity(t)
	t.Setenv("AGE_IDENTITY", id.String())
	path := put(t, "f", seal(t, "S="+token, id.Recipient()))
	source, err := agefile.New(agefile.Config{Path: path, IdentityVariable: "AGE_IDENTITY"})
	if err != nil {
		t.Fatal(err)
	}
	var dst struct {
		S *secrets.Live `secret:"S,kind=token"`
	}
	l, err := secrets.Load(t.Context(), &dst, secrets.Options{Sources: []secrets.Source{source}, Logger: quiet, PollInterval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if os.Getenv("AGE_IDENTITY") != "" {
		t.Error("it is still there")
	}
	const next = "sk-Zx8Cv5Bn2Mq9Wd4Eh7Jy"
	if err := os.WriteFile(path, seal(t, "S="+next, id.Recipient()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.Reload(t.Context()); err != nil || secrets.Expose(dst.S.Get()) != next {
		t.Errorf("a new file must open without it: %v", err)
	}
	if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.Reload(t.Context()); err == nil || secrets.Expose(dst.S.Get()) != next {
		t.Errorf("a damaged file must change nothing: %v", err)
	}
}

func TestThePassphraseIsTakenOutOfTheEnvironment(t *testing.T) {
	t.Setenv("AGE_PASSPHRASE", phrase)
	source, err := agefile.New(agefile.Config{Path: put(t, "f", sealPhrase(t, "S="+token, phrase, 10)), PassphraseVariable: "AGE_PASSPHRASE"})
	if err != nil {
		t.Fatal(err)
	}
	var dst config
	l, err := secrets.Load(t.Context(), &dst, secrets.Options{Sources: []secrets.Source{source}, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if os.Getenv("AGE_PASSPHRASE") != "" {
		t.Error("it is still there")
	}
	if err := l.Reload(t.Context()); err != nil {
		t.Errorf("the file must open without it: %v", err)
	}
}

func TestAPassphraseVariableThatIsNotSetIsAFault(t *testing.T) {
	for name, cfg := range map[string]agefile.Config{
		"names a variable that is not set": {Path: "f", PassphraseVariable: "AGE_PASSPHRASE_NOBODY_SET"},
		"are not exactly one":              {Path: "f", PassphraseVariable: "AGE_PASSPHRASE", Passphrase: secrets.NewSecret(phrase)},
	} {
		_, err := agefile.New(cfg)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every failure is one clear fault without a value, an identity or a
// passphrase in it.
func TestWhatDoesNotOpenIsAFaultWithoutASecret(t *testing.T) {
	id, other := identity(t), identity(t)
	sealed := seal(t, "S="+token, id.Recipient())
	ids := put(t, "id", []byte(id.String()))
	flipped := bytes.Clone(sealed)
	flipped[len(flipped)-1] ^= 1
	open := put(t, "id", []byte(id.String()))
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AGE_GOOD", id.String())
	t.Setenv("AGE_BAD", strings.ToLower(id.String()[:40])+"x")
	for _, tt := range []struct {
		name, want string
		cfg        agefile.Config
	}{
		{"nothing given", "are not exactly one", agefile.Config{Path: "x"}},
		{"two ways given", "are not exactly one", agefile.Config{Path: "x", IdentityFile: ids, IdentityVariable: "AGE_GOOD"}},
		{"no path", "Path is empty", agefile.Config{IdentityFile: ids}},
		{"no variable", "not set", agefile.Config{Path: "x", IdentityVariable: "AGE_NONE"}},
		{"a bad variable", "not a list of age identities", agefile.Config{Path: "x", IdentityVariable: "AGE_BAD"}},
		{"too much work", "not between 10 and 22", agefile.Config{Path: "x", IdentityFile: ids, MaxWorkFactor: 30}},
		{"no file", "does not exist", agefile.Config{Path: "/nonexistent", IdentityFile: ids}},
		{"no identity file", "IdentityFile file does not exist", agefile.Config{Path: put(t, "f", sealed), IdentityFile: "/nonexistent"}},
		{"a directory of identities", "not a regular file", agefile.Config{Path: put(t, "f", sealed), IdentityFile: t.TempDir()}},
		{"an identity file that is none", "not a list of age identities", agefile.Config{Path: put(t, "f", sealed), IdentityFile: put(t, "id", []byte("AGE-SECRET-KEY-1QQQ9FKX\n"))}},
		{"an empty identity file", "not a list of age identities", agefile.Config{Path: put(t, "f", sealed), IdentityFile: put(t, "id", nil)}},
		{"an identity that others may read", "read or written by others", agefile.Config{Path: put(t, "f", sealed), IdentityFile: open}},
		{"another identity", "no identity that this file", agefile.Config{Path: put(t, "f", sealed), IdentityFile: put(t, "id", []byte(other.String()))}},
		{"a passphrase for a file of recipients", "does not open", agefile.Config{Path: put(t, "f", sealed), Passphrase: secrets.NewSecret(phrase)}},
		{"another passphrase", "does not open", agefile.Config{Path: put(t, "f", sealPhrase(t, "S="+token, "another", 10)), Passphrase: secrets.NewSecret(phrase)}},
		{"a file that asks for more work", "MaxWorkFactor is below", agefile.Config{Path: put(t, "f", sealPhrase(t, "S="+token, phrase, 12)), Passphrase: secrets.NewSecret(phrase), MaxWorkFactor: 11}},
		{"a file that asks for hours", "MaxWorkFactor is below", agefile.Config{Path: put(t, "f", bytes.Replace(sealPhrase(t, "S="+token, phrase, 10), []byte(" 10\n"), []byte(" 29\n"), 1)), Passphrase: secrets.NewSecret(phrase)}},
		{"cut off", "damaged", agefile.Config{Path: put(t, "f", sealed[:len(sealed)-5]), IdentityFile: ids}},
		{"a flipped bit", "damaged", agefile.Config{Path: put(t, "f", flipped), IdentityFile: ids}},
		{"plaintext", "no age file", agefile.Config{Path: put(t, "f", []byte("S="+token)), IdentityFile: ids}},
		{"an empty file", "no age file", agefile.Config{Path: put(t, "f", nil), IdentityFile: ids}},
		{"damaged armor", "no age file", agefile.Config{Path: put(t, "f", []byte(armor.Header+"\n"+token)), IdentityFile: ids}},
		{"something else inside", "line 1 has no =", agefile.Config{Path: put(t, "f", seal(t, token, id.Recipient())), IdentityFile: ids}},
		{"a weak value inside", "shorter than", agefile.Config{Path: put(t, "f", seal(t, "S=9fKx-short", id.Recipient())), IdentityFile: ids}},
	} {
		if runtime.GOOS == "windows" && strings.Contains(tt.name, "others may read") {
			continue
		}
		_, err := load(t, tt.cfg)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
		for fault := range hardening.Faults(err) {
			if fault.Field == "" || fault.Reason == "" || fault.Fix == "" {
				t.Errorf("%s: %+v", tt.name, fault)
			}
		}
		shown := strings.ToLower(fmt.Sprintf("%v %+v %#v", err, err, err))
		for _, secret := range []string{"9fkx", "age-secret-key-1q", strings.ToLower(id.String()[20:40]), "3lm8"} {
			if strings.Contains(shown, secret) {
				t.Errorf("%s: %q is shown in %s", tt.name, secret, shown)
			}
		}
	}
	// All faults of a Config at once.
	_, err := agefile.New(agefile.Config{MaxWorkFactor: -1})
	n := 0
	for range hardening.Faults(err) {
		n++
	}
	if n != 3 {
		t.Errorf("%d faults: %v", n, err)
	}
	if err := agefile.Encrypt(io.Discard, nil); err == nil {
		t.Error("encrypted for nobody")
	}
	if err := agefile.Encrypt(io.Discard, nil, id.String()); err == nil || strings.Contains(err.Error(), id.String()[20:30]) {
		t.Errorf("an identity for a recipient: %v", err)
	}
}

func TestAnIdentityThatOthersCanReplaceIsRefused(t *testing.T) {
	id := identity(t)
	sealed := seal(t, "S="+token, id.Recipient())
	ids := put(t, "id", []byte(id.String()))
	if runtime.GOOS == "windows" || filepoll.InMemory(ids) {
		t.Skip("owners are judged on a disk of Unix")
	}
	cfg := agefile.Config{Path: put(t, "f", sealed), IdentityFile: ids}
	if _, err := load(t, cfg); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(ids), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := load(t, cfg); err == nil || !strings.Contains(err.Error(), "IdentityFile stands in a directory that group or others may write") {
		t.Errorf("got %v", err)
	}
	if os.Geteuid() != 0 {
		return // only root can give a file away
	}
	if err := errors.Join(os.Chmod(filepath.Dir(ids), 0o700), os.Chown(ids, 54321, -1)); err != nil {
		t.Fatal(err)
	}
	if _, err := load(t, cfg); err == nil || !strings.Contains(err.Error(), "IdentityFile is owned by another user") {
		t.Errorf("got %v", err)
	}
}

func Example() {
	// Once, by hand: age-keygen -o key.txt; age -r age1... -o secrets.env.age secrets.env
	id, err := age.GenerateX25519Identity()
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "agefile")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	f, err := os.Create(filepath.Join(dir, "secrets.env.age"))
	if err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(agefile.Encrypt(f, []byte("API_TOKEN=sk-9fKx3Lm8Tn2Qw5Rz7Yb4\n"), id.Recipient().String()), f.Close()); err != nil {
		log.Fatal(err)
	}
	_ = os.Setenv("AGE_IDENTITY", id.String())

	// In the service:
	source, err := agefile.New(agefile.Config{Path: filepath.Join(dir, "secrets.env.age"), IdentityVariable: "AGE_IDENTITY"})
	if err != nil {
		log.Fatal(err)
	}
	var cfg struct {
		API secrets.Secret `secret:"API_TOKEN,kind=token,prefix=sk-"`
	}
	loader, err := secrets.Load(context.Background(), &cfg, secrets.Options{Sources: []secrets.Source{source, secrets.Env()}, Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	defer loader.Close()
	fmt.Println(len(secrets.Expose(cfg.API)), cfg.API, os.Getenv("AGE_IDENTITY") == "")
	// Output: 23 [REDACTED] true
}

// A relative path means the file that it named when New was called.
func TestAProgramMayChangeItsWorkingDirectory(t *testing.T) {
	id := identity(t)
	key := put(t, "identity", []byte(id.String()+"\n"))
	path := put(t, "values.age", seal(t, "S="+token+"\n", id.Recipient()))
	t.Chdir(filepath.Dir(key))
	source, err := agefile.New(agefile.Config{Path: path, IdentityFile: "identity"})
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	var dst config
	l, err := secrets.Load(t.Context(), &dst, secrets.Options{Sources: []secrets.Source{source}, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if secrets.Expose(dst.S) != token {
		t.Error("not loaded")
	}
}
