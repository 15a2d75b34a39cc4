package ratelimit_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/ratelimit"
)

func member(r *http.Request) (ratelimit.Identity, error) {
	return ratelimit.Identity{User: r.Header.Get("X-User"), Org: r.Header.Get("X-Org"), Tier: r.Header.Get("X-Tier")}, nil
}

func TestAnOrganisationIsLimitedOverAllItsUsers(t *testing.T) {
	l := newLimiter(t, ratelimit.Config{Identify: member, Tiers: []ratelimit.Tier{
		{Name: "free", Org: []ratelimit.Limit{ratelimit.PerHour(4)}},
		{Name: "pro", Org: []ratelimit.Limit{ratelimit.PerHour(6)}},
	}})
	h := l.Wrap(ok)
	admitted := func(headers ...string) (n int) {
		for i := range 9 {
			if get(h, "192.0.2."+strconv.Itoa(i+1)+":1", "/", append(headers, "X-User", "u"+strconv.Itoa(i))...).Code == 204 {
				n++
			}
		}
		return n
	}
	if n := admitted("X-Org", "clinic"); n != 4 {
		t.Errorf("%d of 4 admitted", n)
	}
	if n := admitted("X-Org", "clinic", "X-Tier", "pro"); n != 2 {
		t.Errorf("%d more admitted in a better tier, want 2: what was used stays", n)
	}
	if n := admitted("X-Org", "lab"); n != 4 {
		t.Errorf("another organisation was admitted %d of 4", n)
	}
	if n := admitted(); n != 9 {
		t.Errorf("users without an organisation were admitted %d of 9", n)
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

func TestARequestThatTakesTooLongIsAnsweredWith503(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-15.2.2")
	for _, tt := range []struct {
		name, tier string
		give       http.HandlerFunc // after the context's end
		after      time.Duration
		want       int
	}{
		{"a handler that returns", "", func(http.ResponseWriter, *http.Request) {}, 25 * time.Second, 503},
		{"a handler that answers 500", "free", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "secret", 500) }, 25 * time.Second, 503},
		{"a handler that still has a result", "", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(206) }, 25 * time.Second, 206},
		{"a better tier has longer", "pro", func(http.ResponseWriter, *http.Request) {}, 5 * time.Minute, 503},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				h := newLimiter(t, ratelimit.Config{Identify: member}).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					<-r.Context().Done()
					if cause := context.Cause(r.Context()); !errors.Is(cause, ratelimit.ErrTimeout) {
						t.Errorf("ended by %v", cause)
					}
					tt.give(w, r)
				}))
				w := get(h, "192.0.2.1:1", "/", "X-User", "u", "X-Tier", tt.tier)
				if w.Code != tt.want || time.Since(start) != tt.after || strings.Contains(w.Body.String(), "secret") {
					t.Errorf("%d after %v: %s", w.Code, time.Since(start), w.Body)
				}
			})
		})
	}
}

func TestTheEndOfALimitIsAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		l := newLimiter(t, ratelimit.Config{
			IP:     []ratelimit.Limit{ratelimit.PerHour(100)},
			Tiers:  []ratelimit.Tier{{Name: "t", User: []ratelimit.Limit{ratelimit.PerHour(1)}}},
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		h := l.Wrap(ok)
		for range 79 {
			get(h, "192.0.2.1:1", "/")
		}
		if log.Len() > 0 {
			t.Errorf("at 79 of 100: %s", &log)
		}
		for range 20 {
			get(h, "192.0.2.1:1", "/")
		}
		if s := log.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "msg=rate_limit_near") || !strings.Contains(s, "remaining=20") || !strings.Contains(s, "outcome=success") {
			t.Errorf("from 80 to 99 of 100: %s", s)
		}
	})
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
	})
}

func TestTierFaults(t *testing.T) {
	limit := []ratelimit.Limit{ratelimit.PerMinute(1)}
	for field, tier := range map[string]ratelimit.Tier{
		"Tiers[0].Concurrent": {Name: "t", IP: limit, Concurrent: -1},
		"Tiers[0].Timeout":    {Name: "t", IP: limit, Timeout: -1},
		"Tiers[0].Org":        {Name: "t", IP: limit, Org: []ratelimit.Limit{}},
		"Tiers[0].Org[0]":     {Name: "t", Org: []ratelimit.Limit{{}}},
	} {
		if _, err := ratelimit.New(ratelimit.Config{Tiers: []ratelimit.Tier{tier}}); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}
