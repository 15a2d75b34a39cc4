package headers_test

import (
	"bytes"
	"context"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/headers"
)

// Each of these has broken another library or a service that used one. Further
// traps are tested beside what they concern: shared slices in
// middleware_test.go, 304 and doubled headers in enforce_test.go, "OPTIONS *" in
// redirect_test.go and enforce_test.go, Vary in package cors.

// Headers that are set after the handler has begun to write are lost.
func TestTrap_HeadersAreSetBeforeTheFirstByte(t *testing.T) {
	srv := httptest.NewServer(must(headers.New(headers.Config{})).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first")
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, "second")
	})))
	defer srv.Close()
	res, err := srv.Client().Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.Header.Get("X-Frame-Options") != "DENY" {
		t.Errorf("%v", res.Header)
	}
}

// A nonce that is made when the template asks for it comes after the header
// was sent. Ours is there first, and a page that never asks is safe as well.
func TestTrap_ATemplateThatWritesToTheClientHasTheNonceOfItsHeader(t *testing.T) {
	page := template.Must(template.New("").Parse(strings.Repeat("x", 8<<10) + `<script {{.}}></script>`)) // more than net/http buffers
	srv := httptest.NewServer(must(headers.New(headers.Config{})).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = page.Execute(w, headers.NonceAttr(r.Context()))
	})))
	defer srv.Close()
	res, err := srv.Client().Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	m := nonceRE.FindStringSubmatch(res.Header.Get("Content-Security-Policy"))
	if m == nil || !bytes.Contains(body, []byte(`nonce="`+m[1]+`"`)) {
		t.Errorf("header %v, body ends %q", m, body[max(0, len(body)-80):])
	}
}

// unrolled/secure formats its policy, so that a "%20" in a source is corrupted.
func TestTrap_APercentInASourceArrives(t *testing.T) {
	cfg := headers.Web()
	cfg.CSP.ImgSrc = []headers.Source{"https://cdn.example/a%20b/%25s/"}
	if got := get(must(headers.New(cfg)).Wrap(nothing), "https").Get("Content-Security-Policy"); !strings.Contains(got, "img-src https://cdn.example/a%20b/%25s/;") {
		t.Errorf("got %s", got)
	}
}

// Keys that index the map directly must be spelt as net/http spells them, or
// nobody finds them with Get.
func TestTrap_NamesAreCanonical(t *testing.T) {
	cfg := headers.Strict()
	cfg.ReportOnly = reporting().ReportOnly
	cfg.ReportEndpoints = reporting().ReportEndpoints
	for k := range get(must(headers.New(cfg)).Wrap(nothing), "https") {
		if k != http.CanonicalHeaderKey(k) {
			t.Errorf("%s is not canonical", k)
		}
	}
}

// With a wrapper around the ResponseWriter, MaxBytesReader cannot tell the
// server to close the connection (golang/go#73754), and an attacker goes on
// sending. Wrap has none; Enforce and Recover close it themselves.
func TestTrap_MaxBytesReaderStillClosesTheConnection(t *testing.T) {
	policy := must(headers.New(headers.Config{}))
	for name, wrap := range map[string]func(http.Handler) http.Handler{"Wrap": policy.Wrap, "Enforce": policy.Enforce, "Recover": policy.Recover} {
		srv := httptest.NewServer(wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 10)); err != nil {
				hardening.WriteProblem(w, r, &hardening.Problem{Status: http.StatusRequestEntityTooLarge})
			}
		})))
		defer srv.Close()
		for size, close := range map[int]bool{1 << 10: true, 5: false} {
			res, err := srv.Client().Post(srv.URL, "text/plain", strings.NewReader(strings.Repeat("x", size)))
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if res.StatusCode == 413 != close || res.Close != close {
				t.Errorf("%s, %d bytes: %s, the connection is closed: %t", name, size, res.Status, res.Close)
			}
		}
	}
}

