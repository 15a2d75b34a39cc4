package ratelimit_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/inovy/hardening/ratelimit"
)

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
