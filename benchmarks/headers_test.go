package benchmarks

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/unrolled/secure"

	"github.com/inovy/hardening/headers"
)

// The policy of the cases: the ten headers of headers.Web, in "static" with a
// CSP that has no nonce. They are written out here, not taken from the room, so
// that TestHeaderRigsAgree proves that all rigs send the same.
const (
	staticCSP   = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; manifest-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; upgrade-insecure-requests"
	cspToNonce  = "default-src 'none'; script-src 'nonce-"
	cspFromThen = "' 'strict-dynamic'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; manifest-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; upgrade-insecure-requests"
)

var policyHeaders = []struct{ key, value string }{
	{"Content-Security-Policy", staticCSP}, // first: the nonce case replaces it
	{"Strict-Transport-Security", "max-age=31536000; includeSubDomains"},
	{"X-Frame-Options", "DENY"},
	{"X-Content-Type-Options", "nosniff"},
	{"Referrer-Policy", "strict-origin-when-cross-origin"},
	{"Permissions-Policy", "geolocation=(), microphone=(), camera=()"},
	{"Cross-Origin-Opener-Policy", "same-origin"},
	{"Cross-Origin-Resource-Policy", "same-origin"},
	{"X-Permitted-Cross-Domain-Policies", "none"},
	{"Cache-Control", "no-store, max-age=0"},
}

const policySize = 10

// limitStatic is the least that sends the policy without sharing memory
// between requests: one backing array each, cut so that an append cannot reach
// the next header.
func limitStatic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, values := w.Header(), new([policySize]string)
		for i := range policyHeaders {
			if i == 1 && r.TLS == nil {
				continue
			}
			values[i] = policyHeaders[i].value
			h[policyHeaders[i].key] = values[i : i+1 : i+1]
		}
		next.ServeHTTP(w, r)
	})
}

// limitState is a request's context and the memory of its header values in
// one allocation.
type limitState struct {
	context.Context
	nonce  string
	values [policySize]string
}

type limitKey struct{}

func (s *limitState) Value(key any) any {
	if _, ok := key.(limitKey); ok {
		return s
	}
	return s.Context.Value(key)
}

func limitNonce(ctx context.Context) string {
	if s, ok := ctx.Value(limitKey{}).(*limitState); ok {
		return s.nonce
	}
	return ""
}

// limitWithNonce adds a nonce of 128 bits, which the handler can read from
// its context. The least that needs is three allocations: the state, the
// policy, the copy of the request.
func limitWithNonce(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, h := &limitState{Context: r.Context()}, w.Header()
		var policy [len(cspToNonce) + 22 + len(cspFromThen)]byte
		var raw [16]byte
		_, _ = rand.Read(raw[:]) // never fails
		n := copy(policy[:], cspToNonce)
		base64.RawStdEncoding.Encode(policy[n:], raw[:])
		copy(policy[n+22:], cspFromThen)
		csp := string(policy[:])
		s.nonce = csp[n : n+22]
		for i := range policyHeaders {
			if i == 1 && r.TLS == nil {
				continue
			}
			s.values[i] = policyHeaders[i].value
			h[policyHeaders[i].key] = s.values[i : i+1 : i+1]
		}
		s.values[0] = csp
		next.ServeHTTP(w, r.WithContext(s))
	})
}

// handwrittenHeaders is what most services do.
func handwrittenHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, p := range policyHeaders {
			w.Header().Set(p.key, p.value)
		}
		next.ServeHTTP(w, r)
	})
}

// unrolledOptions has all headers but Cache-Control, which unrolled/secure
// cannot send: it does a tenth less.
func unrolledOptions(csp string) secure.Options {
	return secure.Options{
		STSSeconds: 31536000, STSIncludeSubdomains: true, FrameDeny: true, ContentTypeNosniff: true,
		ContentSecurityPolicy: csp, ReferrerPolicy: "strict-origin-when-cross-origin",
		PermissionsPolicy:       "geolocation=(), microphone=(), camera=()",
		CrossOriginOpenerPolicy: "same-origin", CrossOriginResourcePolicy: "same-origin",
		XPermittedCrossDomainPolicies: "none",
	}
}

func staticPolicy(tb testing.TB) *headers.Middleware {
	cfg := headers.Web()
	cfg.CSP.ScriptSrc = []headers.Source{headers.Self}
	return must(headers.New(cfg))(tb)
}

