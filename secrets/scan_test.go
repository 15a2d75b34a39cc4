package secrets

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf16"
)

// Assembled here so that this file itself holds no token.
var (
	sampleGitHub = "ghp" + "_" + "R4nd0mT0kenV4lu3N0tM4deUpByHandXyZ19"
	samplePEM    = "-----BEGIN EC " + "PRIVATE KEY-----\nMHcCAQEEIObtRo8tkUqoMjeHhsOh2ouPpXCgBcP+EDxZCB/tws15oAoGCCqGSM49\nAwEHoUQDQgAEGn4\n-----END EC " + "PRIVATE KEY-----\n"
)

func scan(t *testing.T, files map[string]string) *ScanReport {
	t.Helper()
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	r, err := Scan(t.Context(), m, ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestScanFindsCommittedSecrets(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-13.3.1")
	var utf16le strings.Builder
	utf16le.WriteString("\xff\xfe")
	for _, u := range utf16.Encode([]rune("key=" + sampleGitHub)) {
		utf16le.WriteString(string([]byte{byte(u), byte(u >> 8)}))
	}
	for _, tt := range []struct{ name, file, text, kind string }{
		{"a token anywhere", "main.go", "const t = \"" + sampleGitHub + "\"", "github-token"},
		{"a private key", "id", samplePEM, "private-key"},
		{"a password in a URL", "a.go", `dsn := "postgres://care:9fKq2-xVb7Lm@db/portal"`, "url-password"},
		{"an escaped password in a URL", "a.go", `dsn := "postgres://care:9fKq2%2FxVb7Lm%40q@db/portal"`, "url-password"},
		{"a quoted assignment in code", "a.js", `const apiKey = "9fKq2xVb7Lm4Tz8Wc1Rd";`, "assignment"},
		{"a JSON member", "a.json", `{"client_secret": "9fKq2xVb7Lm4Tz8Wc1Rd"}`, "assignment"},
		{"an unquoted value in dotenv", ".env.local", "REDIS_PASSWORD=9fKq2xVb7Lm4Tz8Wc1Rd\n", "assignment"},
		{"an unquoted value in YAML", "values.yaml", "db:\n  password: 9fKq2xVb7Lm4Tz8Wc1Rd\n", "assignment"},
		{"UTF-16 as Windows tools write it", "a.txt", utf16le.String(), "github-token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := scan(t, map[string]string{tt.file: "\n\n" + tt.text})
			if strings.HasPrefix(tt.text, "\xff") {
				r = scan(t, map[string]string{tt.file: tt.text})
			}
			if len(r.Leaks) != 1 || r.Leaks[0].Kind != tt.kind || r.Files != 1 {
				t.Fatalf("%+v", r)
			}
			if s := r.Leaks[0].String(); strings.Contains(s, "9fKq2") || strings.Contains(s, "R4nd") {
				t.Errorf("the report shows the secret: %s", s)
			}
		})
	}
}

func TestScanPassesOverWhatIsNone(t *testing.T) {
	for name, text := range map[string]string{
		"documentation's key":       "AKIA" + "IOSFODNN7EXAMPLE",
		"a variable":                `password: ${DB_PASSWORD}`,
		"a placeholder":             `API_KEY=your-api-key-here-please`,
		"a documented URL":          `postgres://user:pass@localhost/db`,
		"a format verb":             `fmt.Sprintf("https://%s:%s@%s", u, p, h)`,
		"a call":                    `token = readTokenFromFile(path2, mode0600)`,
		"one repeated character":    "ghp" + "_" + strings.Repeat("a", 36),
		"the first line of a key":   `if !strings.HasPrefix(s, "-----BEGIN RSA ` + `PRIVATE KEY-----") {`,
		"a lower-case identifier":   `passwordField = "user_profile_password_input"`,
		"a number beside a keyword": `token_ttl: 1234567890123`,
		"a tag of ours":             "Session *secrets.Ring `secret:\"SESSION_KEY,kind=key,bits=256,maxage=90d\"`",
		"a tag of others":           "Mail string `env:\"MAIL_TOKEN,required,notEmpty,file,init2\"`",
		"a pattern":                 `{"gitlab-token", "glcbt-{w22-70}+{a20+}"},`,
		"a constant's size":         `"EncapsulationKeySize1024": "CiphertextSize1024"`,
		"a public key's token":      `PublicKeyToken=b77a5c561934e089`,
		"an image by its digest":    `image: registry.example/api@sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae`,
		"a checksum":                `"integrity": "sha512-9mkFDBSpMQNgSjKgrmdCf9lWpS6DjF8Sg1j7WzCjWnrRqmJrR0PZ0zvb1dRzqqnq9zIE0jpdNq1pM5kbbiEnJg=="`,
		"a public key":              `deploy_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGbM5Xk5p2rPpqRZ0nG7m0oU9x1yTz0Jf3Kc8D2Lw4hQ ops`,
		"a key's id":                `key_id: 3f2a9c71-77b1-4d0e-9a55-0d5c5e2f8b11`,
		"a path":                    `secret_file=/run/secrets/db2_password1`,
	} {
		if r := scan(t, map[string]string{"values.yaml": text}); len(r.Leaks) > 0 {
			t.Errorf("%s: %v", name, r.Leaks)
		}
	}
}

func TestScanSaysWhereAndWhatItCouldNotRead(t *testing.T) {
	big := strings.Repeat("x", 9<<20)
	r := scan(t, map[string]string{
		"a/b.txt":              "one\ntwo " + sampleGitHub + " " + sampleGitHub[:39] + "0\n",
		"big":                  big,
		".git/config":          sampleGitHub,
		"node_modules/x/a.txt": sampleGitHub,
		"binary":               "\x00" + sampleGitHub,
		"picture":              "\x00" + big,
	})
	if len(r.Leaks) != 2 || r.Leaks[0].Path != "a/b.txt" || r.Leaks[0].Line != 2 || r.Leaks[0].Column != 5 || r.Leaks[1].Line != 2 {
		t.Errorf("leaks %v", r.Leaks)
	}
	if len(r.Skipped) != 1 || r.Skipped["big"] == "" {
		t.Errorf("skipped %v", r.Skipped)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Scan(ctx, fstest.MapFS{"a": {}}, ScanOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled context: %v", err)
	}
	if _, err := Scan(t.Context(), os.DirFS(filepath.Join(t.TempDir(), "none")), ScanOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a root that does not exist: %v", err)
	}
}

// A limit that nobody reaches must not read nothing: that would be a pass.
func TestScanReadsWholeFilesUnderTheHighestLimit(t *testing.T) {
	repository := fstest.MapFS{"a": {Data: []byte(sampleGitHub)}}
	if r, err := Scan(t.Context(), repository, ScanOptions{MaxBytes: math.MaxInt64}); err != nil || len(r.Leaks) != 1 || len(r.Skipped) != 0 {
		t.Errorf("the highest limit: %+v, %v", r, err)
	}
	if r, err := Scan(t.Context(), repository, ScanOptions{MaxBytes: -1}); err == nil {
		t.Errorf("a negative limit: %+v", r)
	}
}

func TestScanFindsKeysOfRingsWhereverTheyStand(t *testing.T) {
	key := func(enc *base64.Encoding, n int) string {
		raw := make([]byte, n)
		_, _ = rand.Read(raw)
		return enc.EncodeToString(raw)
	}
	one, two := "v1@2026-08-01:"+key(base64.RawURLEncoding, 32), "v2@2026-11-01T08:00:00Z:base64:"+key(base64.StdEncoding, 64)
	for name, tt := range map[string]struct {
		file, text string
		leaks      int
	}{
		"a mounted file":         {"SESSION_KEY", one + "\n", 1},
		"two keys":               {"SESSION_KEY", two + "," + one, 2},
		"YAML":                   {"app.yaml", "ring: \"" + two + "," + one + "\"\n", 2},
		"code":                   {"app.go", "const ring = `" + one + "`", 1},
		"escaped in JSON":        {"app.json", `{"text":"a\n` + one + `"}`, 1},
		"hex":                    {"r", "v1@2026-08-01:hex:" + hex.EncodeToString([]byte(key(base64.RawURLEncoding, 24))), 1},
		"a date and no key":      {"r", "v1@2026-08-01:KEY", 0},
		"what is written of one": {"r", "write v2@2026-11-01:NEW,v1@2026-08-01:OLD", 0},
		"a word before it":       {"r", "dev1@2026-08-01:" + one[14:], 0},
	} {
		if r := scan(t, map[string]string{tt.file: tt.text}); len(r.Leaks) != tt.leaks {
			t.Errorf("%s: %v", name, r.Leaks)
		}
	}
}

// noTests hides test files, test data and the one key that the standard library
// holds for a test on macOS: those are there on purpose, and found.
type noTests struct{ fs.FS }

func (n noTests) ReadDir(name string) ([]fs.DirEntry, error) {
	all, err := fs.ReadDir(n.FS, name)
	kept := all[:0]
	for _, d := range all {
		if name == "." && d.Name() == "cmd" { // the toolchain, not the library
			continue
		}
		if !strings.HasSuffix(d.Name(), "_test.go") && d.Name() != "testdata" && d.Name() != "platform_root_key.pem" {
			kept = append(kept, d)
		}
	}
	return kept, err
}

func goroot(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func TestScanHasNoHitInTheStandardLibrary(t *testing.T) {
	root, least := filepath.Join(goroot(t), "src"), 2000
	if raceEnabled { // ten times slower, and nothing here is concurrent
		root, least = filepath.Join(root, "crypto"), 300
	}
	r, err := Scan(t.Context(), noTests{os.DirFS(root)}, ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range r.Leaks {
		t.Error(l)
	}
	if r.Files < least {
		t.Errorf("only %d files were read", r.Files)
	}
	if n := len(ScanKinds()); n < 42 {
		t.Errorf("%d kinds", n)
	}
}

// hostileText are texts that make a careless scanner take quadratic time, in one
// line each, and how many leaks a repetition holds.
var hostileText = []struct {
	name, piece string
	each        int
}{
	{"names of secrets", "key ", 0},
	{"one letter", "a", 0},
	{"assignments of assignments", "password=", 0},
	{"beginnings of passwords in URLs", "://a:", 0},
	{"beginnings of private keys", "-----BEGIN PRIVATE KEY-----", 0},
	{"escapes of percent encoding", "%41", 0},
	{"beginnings of tokens", "ghp_", 0},
	{"backslashes", "\\", 0},
	{"quoted names", "token\"", 0},
	{"middles of tokens", "Q~", 0},
	{"base64", "AAAA1234", 0},
	{"tokens", sampleGitHub + " ", 1},
	{"marked tokens", sampleGitHub + " " + AllowMarker + " ", 1},
}

// A hostile file must not stall the scan. There is no clock here: quadratic time
// for 2 MiB is hours, which no run of tests waits for. BenchmarkScanHostileText
// has the figures.
func TestHostileTextIsScannedWhole(t *testing.T) {
	size := 2 << 20
	if raceEnabled {
		size = 1 << 17
	}
	for _, h := range hostileText {
		n := size / len(h.piece)
		leaks, allowed := scanText("x", []byte(strings.Repeat(h.piece, n)))
		if got := len(leaks) + len(allowed); got != n*h.each {
			t.Errorf("%s: %d leaks, not %d", h.name, got, n*h.each)
		}
	}
}

// Time per byte must not grow from 256 KiB to 1 MiB.
func BenchmarkScanHostileText(b *testing.B) {
	for _, h := range hostileText {
		for _, size := range []int{256 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("%s/%dKiB", strings.ReplaceAll(h.name, " ", "-"), size>>10), func(b *testing.B) {
				text := []byte(strings.Repeat(h.piece, size/len(h.piece)))
				b.SetBytes(int64(len(text)))
				for b.Loop() {
					scanText("x", text)
				}
			})
		}
	}
}

// What is meant to be there is said to be so in its line or by its path, and
// listed all the same.
func TestScanListsWhatIsAllowedApart(t *testing.T) {
	line := "A_TOKEN=" + sampleGitHub
	files := fstest.MapFS{
		"marked.env":          {Data: []byte(line + " # hardening:allow-secret a documented example\n")},
		"beside.env":          {Data: []byte("# hardening:allow-secret\n" + line + "\n")},
		"key.pem":             {Data: []byte(strings.TrimSuffix(samplePEM, "\n") + " hardening:allow-secret\n")},
		"testdata/golden.env": {Data: []byte(line)},
		"deep/x/golden.env":   {Data: []byte(line)},
		"open.env":            {Data: []byte(line)},
	}
	for _, tt := range []struct {
		name                   string
		patterns               []string
		leaks, allowed, unused int
	}{
		{"markers alone", nil, 4, 2, 0},
		{"a path", []string{"testdata/*.env"}, 3, 3, 0},
		{"a name in any folder", []string{"golden.env"}, 2, 4, 0},
		{"a pattern for nothing", []string{"nowhere/*", "golden.env"}, 2, 4, 1},
		{"a pattern for a file without leaks of its own", []string{"marked.env"}, 4, 2, 1},
	} {
		r, err := Scan(t.Context(), files, ScanOptions{AllowFiles: tt.patterns})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Leaks) != tt.leaks || len(r.Allowed) != tt.allowed || len(r.Unused) != tt.unused {
			t.Errorf("%s: leaks %v, allowed %v, unused %q", tt.name, r.Leaks, r.Allowed, r.Unused)
		}
	}
	if _, err := Scan(t.Context(), files, ScanOptions{AllowFiles: []string{"["}}); err == nil {
		t.Error("a malformed pattern is accepted")
	}
}

// The golden vectors hold keys, because that is what they are for, and tests
// hold values that look like secrets; nothing else here does.
func TestScanOfThisPackageFindsNothingElse(t *testing.T) {
	r, err := Scan(t.Context(), os.DirFS("."), ScanOptions{AllowFiles: []string{"testdata/ring_*.json", "testdata/fuzz/*/*", "*_test.go"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range r.Leaks {
		t.Error(l)
	}
	if len(r.Allowed) == 0 {
		t.Error("the golden vectors were not looked at")
	}
}

func FuzzScanText(f *testing.F) {
	f.Add("x.env", "A_TOKEN="+sampleGitHub)
	f.Add("x.go", samplePEM)
	f.Fuzz(func(t *testing.T, name, text string) {
		lines := strings.Count(text, "\n") + 1
		leaks, allowed := scanText(name, []byte(text))
		for _, l := range append(leaks, allowed...) {
			if l.Line < 1 || l.Line > lines || l.Column < 1 || l.Length < 1 {
				t.Errorf("%+v of %d lines", l, lines)
			}
		}
	})
}

func TestScanGoesOnBehindTheBareFirstLineOfAKey(t *testing.T) {
	token := "ghp_" + "x7Kq2mN9pR4sT8vW1yZ3aB5cD6eF0gH2jL4k"
	body := strings.Repeat("MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj\n", 3)
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"a constant":                      {"const head = \"-----BEGIN RSA PRIVATE KEY-----\"\nvar t = \"" + token + "\"\n", []string{"2 github-token"}},
		"a constant with its end":         {"a = \"-----BEGIN PRIVATE KEY-----\"\nvar t = \"" + token + "\"\nb = \"-----END PRIVATE KEY-----\"\n", []string{"2 github-token"}},
		"prose":                           {"It begins with -----BEGIN PRIVATE KEY-----, as always.\n\nuse " + token + " for it", []string{"3 github-token"}},
		"a true key":                      {"-----BEGIN PRIVATE KEY-----\n" + body + "-----END PRIVATE KEY-----\n" + token, []string{"1 private-key", "6 github-token"}},
		"a key that is cut off":           {"-----BEGIN PRIVATE KEY-----\n" + body, []string{"1 private-key"}},
		"a key that is cut off, and more": {"-----BEGIN PRIVATE KEY-----\n" + body + "t = (" + token + ")", []string{"1 private-key", "5 github-token"}},
	} {
		r, err := Scan(t.Context(), fstest.MapFS{"a.go": {Data: []byte(tt.text)}}, ScanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, l := range r.Leaks {
			got = append(got, fmt.Sprintf("%d %s", l.Line, l.Kind))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestANameIsSilentByWholeWords(t *testing.T) {
	found := func(name string) bool {
		r, err := Scan(t.Context(), fstest.MapFS{".env": {Data: []byte(name + "=q7Wz9fKx3Lm8Tn2VbXcR4uY6\n")}}, ScanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return len(r.Leaks) > 0
	}
	for _, name := range []string{
		"API_TOKEN", "SECURITY_TOKEN", "AWS_SECURITY_TOKEN", "profile_token", "HASHICORP_TOKEN", "CONVERSION_API_TOKEN", "curl_token", "PROFILE_KEY", "security_key", "AUTHORITY_KEY",
		"COMMITTEE_TOKEN", "KIDS_API_TOKEN", "FILE_ENCRYPTION_KEY", "URL_SIGNING_KEY", "HASH_KEY", "PATH_TOKEN", "ENDPOINT_TOKEN", "HASURA_ADMIN_SECRET", "uri_password", "fileEncryptionKey", "SecurityToken2",
	} {
		if !found(name) {
			t.Errorf("%s is passed over", name)
		}
	}
	for _, name := range []string{
		"PUBLIC_KEY", "publicKey", "TOKEN_URL", "tokenUrl", "KEY_ID", "keyId", "KEY_FILE", "API_VERSION", "AUTH_ENDPOINT", "key_fingerprint", "AUTHOR", "TOKEN_HASH", "token_sha256", "AUTH_COMMIT", "api.key.id", "KEY-ID",
	} {
		if found(name) {
			t.Errorf("%s is reported", name)
		}
	}
}
