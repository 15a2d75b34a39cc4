package ratelimit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/ratelimit"
)

func newLimiter(t testing.TB, cfg ratelimit.Config) *ratelimit.Limiter {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	l, err := ratelimit.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func get(h http.Handler, remote, path string, headers ...string) *httptest.ResponseRecorder {
	method, path, ok := strings.Cut(path, " ")
	if !ok {
		method, path = "GET", method
	}
	r := httptest.NewRequest(method, path, nil)
	r.RemoteAddr = remote
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

var ok = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })

// user answers with the X-User and X-Tier headers: a stand-in for a session.
func user(r *http.Request) (ratelimit.Identity, error) {
	if r.Header.Get("X-User") == "broken" {
		return ratelimit.Identity{User: "ignored"}, errors.New("session store is gone")
	}
	return ratelimit.Identity{User: r.Header.Get("X-User"), Tier: r.Header.Get("X-Tier")}, nil
}

func TestRefusal(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-2.4.1")
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, ratelimit.Config{Tiers: []ratelimit.Tier{{Name: "one", IP: []ratelimit.Limit{ratelimit.PerMinute(2)}}}})
		h := l.Wrap(ok)
		for i := range 2 {
			w := get(h, "192.0.2.1:1", "/")
			if w.Code != 204 || w.Header().Get("Ratelimit-Policy") != `"one-ip-1m";q=2;w=60` || w.Header().Get("Ratelimit") == "" {
				t.Fatalf("%d: %d %v", i, w.Code, w.Header())
			}
			time.Sleep(time.Second / 2)
		}
		w := get(h, "192.0.2.1:2", "/")
		if w.Code != 429 || w.Header().Get("Retry-After") != "59" || w.Header().Get("Cache-Control") != "no-store" ||
			w.Header().Get("Ratelimit") != `"one-ip-1m";r=0;t=59` {
			t.Errorf("%d %v", w.Code, w.Header())
		}
		var p struct {
			Type     string
			Status   int
			Violated []string `json:"violated-policies"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Status != 429 || len(p.Violated) != 1 || p.Violated[0] != "one-ip-1m" || !strings.Contains(p.Type, "quota-exceeded") {
			t.Errorf("%s, %v", w.Body, err)
		}
		after, _ := strconv.Atoi(w.Header().Get("Retry-After"))
		time.Sleep(time.Duration(after) * time.Second)
		if w := get(h, "192.0.2.1:1", "/"); w.Code != 204 {
			t.Errorf("refused when it was told to come back: %d", w.Code)
		}
	})
}

// Retry-After has whole seconds, rounded up: who comes back then is never early.
func TestRetryAfterIsRoundedUp(t *testing.T) {
	for _, waited := range []time.Duration{0, 200 * time.Millisecond, 499 * time.Millisecond, 501 * time.Millisecond, 1400 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			l := newLimiter(t, ratelimit.Config{IP: []ratelimit.Limit{{N: 1, Per: 1500 * time.Millisecond}}})
			h := l.Wrap(ok)
			get(h, "192.0.2.1:1", "/")
			time.Sleep(waited)
			w := get(h, "192.0.2.1:1", "/")
			after, err := strconv.Atoi(w.Header().Get("Retry-After"))
			if w.Code != 429 || err != nil {
				t.Fatalf("%d %v", w.Code, w.Header())
			}
			time.Sleep(time.Duration(after) * time.Second)
			if w := get(h, "192.0.2.1:1", "/"); w.Code != 204 {
				t.Errorf("after %v told to wait %d s, and refused then: %d", waited, after, w.Code)
			}
		})
	}
}

func TestWhoIsCounted(t *testing.T) {
	tiers := []ratelimit.Tier{
		{Name: "free", User: []ratelimit.Limit{ratelimit.PerHour(3)}, IP: []ratelimit.Limit{ratelimit.PerHour(5)}},
		{Name: "pro", User: []ratelimit.Limit{ratelimit.PerHour(6)}},
	}
	admitted := func(h http.Handler, requests ...[]string) (n int) {
		for _, r := range requests {
			if get(h, r[0], r[1], r[2:]...).Code == 204 {
				n++
			}
		}
		return n
	}
	times := func(n int, r ...string) (out [][]string) {
		for range n {
			out = append(out, r)
		}
		return out
	}
	for _, tt := range []struct {
		name     string
		requests [][]string
		want     int
	}{
		{"an anonymous address has the lowest tier's limit", times(9, "192.0.2.1:1", "/"), 5},
		{"a user is limited over all addresses", append(times(2, "192.0.2.1:1", "/", "X-User", "u"), times(9, "192.0.2.2:1", "/", "X-User", "u")...), 3},
		{"a better tier has more, and keeps what was used", append(times(9, "192.0.2.1:1", "/", "X-User", "u"), times(9, "192.0.2.2:1", "/", "X-User", "u", "X-Tier", "pro")...), 6},
		{"an unknown tier is the lowest", times(9, "192.0.2.1:1", "/", "X-User", "u", "X-Tier", "platinum"), 3},
		{"a failing Identify leaves the address limits", times(9, "192.0.2.1:1", "/", "X-User", "broken"), 5},
		{"an IPv6 customer is its /64", append(times(3, "[2001:db8::1]:1", "/"), times(9, "[2001:db8::ffff:2]:1", "/")...), 5},
		{"a mapped IPv4 address is the address", append(times(3, "192.0.2.1:1", "/"), times(9, "[::ffff:192.0.2.1]:1", "/")...), 5},
		{"requests without an address share one counter", append(times(3, "@", "/"), times(9, "", "/")...), 5},
		{"a spoofed header is not an address", append(times(3, "192.0.2.1:1", "/", "X-Forwarded-For", "6.6.6.6"), times(9, "192.0.2.1:1", "/", "X-Forwarded-For", "7.7.7.7")...), 5},
		{"a user name cannot be mistaken for another's", append(times(9, "192.0.2.1:1", "/", "X-User", "a"), times(9, "192.0.2.2:1", "/", "X-User", "a ")...), 6},
		{"a login counts by address whoever sends it", append(times(9, "192.0.2.1:1", "POST /guess", "X-User", "a"), times(9, "192.0.2.1:1", "POST /guess", "X-User", "b")...), 2},
		{"the route's limit holds beside the others", append(times(9, "192.0.2.1:1", "POST /login"), times(9, "192.0.2.1:1", "/")...), 2 + 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLimiter(t, ratelimit.Config{Tiers: tiers, Identify: user, Routes: []ratelimit.Route{
				{Pattern: "POST /login", Limits: []ratelimit.Limit{ratelimit.PerHour(2)}},
				{Pattern: "POST /guess", Limits: []ratelimit.Limit{ratelimit.PerHour(2)}, ByAddress: true},
			}})
			if got := admitted(l.Wrap(ok), tt.requests...); got != tt.want {
				t.Errorf("%d admitted, want %d", got, tt.want)
			}
		})
	}
}

type brokenStore struct{ ratelimit.Store }

func (brokenStore) TakeAll(context.Context, []ratelimit.Charge, []ratelimit.State) (bool, error) {
	return false, errors.New("redis://:hunter2@db refused")
}

func TestABrokenStoreIsNeitherOpenNorA500(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.5.3")
	ran := false
	l := newLimiter(t, ratelimit.Config{Store: brokenStore{}})
	w := get(l.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran = true })), "192.0.2.1:1", "/")
	if w.Code != 503 || ran || strings.Contains(w.Body.String(), "hunter2") {
		t.Errorf("%d, handler ran %t, %s", w.Code, ran, w.Body)
	}
}

func TestReportOnlyRefusesNothingAndSaysSo(t *testing.T) {
	var events bytes.Buffer
	seen := 0
	l := newLimiter(t, ratelimit.Config{
		DangerouslyReportOnly: true, IP: []ratelimit.Limit{ratelimit.PerHour(1)},
		Logger:  slog.New(slog.NewTextHandler(&events, nil)),
		Observe: func(e ratelimit.Event) { seen += map[bool]int{true: 1}[e.Decision.ReportOnly] },
	})
	h := l.Wrap(ok)
	for range 5 {
		if w := get(h, "192.0.2.1:1", "/"); w.Code != 204 {
			t.Errorf("refused with %d", w.Code)
		}
	}
	if seen != 4 || !strings.Contains(events.String(), "report_only=true") {
		t.Errorf("%d reports, events %s", seen, &events)
	}
}

// r and t must never promise more than the limit: a client that spends r
// evenly until t is not refused (draft-ietf-httpapi-ratelimit-headers-11).
func TestHeaderFieldsAreStructuredAndHonest(t *testing.T) {
	policy := regexp.MustCompile(`^"[A-Za-z0-9._-]+";q=\d+;w=[1-9]\d*$`)
	state := regexp.MustCompile(`^"[A-Za-z0-9._-]+";r=(\d+);t=(\d+)$`)
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, ratelimit.Config{IP: []ratelimit.Limit{{N: 60, Per: time.Minute, Name: "a.b-c_D"}}, Tiers: []ratelimit.Tier{{Name: "t", IP: []ratelimit.Limit{ratelimit.PerHour(100000)}}}})
		h := l.Wrap(ok)
		for range 80 {
			w := get(h, "192.0.2.1:1", "/")
			if v := w.Header()["Ratelimit-Policy"]; len(v) != 1 || !policy.MatchString(v[0]) {
				t.Fatalf("policy %q", v)
			}
			m := state.FindStringSubmatch(w.Header().Get("Ratelimit"))
			if m == nil {
				t.Fatalf("state %q", w.Header().Get("Ratelimit"))
			}
			r, _ := strconv.Atoi(m[1])
			secs, _ := strconv.Atoi(m[2])
			if w.Code == 204 && r > 0 && float64(r)/float64(secs) > 1.0001 {
				t.Fatalf("promises %d in %d s of a limit of one a second", r, secs)
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
}

// What a large Burst of a slow limit has left takes longer than a duration can
// say. The header still promises no quicker pace than the limit's.
func TestTheHeaderOfAHugeBurstPromisesNoQuickerPace(t *testing.T) {
	for _, limit := range []ratelimit.Limit{
		{N: 1, Per: 9600 * time.Hour, Burst: 1_000_000_000}, {N: 1000, Per: 24 * time.Hour, Burst: 1_000_000_000}, {N: 1, Per: 24 * time.Hour, Burst: 1_000_000},
	} {
		limit.Name = "slow"
		h := newLimiter(t, ratelimit.Config{
			IP:    []ratelimit.Limit{limit},
			Cost:  func(r *http.Request) int64 { n, _ := strconv.ParseInt(r.URL.Query().Get("cost"), 10, 64); return n },
			Tiers: []ratelimit.Tier{{Name: "t", User: []ratelimit.Limit{ratelimit.PerHour(10)}}},
		}).Wrap(ok)
		for _, tt := range []struct {
			path string
			code int
		}{{"/", 204}, {"/?cost=" + strconv.FormatInt(limit.Burst, 10), 429}} {
			w := get(h, "192.0.2.1:1", tt.path)
			var left, within int64
			if _, err := fmt.Sscanf(w.Header().Get("RateLimit"), `"slow";r=%d;t=%d`, &left, &within); err != nil || w.Code != tt.code {
				t.Fatalf("%d, %v, %v", w.Code, w.Header(), err)
			}
			pace := min(float64(left)*limit.Per.Seconds()/float64(limit.N), float64(1<<62)/1e9)
			if float64(within) < pace-1 {
				t.Errorf("%v: %d left within %d s, want at least %.0f s", limit, left, within, pace)
			}
			if after := w.Header().Get("Retry-After"); tt.code == 429 && after != strconv.FormatInt(within, 10) {
				t.Errorf("Retry-After %s beside t=%d", after, within)
			}
		}
	}
}

func TestHostileRequestsAreNeverA500(t *testing.T) {
	l := newLimiter(t, ratelimit.Config{
		Identify: user, IP: []ratelimit.Limit{ratelimit.PerHour(3)},
		Routes: []ratelimit.Route{{Pattern: "POST /login", Limits: []ratelimit.Limit{ratelimit.PerHour(2)}}, {Pattern: "/a/{id}", Limits: []ratelimit.Limit{ratelimit.PerHour(2)}}},
		Cost:   func(*http.Request) int64 { return 1 },
	})
	h := l.Wrap(ok)
	remotes := []string{"", "@", ":", "[::1%eth0]:1", "1.2.3.4", "999.1.1.1:1", "[::ffff:0:0]:1", strings.Repeat("9", 1<<16), "\x00:1"}
	targets := []string{"POST //login", "POST /%6cogin", "GET /a/%2e%2e/", "GET /a//x", "OPTIONS *", "PROPFIND /", "GET /" + strings.Repeat("a/", 5000)}
	for _, remote := range remotes {
		for _, target := range targets {
			for _, u := range []string{"", "broken", strings.Repeat("x", 1<<16), "\r\n"} {
				r := httptest.NewRequest("GET", "/", nil)
				method, path, _ := strings.Cut(target, " ")
				r.Method, r.URL.Path, r.RemoteAddr = method, path, remote
				r.Header["X-User"] = []string{u}
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code != 204 && w.Code != 429 {
					t.Errorf("%.20q %.20q: %d", remote, target, w.Code)
				}
			}
		}
	}
	for _, remote := range []string{"", "@", "not an address"} {
		if w := get(h, remote, "/"); w.Code != 429 {
			t.Errorf("%q was not held against the counter of those without an address: %d", remote, w.Code)
		}
	}
}

func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	many := []ratelimit.Limit{{N: 1 << 29, Per: time.Hour}, {N: 1 << 29, Per: time.Minute}}
	l := newLimiter(t, ratelimit.Config{
		Identify: user, IP: many, Global: many, Tiers: []ratelimit.Tier{{Name: "t", User: many, IP: many}},
		Routes: []ratelimit.Route{{Pattern: "POST /login", Limits: many}, {Pattern: "GET /patients/{id}", Limits: many}},
	})
	h := l.Wrap(ok)
	for _, path := range []string{"/", "/patients/7", "/about/us", "/login"} {
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("X-User", "u")
		w := httptest.NewRecorder()
		got := testing.AllocsPerRun(1000, func() { h.ServeHTTP(w, r) })
		t.Logf("Wrap %s: %v", path, got)
		if got > 5 {
			t.Errorf("Wrap %s: %v allocations, want at most 5", path, got)
		}
	}
	everything := newLimiter(t, ratelimit.Config{
		Identify: user, IP: many, Global: many, XRateLimit: true,
		Tiers:  []ratelimit.Tier{{Name: "t", User: many, IP: many, Concurrent: 10, Timeout: time.Minute}},
		Routes: []ratelimit.Route{{Pattern: "GET /patients/{id}", Limits: many}},
	}).Wrap(ok)
	r := httptest.NewRequest("GET", "/patients/7", nil)
	r.Header.Set("X-User", "u")
	w := httptest.NewRecorder()
	got := testing.AllocsPerRun(1000, func() { everything.ServeHTTP(w, r) })
	t.Logf("Wrap with everything: %v", got)
	if got > 5 {
		t.Errorf("Wrap with everything: %v allocations, want at most 5", got)
	}
	req := ratelimit.Request{Addr: netip.MustParseAddr("2001:db8::1"), Identity: ratelimit.Identity{User: "u"}, Route: "POST /login"}
	if got := testing.AllocsPerRun(1000, func() { _, _ = l.Take(t.Context(), req) }); got > 0 {
		t.Errorf("Take: %v allocations, want none", got)
	}
}

func TestXRateLimitHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := ratelimit.Config{Tiers: []ratelimit.Tier{{Name: "t", IP: []ratelimit.Limit{ratelimit.PerMinute(2)}}}}
		if w := get(newLimiter(t, cfg).Wrap(ok), "192.0.2.1:1", "/"); w.Header().Get("X-RateLimit-Limit") != "" {
			t.Error("sent unasked")
		}
		cfg.XRateLimit = true
		h := newLimiter(t, cfg).Wrap(ok)
		for i, want := range []string{"1", "0", "0"} {
			got := get(h, "192.0.2.1:1", "/").Header()
			reset := strconv.FormatInt(time.Now().Add(time.Minute).Unix(), 10)
			if got.Get("X-RateLimit-Limit") != "2" || got.Get("X-RateLimit-Remaining") != want || got.Get("X-RateLimit-Reset") != reset {
				t.Errorf("%d: %v, want a reset at %s", i, got, reset)
			}
		}
		cfg.IP = []ratelimit.Limit{ratelimit.PerMinute(2)} // refusals of which are repeated
		h = newLimiter(t, cfg).Wrap(ok)
		reset := strconv.FormatInt(time.Now().Add(time.Minute).Unix(), 10)
		for i := range 10 {
			if i > 2 {
				time.Sleep(5 * time.Second)
			}
			if got := get(h, "192.0.2.1:1", "/").Header().Get("X-RateLimit-Reset"); got != reset {
				t.Errorf("request %d: who asks again is told a reset at %s, not %s", i, got, reset)
			}
		}
	})
}
