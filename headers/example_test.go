package headers_test

import (
	"fmt"
	"html/template"
	"log"
	"net/http"
	"net/http/httptest"

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
