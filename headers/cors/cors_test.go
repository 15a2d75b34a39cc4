package cors_test

import (
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/headers/cors"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

type pairs map[string][]string

func send(h http.Handler, method string, header pairs) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "https://api.example/records", nil)
	maps.Copy(r.Header, http.Header(header))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const app = "https://app.example"

var reached = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) })

func preflight(origin, method string, headers ...string) pairs {
	p := pairs{"Origin": {origin}, "Access-Control-Request-Method": {method}}
	if len(headers) > 0 {
		p["Access-Control-Request-Headers"] = headers
	}
	return p
}

func shared() cors.Config {
	return cors.Config{
		Origins: []string{app, "https://*.clinic.example", "https://*.ward.example:8443", "http://localhost:*", "https://[2001:db8::1]"}, Credentials: true,
		Methods: []string{"PUT", "DELETE"}, RequestHeaders: []string{"Authorization", "Content-Type", "X-Trace"}, ResponseHeaders: []string{"X-Total"},
		Logger: slog.New(slog.DiscardHandler),
	}
}

func TestOriginsAreComparedExactly(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-3.4.2")
	h := must(cors.New(shared())).Wrap(reached)
	long := strings.Repeat(strings.Repeat("a", 49)+".", 4)
	for origin, allowed := range map[string]bool{
		app: true, "https://a.clinic.example": true, "https://a.b.clinic.example": true, "https://1.clinic.example": true,
		"https://a.ward.example:8443": true, "http://localhost:3000": true, "http://localhost": true, "https://[2001:db8::1]": true,
		"https://" + long + "clinic.example": true,

		"": false, "null": false, "*": false, "http://app.example": false, "https://app.example:443": false, "https://app.example/": false,
		"HTTPS://app.example": false, "https://APP.example": false, "https://app.example.": false, "https://app.example.evil.example": false,
		"https://evilapp.example": false, "https://app.example@evil.example": false, "https://clinic.example": false, "https://evilclinic.example": false,
		"https://.clinic.example": false, "https://a..clinic.example": false, "https://-a.clinic.example": false, "https://a/.clinic.example": false,
		"https://evil.example/.clinic.example": false, "https://evil.example#.clinic.example": false, "https://u@a.clinic.example": false, "https://a.clinic.example:8443": false,
		"https://A.clinic.example": false, "https://a\x00.clinic.example": false, "https://é.clinic.example": false, "http://a.clinic.example": false,
		"https://a.ward.example": false, "https://a.ward.example:84430": false, "http://localhost:": false, "http://localhost:0": false, "http://localhost:65536": false,
		"http://localhost:+80": false, "http://localhost:3000.evil.example": false, "http://localhost.evil.example": false, "https://localhost": false,
		"https://" + strings.Repeat(long, 2) + "clinic.example": false, app + " " + app: false, app + "," + app: false, " " + app: false, app + "\t": false,
		"https://" + strings.Repeat("a", 64) + ".clinic.example": false, "https://" + strings.Repeat("a.", 1<<16) + "clinic.example": false,
	} {
		w := send(h, "GET", pairs{"Origin": {origin}})
		want := http.Header{"Vary": {"Origin"}}
		if allowed {
			want = http.Header{"Vary": {"Origin"}, "Access-Control-Allow-Origin": {origin}, "Access-Control-Allow-Credentials": {"true"}, "Access-Control-Expose-Headers": {"X-Total"}}
		}
		if w.Code != http.StatusTeapot || !maps.EqualFunc(w.Header(), want, slices.Equal) {
			t.Errorf("%.100q: %d %v, want %v", origin, w.Code, w.Header(), want)
		}
		w = send(h, "OPTIONS", preflight(origin, "PUT"))
		if got := w.Header().Get("Access-Control-Allow-Origin"); allowed != (w.Code == 204 && got == origin) || !allowed && (w.Code != 403 || len(w.Header()) != 1) {
			t.Errorf("preflight of %.100q: %d %v", origin, w.Code, w.Header())
		}
	}
}