func noncePolicy(tb testing.TB) *headers.Middleware { return must(headers.New(headers.Web()))(tb) }

func unrolledStatic() *secure.Secure { return secure.New(unrolledOptions(staticCSP)) }

func unrolledNonce() *secure.Secure {
	// Its placeholder already becomes 'nonce-...'.
	csp := strings.TrimSuffix(cspToNonce, "'nonce-") + "$NONCE" + strings.TrimPrefix(cspFromThen, "'")
	return secure.New(unrolledOptions(csp))
}

// The handlers of the nonce case read the nonce, as a template would.
func reads(nonce func(context.Context) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(nonce(r.Context())) < 22 {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusOK)
	})
}

func BenchmarkHeaders(b *testing.B) {
	r := httpsRequest("/records/42")
	b.Run("static", func(b *testing.B) {
		b.Run("hardening", func(b *testing.B) { serve(b, staticPolicy(b).Wrap(ok), r) })
		b.Run("limit", func(b *testing.B) { serve(b, limitStatic(ok), r) })
		b.Run("handwritten", func(b *testing.B) { serve(b, handwrittenHeaders(ok), r) })
		b.Run("unrolled", func(b *testing.B) { serve(b, unrolledStatic().Handler(ok), r) })
		b.Run("bare", func(b *testing.B) { serve(b, ok, r) })
	})
	b.Run("nonce", func(b *testing.B) {
		b.Run("hardening", func(b *testing.B) { serve(b, noncePolicy(b).Wrap(reads(headers.Nonce)), r) })
		b.Run("limit", func(b *testing.B) { serve(b, limitWithNonce(reads(limitNonce)), r) })
		b.Run("unrolled", func(b *testing.B) { serve(b, unrolledNonce().Handler(reads(secure.CSPNonce)), r) })
	})
	// The same with a new header map for each response, as net/http makes it.
	b.Run("freshmap", func(b *testing.B) {
		fresh := func(b *testing.B, h http.Handler) {
			w := newResponse()
			b.ReportAllocs()
			for b.Loop() {
				w.header, w.status = make(http.Header), 0
				h.ServeHTTP(w, r)
			}
		}
		b.Run("hardening", func(b *testing.B) { fresh(b, staticPolicy(b).Wrap(ok)) })
		b.Run("limit", func(b *testing.B) { fresh(b, limitStatic(ok)) })
		b.Run("handwritten", func(b *testing.B) { fresh(b, handwrittenHeaders(ok)) })
		b.Run("unrolled", func(b *testing.B) { fresh(b, unrolledStatic().Handler(ok)) })
	})
}

// A comparison is only fair when all sides send the same.
func TestHeaderRigsAgree(t *testing.T) {
	sent := func(h http.Handler) http.Header {
		w := newResponse()
		h.ServeHTTP(w, httpsRequest("/"))
		return w.header
	}
	withoutNonce := func(h http.Header) http.Header {
		h = maps.Clone(h)
		csp := h.Get("Content-Security-Policy")
		if from := strings.Index(csp, "'nonce-"); from >= 0 {
			to := strings.IndexByte(csp[from+1:], '\'') + from + 1
			h.Set("Content-Security-Policy", csp[:from]+"'nonce-...'"+csp[to+1:])
		}
		return h
	}
	for _, tt := range []struct {
		name      string
		want, got http.Handler
		lacks     string
	}{
		{"static hardening sends what the limit sends", limitStatic(ok), staticPolicy(t).Wrap(ok), ""},
		{"static handwritten sends what the limit sends", limitStatic(ok), handwrittenHeaders(ok), ""},
		{"static unrolled sends all but Cache-Control", limitStatic(ok), unrolledStatic().Handler(ok), "Cache-Control"},
		{"nonce hardening sends what the limit sends", limitWithNonce(ok), noncePolicy(t).Wrap(ok), ""},
		{"nonce unrolled sends all but Cache-Control", limitWithNonce(ok), unrolledNonce().Handler(ok), "Cache-Control"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want, got := withoutNonce(sent(tt.want)), withoutNonce(sent(tt.got))
			delete(want, tt.lacks)
			if !maps.EqualFunc(want, got, slices.Equal) {
				t.Errorf("sends\n%v\nwant\n%v", got, want)
			}
		})
	}
}
