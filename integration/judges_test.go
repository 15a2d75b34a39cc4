package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/headers"
	"github.com/inovy/hardening/internal/testenv"
	"github.com/inovy/hardening/tlsconfig"
)

// ask runs a script of judges/ with node and decodes what it prints.
func ask(t *testing.T, script string, input, output any, caFile string, args ...string) {
	t.Helper()
	node := testenv.Program(t, "install nodejs", "node", "nodejs")
	cmd := exec.CommandContext(t.Context(), node, append([]string{filepath.Join("judges", script)}, args...)...)
	cmd.Env = append(os.Environ(), "JUDGES="+testenv.Judges(t), "NODE_EXTRA_CA_CERTS="+caFile)
	if input != nil {
		b, err := json.Marshal(input)
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdin = bytes.NewReader(b)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, &stderr)
	}
	if err := json.Unmarshal(out, output); err != nil {
		t.Fatalf("%s printed %.300q: %v", script, out, err)
	}
}

type judgement struct {
	Score   int            `json:"score"`
	Results map[string]int `json:"results"`
}

func policyHeaders(t *testing.T, cfg headers.Config) http.Header {
	t.Helper()
	policy, err := headers.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "https://app.example/", nil)
	policy.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, r)
	return w.Header()
}

// libraries are header sets as well-known libraries send them by default (their
// documentation), and what a server sends without any.
func libraries(t *testing.T) map[string]http.Header {
	h := func(kv ...string) http.Header {
		out := http.Header{}
		for i := 0; i < len(kv); i += 2 {
			out.Add(kv[i], kv[i+1])
		}
		return out
	}
	return map[string]http.Header{
		"bare":                http.Header{},
		"ours, Web":           policyHeaders(t, headers.Web()),
		"ours, Strict":        policyHeaders(t, headers.Strict()),
		"ours, API":           policyHeaders(t, headers.API()),
		"Spring Security":     h("X-Content-Type-Options", "nosniff", "X-XSS-Protection", "0", "Cache-Control", "no-cache, no-store, max-age=0, must-revalidate", "Strict-Transport-Security", "max-age=31536000 ; includeSubDomains", "X-Frame-Options", "DENY"),
		"secure_headers":      h("Strict-Transport-Security", "max-age=631138519", "X-Frame-Options", "sameorigin", "X-Content-Type-Options", "nosniff", "X-XSS-Protection", "0", "X-Permitted-Cross-Domain-Policies", "none", "X-Download-Options", "noopen", "Content-Security-Policy", "default-src https:; form-action https:; img-src https: data: 'self'; object-src 'none'; script-src https:; style-src 'self' 'unsafe-inline' https:"),
		"NetEscapades":        h("X-Content-Type-Options", "nosniff", "X-Frame-Options", "DENY", "Referrer-Policy", "strict-origin-when-cross-origin", "Content-Security-Policy", "object-src 'none'; form-action 'self'; frame-ancestors 'none'", "Strict-Transport-Security", "max-age=31536000"),
		"echo":                h("X-XSS-Protection", "1; mode=block", "X-Content-Type-Options", "nosniff", "X-Frame-Options", "SAMEORIGIN"),
		"fiber helmet":        h("X-XSS-Protection", "0", "X-Content-Type-Options", "nosniff", "X-Frame-Options", "SAMEORIGIN", "Referrer-Policy", "no-referrer", "Cross-Origin-Embedder-Policy", "require-corp", "Cross-Origin-Opener-Policy", "same-origin", "Cross-Origin-Resource-Policy", "same-origin"),
		"go-safeweb":          h("Strict-Transport-Security", "max-age=63072000; includeSubDomains", "X-Content-Type-Options", "nosniff", "X-XSS-Protection", "0", "X-Frame-Options", "SAMEORIGIN", "Cross-Origin-Opener-Policy", "same-origin", "Content-Security-Policy", "object-src 'none'; script-src 'unsafe-inline' 'nonce-abcdefgh' 'strict-dynamic' https: http:; base-uri 'none'"),
		"tailscale safeweb":   h("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'self'; block-all-mixed-content", "X-Content-Type-Options", "nosniff", "Strict-Transport-Security", "max-age=31536000", "Cross-Origin-Opener-Policy", "same-origin"),
		"helmet 8":            h("Content-Security-Policy", "default-src 'self';base-uri 'self';font-src 'self' https: data:;form-action 'self';frame-ancestors 'self';img-src 'self' data:;object-src 'none';script-src 'self';script-src-attr 'none';style-src 'self' https: 'unsafe-inline';upgrade-insecure-requests", "Cross-Origin-Opener-Policy", "same-origin", "Cross-Origin-Resource-Policy", "same-origin", "Referrer-Policy", "no-referrer", "Strict-Transport-Security", "max-age=31536000; includeSubDomains", "X-Content-Type-Options", "nosniff", "X-Frame-Options", "SAMEORIGIN", "X-XSS-Protection", "0"),
		"Django":              h("X-Frame-Options", "DENY", "X-Content-Type-Options", "nosniff", "Referrer-Policy", "same-origin", "Cross-Origin-Opener-Policy", "same-origin", "Set-Cookie", "csrftoken=x; SameSite=Lax; Path=/", "Set-Cookie", "sessionid=x; HttpOnly; SameSite=Lax; Path=/"),
		"PHP":                 h("X-Powered-By", "PHP/8.4", "Set-Cookie", "PHPSESSID=x; path=/"),
		"OWASP secure header": h("Strict-Transport-Security", "max-age=63072000; includeSubDomains", "X-Frame-Options", "deny", "X-Content-Type-Options", "nosniff", "Content-Security-Policy", "default-src 'self'; form-action 'self'; base-uri 'self'; object-src 'none'; frame-ancestors 'none'; upgrade-insecure-requests", "Referrer-Policy", "no-referrer", "Cross-Origin-Resource-Policy", "same-origin"),
	}
}

