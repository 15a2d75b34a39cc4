package secrets_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-playground/validator/v10"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/secrets"
)

var quiet = slog.New(slog.DiscardHandler)

// from loads out of sources only, without a word.
func from(sources ...secrets.Source) secrets.Options {
	return secrets.Options{Sources: sources, Logger: quiet, DangerouslyKeepEnvironment: true}
}

// faultsOf checks that every fault is complete and none holds one of the
// values, and returns them as lines.
func faultsOf(t *testing.T, err error, values ...string) []string {
	t.Helper()
	var lines []string
	for f := range hardening.Faults(err) {
		if f.Room != "secrets" || f.Field == "" || f.Reason == "" || f.Fix == "" {
			t.Errorf("an incomplete fault: %+v", f)
		}
		lines = append(lines, f.Error())
	}
	if err != nil && len(lines) == 0 {
		t.Errorf("no faults in %v", err)
	}
	// What a dump shows, which looks further than errors.As can.
	shown := fmt.Sprintf("%v %+v %#v %s %q", err, err, err, err, err) + strings.Join(lines, "\n")
	for _, v := range values {
		if len(v) >= 4 && v != hardening.Redacted && strings.Contains(shown, v) {
			t.Errorf("the error shows the value %q:\n%s", v, shown)
		}
	}
	var ve validator.ValidationErrors
	var fe validator.FieldError
	var pe *os.PathError
	if errors.As(err, &ve) || errors.As(err, &fe) || errors.As(err, &pe) {
		t.Errorf("errors.As reaches an error that may hold a value: %v", err)
	}
	return lines
}

func generate(t testing.TB) string {
	t.Helper()
	key, err := secrets.Generate(32)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

const goodToken = "sk-9fKx3Lm8Tn2Qw5Rz7Yb4"

func TestLoadFillsAStruct(t *testing.T) {
	type database struct {
		URL secrets.Secret `secret:"DATABASE_URL,kind=url"`
		Max int            `secret:"DB_MAX,public,default=10" validate:"gte=1,lte=50"`
	}
	type Shared struct {
		Region string `secret:"AWS_REGION,public" validate:"oneof=eu-west-1 eu-central-1"`
	}
	var cfg struct {
		Shared
		Session *secrets.Ring  `secret:"SESSION_KEY,kind=key,bits=256,maxage=90d,grace=7d"`
		API     secrets.Secret `secret:"API_TOKEN,kind=token,prefix=sk-,minlen=20" validate:"startswith=sk-"`
		Signing secrets.Secret `secret:"SIGNING_KEY,kind=key"`
		Cert    secrets.Secret `secret:"tls.key,kind=pem"`
		Spare   secrets.Secret `secret:"SPARE,kind=token,optional"`
		DB      database
		Debug   bool          `secret:"DEBUG,public"`
		Wait    time.Duration `secret:"WAIT,public"`
		Keep    time.Duration `secret:"KEEP,public"`
		Port    uint16        `secret:"PORT,public"`
		Offset  int8          `secret:"OFFSET,public,optional"`
		Other   string        // not Load's
	}
	cfg.Other = "mine"
	dir := t.TempDir()
	key, signing := generate(t), generate(t)
	block := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("anything")}))
	write(t, dir, "session_key", key+"\n") // lower case, as Docker names them
	write(t, dir, "tls.key", block)
	t.Setenv("API_TOKEN", goodToken)
	t.Setenv("SIGNING_KEY_FILE", write(t, dir, "elsewhere", signing+"\r\n"))
	t.Setenv("DATABASE_URL", "postgres://svc:p%40ssage-9fKx3Lm8@db/care")
	t.Setenv("AWS_REGION", "eu-west-1")
	t.Setenv("DEBUG", "true")
	t.Setenv("WAIT", "1m30s")
	t.Setenv("KEEP", "30d")
	t.Setenv("PORT", "8443")
	loader, err := secrets.Load(t.Context(), &cfg, from(secrets.Dir(dir), secrets.Env()))
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprint(goodToken, signing, strings.TrimSuffix(block, "\n"), "postgres://svc:p%40ssage-9fKx3Lm8@db/care", "eu-west-1", 10, true, 90*time.Second, 30*24*time.Hour, 8443, 0, "mine")
	got := fmt.Sprint(secrets.Expose(cfg.API), secrets.Expose(cfg.Signing), secrets.Expose(cfg.Cert), secrets.Expose(cfg.DB.URL), cfg.Region, cfg.DB.Max, cfg.Debug, cfg.Wait, cfg.Keep, cfg.Port, cfg.Offset, cfg.Other)
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !cfg.Spare.IsZero() {
		t.Error("an optional secret came from nowhere")
	}
	if len(cfg.Session.Derive("session/cookie", 32)) != 1 {
		t.Error("the ring is empty")
	}
	if err := errors.Join(loader.Close(), loader.Close()); err != nil {
		t.Error(err)
	}
	if secrets.Expose(cfg.API)+secrets.Expose(cfg.DB.URL) != "" || cfg.Session.Derive("session/cookie", 32) != nil {
		t.Error("Close left a secret")
	}
	if len(loader.Check()) < 5 || len(loader.Report()) != 5 {
		t.Error("a closed Loader still tells what was loaded")
	}
}

