package benchmarks

import (
	"io"
	"log/slog"
	"net/http"
	"testing"

	rscors "github.com/rs/cors"

	"github.com/inovy/hardening/headers/cors"
)

const corsOrigin = "https://app.example"

func ourCORS(tb testing.TB) http.Handler {
	return must(cors.New(cors.Config{
		Origins: []string{corsOrigin}, Credentials: true, Methods: []string{"PUT", "DELETE"},
		RequestHeaders: []string{"Authorization", "Content-Type"}, ResponseHeaders: []string{"X-Total"},
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}))(tb).Wrap(ok)
}

func rsCORS() http.Handler {
	return rscors.New(rscors.Options{
		AllowedOrigins: []string{corsOrigin}, AllowCredentials: true, AllowedMethods: []string{"GET", "HEAD", "POST", "PUT", "DELETE"},
		AllowedHeaders: []string{"Authorization", "Content-Type"}, ExposedHeaders: []string{"X-Total"}, MaxAge: 600,
	}).Handler(ok)
}

// limitCORS is the least that lets one origin read an answer, and shares no
// memory between requests.
func limitCORS(next http.Handler) http.Handler {
	allowed := map[string]struct{}{corsOrigin: {}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if o := r.Header["Origin"]; len(o) == 1 {
			if _, ok := allowed[o[0]]; ok {
				h, v := w.Header(), &[4]string{o[0], "true", "X-Total", "Origin"}
				h["Access-Control-Allow-Origin"], h["Access-Control-Allow-Credentials"] = v[0:1:1], v[1:2:2]
				h["Access-Control-Expose-Headers"], h["Vary"] = v[2:3:3], v[3:4:4]
			}
		}
		next.ServeHTTP(w, r)
	})
}

func corsRequest(method, origin, asks string) *http.Request {
	r := httpsRequest("/records/42")
	r.Method = method
	if origin != "" {
		r.Header.Set("Origin", origin)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
	}
	if asks != "" {
		r.Header.Set("Access-Control-Request-Method", asks)
		r.Header.Set("Access-Control-Request-Headers", "authorization,content-type")
	}
	return r
}

var corsCases = []struct {
	name                 string
	method, origin, asks string
}{
	{"noncors", "GET", "", ""},
	{"actual", "GET", corsOrigin, ""},
	{"actual-hostile", "GET", "https://evil.example", ""},
	{"preflight", "OPTIONS", corsOrigin, "PUT"},
	{"preflight-hostile", "OPTIONS", "https://evil.example", "PUT"},
}

func BenchmarkCORS(b *testing.B) {
	// Preflights have other statuses than 200, so serve cannot be used.
	run := func(b *testing.B, h http.Handler, r *http.Request) {
		w := newResponse()
		b.ReportAllocs()
		for b.Loop() {
			w.reset()
			h.ServeHTTP(w, r)
		}
	}
	for _, c := range corsCases {
		b.Run(c.name, func(b *testing.B) {
			r := corsRequest(c.method, c.origin, c.asks)
			b.Run("hardening", func(b *testing.B) { run(b, ourCORS(b), r) })
			b.Run("rs", func(b *testing.B) { run(b, rsCORS(), r) })
			if c.name == "actual" {
				b.Run("limit", func(b *testing.B) { run(b, limitCORS(ok), r) })
			}
		})
	}
}

// A comparison is only fair when both sides come to the same decision.
func TestCORSRigsAgree(t *testing.T) {
	for _, c := range corsCases {
		var origins []string
		for _, h := range []http.Handler{ourCORS(t), rsCORS()} {
			w := newResponse()
			h.ServeHTTP(w, corsRequest(c.method, c.origin, c.asks))
			origins = append(origins, w.header.Get("Access-Control-Allow-Origin")+" "+w.header.Get("Access-Control-Allow-Credentials"))
		}
		if origins[0] != origins[1] || (origins[0] != " ") != (c.origin == corsOrigin) {
			t.Errorf("%s: %q", c.name, origins)
		}
	}
}