// generated is a header set in which each header is missing, good, bad or
// broken.
func generated(r *rand.Rand) http.Header {
	h := http.Header{}
	pick := func(key string, values ...string) {
		if i := r.IntN(len(values) + 1); i > 0 {
			h.Add(key, values[i-1])
			if r.IntN(12) == 0 {
				h.Add(key, values[r.IntN(len(values))])
			}
		}
	}
	pick("Strict-Transport-Security", "max-age=31536000; includeSubDomains", "max-age=1000", "MAX-AGE=63072000;preload", "includeSubDomains", `max-age="31536000"`, "max-age=15552000", "max-age=15551999", "max-age=-1")
	pick("X-Frame-Options", "DENY", "sameorigin", "ALLOW-FROM https://x.example", "yes", " deny ")
	pick("X-Content-Type-Options", "nosniff", "NOSNIFF", "sniff")
	pick("Referrer-Policy", "no-referrer", "unsafe-url", "no-referrer, strict-origin", "nonsense", "same-origin,origin", "strict-origin-when-cross-origin")
	pick("Cross-Origin-Resource-Policy", "same-origin", "same-site", "cross-origin", "Same-Origin", "none")
	pick("Access-Control-Allow-Origin", "*", "https://evil.example", "https://app.example", "null")
	pick("Access-Control-Allow-Credentials", "true", "True", "false")
	pick("Content-Security-Policy-Report-Only", "default-src 'none'")
	for range r.IntN(3) {
		names := []string{"a", "session", "csrftoken", "login", "__Host-sess"}
		h.Add("Set-Cookie", names[r.IntN(len(names))]+"=x; Path=/"+[]string{"", "; Secure"}[r.IntN(2)]+[]string{"", "; HttpOnly"}[r.IntN(2)]+[]string{"", "; SameSite=Lax", "; SameSite=None", "; SameSite=Bad", "; SameSite"}[r.IntN(5)])
	}
	if r.IntN(6) > 0 {
		sources := []string{"'self'", "'none'", "https:", "http:", "*", "data:", "'unsafe-inline'", "'unsafe-eval'", "'nonce-abcdefgh'", "'strict-dynamic'", "https://cdn.example", "http://cdn.example", "'SELF'", "ftp:", "https://*"}
		var parts []string
		for _, d := range []string{"default-src", "script-src", "style-src", "img-src", "media-src", "object-src", "base-uri", "form-action", "frame-ancestors", "connect-src", "report-uri", "report-uri", "Script-Src", "upgrade-insecure-requests"} {
			if r.IntN(3) > 0 || d == "Script-Src" && r.IntN(8) > 0 {
				continue
			}
			for range r.IntN(3) {
				d += " " + sources[r.IntN(len(sources))]
			}
			parts = append(parts, d)
		}
		h.Add("Content-Security-Policy", strings.Join(parts, []string{"; ", ";", " ;  "}[r.IntN(3)]))
	}
	return h
}

// answer is what score.mjs judges.
type answer struct {
	Header http.Header `json:"header"`
	Page   string      `json:"page"`
}