// The property of every Load that fails: each fault is there, complete, without
// a value, and dst is untouched.
func TestEveryFaultIsNamedAtOnce(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-13.1.1")
	type Config struct {
		Ring     *secrets.Ring  `secret:"RING,kind=key"`
		Key      secrets.Secret `secret:"KEY,kind=key"`
		Token    secrets.Secret `secret:"TOKEN,kind=token,prefix=sk-,minlen=30"`
		Password secrets.Secret `secret:"PASSWORD,kind=password"`
		URL      secrets.Secret `secret:"URL,kind=url"`
		PEM      secrets.Secret `secret:"PEM,kind=pem"`
		Gone     secrets.Secret `secret:"GONE,kind=token"`
		Both     secrets.Secret `secret:"BOTH,kind=token"`
		Lost     secrets.Secret `secret:"LOST,kind=token"`
		Ruled    secrets.Secret `secret:"RULED,kind=token" validate:"min=100"`
		Port     int            `secret:"PORT,public"`
		Wait     time.Duration  `secret:"WAIT,public"`
		On       bool           `secret:"ON,public"`
		Tiny     int8           `secret:"TINY,public"`
		Region   string         `secret:"REGION,public" validate:"oneof=eu us"`
	}
	values := map[string]string{
		"RING":      "v2:q7Wz9fKx3Lm8Tn2,v1:zz",
		"KEY":       "0123456789abcdef0123456789abcdef",
		"TOKEN":     "tk-short-9fKx3",
		"PASSWORD":  "Password1234567!",
		"URL":       "postgres://svc:hunter%zz@db/care",
		"PEM":       "-----BEGIN KEY-----\nbm90IGVuZGluZw",
		"BOTH":      goodToken + "both",
		"BOTH_FILE": "/nonexistent/both-secret-path",
		"LOST_FILE": "sk-this-is-the-secret-itself-9fKx",
		"RULED":     "q7Wz9fKx3Lm8Tn2Vb5Np",
		"PORT":      "my-db-password-1",
		"WAIT":      "my-db-password-2",
		"ON":        "my-db-password-3",
		"TINY":      "400000",
		"REGION":    "my-db-password-4",
	}
	var secretTexts []string
	for name, v := range values {
		t.Setenv(name, v)
		secretTexts = append(secretTexts, v)
	}
	secretTexts = append(secretTexts, "hunter", "9fKx", "my-db")
	var cfg Config
	opts := from(secrets.Env(), secrets.Source{}, secrets.Dir(""))
	opts.Environment = 9
	loader, err := secrets.Load(t.Context(), &cfg, opts)
	if loader != nil || err == nil {
		t.Fatal("it loaded")
	}
	lines := faultsOf(t, err, secretTexts...)
	all := strings.Join(lines, "\n")
	for _, want := range []string{
		"Options.Environment", "Options.Sources[1]", "Options.Sources[2]",
		"Ring \"[REDACTED]\" RING in the environment: entry 1 of 2: it has no date",
		"entry 1 of 2: its key", "entry 2 of 2: its key", "Key \"[REDACTED]\" KEY", "does not begin with", "shorter than 30", "Password ", "not a URL", "damaged PEM",
		"GONE: is missing in the environment", "both BOTH and BOTH_FILE", "LOST in the file that LOST_FILE names", "rule min",
		"not a whole number", "not a duration", "not true or false", "does not fit 8 bits", "rule oneof=eu us",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no fault says %q", want)
		}
	}
	if t.Failed() {
		t.Log(all)
	}
	if !reflect.ValueOf(cfg).IsZero() {
		t.Error("dst was changed by a Load that failed")
	}
}

