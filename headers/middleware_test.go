package headers_test

import (
	"crypto/tls"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/headers"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func request(scheme, method, path string) *http.Request {
	r := httptest.NewRequest(method, path, nil)
	r.Host = "app.example"
	if r.TLS = nil; scheme == "https" {
		r.TLS = &tls.ConnectionState{}
	}
	return r
}

func get(h http.Handler, scheme string) http.Header {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request(scheme, "GET", "/"))
	return w.Header()
}

var (
	nothing = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	nonceRE = regexp.MustCompile(`'nonce-([A-Za-z0-9]+)'`)
	seedSix = map[string]string{
		"Strict-Transport-Security": "max-age=31536000; includeSubDomains",
		"X-Frame-Options":           "DENY",
		"X-Content-Type-Options":    "nosniff",
		"Referrer-Policy":           "strict-origin-when-cross-origin",
		"Permissions-Policy":        "geolocation=(), microphone=(), camera=()",
		"Content-Security-Policy": "default-src 'none'; script-src 'nonce-*' 'strict-dynamic'; style-src 'self'; img-src 'self'; font-src 'self'; " +
			"connect-src 'self'; manifest-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; upgrade-insecure-requests",
	}
	webMore = map[string]string{
		"Cross-Origin-Opener-Policy":        "same-origin",
		"Cross-Origin-Resource-Policy":      "same-origin",
		"X-Permitted-Cross-Domain-Policies": "none",
		"Cache-Control":                     "no-store, max-age=0",
	}
)

// flat gives each header's only value, with the nonce as "*".
func flat(t *testing.T, h http.Header) map[string]string {
	t.Helper()
	out := map[string]string{}
	for k, v := range h {
		if len(v) != 1 {
			t.Errorf("%s is sent %d times: %q", k, len(v), v)
		}
		out[k] = nonceRE.ReplaceAllString(v[0], "'nonce-*'")
	}
	return out
}

func TestWebSendsTheRequiredHeadersByteForByte(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-3.4.1")
	t.Attr("control", "ASVS v5.0.0-3.4.3")
	t.Attr("control", "ASVS v5.0.0-3.4.4")
	t.Attr("control", "ASVS v5.0.0-3.4.5")
	t.Attr("control", "ASVS v5.0.0-3.4.6")
	t.Attr("control", "ASVS v5.0.0-3.4.8")
	want := maps.Clone(seedSix)
	maps.Copy(want, webMore)
	for name, cfg := range map[string]headers.Config{"Web()": headers.Web(), "Config{}": {}} {
		got := flat(t, get(must(headers.New(cfg)).Wrap(nothing), "https"))
		if !maps.Equal(got, want) {
			t.Errorf("%s sends\n%v\nwant\n%v", name, got, want)
		}
	}
}

func TestPlainHTTPGetsNeitherHSTSNorUpgrade(t *testing.T) {
	t.Attr("control", "RFC 6797-7.2")
	h := get(must(headers.New(headers.Config{})).Wrap(nothing), "http")
	if v, ok := h["Strict-Transport-Security"]; ok {
		t.Errorf("HSTS over plain HTTP: %q", v)
	}
	if csp := h.Get("Content-Security-Policy"); csp == "" || strings.Contains(csp, "upgrade-insecure-requests") {
		t.Errorf("policy over plain HTTP: %q", csp)
	}
	if len(h) != 9 {
		t.Errorf("the other headers must stay: %v", h)
	}
}

func TestAClientCannotClaimTLS(t *testing.T) {
	h := must(headers.New(headers.Config{})).Wrap(nothing)
	r := request("http", "GET", "/")
	r.Header.Set("X-Forwarded-Proto", "https")
	r.Header.Set("Forwarded", "proto=https")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Header().Get("Strict-Transport-Security") != "" {
		t.Error("X-Forwarded-Proto of anyone was believed")
	}
	w = httptest.NewRecorder()
	must(hardening.NewEdge(hardening.EdgeConfig{AssumeTLS: true})).Wrap(h).ServeHTTP(w, request("http", "GET", "/"))
	if w.Header().Get("Strict-Transport-Security") == "" {
		t.Error("the edge's word on the scheme was not taken")
	}
}