// http.TimeoutHandler answers by itself: inside Wrap its 503 has the headers,
// outside it would not.
func TestTrap_ATimeoutInsideWrapHasTheHeaders(t *testing.T) {
	slow := http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), time.Millisecond, "slow")
	w := httptest.NewRecorder()
	must(headers.New(headers.Config{})).Wrap(slow).ServeHTTP(w, request("https", "GET", "/"))
	if got := flat(t, w.Header()); w.Code != 503 || got["X-Frame-Options"] != "DENY" || got["Cache-Control"] != "no-store, max-age=0" {
		t.Errorf("%d %v", w.Code, got)
	}
}

// net/http's file server removes Cache-Control from its errors (Go 1.23), so
// that a 404 of a sensitive page could be cached. Enforce puts it back.
func TestTrap_ErrorsOfTheFileServerAreNotCached(t *testing.T) {
	files := http.FileServerFS(fstest.MapFS{"a.txt": {Data: []byte("x")}})
	policy := must(headers.New(headers.Config{}))
	for name, h := range map[string]http.Handler{"file server": policy.Enforce(files), "http.Error": policy.Wrap(http.NotFoundHandler()), "Static": policy.Wrap(headers.Static(fstest.MapFS{}))} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, request("https", "GET", "/none"))
		if got := w.Header().Get("Cache-Control"); w.Code != 404 || !strings.HasPrefix(got, "no-store") {
			t.Errorf("%s: %d, Cache-Control %q", name, w.Code, got)
		}
	}
}

// A nonce makes a copy of the request, so an outer layer no longer sees the
// pattern that the mux finds. Recover sits inside, and names the route.
func TestTrap_TheRouteOfAPanicIsKnown(t *testing.T) {
	var log strings.Builder
	policy := must(headers.New(headers.Config{Logger: discardTo(&log)}))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /patients/{id}", func(http.ResponseWriter, *http.Request) { panic("x") })
	r := request("https", "GET", "/patients/jansen")
	policy.Wrap(policy.Recover(mux)).ServeHTTP(httptest.NewRecorder(), r)
	if !strings.Contains(log.String(), `object="GET /patients/{id}"`) || strings.Contains(log.String(), "object=/patients/jansen") {
		t.Error(log.String())
	}
}

// Browsers' reports come from other origins without cookies, and must reach the
// collector through Isolation, also where an origin is required.
func TestTrap_IsolationLetsReportsThrough(t *testing.T) {
	c := collector(nil)
	h := must(headers.NewIsolation(headers.IsolationConfig{RequireOrigin: true, Logger: slog.New(slog.DiscardHandler)})).Wrap(c)
	for _, header := range []http.Header{
		{"Content-Type": {legacyType}, "Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"no-cors"}, "Sec-Fetch-Dest": {"report"}},
		{"Content-Type": {legacyType}},
	} {
		r := httptest.NewRequest("POST", "/_reports", strings.NewReader(legacyReport))
		r.Header = header
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 204 {
			t.Errorf("%v: %d", header, w.Code)
		}
	}
}

// Policies that meet on one response must not intersect, nor nonces pile up:
// there is one Content-Security-Policy, with one nonce.
func TestTrap_NestedPoliciesLeaveOneHeaderAndOneNonce(t *testing.T) {
	root := must(headers.New(headers.Config{}))
	one := must(root.With("one", func(c *headers.Config) { c.CSP.ImgSrc = append(c.CSP.ImgSrc, "data:") }))
	two := must(one.With("two", func(c *headers.Config) { c.CSP.FontSrc = append(c.CSP.FontSrc, "data:") }))
	w := httptest.NewRecorder()
	root.Wrap(one.Wrap(two.Wrap(root.Wrap(two.Wrap(nothing))))).ServeHTTP(w, request("https", "GET", "/"))
	csp := w.Header()["Content-Security-Policy"]
	if len(csp) != 1 || strings.Count(csp[0], "'nonce-") != 1 || !strings.Contains(csp[0], "font-src 'self' data:") {
		t.Errorf("%q", csp)
	}
}

// A client that goes away cancels what its request began: the nonce's context
// passes that on.
func TestTrap_CancellationReachesTheHandler(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h := must(headers.New(headers.Config{})).Enforce(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cancel()
		if <-r.Context().Done(); r.Context().Err() == nil {
			t.Error("not cancelled")
		}
	}))
	h.ServeHTTP(httptest.NewRecorder(), request("https", "GET", "/").WithContext(ctx))
}