const preflightVary = "Access-Control-Request-Headers, Access-Control-Request-Method, Origin"

func TestPreflights(t *testing.T) {
	many := make([]string, 30)
	for _, c := range []struct {
		name    string
		header  pairs
		allowed bool
	}{
		{"a listed method", preflight(app, "PUT"), true},
		{"a method that needs no leave", preflight(app, "POST"), true},
		{"another method", preflight(app, "PATCH"), false},
		{"a method in the wrong case", preflight(app, "put"), false},
		{"no method", preflight(app, ""), false},
		{"two methods", pairs{"Origin": {app}, "Access-Control-Request-Method": {"PUT", "PUT"}}, false},
		{"two origins", pairs{"Origin": {app, app}, "Access-Control-Request-Method": {"PUT"}}, false},
		{"a listed header", preflight(app, "PUT", "authorization"), true},
		{"headers as browsers write them", preflight(app, "PUT", "authorization,content-type"), true},
		{"headers in any case", preflight(app, "PUT", "Authorization,CONTENT-TYPE"), true},
		{"spaces and tabs around names", preflight(app, "PUT", " authorization ,\tcontent-type\t"), true},
		{"headers on several lines", preflight(app, "PUT", "authorization", "content-type, x-trace"), true},
		{"an empty line and empty elements", preflight(app, "PUT", "", ",authorization,,"), true},
		{"another order", preflight(app, "PUT", "x-trace,authorization"), true},
		{"an unlisted header", preflight(app, "PUT", "x-other"), false},
		{"an unlisted one among listed ones", preflight(app, "PUT", "authorization,x-other,content-type"), false},
		{"an unlisted one on the second line", preflight(app, "PUT", "authorization", "x-other"), false},
		{"a space within a name", preflight(app, "PUT", "content -type"), false},
		{"a prefix of a listed name", preflight(app, "PUT", "content"), false},
		{"a wildcard", preflight(app, "PUT", "*"), false},
		{"seventeen empty elements", preflight(app, "PUT", strings.Repeat(",", 17)), false},
		{"a megabyte of spaces", preflight(app, "PUT", strings.Repeat(" ", 1<<20)), false},
		{"a megabyte of names", preflight(app, "PUT", strings.Repeat("authorization,", 1<<16)), false},
		{"a name of a megabyte", preflight(app, "PUT", strings.Repeat("a", 1<<20)), false},
		{"thirty empty lines", preflight(app, "PUT", many...), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := send(must(cors.New(shared())).Wrap(reached), "OPTIONS", c.header)
			want, status := http.Header{"Vary": {preflightVary}}, 403
			if c.allowed {
				status = 204
				want = http.Header{
					"Vary": {preflightVary}, "Access-Control-Allow-Origin": {app}, "Access-Control-Allow-Credentials": {"true"},
					"Access-Control-Allow-Methods": {"PUT,DELETE"}, "Access-Control-Allow-Headers": {"authorization,content-type,x-trace"}, "Access-Control-Max-Age": {"600"},
				}
			}
			if w.Code != status || !maps.EqualFunc(w.Header(), want, slices.Equal) || w.Body.Len() > 0 {
				t.Errorf("%d %v, want %d %v", w.Code, w.Header(), status, want)
			}
		})
	}
}

func TestWhatIsNoPreflightReachesTheHandler(t *testing.T) {
	h := must(cors.New(shared())).Wrap(reached)
	for name, header := range map[string]pairs{
		"OPTIONS without an origin": {"Access-Control-Request-Method": {"PUT"}},
		"OPTIONS without a method":  {"Origin": {app}},
		"OPTIONS alone":             {},
	} {
		if w := send(h, "OPTIONS", header); w.Code != http.StatusTeapot || w.Header().Get("Vary") != "Origin" {
			t.Errorf("%s: %d %v", name, w.Code, w.Header())
		}
	}
	if w := send(h, "POST", preflight("https://evil.example", "PUT")); w.Code != http.StatusTeapot || len(w.Header()) != 1 {
		t.Errorf("CORS keeps nobody out: %d %v", w.Code, w.Header())
	}
}