func TestStrictMeetsTheOWASPSecureHeadersSet(t *testing.T) {
	got := flat(t, get(must(headers.New(headers.Strict())).Wrap(nothing), "https"))
	want := map[string]string{
		"Strict-Transport-Security":         "max-age=63072000; includeSubDomains",
		"X-Frame-Options":                   "DENY",
		"X-Content-Type-Options":            "nosniff",
		"X-Permitted-Cross-Domain-Policies": "none",
		"Referrer-Policy":                   "no-referrer",
		"Cross-Origin-Embedder-Policy":      "require-corp",
		"Cross-Origin-Opener-Policy":        "same-origin",
		"Cross-Origin-Resource-Policy":      "same-origin",
		"Cache-Control":                     "no-store, max-age=0",
		"X-Dns-Prefetch-Control":            "off",
		"Content-Security-Policy":           strings.Replace(seedSix["Content-Security-Policy"], "; upgrade", "; require-trusted-types-for 'script'; upgrade", 1),
	}
	permissions := got["Permissions-Policy"]
	delete(got, "Permissions-Policy")
	if !maps.Equal(got, want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
	if n := strings.Count(permissions, "=("); n != 28 || strings.Count(permissions, "=()") != 27 || !strings.Contains(permissions, "sync-xhr=(self)") {
		t.Errorf("%d features in %q", n, permissions)
	}
	if strings.Contains(got["Content-Security-Policy"], "unsafe") {
		t.Error("the policy says unsafe")
	}
}

func TestAPISandboxesAndAllowsNothing(t *testing.T) {
	got := flat(t, get(must(headers.New(headers.API())).Wrap(nothing), "https"))
	if want := "default-src 'none'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"; got["Content-Security-Policy"] != want {
		t.Errorf("got  %s\nwant %s", got["Content-Security-Policy"], want)
	}
	if got["Referrer-Policy"] != "no-referrer" {
		t.Errorf("Referrer-Policy %q", got["Referrer-Policy"])
	}
}

func TestEveryOptionalHeaderFitsOnePolicy(t *testing.T) {
	cfg := headers.Strict()
	cfg.Permissions = []headers.Permission{
		{Feature: "camera", Allow: []string{"self", "https://meet.example"}},
		{Feature: "fullscreen", Allow: []string{"*"}},
		{Feature: "brand-new", Unlisted: true},
	}
	cfg.HSTS.Preload = true
	got := flat(t, get(must(headers.New(cfg)).Wrap(nothing), "https"))
	if len(got) != 12 {
		t.Errorf("%d headers: %v", len(got), got)
	}
	if want := `camera=(self "https://meet.example"), fullscreen=*, brand-new=()`; got["Permissions-Policy"] != want {
		t.Errorf("Permissions-Policy %q", got["Permissions-Policy"])
	}
	if want := "max-age=63072000; includeSubDomains; preload"; got["Strict-Transport-Security"] != want {
		t.Errorf("HSTS %q", got["Strict-Transport-Security"])
	}
}

func TestAHandlerMayReplaceItsOwnHeaders(t *testing.T) {
	h := must(headers.New(headers.Config{})).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=60")
	}))
	if got := get(h, "https").Get("Cache-Control"); got != "public, max-age=60" {
		t.Errorf("Cache-Control %q", got)
	}
}

func TestHeadersOfAnOuterLayerAreReplacedNotRepeated(t *testing.T) {
	h := must(headers.New(headers.Config{})).Wrap(nothing)
	outer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for k := range seedSix {
			w.Header().Add(k, "stale")
			w.Header().Add(k, "stale too")
		}
		h.ServeHTTP(w, r)
	})
	got := flat(t, get(outer, "https"))
	for k, v := range seedSix {
		if got[k] != v {
			t.Errorf("%s: %q", k, got[k])
		}
	}
}

// A handler that writes into the values it finds must not reach another
// request (as in rs/cors#198). Run with -race.
func TestTrap_NoHeaderSliceIsSharedBetweenRequests(t *testing.T) {
	for name, cfg := range map[string]headers.Config{"with nonce": headers.Web(), "static": headers.API()} {
		t.Run(name, func(t *testing.T) {
			policy := must(headers.New(cfg))
			want := flat(t, get(policy.Wrap(nothing), "https"))
			h := policy.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got := flat(t, w.Header())
				if !maps.Equal(got, want) {
					t.Errorf("another request's change arrived: %v", got)
				}
				for k, v := range w.Header() {
					v[0] = "poisoned"
					w.Header()[k] = append(v, "appended")
				}
				for k, v := range w.Header() {
					if len(v) != 2 || v[0] != "poisoned" || v[1] != "appended" {
						t.Errorf("an append to one header reached %s: %q", k, v)
					}
				}
			}))
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for range 1250 {
						h.ServeHTTP(&sink{h: http.Header{}}, request("https", "GET", "/"))
					}
				})
			}
			wg.Wait()
		})
	}
}

