package ratelimit_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"time"

	ulule "github.com/ulule/limiter/v3"
	ululehttp "github.com/ulule/limiter/v3/drivers/middleware/stdlib"

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

// Plans are data. Who is in which one, Identify says.
func ExampleConfig_tiers() {
	clinic := ratelimit.Pro()
	clinic.Name = "clinic"
	clinic.Org = []ratelimit.Limit{ratelimit.PerMinute(5000)} // all of its users together
	clinic.Concurrent = 8                                     // of one user at a time
	limits, err := ratelimit.New(ratelimit.Config{
		Tiers: []ratelimit.Tier{ratelimit.Free(), clinic}, // the lowest first
		Identify: func(r *http.Request) (ratelimit.Identity, error) {
			name, _, ok := r.BasicAuth() // as a session or a token would
			if !ok {
				return ratelimit.Identity{}, nil // anonymous
			}
			return ratelimit.Identity{User: name, Org: "north", Tier: "clinic"}, nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	h := limits.Wrap(http.NotFoundHandler())
	for _, name := range []string{"", "alice"} {
		r := httptest.NewRequest("GET", "/", nil)
		if name != "" {
			r.SetBasicAuth(name, "")
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(w.Header().Get("RateLimit-Policy"))
	}
	// Output:
	// "free-ip-1m";q=100;w=60
	// "user-1m";q=600;w=60
}

// Only failed logins count: what a successful one took is given back.
func ExampleLimiter_Refund() {
	limits, err := ratelimit.New(ratelimit.Config{
		Routes: []ratelimit.Route{{Pattern: "POST /login", Limits: []ratelimit.Limit{ratelimit.PerHour(5)}}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	attempt := ratelimit.Request{Addr: netip.MustParseAddr("192.0.2.1"), Identity: ratelimit.Identity{User: "alice"}, Route: "POST /login"}
	for _, passwordIsRight := range []bool{false, true, true, true} {
		d, err := limits.Take(ctx, attempt)
		if err != nil || !d.Allowed {
			fmt.Println("not now", err)
			return
		}
		fmt.Println(d.Remaining, "left")
		if passwordIsRight {
			if err := limits.Refund(ctx, attempt, d); err != nil {
				fmt.Println(err)
			}
		}
	}
	// Output:
	// 4 left
	// 3 left
	// 3 left
	// 3 left
}

// During an incident: nobody waits for a limit to bite.
func ExampleLimiter_Block() {
	limits, err := ratelimit.New(ratelimit.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stolen := context.Background(), ratelimit.Identity{User: "alice"}
	if err := limits.Block(ctx, stolen, time.Now().Add(8*time.Hour), "laptop stolen, ticket 4711"); err != nil {
		fmt.Println(err) // not recorded, or other nodes do not know
	}
	d, err := limits.Take(ctx, ratelimit.Request{Identity: stolen})
	fmt.Println(d.Allowed, d.Policy, err)

	if err := limits.Block(ctx, stolen, time.Time{}, "new password"); err != nil { // a time that is past lifts it
		fmt.Println(err)
	}
	d, err = limits.Take(ctx, ratelimit.Request{Identity: stolen})
	fmt.Println(d.Allowed, err)
	// Output:
	// false blocked <nil>
	// true <nil>
}

// A service on ulule/limiter keeps its middleware and gets windows that hold.
func ExampleToUlule() {
	store, err := ratelimit.NewMemoryStore(ratelimit.MemoryConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	l := ulule.New(ratelimit.ToUlule(store), ulule.Rate{Limit: 2, Period: time.Minute})
	h := ululehttp.NewMiddleware(l, ululehttp.WithErrorHandler(func(w http.ResponseWriter, _ *http.Request, _ error) {
		http.Error(w, "try again later", http.StatusServiceUnavailable)
	})).Handler(http.NotFoundHandler())
	for range 3 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		fmt.Println(w.Code, w.Header().Get("X-RateLimit-Remaining"))
	}
	// Output:
	// 404 1
	// 404 0
	// 429 0
}
