package secrets

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/inovy/hardening"
)

type exampleConfig struct {
	Session *Ring  `secret:"SESSION_KEY,kind=key"`
	Mac     Secret `secret:"MAC_KEY,kind=key,bits=512"`
	OpenAI  *Live  `secret:"OPENAI_API_KEY,kind=token,prefix=sk-,minlen=40,maxage=30d" validate:"max=200"`
	Mail    Secret `secret:"MAIL_PASSWORD,kind=password"`
	DB      struct {
		URL Secret `secret:"DATABASE_URL,kind=url"`
	}
	CA      Secret        `secret:"CLIENT_KEY,kind=pem"`
	Maybe   Secret        `secret:"MAYBE_TOKEN,kind=token,optional"`
	Region  string        `secret:"AWS_REGION,public,default=eu-west-1" validate:"oneof=eu-west-1 eu-central-1"`
	Title   string        "secret:\"TITLE,public,default=it's 5 # $HOME\""
	Timeout time.Duration `secret:"TIMEOUT,public,default=90s"`
	Port    uint16        `secret:"PORT,public"`
}

func truePEM(t *testing.T) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func exampleOf(t *testing.T, dst any) string {
	t.Helper()
	var b strings.Builder
	if err := Example(&b, dst); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The format is what people commit and compare: a change breaks their builds.
func TestExampleWritesTheCommittedFormat(t *testing.T) {
	got := exampleOf(t, (*exampleConfig)(nil))
	file := filepath.Join("testdata", "example.env")
	want, err := os.ReadFile(file)
	if err != nil || got != string(want) {
		t.Errorf("got\n%s\nwant %s (%v)", got, file, err)
	}
	if r := scan(t, map[string]string{".env.example": got}); len(r.Leaks) > 0 {
		t.Errorf("the scan takes placeholders for secrets: %v", r.Leaks)
	}
}

// What Example writes loads in no environment as it is, in Development once
// keys are filled in, and outside Development not even then.
func TestLoadRefusesTheValuesOfAnExample(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-13.3.1")
	text := exampleOf(t, (*exampleConfig)(nil))
	dir := t.TempDir()
	load := func(text string, env hardening.Environment) []string {
		t.Helper()
		pairs, bad := parseDotEnv([]byte(text))
		if bad != nil {
			t.Fatal(bad.reason)
		}
		for _, p := range pairs {
			if err := os.WriteFile(filepath.Join(dir, p.name), p.value, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		l, err := Load(t.Context(), new(exampleConfig), Options{Sources: []Source{Dir(dir)}, Environment: env, Logger: slog.New(slog.DiscardHandler)})
		if err == nil {
			_ = l.Close()
		}
		var fields []string
		for f := range hardening.Faults(err) {
			fields = append(fields, f.Field)
		}
		return fields
	}
	if got, want := load(text, hardening.Production), []string{"Session", "Mac", "OpenAI", "Mail", "DB.URL", "CA", "Port"}; !slices.Equal(got, want) {
		t.Errorf("Production refuses %q, want %q", got, want)
	}
	if got, want := load(text, hardening.Development), []string{"Session", "Mac", "CA", "Port"}; !slices.Equal(got, want) {
		t.Errorf("Development refuses %q, want %q", got, want)
	}
	for name, n := range map[string]int{"SESSION_KEY": 32, "MAC_KEY": 64} {
		key, err := Generate(n)
		if err != nil {
			t.Fatal(err)
		}
		text = strings.Replace(text, "\n"+name+"=\n", "\n"+name+"="+key+"\n", 1)
	}
	text = strings.Replace(text, "\nPORT=\n", "\nPORT=8080\n", 1)
	text = strings.Replace(text, "\nCLIENT_KEY=\n", "\nCLIENT_KEY=\""+strings.ReplaceAll(truePEM(t), "\n", `\n`)+"\"\n", 1)
	if got := load(text, hardening.Development); got != nil {
		t.Errorf("Development refuses %q of a file that is filled in", got)
	}
	for _, env := range []hardening.Environment{hardening.Staging, hardening.Production} {
		if got, want := load(text, env), []string{"OpenAI", "Mail", "DB.URL"}; !slices.Equal(got, want) {
			t.Errorf("%v refuses %q, want %q", env, got, want)
		}
	}
}

func TestCheckExampleFindsEachKindOfDrift(t *testing.T) {
	text := exampleOf(t, (*exampleConfig)(nil))
	real1, _ := Generate(32)
	const password = "9fKq2xVb7Lm4Tz8W"
	for _, tt := range []struct {
		name, old, new string
		want           []Drift
	}{
		{"nothing changed", "", "", nil},
		{"a BOM and CRLF", "\n", "\r\n", nil},
		{"another value of a public setting", "TIMEOUT=90s", "TIMEOUT=5m", nil},
		{"a comment more", "\nTIMEOUT=", "\n# longer on slow lines\nTIMEOUT=", nil},
		{"a name gone", "TIMEOUT=90s\n", "", []Drift{{Name: "TIMEOUT", Kind: DriftMissing}}},
		{"a name commented out", "\nTIMEOUT=", "\n# TIMEOUT=", []Drift{{Name: "TIMEOUT", Kind: DriftMissing}}},
		{"a name too much", "PORT=\n", "PORT=\nOLD_NAME=x\n", []Drift{{Name: "OLD_NAME", Kind: DriftExtra}}},
		{"a key's last line too much", "PORT=\n", "PORT=\nT2gk4VbQ9sWz7Lm1Xy8Rf3=\n", []Drift{{Kind: DriftExtra}}},
		{"another kind", "required public uint16", "required public int", []Drift{{Name: "PORT", Kind: DriftChanged}}},
		{"no kind", "# kind: required public uint16\n", "", []Drift{{Name: "PORT", Kind: DriftChanged}}},
		{"another age", "within 30d", "within 90d", []Drift{{Name: "OPENAI_API_KEY", Kind: DriftChanged}}},
		{"a true key", "MAC_KEY=", "MAC_KEY=" + real1, []Drift{{Name: "MAC_KEY", Kind: DriftReal}}},
		{"a short true password", "MAIL_PASSWORD=changeme-changeme", "MAIL_PASSWORD=9fKq2xVb7", []Drift{{Name: "MAIL_PASSWORD", Kind: DriftReal}}},
		{"a true password in a URL", "user:changeme@", "user:" + password + "@", []Drift{{Name: "DATABASE_URL", Kind: DriftReal}}},
		{"a token as the user of a URL", "user:changeme@", "ghp_" + "x7Kq2mN9pR4sT8vW1yZ3aB5cD6eF0gH2jL4k@", []Drift{{Name: "DATABASE_URL", Kind: DriftReal}}},
		{"a token in a URL", "localhost/name", "localhost/name?api_key=" + password, []Drift{{Name: "DATABASE_URL", Kind: DriftReal}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			changed := strings.ReplaceAll(text, tt.old, tt.new)
			switch {
			case tt.old == "":
				changed = text
			case tt.old == "\n":
				changed = "\xef\xbb\xbf" + changed
			case changed == text:
				t.Fatal("the case changes nothing")
			}
			got, err := CheckExample(strings.NewReader(changed), (*exampleConfig)(nil))
			if err != nil {
				t.Fatal(err)
			}
			if got == nil || len(got) != len(tt.want) {
				t.Fatalf("got %v, want %v", got, tt.want)
			}
			for i, d := range got {
				if d.Name != tt.want[i].Name || d.Kind != tt.want[i].Kind {
					t.Errorf("got %+v, want %+v", d, tt.want[i])
				}
				if d.Line > 0 && d.Name != "" && !strings.HasPrefix(strings.Split(changed, "\n")[d.Line-1], d.Name+"=") {
					t.Errorf("line %d is not that of %s", d.Line, d.Name)
				}
				if s := d.String(); strings.Contains(s, password[:8]) || strings.Contains(s, real1[:8]) || strings.Contains(s, "T2gk4VbQ") || len(s) < 10 {
					t.Errorf("shown as %q", s)
				}
			}
		})
	}
}

func TestExampleAndCheckExampleRefuse(t *testing.T) {
	type bad struct {
		A Secret `secret:"A,kind=key,nonsense"`
		B Secret `secret:"B"`
	}
	const canary = "9fKq2xVb7Lm4"
	for name, call := range map[string]func() error{
		"nil":      func() error { return Example(new(bytes.Buffer), nil) },
		"a struct": func() error { return Example(new(bytes.Buffer), exampleConfig{}) },
		"bad tags": func() error { return Example(new(bytes.Buffer), (*bad)(nil)) },
		"an int":   func() error { _, err := CheckExample(strings.NewReader(""), new(int)); return err },
	} {
		n := 0
		for f := range hardening.Faults(call()) {
			n++
			if f.Field == "" || f.Reason == "" || f.Fix == "" {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if n == 0 || name == "bad tags" && n != 2 {
			t.Errorf("%s: %d faults", name, n)
		}
	}
	for name, text := range map[string]string{
		"no name": canary, "twice": "A=" + canary + "\nA=" + canary, "an open quote": `A="` + canary, "2 MiB": strings.Repeat("#"+canary+"\n", 1<<18),
	} {
		if _, err := CheckExample(strings.NewReader(text), (*exampleConfig)(nil)); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Example(brokenWriter{}, (*exampleConfig)(nil)); !errors.Is(err, errBroken) {
		t.Errorf("a writer that fails: %v", err)
	}
}

var errBroken = errors.New("broken")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

// Whatever a default holds, a DotEnv source reads back.
func FuzzQuoteDotEnv(f *testing.F) {
	for _, s := range []string{"", "a b", `it's "5" # $HOME \ `, "two\nlines\r\n\t", "'", `\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		pairs, bad := parseDotEnv([]byte("A=" + quoteDotEnv(s) + "\nB=1\n"))
		if bad != nil || len(pairs) != 2 || string(pairs[0].value) != s {
			t.Errorf("%q is written as %s and read as %q (%v)", s, quoteDotEnv(s), pairs, bad)
		}
	})
}

func FuzzCheckExample(f *testing.F) {
	f.Add("# kind: required public uint16\nPORT=\n")
	f.Add("A='x\nPORT=1'\nPORT=2")
	f.Fuzz(func(t *testing.T, text string) {
		drift, err := CheckExample(strings.NewReader(text), (*exampleConfig)(nil))
		lines := strings.Count(text, "\n") + 1
		for _, d := range drift {
			if d.Line < 0 || d.Line > lines || err != nil {
				t.Errorf("%+v of %d lines, %v", d, lines, err)
			}
		}
	})
}

func TestCheckURL(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-14.2.1")
	const value = "9fKq2xVb7Lm4Tz8Wc1Rd"
	for raw, want := range map[string][]string{
		"https://portal.example/records/17?page=2&sort=name":                     nil,
		"postgres://care@db/portal?sslmode=verify-full":                          nil,
		"https://x.example/?pageToken=" + value:                                  nil,
		"https://x.example/?token=":                                              nil,
		"https://x.example/?token={token}&api_key=$API_KEY":                      nil,
		"https://user:xxxxx@x.example/":                                          nil,
		"https://user:changeme@x.example/":                                       nil,
		"https://x.example/password/reset?monkey=" + value:                       nil,
		"https://user:" + value + "@x.example/":                                  {"userinfo password "},
		"https://" + sampleGitHub + "@github.com/x":                              {"userinfo github-token "},
		"https://x-access-token:" + sampleGitHub + "@github.com/x":               {"userinfo password ", "userinfo github-token "},
		"https://x.example/?API-Key=" + value:                                    {"query parameter apikey"},
		"https://x.example/?a=1;access_token=" + value:                           {"query parameter token"},
		"https://x.example/?user%5Bpassword%5D=" + value:                         {"query parameter password"},
		"https://x.example/?tok%65n=" + value:                                    {"query parameter token"},
		"https://x.example/?%zz&token=%zz" + value:                               {"query parameter token"},
		"https://x.example/?q=" + sampleGitHub:                                   {"query github-token "},
		"https://x.example/?" + sampleGitHub:                                     {"query github-token "},
		"https://x.example/?q=" + strings.Replace(sampleGitHub, "_", "%5F", 1):   {"query github-token "},
		"https://x.example/#access_token=" + value:                               {"fragment parameter token"},
		"https://x.example/#/cb?id_token=" + value:                               {"fragment parameter token"},
		"https://x.example/a;jsessionid=" + value:                                {"path parameter jsessionid"},
		"https://x.example/hook/" + sampleGitHub + "/x":                          {"path github-token "},
		"https://hooks.slack.com/services/T0AB12CD3/B0AB12CD3/" + value + "AbC1": {"path slack-webhook "},
		"https://a.blob.core.windows.net/c/f?se=2027-01-01&sp=r&sig=" + value:    {"query parameter sig"},
		"https://b.s3.example/k?X-Amz-Signature=" + value:                        {"query parameter xamzsignature"},
		"mailto:" + sampleGitHub:                                                 {"path github-token "},
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		err = CheckURL(u)
		if (err != nil) != (want != nil) || err != nil && !errors.Is(err, ErrURLCredential) {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		var got []string
		if err != nil {
			for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
				c := e.(*URLCredential)
				got = append(got, c.Part+" "+c.Kind+" "+c.Name)
			}
			if s := err.Error(); strings.Contains(s, value[:8]) || strings.Contains(s, "R4nd0mT0") || strings.Contains(s, "example") {
				t.Errorf("the error shows the URL: %s", s)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
	}
	if err := CheckURL(nil); err != nil {
		t.Errorf("nil: %v", err)
	}
}

func FuzzCheckURL(f *testing.F) {
	f.Add("https://u:p@h/p;k=v?token=x#y")
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := url.Parse(raw)
		if err != nil {
			return
		}
		before := *u
		if err := CheckURL(u); err != nil && !errors.Is(err, ErrURLCredential) {
			t.Errorf("%v", err)
		}
		if !reflect.DeepEqual(before, *u) {
			t.Error("the URL was changed")
		}
	})
}

// An example file in a repository is scanned as any other.
func TestScanFindsARealSecretInAnExampleFile(t *testing.T) {
	r, err := Scan(t.Context(), fstest.MapFS{".env.example": {Data: []byte("MAIL_PASSWORD=9fKq2xVb7Lm4Tz8W\n")}}, ScanOptions{})
	if err != nil || len(r.Leaks) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}
