package ratelimit_test

import (
	"net/http"
	"net/netip"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/ratelimit"
)

func TestAFloodIsRefusedBeforeIdentifyIsCalled(t *testing.T) {
	calls := 0
	l := newLimiter(t, ratelimit.Config{IP: []ratelimit.Limit{ratelimit.PerHour(10)}, Identify: func(*http.Request) (ratelimit.Identity, error) {
		calls++
		return ratelimit.Identity{User: "u"}, nil
	}})
	h := l.Wrap(ok)
	for range 1000 {
		get(h, "192.0.2.1:1", "/")
	}
	if calls > 11 {
		t.Errorf("Identify was called %d times", calls)
	}
	if w := get(h, "192.0.2.2:1", "/"); w.Code != 204 {
		t.Errorf("another address was refused: %d", w.Code)
	}
}

// The cache of refused addresses only ever repeats what the store would say.
func TestTheDenialCacheIsNeverStricterThanTheStore(t *testing.T) {
	t.Run("a user's refusal is not the address's", func(t *testing.T) {
		l := newLimiter(t, ratelimit.Config{IP: []ratelimit.Limit{ratelimit.PerHour(100)}, Identify: user, Tiers: []ratelimit.Tier{{Name: "t", User: []ratelimit.Limit{ratelimit.PerHour(1)}}}})
		h := l.Wrap(ok)
		for range 5 {
			get(h, "192.0.2.1:1", "/", "X-User", "a")
		}
		if w := get(h, "192.0.2.1:1", "/", "X-User", "b"); w.Code != 204 {
			t.Errorf("a colleague behind the same address got %d", w.Code)
		}
	})
	t.Run("an expensive request's refusal is not a cheap one's", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := newLimiter(t, ratelimit.Config{
				IP:   []ratelimit.Limit{ratelimit.PerMinute(10)},
				Cost: func(r *http.Request) int64 { n, _ := strconv.ParseInt(r.URL.Query().Get("cost"), 10, 64); return n },
			})
			h := l.Wrap(ok)
			get(h, "192.0.2.1:1", "/?cost=1")
			time.Sleep(30 * time.Second)
			get(h, "192.0.2.1:1", "/?cost=9")
			if w := get(h, "192.0.2.1:1", "/?cost=5"); w.Code != 429 || w.Header().Get("Retry-After") != "60" {
				t.Fatalf("%d %v", w.Code, w.Header())
			}
			time.Sleep(30 * time.Second)
			if w := get(h, "192.0.2.1:1", "/?cost=1"); w.Code != 204 {
				t.Errorf("there was room for one: %d %v", w.Code, w.Header())
			}
		})
	})
	t.Run("it ends when the store would admit", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := newLimiter(t, ratelimit.Config{IP: []ratelimit.Limit{ratelimit.PerMinute(2)}})
			h := l.Wrap(ok)
			for range 10 {
				get(h, "192.0.2.1:1", "/")
			}
			time.Sleep(time.Minute - 1)
			if w := get(h, "192.0.2.1:1", "/"); w.Code != 429 || w.Header().Get("Retry-After") != "1" {
				t.Errorf("a nanosecond early: %d %v", w.Code, w.Header())
			}
			time.Sleep(time.Nanosecond)
			if w := get(h, "192.0.2.1:1", "/"); w.Code != 204 {
				t.Errorf("in time: %d", w.Code)
			}
		})
	})
	t.Run("Reset ends it", func(t *testing.T) {
		l := newLimiter(t, ratelimit.Config{IP: []ratelimit.Limit{ratelimit.PerHour(2)}})
		h := l.Wrap(ok)
		for range 5 {
			get(h, "[2001:db8::1]:1", "/")
		}
		if err := l.Reset(t.Context(), ratelimit.Request{Addr: netip.MustParseAddr("2001:db8::2")}); err != nil {
			t.Fatal(err)
		}
		if w := get(h, "[2001:db8::1]:1", "/"); w.Code != 204 {
			t.Errorf("after Reset: %d", w.Code)
		}
	})
	t.Run("another node's Reset ends it in a second", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			shared := struct{ ratelimit.Store }{memoryStore(t)}
			calls := 0
			cfg := ratelimit.Config{Store: shared, IP: []ratelimit.Limit{ratelimit.PerHour(2)}, Identify: func(*http.Request) (ratelimit.Identity, error) {
				calls++
				return ratelimit.Identity{}, nil
			}}
			here, there := newLimiter(t, cfg), newLimiter(t, cfg)
			h := here.Wrap(ok)
			for range 100 {
				if w := get(h, "192.0.2.1:1", "/"); w.Code == 429 && w.Header().Get("Retry-After") != "3600" {
					t.Fatalf("%v", w.Header())
				}
			}
			if calls != 3 {
				t.Errorf("a flood asked %d times", calls)
			}
			time.Sleep(time.Second)
			for range 100 {
				if w := get(h, "192.0.2.1:1", "/"); w.Code != 429 || w.Header().Get("Retry-After") != "3599" {
					t.Fatalf("%d %v", w.Code, w.Header())
				}
			}
			if err := there.Reset(t.Context(), ratelimit.Request{Addr: netip.MustParseAddr("192.0.2.1")}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if w := get(h, "192.0.2.1:1", "/"); w.Code != 204 {
				t.Errorf("a second after another node's Reset: %d", w.Code)
			}
		})
	})
}