func TestBadTagsAreFaults(t *testing.T) {
	type inner struct {
		K secrets.Secret `secret:"K,kind=key"`
	}
	for name, dst := range map[string]any{
		"an unknown option": &struct {
			K secrets.Secret `secret:"K,kind=key,colour=red"`
		}{},
		"no kind": &struct {
			K secrets.Secret `secret:"K"`
		}{},
		"an unknown kind": &struct {
			K secrets.Secret `secret:"K,kind=thing"`
		}{},
		"a ring of tokens": &struct {
			K *secrets.Ring `secret:"K,kind=token"`
		}{},
		"an optional ring": &struct {
			K *secrets.Ring `secret:"K,optional"`
		}{},
		"an option twice": &struct {
			K secrets.Secret `secret:"K,kind=key,kind=key"`
		}{},
		"too few bits": &struct {
			K secrets.Secret `secret:"K,kind=key,bits=128"`
		}{},
		"bits for a token": &struct {
			K secrets.Secret `secret:"K,kind=token,bits=256"`
		}{},
		"a negative age": &struct {
			K secrets.Secret `secret:"K,kind=key,maxage=-90d"`
		}{},
		"no age": &struct {
			K secrets.Secret `secret:"K,kind=key,maxage=0"`
		}{},
		"grace for a secret": &struct {
			K secrets.Secret `secret:"K,kind=key,grace=7d"`
		}{},
		"a default for a secret": &struct {
			K secrets.Secret `secret:"K,kind=key,default=x"`
		}{},
		"a string that is not public": &struct {
			K string `secret:"K"`
		}{},
		"a public secret": &struct {
			K secrets.Secret `secret:"K,public"`
		}{},
		"a type that can not be filled": &struct {
			K []byte `secret:"K,kind=key"`
		}{},
		"an unexported field": &struct {
			k secrets.Secret `secret:"K,kind=key"`
		}{},
		"no name": &struct {
			K secrets.Secret `secret:",kind=key"`
		}{},
		"a name that leaves its directory": &struct {
			K secrets.Secret `secret:"../K,kind=key"`
		}{},
		"the name of a file variable": &struct {
			K secrets.Secret `secret:"K_FILE,kind=key"`
		}{},
		"one name twice": &struct {
			A secrets.Secret `secret:"K,kind=key"`
			B secrets.Secret `secret:"K,kind=key"`
		}{},
		"a trailing comma": &struct {
			K secrets.Secret `secret:"K,kind=key,"`
		}{},
		"tags behind a pointer": &struct{ In *inner }{},
		"tags behind a slice":   &struct{ In []inner }{},
		"an untagged secret":    &struct{ K secrets.Secret }{},
		"no tag at all":         &struct{ K string }{},
		"a rule that does not exist": &struct {
			K string `secret:"K,public" validate:"nosuchrule"`
		}{},
		"a rule that does not fit": &struct {
			K bool `secret:"K,public,default=true" validate:"contains=x"`
		}{},
		"nil":               (*inner)(nil),
		"no pointer":        inner{},
		"a pointer to text": new(string),
		"nothing":           nil,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := secrets.Load(t.Context(), dst, from(secrets.Env()))
			lines := faultsOf(t, err)
			if err == nil {
				t.Fatal("it loaded")
			}
			for _, l := range lines {
				if strings.Contains(l, "is missing in") && len(lines) == 1 {
					t.Errorf("the tag was accepted: %s", l)
				}
			}
		})
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) { check(t, os.Chmod(path, mode)) }

func check(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestRulesMayLookAtOtherFields(t *testing.T) {
	type Config struct {
		Mode  string         `secret:"MODE,public"`
		Token secrets.Secret `secret:"TOKEN,kind=token,optional" validate:"required_if=Mode remote"`
	}
	t.Setenv("MODE", "local")
	if _, err := secrets.Load(t.Context(), new(Config), from(secrets.Env())); err != nil {
		t.Error(err)
	}
	t.Setenv("MODE", "remote")
	_, err := secrets.Load(t.Context(), new(Config), from(secrets.Env()))
	if lines := faultsOf(t, err); len(lines) != 1 || !strings.Contains(lines[0], "Token") || !strings.Contains(lines[0], "required_if") {
		t.Errorf("got %q", lines)
	}
}

// audit keeps what it was given.
type audit struct {
	slog.Handler
	err     error
	records []slog.Record
}

func (a *audit) Handle(_ context.Context, r slog.Record) error {
	a.records = append(a.records, r)
	return a.err
}

func TestTheAuditTrailHearsOfALoadBeforeItCounts(t *testing.T) {
	t.Setenv("S", goodToken)
	type config struct {
		S secrets.Secret `secret:"S,kind=token"`
	}
	a := &audit{err: errors.New("disk full")}
	opts := from(secrets.Env())
	opts.Audit = a
	var cfg config
	if _, err := secrets.Load(t.Context(), &cfg, opts); !errors.Is(err, a.err) || !cfg.S.IsZero() {
		t.Errorf("a load that can not be recorded must not happen: %v", err)
	}
	if len(a.records) != 1 || a.records[0].Message != "secret_loaded" {
		t.Errorf("records: %v", a.records)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := secrets.Load(ctx, &cfg, opts); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled context: %v", err)
	}
}
