package ratelimit_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/inovy/hardening/ratelimit"
)

func TestAnUnlimitedRouteIsOpenToWhoIsAtTheLimit(t *testing.T) {
	h := newLimiter(t, ratelimit.Config{
		IP: []ratelimit.Limit{ratelimit.PerHour(1)},
		Routes: []ratelimit.Route{
			{Pattern: "POST /logout", DangerouslyUnlimited: true},
			{Pattern: "GET /static/", DangerouslyUnlimited: true},
			{Pattern: "GET /static/heavy", Limits: []ratelimit.Limit{ratelimit.PerHour(100)}},
		},
	}).Wrap(ok)
	send := func(method, path string) int {
		r := httptest.NewRequest(method, "http://example.com"+path, nil)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	for range 5 {
		if code := send("POST", "/logout"); code != http.StatusNoContent {
			t.Fatalf("a logout was answered with %d", code)
		}
	}
	if code := send("GET", "/"); code != http.StatusNoContent {
		t.Errorf("the logouts were counted: %d", code)
	}
	for range 2 { // the second answer comes from the cache of denials
		if code := send("GET", "/"); code != http.StatusTooManyRequests {
			t.Errorf("the limit does not hold: %d", code)
		}
	}
	for _, path := range []string{"/static/a.css", "/static/"} {
		if code := send("GET", path); code != http.StatusNoContent {
			t.Errorf("%s at the limit: %d", path, code)
		}
	}
	if code := send("POST", "/logout"); code != http.StatusNoContent {
		t.Errorf("who is at the limit cannot log out: %d", code)
	}
	for _, tt := range [][2]string{
		{"GET", "/logout"}, {"POST", "/logout/"}, {"POST", "/"}, {"GET", "/static/heavy"}, {"GET", "/static/../"},
		{"GET", "/static/../login"}, {"GET", "/static/%2e%2e/login"}, {"GET", "/static/..%2flogin"}, {"GET", "//static/a"},
		{"GET", "/login/../static/a"}, {"GET", "/static//a"}, {"GET", "/static/./a"}, {"GET", "/STATIC/a"}, {"GET", "/static"}, {"HEAD", "/static?a=/static/"},
	} {
		if code := send(tt[0], tt[1]); code != http.StatusTooManyRequests {
			t.Errorf("%s %s goes around the limits: %d", tt[0], tt[1], code)
		}
	}
}