func TestTheResponseWriterIsPassedOnUnwrapped(t *testing.T) {
	w := &sink{h: http.Header{}}
	must(headers.New(headers.Config{})).Wrap(http.HandlerFunc(func(got http.ResponseWriter, r *http.Request) {
		if got != http.ResponseWriter(w) {
			t.Errorf("the handler got a %T", got)
		}
	})).ServeHTTP(w, request("https", "GET", "/"))
}

func TestAConfigChangedAfterNewChangesNothing(t *testing.T) {
	cfg := headers.Web()
	cfg.Permissions = []headers.Permission{{Feature: "camera", Allow: []string{"self"}}}
	cfg.CSP.StyleSrc = []headers.Source{headers.Self, "'unsafe-inline'"}
	cfg.CSP.DangerouslyAllow = map[string][]headers.Source{"style-src": {"'unsafe-inline'"}}
	policy := must(headers.New(cfg))
	before := flat(t, get(policy.Wrap(nothing), "https"))
	findings := fmt.Sprint(policy.Check())
	cfg.Permissions[0].Feature, cfg.Permissions[0].Allow[0] = "usb", "*"
	cfg.CSP.StyleSrc[0], cfg.CSP.ScriptSrc[0] = "*", "*"
	cfg.CSP.DangerouslyAllow["style-src"][0] = "changed"
	child := must(policy.With("child", func(c *headers.Config) {
		c.CSP.StyleSrc[0] = "https://cdn.example"
		c.Permissions[0].Allow[0] = "https://meet.example"
	}))
	if after := flat(t, get(policy.Wrap(nothing), "https")); !maps.Equal(before, after) {
		t.Errorf("before\n%v\nafter\n%v", before, after)
	}
	if got := fmt.Sprint(policy.Check()); !strings.HasPrefix(got, strings.TrimSuffix(findings, "]")) {
		t.Errorf("findings changed: %s", got)
	}
	if got := get(child.Wrap(nothing), "https").Get("Permissions-Policy"); got != `camera=("https://meet.example")` {
		t.Errorf("child: %q", got)
	}
}

func TestDangerouslyFieldsLeaveTheirHeaderOut(t *testing.T) {
	cfg := headers.Web()
	cfg.FrameOptions, cfg.DangerouslyOmitFrameOptions = "", true
	cfg.CSP.FrameAncestors = []headers.Source{"https://portal.example"}
	cfg.DangerouslyAllowSniffing = true
	cfg.ReferrerPolicy, cfg.DangerouslyLeakReferrer = "origin", true
	cfg.HSTS = headers.HSTS{DangerouslyShort: true}
	got := flat(t, get(must(headers.New(cfg)).Wrap(nothing), "https"))
	for _, k := range []string{"X-Frame-Options", "X-Content-Type-Options"} {
		if _, ok := got[k]; ok {
			t.Errorf("%s is sent", k)
		}
	}
	if got["Referrer-Policy"] != "origin" || got["Strict-Transport-Security"] != "max-age=0" {
		t.Errorf("%v", got)
	}
}

func TestARealServerSendsEachHeaderOnceOverHTTP1AndHTTP2(t *testing.T) {
	policy := must(headers.New(headers.Config{}))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ok", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("ok")) })
	for _, http2 := range []bool{false, true} {
		srv := httptest.NewUnstartedServer(policy.Wrap(policy.Recover(mux)))
		srv.EnableHTTP2 = http2
		srv.StartTLS()
		for _, c := range []struct {
			method, path string
			status       int
		}{{"GET", "/ok", 200}, {"HEAD", "/ok", 200}, {"POST", "/ok", 405}, {"GET", "/missing", 404}} {
			req := must(http.NewRequestWithContext(t.Context(), c.method, srv.URL+c.path, nil))
			res, err := srv.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			got := flat(t, res.Header)
			if res.StatusCode != c.status || res.ProtoMajor == 2 != http2 {
				t.Errorf("%s %s: %s %s", c.method, c.path, res.Proto, res.Status)
			}
			for _, want := range []map[string]string{seedSix, webMore} {
				for k, v := range want {
					if got[k] != v {
						t.Errorf("%s %s over %s: %s is %q", c.method, c.path, res.Proto, k, got[k])
					}
				}
			}
		}
		srv.Close()
	}
}

// sink is a ResponseWriter that keeps nothing but its header.
type sink struct{ h http.Header }

func (s *sink) Header() http.Header         { return s.h }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(int)             {}