func TestObservatoryScoreEqualsTheRealOne(t *testing.T) {
	var names []string
	var sets []http.Header
	for name, h := range libraries(t) {
		names, sets = append(names, name), append(sets, h)
	}
	r := rand.New(rand.NewPCG(8, 2026))
	for i := range 1000 {
		names, sets = append(names, fmt.Sprint("generated ", i)), append(sets, generated(r))
	}
	var want []judgement
	answers := make([]answer, len(sets))
	for i, h := range sets {
		answers[i].Header = h
	}
	ask(t, "score.mjs", answers, &want, "")
	if len(want) != len(sets) {
		t.Fatalf("%d judgements of %d sets", len(want), len(sets))
	}
	scores := map[int]bool{}
	for i, h := range sets {
		asked := httptest.NewRequest("GET", "https://app.example/", nil)
		asked.Header.Set("Origin", "https://evil.example")
		got := headers.ObservatoryScore(&http.Response{Header: h, Request: asked})
		scores[got] = true
		if got != want[i].Score {
			t.Errorf("%s: ours is %d, the Observatory's %d: %v\n%q", names[i], got, want[i].Score, want[i].Results, h)
		}
	}
	if len(scores) < 15 {
		t.Errorf("only %d different scores: the sets are too much alike", len(scores))
	}
}

// generatedPage is made of tags that load scripts, of what hides them, and of
// what only looks like it.
func generatedPage(r *rand.Rand) string {
	one := func(of ...string) string { return of[r.IntN(len(of))] }
	var b strings.Builder
	b.WriteString("<!doctype html>")
	if r.IntN(8) == 0 {
		b.WriteString(one(`<base href="https://cdn.test/lib/">`, `<base href="/lib/">`, `<base target=_blank>`, `<base href="http://app.example/">`))
	}
	for range r.IntN(5) {
		open, end := "", ""
		switch r.IntN(14) {
		case 0:
			open, end = "<!-- ", one(" -->", "--!>", "--><p>")
		case 1:
			open, end = "<template>", "</template>"
		case 2:
			open, end = "<textarea>", "</textarea>"
		case 3:
			open, end = "<p title='", "'>x</p>"
		case 4:
			open, end = "<noscript>", "</noscript>"
		case 5:
			open, end = "<!-->", ""
		case 6:
			open, end = "<style>", "</STYLE >"
		}
		src := one("", "/a.js", "a.js", "//cdn.test/a.js", "https://cdn.test/a.js", "http://cdn.test/a.js", "https://www.app.example/a.js",
			"http://app.example/a.js", "HTTPS://CDN.test/a.js", " https://cdn.test/a.js ", "https:cdn.test/a.js", `\\cdn.test/a.js`, "data:,1",
			"https&#58;//cdn.test/a.js", "https://app.example.test:8443/", "https://a.co.uk/", "///x", "https://127.0.0.1/a.js", "?a", "#a")
		script := one("<script", "<SCRIPT\n", "<script/", "<script async", "<link rel=stylesheet href=https://cdn.test/a.css", "<script nonce=x") +
			one(` src="`, ` SRC = "`, ` src="`) + src + `"` + one("", "", ` integrity="sha384-x"`, " integrity", ` integrity=""`, ` integrity="a" integrity=""`) + one(">", " >", "/>") + one("", "1<2", "'<script>'") + one("</script>", "</script\t>")
		b.WriteString(open + script + end)
	}
	return b.String()
}

func TestObservatoryScoreOfAPageEqualsTheRealOne(t *testing.T) {
	r := rand.New(rand.NewPCG(36, 2026))
	answers := make([]answer, 800)
	for i := range answers {
		h := policyHeaders(t, headers.Web())
		h.Set("Content-Type", []string{"text/html; charset=utf-8", "text/html", "application/xhtml+xml", "TEXT/HTML", "application/json"}[min(r.IntN(20), 4)%5])
		if r.IntN(10) > 0 {
			h.Set("Content-Type", "text/html; charset=utf-8")
		}
		answers[i] = answer{h, generatedPage(r)}
	}
	var want []judgement
	ask(t, "score.mjs", answers, &want, "")
	if len(want) != len(answers) {
		t.Fatalf("%d judgements of %d pages", len(want), len(answers))
	}
	scores := map[int]int{}
	for i, a := range answers {
		got := headers.ObservatoryPageScore(&http.Response{Header: a.Header, Request: httptest.NewRequest("GET", "https://app.example/", nil)}, []byte(a.Page))
		scores[got]++
		if got != want[i].Score {
			t.Errorf("ours is %d, the Observatory's %d: %v\n%q %s", got, want[i].Score, want[i].Results, a.Header["Content-Type"], a.Page)
		}
	}
	if len(scores) < 5 {
		t.Errorf("scores %v: the pages are too much alike", scores)
	}
}

