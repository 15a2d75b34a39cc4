package ratelimit_test

import (
	"bufio"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/inovy/hardening/ratelimit"
)

var fuzzPatterns = []string{
	"POST /login", "/login", "GET /a/{id}", "GET /a/{id}/b", "/a/", "example.com/a/", "/files/{path...}", "GET /exact/{$}", "DELETE /d/{x}/z", "/x/%61b", "/dir/sub/",
}

// A service's mux and the limiter never read one request as two routes: what a
// handler serves was held against the limits of that pattern.
func FuzzRoutes(f *testing.F) {
	for _, seed := range []string{
		"POST /login", "GET /a/7", "HEAD /a/7", "GET //a/7", "GET /a/../login", "POST /%6cogin", "GET /a/%2fb/b", "GET http://example.com/a/x",
		"GET /exact/", "DELETE /d/q/z", "GET /x/ab", "GET /dir", "GET /dir/sub", "GET /dir/sub/", "GET /x%2fab", "OPTIONS *", "CONNECT example.com:443", "GET /files/", "GET /a", "GET /a/7?x=/login", "get /a/7",
	} {
		f.Add(seed, "example.org")
	}
	f.Add("GET /a/x", "example.com:8080")
	var routes []ratelimit.Route
	var served, limited string
	mux := http.NewServeMux()
	for _, p := range fuzzPatterns {
		routes = append(routes, ratelimit.Route{Pattern: p, Limits: []ratelimit.Limit{{N: 1_000_000_000, Per: time.Millisecond}}})
		mux.HandleFunc(p, func(http.ResponseWriter, *http.Request) { served = p })
	}
	l, err := ratelimit.New(ratelimit.Config{
		Routes: routes, IP: []ratelimit.Limit{{N: 1_000_000_000, Per: time.Millisecond}}, Logger: slog.New(slog.DiscardHandler),
		Tiers:   []ratelimit.Tier{{Name: "t", IP: []ratelimit.Limit{{N: 1_000_000_000, Per: time.Millisecond}}}},
		Observe: func(e ratelimit.Event) { limited = e.Route },
	})
	if err != nil {
		f.Fatal(err)
	}
	mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) { served = "" }) // no route
	h := l.Wrap(mux)
	f.Fuzz(func(t *testing.T, line, host string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(line + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n")))
		if err != nil {
			return
		}
		r.RemoteAddr = "192.0.2.1:1"
		served, limited = "nobody", ""
		h.ServeHTTP(httptest.NewRecorder(), r)
		if served != "nobody" && limited != served {
			t.Errorf("%q of %q was served by %q and held against %q", line, host, served, limited)
		}
	})
}

func TestARouteForTheRestIsARoute(t *testing.T) {
	for _, pattern := range []string{"/", "/{rest...}"} {
		l := newLimiter(t, ratelimit.Config{Routes: []ratelimit.Route{
			{Pattern: "POST /login", Limits: []ratelimit.Limit{ratelimit.PerHour(9)}}, {Pattern: pattern, Limits: []ratelimit.Limit{ratelimit.PerHour(2)}},
		}})
		h := l.Wrap(ok)
		for i := range 4 {
			if w := get(h, "192.0.2.1:1", "/anything"); (w.Code == 204) != (i < 2) {
				t.Errorf("%s: request %d of 2: %d", pattern, i+1, w.Code)
			}
		}
	}
}
