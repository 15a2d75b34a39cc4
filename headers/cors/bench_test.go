package cors_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/inovy/hardening/headers/cors"
)

type sink struct{ h http.Header }

func (s *sink) Header() http.Header         { return s.h }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(int)             {}

// limit is the least that answers one exact origin without sharing memory
// between requests.
func limit(next http.Handler) http.Handler {
	allowed := map[string]struct{}{app: {}}
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

var nothing = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

var cases = []struct {
	name, method string
	header       pairs
	allocs       float64
}{
	{"no origin", "GET", nil, 0},
	{"actual", "GET", pairs{"Origin": {app}}, 1},
	{"actual of a subdomain", "GET", pairs{"Origin": {"https://a.clinic.example"}}, 1},
	{"actual, hostile", "GET", pairs{"Origin": {"https://evil.example"}}, 0},
	{"preflight", "OPTIONS", preflight(app, "PUT", "authorization,content-type"), 1},
	{"preflight, hostile", "OPTIONS", preflight("https://evil.example", "PUT", "authorization"), 0},
}

func asked(method string, header pairs) *http.Request {
	r := httptest.NewRequest(method, "https://api.example/", nil)
	maps.Copy(r.Header, header)
	return r
}

func BenchmarkWrap(b *testing.B) {
	run := func(name string, h http.Handler, r *http.Request) {
		b.Run(name, func(b *testing.B) {
			w := &sink{h: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.h)
				h.ServeHTTP(w, r)
			}
		})
	}
	ours := must(cors.New(shared())).Wrap(nothing)
	for _, c := range cases {
		run(c.name+"/ours", ours, asked(c.method, c.header))
	}
	run("actual/limit", limit(nothing), asked("GET", pairs{"Origin": {app}}))
}

func TestAllocationsPerRequest(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	h := must(cors.New(shared())).Wrap(nothing)
	for _, c := range cases {
		w, r := &sink{h: make(http.Header, 8)}, asked(c.method, c.header)
		if n := testing.AllocsPerRun(500, func() { clear(w.h); h.ServeHTTP(w, r) }); n > c.allocs {
			t.Errorf("%s: %v allocations, promised %v", c.name, n, c.allocs)
		}
	}
}
