package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/inovy/hardening/secrets"
)

// Put together here, so that this file is no leak itself.
var leakedToken = "ghp" + "_" + "R4nd0mT0kenV4lu3N0tM4deUpByHandXyZ19"

// folder makes a folder of files from pairs of name and text.
func folder(t *testing.T, pairs ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i+1 < len(pairs); i += 2 {
		path := filepath.Join(dir, pairs[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(pairs[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestSecretsUsage(t *testing.T) {
	for want, calls := range map[int][][]string{
		0:  {{"generate"}, {"generate", "-h"}, {"scan", "-h"}, {"example", "-h"}, {"check-example", "-h"}},
		64: {{"generate", "more"}, {"generate", "-bytes", "16"}, {"generate", "-bytes", "9999"}, {"generate", "-bytes", "x"}, {"scan", "-nope"}, {"scan", "a", "b"}, {"scan", "-max-bytes", "0"}, {"example", "a", "b"}, {"check-example", "-file"}},
		74: {{"scan", "/nonexistent"}, {"example", "/nonexistent"}, {"check-example", "/nonexistent"}},
	} {
		for _, args := range calls {
			status, out, errs := call(t, append([]string{"secrets"}, args...)...)
			if status != want || out+errs == "" {
				t.Errorf("%q: status %d, want %d\n%s%s", args, status, want, out, errs)
			}
		}
	}
}

func TestSecretsGeneratePrintsAKey(t *testing.T) {
	seen := map[string]bool{}
	for range 20 {
		_, out, _ := call(t, "secrets", "generate")
		seen[out] = true
		if len(out) != 44 || !strings.HasSuffix(out, "\n") {
			t.Errorf("%q", out)
		}
	}
	if len(seen) != 20 {
		t.Error("keys repeat")
	}
	if _, out, _ := call(t, "secrets", "generate", "-bytes", "64"); len(out) != 87 {
		t.Errorf("64 bytes: %q", out)
	}
}

func TestSecretsScanSaysWhatItFoundByItsStatus(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-13.3.1")
	clean := folder(t, "main.go", "package main\n")
	if status, out, _ := call(t, "secrets", "scan", clean); status != 0 || out != "" {
		t.Errorf("clean: status %d\n%s", status, out)
	}
	leaky := folder(t, "a/x.env", "A=1\nTOKEN="+leakedToken+"\n", ".git/y", leakedToken, "testdata/z", leakedToken)
	status, out, errs := call(t, "secrets", "scan", leaky)
	if want := "a/x.env:2:7 github-token (40 bytes)\ntestdata/z:1:1 github-token (40 bytes)\n"; status != 1 || out != want {
		t.Errorf("leaky: status %d\n%s", status, out)
	}
	if strings.Contains(out+errs, "R4nd0m") {
		t.Error("the output shows the token")
	}
	if status, out, _ = call(t, "secrets", "scan", "-skip", "testdata,a", leaky); status != 0 || out != "" {
		t.Errorf("-skip: status %d\n%s", status, out)
	}
	if status, out, errs = call(t, "secrets", "scan", "-allow", "*", leaky); status != 0 || out != "" || strings.Contains(errs, " 0 allowed") || !strings.Contains(errs, "0 leaks") {
		t.Errorf("allowed: %d %q %q", status, out, errs)
	}
	if status, _, errs = call(t, "secrets", "scan", "-allow", "nowhere/*", leaky); status != 1 || !strings.Contains(errs, "nowhere/* allows nothing") {
		t.Errorf("a pattern for nothing: %d %q", status, errs)
	}
	if status, _, _ = call(t, "secrets", "scan", "-allow", "[", leaky); status != 64 {
		t.Errorf("a malformed pattern: %d", status)
	}
	status, out, _ = call(t, "secrets", "scan", "-json", leaky)
	var report secrets.ScanReport
	if err := json.Unmarshal([]byte(out), &report); err != nil || status != 1 || len(report.Leaks) != 2 || report.Leaks[0].Line != 2 {
		t.Errorf("-json: status %d, %+v, %v", status, report, err)
	}
}

// What could not be looked at is no clean bill.
func TestSecretsScanListsWhatItSkipped(t *testing.T) {
	dir := folder(t, "big\x1b[2J.txt", strings.Repeat("x\n", 100))
	status, out, errs := call(t, "secrets", "scan", "-max-bytes", "10", dir)
	if status != 74 || out != "" || !strings.Contains(errs, `skipped "big\x1b[2J.txt": is larger than 10 bytes`) {
		t.Errorf("status %d\n%s%q", status, out, errs)
	}
	if err := os.WriteFile(filepath.Join(dir, "t"), []byte(leakedToken[:4]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, _ = call(t, "secrets", "scan", dir); status != 0 {
		t.Errorf("all of it: status %d", status)
	}
}

func TestProgressIsShownOnceAScanTakesLong(t *testing.T) {
	var b strings.Builder
	p := progress{out: &b, every: time.Hour, last: time.Now()}
	p.file("a")
	p.clear()
	if b.Len() != 0 {
		t.Errorf("at once: %q", b.String())
	}
	p.last = time.Now().Add(-2 * time.Hour)
	p.file("b")
	p.file("c")
	p.clear()
	if got := b.String(); !strings.HasPrefix(got, "\r2 files ...\r ") || strings.Contains(got, "3 files") {
		t.Errorf("%q", got)
	}
}

const settingsSource = `package app

import (
	"time"

	vault "github.com/inovy/hardening/secrets"
	"net/url"
)

type region string

type Config struct {
	database
	Session *vault.Ring   ` + "`secret:\"SESSION_KEY,kind=key\"`" + `
	OpenAI  *vault.Live   ` + "`secret:\"OPENAI_API_KEY,kind=token,prefix=sk-,minlen=40,maxage=30d\"`" + `
	Region  region        ` + "`secret:\"AWS_REGION,public,default=eu-west-1\" validate:\"oneof=eu-west-1 eu-central-1\"`" + `
	Timeout time.Duration ` + "`secret:\"TIMEOUT,public,default=90s\"`" + `
	A, hidden int
	Base    *url.URL
}

type database struct {
	URL vault.Secret ` + "`secret:\"DATABASE_URL,kind=url\"`" + `
}
`

// The same struct, as Go sees it.
type settings struct {
	database
	Session *secrets.Ring `secret:"SESSION_KEY,kind=key"`
	OpenAI  *secrets.Live `secret:"OPENAI_API_KEY,kind=token,prefix=sk-,minlen=40,maxage=30d"`
	Region  string        `secret:"AWS_REGION,public,default=eu-west-1" validate:"oneof=eu-west-1 eu-central-1"`
	Timeout time.Duration `secret:"TIMEOUT,public,default=90s"`
}

type database struct {
	URL secrets.Secret `secret:"DATABASE_URL,kind=url"`
}

func TestSecretsExampleReadsTheSourceAsGoDoes(t *testing.T) {
	dir := folder(t, "config.go", settingsSource, "config_test.go", "package app\ntype T struct{ X string `secret:\"X,public\"` }")
	status, out, errs := call(t, "secrets", "example", dir)
	var want strings.Builder
	if err := secrets.Example(&want, (*settings)(nil)); err != nil {
		t.Fatal(err)
	}
	if status != 0 || out != want.String() || !strings.Contains(errs, "Base is of type url.URL") {
		t.Errorf("status %d\n%s\nwant\n%s\n%s", status, out, want.String(), errs)
	}
	example := filepath.Join(dir, ".env.example")
	if err := os.WriteFile(example, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, out, errs = call(t, "secrets", "check-example", dir); status != 0 || out != "" {
		t.Errorf("no drift: status %d\n%s%s", status, out, errs)
	}
	const leaked = "q7Wz9fKx3Lm8Tn2V"
	changed := strings.Replace(want.String(), "TIMEOUT=90s", "TIMEOUTS=90s", 1)
	changed = strings.Replace(changed, "user:changeme@", "user:"+leaked+"@", 1)
	if err := os.WriteFile(example, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, errs = call(t, "secrets", "check-example", "-type", "Config", dir)
	if status != 1 || strings.Count(out, "\n") != 3 || !strings.Contains(out, "TIMEOUT: missing") || !strings.Contains(out, "TIMEOUTS: no field") || !strings.Contains(out, "DATABASE_URL: its value") || strings.Contains(out+errs, leaked[:8]) {
		t.Errorf("drift: status %d\n%s%s", status, out, errs)
	}
}

// fullDisk takes nothing.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("the disk is full") }

func TestSecretsCommandsSayThatNothingCouldBePrinted(t *testing.T) {
	dir := folder(t, "config.go", "package app\ntype T struct{ N int `secret:\"N,public\"` }", ".env.example", "M=1\n")
	for _, args := range [][]string{{"generate"}, {"example", dir}, {"check-example", dir}} {
		var errs bytes.Buffer
		status := run(t.Context(), append([]string{"secrets"}, args...), fullDisk{}, &errs)
		if status != exitIO || !strings.Contains(errs.String(), "the disk is full") {
			t.Errorf("%s: status %d, %s", args[0], status, &errs)
		}
	}
}

// The name of a folder is no pattern.
func TestSecretsExampleReadsAnyFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "app[1]")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "c.go"), []byte("package app\ntype T struct{ N int `secret:\"N,public\"` }"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, out, errs := call(t, "secrets", "example", dir); status != 0 || !strings.Contains(out, "N=") {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
}

func TestSecretsExampleChoosesTheStruct(t *testing.T) {
	const head = "package app\nimport \"github.com/inovy/hardening/secrets\"\n"
	one := "type One struct { S secrets.Secret `secret:\"S,kind=token\"` }\n"
	two := "type Two struct { N int `secret:\"N,public\"` }\n"
	for name, tt := range map[string]struct {
		text, typ string
		want      int
		says      string
	}{
		"none":                   {head, "", 65, "no struct"},
		"two":                    {head + one + two, "", 65, "One, Two"},
		"two and a name":         {head + one + two, "Two", 0, "N="},
		"a name that is not":     {head + one, "Two", 65, "no struct"},
		"a variable in main":     {head + "func main() { var cfg struct { S secrets.Secret `secret:\"LOCAL,kind=key\"` } }", "", 0, "LOCAL="},
		"nested":                 {head + one + "type All struct { In One; N int `secret:\"N,public\"` }", "", 0, "S=changeme"},
		"faults in a tag":        {head + "type One struct { S secrets.Secret `secret:\"S,nonsense\"`; T float64 `secret:\"T,public\"` }", "", 65, "nonsense"},
		"an unexported field":    {head + "type One struct { s secrets.Secret `secret:\"S,kind=key\"` }", "", 65, "not exported"},
		"behind a slice":         {head + one + "type All struct { In []One; N int `secret:\"N,public\"` }", "All", 65, "behind a pointer"},
		"a struct within itself": {head + "type One struct { Next *One; N int `secret:\"N,public\"` }", "", 0, "N="},
		"not Go":                 {"not Go", "", 74, "expected"},
	} {
		dir := folder(t, "config.go", tt.text)
		status, out, errs := call(t, "secrets", "example", "-type", tt.typ, dir)
		if status != tt.want || !strings.Contains(out+errs, tt.says) {
			t.Errorf("%s: status %d, want %d\n%s%s", name, status, tt.want, out, errs)
		}
	}
}

// Source that Go would not compile, or that grows beyond measure, is read all
// the same, and nothing panics.
func TestSecretsExampleOfSourceThatDoesNotFit(t *testing.T) {
	var deep strings.Builder
	deep.WriteString("package p\nimport \"github.com/inovy/hardening/secrets\"\ntype Config struct { A, B T0 }\n")
	for i := range 24 {
		fmt.Fprintf(&deep, "type T%d struct { A, B T%d }\n", i, i+1)
	}
	deep.WriteString("type T24 struct { S secrets.Secret `secret:\"S,kind=token\"` }\n")
	const head = "package p\nimport \"github.com/inovy/hardening/secrets\"\n"
	for name, text := range map[string]string{
		"embedded beside Embedded0": head + "type Inner struct { S secrets.Secret `secret:\"S,kind=token\"` }\ntype Config struct { Inner; Embedded0 secrets.Secret `secret:\"T,kind=token\"` }\n",
		"a field twice":             head + "type Config struct { S secrets.Secret `secret:\"S,kind=token\"`; S secrets.Secret `secret:\"T,kind=token\"` }\n",
		"24 types deep":             deep.String(),
	} {
		status, out, errs := call(t, "secrets", "example", "-type", "Config", folder(t, "p.go", text))
		if status != 0 && status != exitData || status == exitData && errs == "" || status == 0 && !strings.Contains(out, "\nS=") {
			t.Errorf("%s: status %d\n%s%s", name, status, out, errs)
		}
	}
}
