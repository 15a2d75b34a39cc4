package ratelimit_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/ratelimit"
)

func open(n int64) []ratelimit.Limit {
	l := ratelimit.PerMinute(n)
	l.OnOutage = ratelimit.DangerouslyOpen
	return []ratelimit.Limit{l}
}

func TestARouteThatAuthenticatesIsNeverOpenInAnOutage(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-6.3.1")
	for pattern, refused := range map[string]bool{
		"POST /login": true, "POST /api/v1/sign-in": true, "/oauth/token": true, "POST /account/{id}/password": true,
		"/2FA/check": true, "POST /forgot-password": true, "example.org/auth/callback": true, "GET /records/{id}": false, "/static/": false,
	} {
		_, err := ratelimit.New(ratelimit.Config{Routes: []ratelimit.Route{{Pattern: pattern, Limits: open(5)}}})
		if (err != nil) != refused {
			t.Errorf("%s: %v", pattern, err)
		}
		for f := range hardening.Faults(err) {
			if !strings.HasSuffix(f.Field, ".OnOutage") {
				t.Errorf("%s: a fault of %s", pattern, f.Field)
			}
		}
	}
	if _, err := ratelimit.New(ratelimit.Config{Routes: []ratelimit.Route{{Pattern: "/x", ByAddress: true, Limits: open(5)}}}); err == nil {
		t.Error("a route that counts by address, as logins do, was opened")
	}
	bad := ratelimit.PerMinute(1)
	bad.OnOutage = 9
	if _, err := ratelimit.New(ratelimit.Config{Global: []ratelimit.Limit{bad}}); err == nil {
		t.Error("an unknown policy was accepted")
	}
}

func TestALimitOpenInAnOutageIsAFinding(t *testing.T) {
	for _, cfg := range []ratelimit.Config{{}, {Global: open(5)}, {IP: open(5)}, {Routes: []ratelimit.Route{{Pattern: "/x", Limits: open(5)}}}} {
		l, err := ratelimit.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		want := cfg.Global == nil && cfg.IP == nil && cfg.Routes == nil
		found := false
		for _, f := range l.Check() {
			if f.ID == "HDN-RATELIMIT-011" {
				found = true
				if f.Passed != want {
					t.Errorf("%+v", f)
				}
			}
		}
		if !found {
			t.Error("no finding")
		}
	}
}

// away is a shared store in an outage.
type away struct{ ratelimit.Store }

func (away) TakeAll(_ context.Context, cs []ratelimit.Charge, st []ratelimit.State) (bool, error) {
	for i := range cs {
		if cs[i].OnOutage == ratelimit.Closed {
			return false, ratelimit.ErrOutage
		}
		st[i] = ratelimit.State{Fits: true, Remaining: 1, Degraded: true}
	}
	return true, nil
}

func TestAClosedLimitIs503InAnOutage(t *testing.T) {
	closed := ratelimit.PerMinute(5)
	closed.OnOutage = ratelimit.Closed
	l, err := ratelimit.New(ratelimit.Config{Store: away{memoryStore(t)}, Routes: []ratelimit.Route{{Pattern: "POST /login", Limits: []ratelimit.Limit{closed}}}})
	if err != nil {
		t.Fatal(err)
	}
	h := l.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for target, want := range map[string]int{"/login": 503, "/": 200} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", target, nil))
		if w.Code != want {
			t.Errorf("%s: %d", target, w.Code)
		}
		if want == 503 && (w.Header().Get("Retry-After") != "5" || !strings.Contains(w.Body.String(), "http-problem-types#temporary-reduced-capacity")) {
			t.Errorf("%s: %v %s", target, w.Header(), w.Body)
		}
	}
}

func TestADecisionSaysThatItIsDegraded(t *testing.T) {
	l := newLimiter(t, ratelimit.Config{Store: away{memoryStore(t)}})
	if d := mustTake(t, l, ratelimit.Request{}); !d.Allowed || !d.Degraded {
		t.Errorf("while the store is away: %+v", d)
	}
	if d := mustTake(t, newLimiter(t, ratelimit.Config{}), ratelimit.Request{}); !d.Allowed || d.Degraded {
		t.Errorf("by a store that is there: %+v", d)
	}
}