func TestEveryoneMayReadWithoutCredentials(t *testing.T) {
	h := must(cors.New(cors.Config{Origins: []string{"*"}, Methods: []string{"*"}, RequestHeaders: []string{"*", "Authorization"}, ResponseHeaders: []string{"*"}})).Wrap(reached)
	// Without Origin too: a cache has no Vary to tell it that a page's request differs.
	for _, sent := range []pairs{{"Origin": {"null"}}, {"Origin": {"https://a.example", "https://b.example"}}, {}} {
		if w := send(h, "GET", sent); w.Header().Get("Access-Control-Allow-Origin") != "*" || w.Header()["Vary"] != nil || w.Header().Get("Access-Control-Expose-Headers") != "*" {
			t.Errorf("%v", w.Header())
		}
	}
	w := send(h, "OPTIONS", preflight("https://x.example", "PURGE", "x-any,authorization"))
	if w.Code != 204 || w.Header().Get("Access-Control-Allow-Methods") != "*" || w.Header().Get("Access-Control-Allow-Headers") != "*,authorization" || w.Header()["Access-Control-Allow-Credentials"] != nil {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	h = must(cors.New(cors.Config{Origins: []string{"*"}, RequestHeaders: []string{"*"}})).Wrap(reached)
	if w := send(h, "OPTIONS", preflight("https://x.example", "GET", "authorization")); w.Code != 403 {
		t.Errorf("a wildcard does not cover Authorization: %d", w.Code)
	}
}

func TestTrap_VaryOfOtherLayersStays(t *testing.T) {
	c := must(cors.New(shared()))
	for _, origin := range []string{app, "https://evil.example", ""} {
		for _, method := range []string{"GET", "OPTIONS"} {
			others := []string{"Accept-Encoding", "spare"}[:1] // an append in place would overwrite "spare"
			outer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header()["Vary"] = others
				c.Wrap(reached).ServeHTTP(w, r)
			})
			header := preflight(origin, "PUT")
			if origin == "" {
				delete(header, "Origin")
			}
			vary := send(outer, method, header).Header()["Vary"]
			if len(vary) != 2 || vary[0] != "Accept-Encoding" || !strings.HasSuffix(vary[1], "Origin") || others[:2][1] != "spare" {
				t.Errorf("%s of %q: %q", method, origin, vary)
			}
		}
	}
}

// As in rs/cors#198: what a handler writes into a header must not reach
// another request or instance. Run with -race.
func TestTrap_NoHeaderSliceIsSharedBetweenRequests(t *testing.T) {
	one, two := must(cors.New(shared())), must(cors.New(shared()))
	poison := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for k, v := range w.Header() {
			for _, s := range v {
				if strings.Contains(s, "poison") {
					t.Errorf("another request's change arrived in %s: %q", k, v)
				}
			}
			v[0] = "poison"
			w.Header()[k] = append(v, "poison")
		}
	})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 1250 {
				c := one
				if (n+i)%2 == 0 {
					c = two
				}
				origin := []string{app, "https://evil.example", "http://localhost:1"}[n%3]
				method := []string{"GET", "OPTIONS"}[n/3%2]
				r := httptest.NewRequest(method, "/", nil)
				r.Header["Origin"] = []string{origin}
				r.Header["Access-Control-Request-Method"] = []string{"PUT"}
				w := httptest.NewRecorder()
				c.Wrap(poison).ServeHTTP(w, r)
				if method == "OPTIONS" {
					poison(w, r) // an outer layer that does the same
				}
				if r.Header.Get("Origin") != origin {
					t.Error("the request's own header was shared with the response")
				}
			}
		})
	}
	wg.Wait()
	if got := send(one.Wrap(reached), "GET", pairs{"Origin": {app}}).Header().Get("Vary"); got != "Origin" {
		t.Errorf("Vary is %q for ever", got)
	}
}

