package ratelimit

import (
	"bufio"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

var (
	fuzzMethods  = []string{"", "GET", "POST", "HEAD", "CONNECT", "OPTIONS", "get"}
	fuzzHosts    = []string{"", "example.com", "localhost", "example.com:8080", "EXAMPLE.com", "[::1]", "[::1]:80", "example.com:x"}
	fuzzSegments = []string{
		"a", "b", "{x}", "{y}", "{z...}", "{$}", "", "%61", "a%2Fb", "%2f", "%2F", "%25", "%2e%2e", "..", ".", "*", "%C3%A9", "a;b", "{", "}", "%zz", "a.b", "+", "{x...}", "b%20",
	}
)

// word takes a byte off p and picks a word by it.
func word(p *[]byte, words []string) string {
	if len(*p) == 0 {
		return words[0]
	}
	b := (*p)[0]
	*p = (*p)[1:]
	return words[int(b)%len(words)]
}

// fuzzPath takes a path of one to four segments off p.
func fuzzPath(p *[]byte) string {
	var path strings.Builder
	for range len(word(p, []string{"1", "22", "333", "4444"})) {
		path.WriteString("/" + word(p, fuzzSegments))
	}
	return path.String()
}

// fuzzPatterns reads patterns off p: each takes up to seven bytes.
func fuzzPatterns(p []byte) []string {
	var all []string
	for len(p) > 0 && len(all) < 8 {
		method := word(&p, append(fuzzMethods, "", "", "GET", "POST"))
		if method != "" {
			method += " "
		}
		all = append(all, method+word(&p, append(fuzzHosts, make([]string, 16)...))+fuzzPath(&p))
	}
	return all
}

// fuzzRequest reads a request from a line, or else off p: one as a server reads
// it, or one with a URL that a middleware has rewritten.
func fuzzRequest(line, host string, p []byte) *http.Request {
	if line == "" {
		method, target := word(&p, fuzzMethods[1:]), word(&p, []string{"", "", "", "http://example.com", "*", "example.com:443", "?", "http:"})
		host = word(&p, fuzzHosts)
		if target == "" || strings.HasSuffix(target, ".com") {
			target += fuzzPath(&p)
		}
		if word(&p, []string{"read", "rewritten"}) == "rewritten" {
			return &http.Request{
				Method: word(&p, append(fuzzMethods, "")), Host: host, RemoteAddr: "192.0.2.1:1", Header: http.Header{}, Body: http.NoBody, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
				URL: &url.URL{Path: target, RawPath: word(&p, []string{"", fuzzPath(&p), "/"}), Host: word(&p, fuzzHosts)},
			}
		}
		line = method + " " + target
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(line + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n")))
	if err != nil {
		return nil
	}
	r.RemoteAddr = "192.0.2.1:1"
	return r
}

// routed is the handler of a pattern in a mux of the tests.
type routed struct {
	pattern string
	to      *string
}

func (h routed) ServeHTTP(http.ResponseWriter, *http.Request) { *h.to = h.pattern }

// takes registers a pattern, unless mux refuses it, which it does by a panic.
func takes(mux *http.ServeMux, pattern string, to *string) (ok bool) {
	defer func() { ok = recover() == nil }()
	mux.Handle(pattern, routed{pattern, to})
	return true
}

// sameAsAServeMux compares what is found for a request with what mux finds.
func sameAsAServeMux(t *testing.T, m *matcher, mux *http.ServeMux, routes []Route, r *http.Request) string {
	t.Helper()
	h, want := mux.Handler(r)
	i, final := m.find(r)
	got := ""
	if i >= 0 {
		got = routes[i].Pattern
	}
	_, isRoute := h.(routed)
	if redirect := !isRoute && fmt.Sprintf("%T", h) == "*http.redirectHandler"; redirect && r.Method == http.MethodConnect {
		// A mux names the path that it redirects to, in place of the pattern there.
		there := *r
		there.Host = r.URL.Host
		there.URL = &url.URL{Host: r.URL.Host, Path: r.URL.Path + "/"}
		if r.URL.RawPath != "" {
			there.URL.RawPath = r.URL.EscapedPath() + "/"
		}
		_, want = mux.Handler(&there)
	}
	if got != want {
		t.Errorf("%s of %q, path %q: %q is found, and %q by a ServeMux of %v", r.Method, r.Host, r.URL.EscapedPath(), got, want, routes)
	}
	if i >= 0 && final != isRoute {
		t.Errorf("%s of %q, path %q: served by %q: %t, by a ServeMux: %t", r.Method, r.Host, r.URL.EscapedPath(), got, final, isRoute)
	}
	return got
}

// A limiter reads a pattern and a request as a ServeMux does. What New accepts, a
// mux accepts, and what a mux takes for a conflict is one. A request is held
// against the pattern that a mux of the same patterns finds; and what a service
// serves under one of them, though its mux has other patterns too, was held
// against that one.
func checkRoutes(t *testing.T, store Store, patterns, further, line, host string, raw []byte) {
	loose := []Limit{{N: 1_000_000_000, Per: time.Millisecond}}
	var served string
	candidates := strings.Split(patterns, "\n")
	if patterns == "" {
		half := len(raw) / 2
		candidates, raw = fuzzPatterns(raw[:half]), raw[half:]
	}
	mux, service := http.NewServeMux(), http.NewServeMux()
	var routes []Route
	unlimited := map[string]bool{}
	for i, p := range candidates[:min(len(candidates), 16)] {
		reason := ""
		parseRoutes(append(routes, Route{Pattern: p}), func(_ int, why, _ string) { reason = why })
		switch taken := takes(mux, p, &served); {
		case reason == "" && !taken:
			t.Fatalf("%q is accepted beside %v, and no ServeMux takes it", p, routes)
		case reason == "":
			unlimited[p] = i%4 == 3
			r := Route{Pattern: p, DangerouslyUnlimited: unlimited[p], Limits: loose}
			if unlimited[p] {
				r.Limits = nil
			}
			routes = append(routes, r)
			takes(service, p, &served)
		case taken: // outside the subset: the mux that is compared is made anew
			if strings.Contains(reason, "Routes[") {
				t.Fatalf("%q beside %v: %s; a ServeMux takes it", p, routes, reason)
			}
			mux = http.NewServeMux()
			for _, r := range routes {
				takes(mux, r.Pattern, &served)
			}
		}
	}
	r := fuzzRequest(line, host, raw)
	if len(routes) == 0 || r == nil {
		return
	}
	if further == "" {
		further = strings.Join(fuzzPatterns(raw[len(raw)/2:]), "\n")
	}
	for p := range strings.SplitSeq(further, "\n") {
		takes(service, p, &served)
	}
	limited := "nothing"
	l, err := New(Config{
		Routes: routes, IP: loose, Tiers: []Tier{{Name: "t", IP: loose}}, Store: store, Logger: slog.New(slog.DiscardHandler),
		Observe: func(e Event) { limited = e.Route },
	})
	if err != nil {
		t.Fatal(err)
	}

	got := sameAsAServeMux(t, l.match, mux, routes, r)
	l.Wrap(service).ServeHTTP(httptest.NewRecorder(), r)
	_, known := unlimited[served]
	switch {
	case known && unlimited[served] && limited == "nothing":
	case known && limited != served:
		t.Errorf("%s of %q, path %q: served by %q and held against %q of %v, beside %q", r.Method, r.Host, r.URL.EscapedPath(), served, limited, routes, further)
	case limited == "nothing" && !unlimited[got]:
		t.Errorf("%s of %q, path %q: not counted, though held against %q", r.Method, r.Host, r.URL.EscapedPath(), got)
	}
}

func FuzzRoutes(f *testing.F) {
	all := strings.Join([]string{
		"POST /login", "/login", "GET /a/{id}", "GET /a/{id}/b", "/a/", "example.com/a/", "/files/{path...}", "GET /exact/{$}", "DELETE /d/{x}/z", "/x/%61b", "/dir/sub/", "localhost/", "CONNECT /{x}/", "/tree", "/tree/",
	}, "\n")
	for _, line := range []string{
		"POST /login", "GET /a/7", "HEAD /a/7", "GET //a/7", "GET /a/../login", "POST /%6cogin", "GET /a/%2fb/b", "GET http://example.com/a/x", "CONNECT /dir",
		"GET /exact/", "DELETE /d/q/z", "GET /x/ab", "GET /dir", "GET /dir/sub", "GET /dir/sub/", "GET /x%2fab", "OPTIONS *", "CONNECT example.com:443", "GET /files/", "GET /a", "GET /a/7?x=/login", "get /a/7",
		"GET /exact", "GET /exact/%2F", "GET /exact/%2F/", "GET /a/%2F", "GET /a/.", "GET /files/..", "GET /files/%2e%2e/login", "CONNECT //a/7", "CONNECT /a/../login", "GET /a/%zz", "GET /tree", "GET /tree/", "GET /tree/%2F", "GET *", "GET http://example.com", "GET /a/7;b/b", "HEAD /login",
	} {
		f.Add(all, "", line, "example.org", []byte(nil))
	}
	f.Add(all, "/a/7\nPOST /a/{id}", "GET /a/x", "example.com:8080", []byte(nil))
	f.Add("/\n/b/{$}\nGET /{a}/b", "/b", "GET /b", "EXAMPLE.com", []byte(nil))
	f.Add("", "", "", "", []byte("\x00\x00\x01\x00\x02\x01\x00\x01\x00\x06"))
	f.Add("", "", "", "", []byte("\x00\x00\x02\x00\x02\x02\x05\x00\x00\x00\x00\x01\x00\x0a"))
	store := newStore(f, MemoryConfig{MaxBytes: 16 << 20})
	f.Fuzz(func(t *testing.T, patterns, further, line, host string, raw []byte) {
		checkRoutes(t, store, patterns, further, line, host, raw)
	})
}

func TestRandomRoutesAreReadAsByAServeMux(t *testing.T) {
	store := newStore(t, MemoryConfig{MaxBytes: 16 << 20})
	random := rand.New(rand.NewPCG(1, 9))
	for range 5000 {
		raw := make([]byte, 8+random.IntN(72))
		for i := range raw {
			raw[i] = byte(random.Uint32())
		}
		if checkRoutes(t, store, "", "", "", "", raw); t.Failed() {
			t.Fatalf("%q", raw)
		}
	}
}

func TestARouteForTheRestIsARoute(t *testing.T) {
	for _, pattern := range []string{"/", "/{rest...}"} {
		l, err := New(Config{Routes: []Route{{Pattern: "POST /login", Limits: []Limit{PerHour(9)}}, {Pattern: pattern, Limits: []Limit{PerHour(2)}}}, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		h := l.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		for i := range 4 {
			w := httptest.NewRecorder()
			if h.ServeHTTP(w, httptest.NewRequest("GET", "/anything", nil)); (w.Code == 200) != (i < 2) {
				t.Errorf("%s: request %d of 2: %d", pattern, i+1, w.Code)
			}
		}
	}
}

// A ServeMux names the path that it redirects a CONNECT to, which is no route of
// the limiter's.
func TestAConnectThatIsRedirectedIsHeldAgainstTheRoute(t *testing.T) {
	var limited []string
	l, err := New(Config{
		Routes: []Route{{Pattern: "/{tree}/", Limits: []Limit{PerHour(9)}}}, Logger: slog.New(slog.DiscardHandler),
		Observe: func(e Event) { limited = append(limited, e.Route) },
	})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	l.Wrap(http.NotFoundHandler()).ServeHTTP(w, fuzzRequest("CONNECT /oak", "example.com", nil))
	if w.Code != http.StatusNotFound || len(limited) != 1 || limited[0] != "/{tree}/" {
		t.Errorf("%d, held against %q", w.Code, limited)
	}
}

// A ServeMux takes a port off the host, but for a CONNECT, of which it first
// asks for a redirect at the host of the URL.
func TestHostsAreComparedAsByAServeMux(t *testing.T) {
	routes := []Route{{Pattern: "a.example/tree/"}, {Pattern: "CONNECT b.example/tree/"}, {Pattern: "CONNECT a.example/tree/x"}, {Pattern: "/"}}
	m := newMatcher(parseRoutes(routes, func(i int, reason, _ string) { t.Error(i, reason) }))
	mux := http.NewServeMux()
	for _, r := range routes {
		takes(mux, r.Pattern, new(string))
	}
	hosts := []string{"", "a.example", "b.example", "a.example:80", "a.example:http:80", "A.example", "a.example.", "[::1]:80", ":80"}
	for _, method := range []string{"GET", "CONNECT"} {
		for _, path := range []string{"/tree", "/tree/", "/tree/x", "/x"} {
			for _, host := range hosts {
				for _, of := range hosts {
					sameAsAServeMux(t, m, mux, routes, &http.Request{Method: method, Host: host, URL: &url.URL{Host: of, Path: path}})
				}
			}
		}
	}
}

func TestAPlainRequestIsMatchedWithoutAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	patterns := parseRoutes([]Route{
		{Pattern: "POST /login"}, {Pattern: "GET /a/{id}/b"}, {Pattern: "GET /a/{id}/{rest...}"}, {Pattern: "example.com/c/"}, {Pattern: "/dir/sub/"}, {Pattern: "GET /exact/{$}"},
	}, func(i int, reason, _ string) { t.Error(i, reason) })
	m := newMatcher(patterns)
	for target, route := range map[string]int{
		"POST /login": 0, "GET /login": -1, "GET /a/7/b": 1, "HEAD /a/7/c/d": 2, "POST /c/7": 3, "PUT /dir/sub": 4, "PUT /dir/sub/x/y/z": 4, "GET /exact/": 5, "GET /about/us": -1, "GET /": -1,
	} {
		method, path, _ := strings.Cut(target, " ")
		r := httptest.NewRequest(method, "http://example.com:8080"+path, nil)
		i := -2
		if got := testing.AllocsPerRun(100, func() { i, _ = m.find(r) }); got != 0 || i != route {
			t.Errorf("%s: route %d, want %d; %v allocations", target, i, route, got)
		}
	}
}

// Under it a ServeMux takes "GET /{a}" for a host and a path.
func TestTheOldServeMuxIsAFault(t *testing.T) {
	if os.Getenv("TEST_OLD_MUX") == "" {
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTheOldServeMuxIsAFault$")
		c.Env = append(os.Environ(), "TEST_OLD_MUX=1", "GODEBUG=httpmuxgo121=1")
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	_, err := New(Config{Routes: []Route{{Pattern: "GET /a", Limits: []Limit{PerHour(1)}}}})
	if err == nil || !strings.Contains(err.Error(), "httpmuxgo121") {
		t.Errorf("%v", err)
	}
	if _, err := New(Config{}); err != nil {
		t.Errorf("without routes: %v", err)
	}
}
