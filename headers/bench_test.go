package headers_test

import (
	"context"
	"crypto/rand"
	"net/http"
	"testing"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/headers"
)

// The limit: what a careful programmer writes by hand for one fixed policy,
// with no slice shared between requests. Budgets compare with it in one run.

var limitKeys = [10]string{
	"Strict-Transport-Security", "X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy", "Permissions-Policy",
	"Content-Security-Policy", "Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", "X-Permitted-Cross-Domain-Policies", "Cache-Control",
}

const (
	limitBefore = "default-src 'none'; script-src 'nonce-"
	limitAfter  = "' 'strict-dynamic'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; manifest-src 'self'; " +
		"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; upgrade-insecure-requests"
)

var limitValues = [10]string{
	"max-age=31536000; includeSubDomains", "DENY", "nosniff", "strict-origin-when-cross-origin", "geolocation=(), microphone=(), camera=()",
	"default-src 'none'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox",
	"same-origin", "same-origin", "none", "no-store, max-age=0",
}

func limitStatic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, s := w.Header(), limitValues
		for i, k := range limitKeys {
			h[k] = s[i : i+1 : i+1]
		}
		next.ServeHTTP(w, r)
	})
}

type limitState struct {
	context.Context
	nonce  string
	values [10]string
}

type limitKey struct{}

func (s *limitState) Value(key any) any {
	if key == (limitKey{}) {
		return s.nonce
	}
	return s.Context.Value(key)
}

func limitNonce(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var b [26]byte
		_, _ = rand.Read(b[:])
		for i := range b {
			b[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[b[i]&31]
		}
		h, s := w.Header(), &limitState{Context: r.Context(), values: limitValues}
		s.values[5] = limitBefore + string(b[:]) + limitAfter
		s.nonce = s.values[5][len(limitBefore) : len(limitBefore)+26]
		for i, k := range limitKeys {
			h[k] = s.values[i : i+1 : i+1]
		}
		next.ServeHTTP(w, r.WithContext(s))
	})
}

func BenchmarkWrap(b *testing.B) {
	static, nonce := must(headers.New(headers.API())), must(headers.New(headers.Config{}))
	isolation := must(headers.NewIsolation(headers.IsolationConfig{}))
	edge := must(hardening.NewEdge(hardening.EdgeConfig{}))
	for _, c := range []struct {
		name string
		h    http.Handler
	}{
		{"static/ours", static.Wrap(nothing)},
		{"static/limit", limitStatic(nothing)},
		{"nonce/ours", nonce.Wrap(nothing)},
		{"nonce/limit", limitNonce(nothing)},
		{"edge/alone", edge.Wrap(nothing)},
		{"edge/static", edge.Wrap(static.Wrap(nothing))},
		{"recover", static.Recover(nothing)},
		{"isolation/get", isolation.Wrap(nothing)},
		{"hosts", must(headers.NewHostCheck(headers.HostCheckConfig{Hosts: []string{"app.example"}})).Wrap(nothing)},
		{"enforce", static.Enforce(nothing)},
	} {
		b.Run(c.name, func(b *testing.B) {
			w, r := &sink{h: make(http.Header, 16)}, request("https", "GET", "/")
			b.ReportAllocs()
			for b.Loop() {
				clear(w.h)
				c.h.ServeHTTP(w, r)
			}
		})
	}
	b.Run("isolation/post", func(b *testing.B) {
		h := isolation.Wrap(nothing)
		w, r := &sink{h: make(http.Header, 16)}, request("https", "POST", "/")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		r.Header.Set("Origin", "https://app.example")
		b.ReportAllocs()
		for b.Loop() {
			h.ServeHTTP(w, r)
		}
	})
}

func TestAllocationsPerRequest(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	root := must(headers.New(headers.Config{}))
	child := must(root.With("child", func(c *headers.Config) { c.CSP = headers.API().CSP }))
	isolation := must(headers.NewIsolation(headers.IsolationConfig{}))
	for _, c := range []struct {
		name string
		h    http.Handler
		most float64
	}{
		{"a static policy allocates its values", must(headers.New(headers.API())).Wrap(nothing), 1},
		{"a derived static policy does too", child.Wrap(nothing), 1},
		{"a nonce allocates state, request and policy", root.Wrap(nothing), 3},
		{"strict costs no more", must(headers.New(headers.Strict())).Wrap(nothing), 3},
		{"isolation allocates nothing", isolation.Wrap(nothing), 0},
		{"recover allocates its writer and hook", root.Recover(nothing), 2},
		{"the host check allocates nothing", must(headers.NewHostCheck(headers.HostCheckConfig{Hosts: []string{"app.example"}})).Wrap(nothing), 0},
		{"enforce allocates its writer and hook beside the values", must(headers.New(headers.API())).Enforce(nothing), 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, scheme := range []string{"http", "https"} {
				w, r := &sink{h: make(http.Header, 16)}, request(scheme, "POST", "/")
				r.Header.Set("Sec-Fetch-Site", "same-origin")
				if n := testing.AllocsPerRun(100, func() { clear(w.h); c.h.ServeHTTP(w, r) }); n > c.most {
					t.Errorf("%s: %v allocations, promised %v", scheme, n, c.most)
				}
			}
		})
	}
}