func TestReportOnlyLetsEveryoneInWithoutCredentials(t *testing.T) {
	var log strings.Builder
	cfg := shared()
	cfg.DangerouslyReportOnly, cfg.Logger = true, slog.New(slog.NewTextHandler(&log, nil))
	h := must(cors.New(cfg)).Wrap(reached)
	w := send(h, "GET", pairs{"Origin": {"https://new.example"}})
	if w.Header().Get("Access-Control-Allow-Origin") != "https://new.example" || w.Header()["Access-Control-Allow-Credentials"] != nil {
		t.Errorf("%v", w.Header())
	}
	w = send(h, "OPTIONS", preflight(app, "PATCH", "x-new", "x-newer"))
	if w.Code != 204 || w.Header().Get("Access-Control-Allow-Methods") != "PATCH" || w.Header().Get("Access-Control-Allow-Headers") != "x-new,x-newer" ||
		w.Header()["Access-Control-Max-Age"] != nil || w.Header()["Access-Control-Allow-Credentials"] != nil {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if !strings.Contains(log.String(), "malicious_cors") || !strings.Contains(log.String(), "outcome=success") {
		t.Error(log.String())
	}
	w = send(h, "OPTIONS", preflight(app, "A B", "x\x00y", strings.Repeat("z", 1<<20)))
	if w.Header().Get("Access-Control-Allow-Methods") != "PUT,DELETE" || w.Header().Get("Access-Control-Allow-Headers") != "authorization,content-type,x-trace" {
		t.Errorf("nonsense was sent back: %.300v", w.Header())
	}
}

func TestDebugShowsTheStepThatFailed(t *testing.T) {
	cfg := shared()
	cfg.DangerouslyDebug = true
	h := must(cors.New(cfg)).Wrap(reached)
	for name, c := range map[string]struct {
		header pairs
		origin string
	}{
		"origin": {preflight("https://evil.example", "PUT"), ""},
		"method": {preflight(app, "PATCH"), app},
		"header": {preflight(app, "PUT", "x-other"), app},
	} {
		w := send(h, "OPTIONS", c.header)
		if w.Code != 204 || w.Header().Get("Access-Control-Allow-Origin") != c.origin || strings.Contains(fmt.Sprint(w.Header()), "PATCH") || strings.Contains(fmt.Sprint(w.Header()), "x-other") {
			t.Errorf("%s: %d %v", name, w.Code, w.Header())
		}
	}
}

func TestRefusalsBecomeOneEventAMinute(t *testing.T) {
	var log strings.Builder
	cfg := shared()
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	h := must(cors.New(cfg)).Wrap(reached)
	for range 1000 {
		send(h, "OPTIONS", preflight("https://evil.example", "PUT"))
	}
	if n := strings.Count(log.String(), "malicious_cors"); n != 1 || !strings.Contains(log.String(), "object=https://evil.example") {
		t.Errorf("%d events: %s", n, &log)
	}
	log.Reset()
	h = must(cors.New(cfg)).Wrap(reached)
	send(h, "POST", pairs{"Origin": {"https://api.example"}, "Sec-Fetch-Site": {"same-origin"}})
	send(h, "POST", pairs{"Origin": {"https://api.example"}})
	if log.Len() > 0 {
		t.Errorf("our own page's POST is no attack: %s", &log)
	}
}

func TestOnDenyAnswersRefusedPreflights(t *testing.T) {
	cfg := shared()
	cfg.OnDeny = hardening.WriteProblem
	w := send(must(cors.New(cfg)).Wrap(reached), "OPTIONS", preflight("https://evil.example", "PUT"))
	if w.Code != 403 || w.Header().Get("Content-Type") != "application/problem+json" || w.Header().Get("Vary") != preflightVary {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}
