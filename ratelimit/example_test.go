package ratelimit_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/ratelimit"
)

func Example() {
	limits, err := ratelimit.New(ratelimit.Config{
		Routes: []ratelimit.Route{{Pattern: "POST /login", Limits: []ratelimit.Limit{ratelimit.PerMinute(2)}}},
	})
	if err != nil {
		fmt.Println(err) // every fault, with its fix
		return
	}
	h := limits.Wrap(http.NotFoundHandler())

	for range 3 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/login", nil))
		fmt.Println(w.Code, w.Header().Get("RateLimit-Policy"))
	}
	// Output:
	// 404 "route-1m";q=2;w=60
	// 404 "route-1m";q=2;w=60
	// 429 "route-1m";q=2;w=60
}

// Every mistake is named at once, with the field and the fix.
func ExampleNew_incorrect() {
	_, err := ratelimit.New(ratelimit.Config{
		IP:         []ratelimit.Limit{{N: 100}},
		IPv6Prefix: 128,
	})
	for fault := range hardening.Faults(err) {
		fmt.Println(fault.Field, "-", fault.Fix)
	}
	// Output:
	// IP[0] - set Per to at least 1ms
	// IPv6Prefix - use 64, or 56 or 48 where providers give each customer more
}

func ExampleLimiter_Take() {
	limits, err := ratelimit.New(ratelimit.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	d, err := limits.Take(httptest.NewRequest("GET", "/", nil).Context(), ratelimit.Request{Identity: ratelimit.Identity{User: "alice", Tier: "pro"}, Cost: 500})
	fmt.Println(d.Allowed, d.Policy, d.Remaining, err)
	// Output: true user-1m 100 <nil>
}
