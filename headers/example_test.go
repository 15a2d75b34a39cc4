package headers_test

import (
	"context"
	"fmt"
	"html/template"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/headers"
)

// The ten lines to begin with.
func Example() {
	policy, err := headers.New(headers.Config{})
	if err != nil {
		log.Fatal(err)
	}
	page := template.Must(template.New("").Parse(`<script {{.}}>start()</script>`))
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = page.Execute(w, headers.NonceAttr(r.Context()))
	})
	h := policy.Wrap(policy.Recover(app))

	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "https://app.example/", nil))
	fmt.Println(w.Header().Get("Strict-Transport-Security"))
	fmt.Println(w.Header().Get("X-Frame-Options"))
	fmt.Println(w.Header().Get("Permissions-Policy"))
	// Output:
	// max-age=31536000; includeSubDomains
	// DENY
	// geolocation=(), microphone=(), camera=()
}

// Public files get a policy of their own; the page's policy stays strict.
func ExampleMiddleware_With() {
	policy, err := headers.New(headers.Config{})
	if err != nil {
		log.Fatal(err)
	}
	assets, err := policy.With("assets", func(c *headers.Config) {
		c.CSP = headers.API().CSP // files run nothing, and need no nonce
		c.CacheControl = "public, max-age=31536000, immutable"
	})
	if err != nil {
		log.Fatal(err)
	}
	w := httptest.NewRecorder()
	policy.Wrap(assets.Wrap(http.NotFoundHandler())).ServeHTTP(w, httptest.NewRequest("GET", "/app.js", nil))
	fmt.Println(w.Header().Get("Cache-Control"))
	for _, f := range policy.Check() { // both policies; none is weakened
		if !f.Passed {
			fmt.Println(f.Component, f.ID, f.Title)
		}
	}
	// Output: public, max-age=31536000, immutable
}

// A Config that would not do what its author meant names every fault.
func ExampleNew_faults() {
	cfg := headers.Web()
	cfg.CSP.ImgSrc = []headers.Source{"self"}
	cfg.Permissions = headers.Deny("micropone")
	_, err := headers.New(cfg)
	for fault := range hardening.Faults(err) {
		fmt.Println(fault.Field+":", fault.Fix)
	}
	// Output:
	// CSP.ImgSrc[0]: write 'self'
	// Permissions[0].Feature: write "microphone", or set Unlisted if the feature is newer than this package
}

func ExampleNewIsolation() {
	isolation, err := headers.NewIsolation(headers.IsolationConfig{})
	if err != nil {
		log.Fatal(err)
	}
	r := httptest.NewRequest("POST", "https://app.example/pay", nil)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	fmt.Println(isolation.Allow(r))
	// Output:
	// 403 Cross-site request refused: The request did not come from a page of this site. Open the page again and repeat it there.
}

func ExampleRedirectHTTPS() {
	redirect, err := headers.RedirectHTTPS(headers.RedirectConfig{Hosts: []string{"app.example"}})
	if err != nil {
		log.Fatal(err)
	}
	w := httptest.NewRecorder()
	redirect.ServeHTTP(w, httptest.NewRequest("GET", "http://app.example/login", nil))
	fmt.Println(w.Code, w.Header().Get("Location"))
	// Output:
	// 308 https://app.example/login
}

// A reverse proxy: what the upstream sends must neither double the policy nor
// tell what runs there.
func ExampleMiddleware_SanitizeUpstream() {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", "legacy/1.0")
		w.Header().Set("X-Frame-Options", "SAMEORIGIN")
	}))
	defer upstream.Close()
	target, err := url.Parse(upstream.URL)
	if err != nil {
		log.Fatal(err)
	}
	policy, err := headers.New(headers.Config{})
	if err != nil {
		log.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: policy.SanitizeUpstream,
	}
	w := httptest.NewRecorder()
	policy.Enforce(proxy).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	fmt.Println(w.Header().Values("X-Frame-Options"), w.Header().Values("Server"))
	// Output: [DENY] []
}

func ExampleNewReportCollector() {
	collector, err := headers.NewReportCollector(headers.ReportCollectorConfig{
		Routes: []string{"/patients/{id}"}, // reports name the route, and no patient
		OnReport: func(_ context.Context, r headers.Report) {
			fmt.Println(r.Directive, r.Blocked, r.Document)
		},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/_reports", strings.NewReader(`{"csp-report":{"document-uri":"https://app.example/patients/jansen",`+
		`"effective-directive":"script-src-elem","blocked-uri":"https://evil.example/x.js?stolen=1"}}`))
	r.Header.Set("Content-Type", "application/csp-report")
	collector.ServeHTTP(httptest.NewRecorder(), r)
	// Output: script-src-elem https://evil.example /patients/{id}
}

func ExampleSecurityTxt() {
	file, err := headers.SecurityTxt(headers.SecurityTxtConfig{
		Contact: []string{"mailto:security@example.org"},
		Expires: time.Now().AddDate(0, 6, 0),
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /.well-known/security.txt", file)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/.well-known/security.txt", nil))
	line, _, _ := strings.Cut(w.Body.String(), "\n")
	fmt.Println(line)
	// Output: Contact: mailto:security@example.org
}

// Any response can be judged, also that of another service.
func ExampleAudit() {
	w := httptest.NewRecorder()
	w.Header().Set("Server", "Apache/2.4.1")
	http.NotFound(w, httptest.NewRequest("GET", "/", nil))
	for _, f := range headers.Audit(w.Result()) {
		if f.ID == "HDN-HEADERS-110" || f.ID == "HDN-HEADERS-117" {
			fmt.Println(f.Passed, f.Title+":", f.Observed)
		}
	}
	// Output:
	// true Browsers do not guess its type: nosniff
	// false No header tells what runs here, and none is obsolete: [Server]
}