func TestCSPEvaluatorFindsNothingWorseThanItsHints(t *testing.T) {
	cfgs := []headers.Config{headers.Web(), headers.Strict(), headers.API()}
	var policies []string
	for _, cfg := range cfgs {
		policies = append(policies, policyHeaders(t, cfg).Get("Content-Security-Policy"))
	}
	policies = append(policies, "script-src 'unsafe-inline' *") // the judge must find something in this
	var found [][]struct{ Severity, Directive, Text string }
	ask(t, "csp.mjs", policies, &found, "")
	for i, fs := range found {
		worse := 0
		for _, f := range fs {
			if f.Severity != "STRICT_CSP" && f.Severity != "INFO" && f.Severity != "NONE" {
				worse++
				if i < len(cfgs) {
					t.Errorf("%s: %+v", policies[i], f)
				}
			}
		}
		if i == len(cfgs) && worse == 0 {
			t.Error("the judge sees nothing")
		}
	}
}

// A site of ours, as a visitor meets it: a redirect from plain HTTP, a cookie,
// a script with nonce and integrity.
func TestObservatoryJudgesARunningSite(t *testing.T) {
	script := []byte("document.title = 'ran'")
	files := fstest.MapFS{"app.js": {Data: script}}
	sri, err := headers.SRI(files, "app.js")
	if err != nil {
		t.Fatal(err)
	}
	page := template.Must(template.New("").Parse(`<!doctype html><title>x</title><script {{.Nonce}} src="/app.js" integrity="{{.SRI}}"></script>`))
	dir := t.TempDir()
	ca, err := tlsconfig.NewDevCA(filepath.Join(dir, "ca"), tlsconfig.DevCAConfig{Environment: hardening.Development})
	if err != nil {
		t.Fatal(err)
	}
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	if err := ca.Issue(cert, key, "localhost", "127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cfg  headers.Config
		html bool
		want int
	}{"Web": {headers.Web(), true, 140}, "Strict": {headers.Strict(), true, 140}, "API": {headers.API(), false, 130}} {
		t.Run(name, func(t *testing.T) {
			policy, err := headers.New(c.cfg)
			if err != nil {
				t.Fatal(err)
			}
			app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !c.html {
					w.Header().Set("Content-Type", "application/json")
					_, _ = w.Write([]byte("{}"))
					return
				}
				w.Header().Set("Content-Type", "text/html; charset=utf-8")
				w.Header().Set("Set-Cookie", "__Host-session=x; Path=/; Secure; HttpOnly; SameSite=Lax")
				_ = page.Execute(w, map[string]any{"Nonce": headers.NonceAttr(r.Context()), "SRI": sri})
			})
			tlsListener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			srv := &http.Server{Handler: policy.Wrap(app)}
			go func() { _ = srv.ServeTLS(tlsListener, cert, key) }()
			t.Cleanup(func() { _ = srv.Close() })
			_, port, _ := net.SplitHostPort(tlsListener.Addr().String())
			number := tlsListener.Addr().(*net.TCPAddr).Port
			redirect, err := headers.RedirectHTTPS(headers.RedirectConfig{Hosts: []string{"localhost"}, Port: number})
			if err != nil {
				t.Fatal(err)
			}
			plain := httptest.NewServer(policy.Wrap(redirect))
			t.Cleanup(plain.Close)
			u, _ := url.Parse(plain.URL)
			var got judgement
			ask(t, "site.mjs", nil, &got, ca.CertFile(), "localhost", u.Port(), port, "/")
			if got.Score < c.want {
				t.Errorf("score %d, want %d: %v", got.Score, c.want, got.Results)
			}
		})
	}
}

// The portal is what users copy: what it serves is judged as it runs.
func TestObservatoryJudgesThePortal(t *testing.T) {
	address, _, state := portal(t)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	caFiles, err := filepath.Glob(filepath.Join(state, "ca", "*.pem"))
	if err != nil || len(caFiles) == 0 {
		caFiles, err = filepath.Glob(filepath.Join(state, "ca", "*.crt"))
	}
	if err != nil || len(caFiles) == 0 {
		t.Fatalf("no CA in %s: %v", state, err)
	}
	var got judgement
	ask(t, "site.mjs", nil, &got, caFiles[0], "localhost", "0", u.Port(), "/login")
	t.Logf("score %d: %v", got.Score, got.Results)
	if got.Score < 140 {
		t.Errorf("score %d: %v", got.Score, got.Results)
	}
}
