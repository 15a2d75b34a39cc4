package ratelimit_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/inovy/hardening/ratelimit"
)

// A request without a slot is told of once, whoever asks, and who is blocked is
// told so whether a slot is free or not.
func TestARequestWithoutASlotIsOneDecision(t *testing.T) {
	for name, tt := range map[string]struct {
		store      func(ratelimit.Store) ratelimit.Store
		reportOnly bool
		want       int
	}{
		"counted here":                  {func(s ratelimit.Store) ratelimit.Store { return s }, false, 429},
		"leased":                        {func(s ratelimit.Store) ratelimit.Store { return &leases{Store: s} }, false, 429},
		"counted here and not enforced": {func(s ratelimit.Store) ratelimit.Store { return s }, true, 200},
		"leased and not enforced":       {func(s ratelimit.Store) ratelimit.Store { return &leases{Store: s} }, true, 200},
	} {
		t.Run(name, func(t *testing.T) {
			var seen []ratelimit.Decision
			start, end, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
			l := newLimiter(t, ratelimit.Config{
				Store: tt.store(memoryStore(t)), Identify: member, DangerouslyReportOnly: tt.reportOnly,
				Tiers:   []ratelimit.Tier{{Name: "t", User: []ratelimit.Limit{ratelimit.PerHour(1000)}, Concurrent: 1}},
				Observe: func(e ratelimit.Event) { seen = append(seen, e.Decision) },
			})
			h := l.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/wait" {
					start <- struct{}{}
					<-end
				}
			}))
			go func() { defer close(done); get(h, "192.0.2.1:1", "/wait", "X-User", "u") }()
			<-start
			w := get(h, "192.0.2.1:1", "/", "X-User", "u")
			if w.Code != tt.want || len(seen) != 2 {
				t.Fatalf("%d, and %d decisions about two requests", w.Code, len(seen))
			}
			if d := seen[1]; d.Policy != "t-concurrent" || d.Allowed != tt.reportOnly || d.ReportOnly != tt.reportOnly || len(d.Violated) != 1 {
				t.Errorf("%+v", d)
			}
			if err := l.Block(t.Context(), ratelimit.Identity{User: "u"}, time.Now().Add(time.Hour), ""); err != nil {
				t.Fatal(err)
			}
			if w := get(h, "192.0.2.1:1", "/", "X-User", "u"); w.Code != 403 {
				t.Errorf("blocked, and without a slot: %d", w.Code)
			}
			end <- struct{}{}
			<-done
		})
	}
}

func TestSlotsAreReleasedOnceHoweverAHandlerEnds(t *testing.T) {
	t.Run("counted here", func(t *testing.T) { releasedOnce(t, memoryStore(t)) })
	t.Run("leased", func(t *testing.T) { releasedOnce(t, &leases{Store: memoryStore(t)}) })
}

func releasedOnce(t *testing.T, store ratelimit.Store) {
	start, end := make(chan struct{}), make(chan struct{})
	l := newLimiter(t, ratelimit.Config{Store: store, Identify: member, Tiers: []ratelimit.Tier{
		{Name: "t", IP: []ratelimit.Limit{ratelimit.PerHour(1000)}, Concurrent: 2},
	}})
	h := l.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/wait":
			start <- struct{}{}
			<-end
		case "/panic":
			panic(http.ErrAbortHandler)
		case "/hijack":
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		}
	}))
	server := httptest.NewServer(h)
	defer server.Close()
	for range 3 { // each round would leak or double-release a slot
		for range 3 {
			for _, path := range []string{"/panic", "/hijack"} {
				if resp, err := http.Get(server.URL + path); err == nil {
					resp.Body.Close()
					if resp.StatusCode == 429 {
						t.Fatal("a slot was not released")
					}
				}
			}
		}
		done := make(chan int)
		for range 2 {
			go func() { done <- get(h, "192.0.2.1:1", "/wait").Code }()
		}
		<-start
		<-start
		w := get(h, "192.0.2.1:2", "/")
		if w.Code != 429 || w.Header().Get("Ratelimit-Policy") != `"t-concurrent";q=2;qu="concurrent-requests"` || w.Header().Get("Retry-After") != "1" {
			t.Errorf("a third request at a time: %d %v", w.Code, w.Header())
		}
		if w := get(h, "192.0.2.2:2", "/"); w.Code != 200 {
			t.Errorf("another address has slots of its own: %d", w.Code)
		}
		if w := get(h, "192.0.2.1:2", "/", "X-User", "u"); w.Code != 200 {
			t.Errorf("a user has slots of its own: %d", w.Code)
		}
		end <- struct{}{}
		end <- struct{}{}
		for range 2 {
			if code := <-done; code != 200 {
				t.Errorf("%d", code)
			}
		}
	}
	if w := get(h, "192.0.2.1:2", "/"); w.Code != 200 {
		t.Errorf("refused when every slot is free: %d", w.Code)
	}
}
