package ratelimit_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/ratelimit"
)

// leases is a store that nodes share, as long as they live in one process.
type leases struct {
	ratelimit.Store
	one     sync.Mutex  // a renewal is one step, as in a script of Redis
	away    atomic.Bool // renewals and refunds fail, as of a node that is killed
	renewed atomic.Int64
}

var errAway = errors.New("away")

func (s *leases) Renew(ctx context.Context, cs []ratelimit.Charge, st []ratelimit.State) error {
	if s.away.Load() {
		return errAway
	}
	s.renewed.Add(1)
	s.one.Lock()
	defer s.one.Unlock()
	if err := s.Store.Refund(ctx, cs, st); err != nil {
		return err
	}
	_, err := s.Store.TakeAll(ctx, cs, st)
	return err
}

func (s *leases) TakeAll(ctx context.Context, cs []ratelimit.Charge, st []ratelimit.State) (bool, error) {
	s.one.Lock()
	defer s.one.Unlock()
	return s.Store.TakeAll(ctx, cs, st)
}

func (s *leases) Refund(ctx context.Context, cs []ratelimit.Charge, st []ratelimit.State) error {
	if s.away.Load() {
		return errAway
	}
	return s.Store.Refund(ctx, cs, st)
}

var oneAtATime = ratelimit.Config{Identify: member, Tiers: []ratelimit.Tier{
	{Name: "t", IP: []ratelimit.Limit{ratelimit.PerHour(100_000)}, Concurrent: 1},
}}

// Of two nodes one serves a request for minutes. All that time the other one
// has no slot, and then at once.
func TestASlotIsHeldForAsLongAsItsRequestRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, store := oneAtATime, &leases{Store: memoryStore(t)}
		cfg.Store = store
		busy := newLimiter(t, cfg).Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(5 * time.Minute) }))
		h := newLimiter(t, cfg).Wrap(ok)
		done := make(chan int)
		go func() { done <- get(busy, "192.0.2.1:1", "/").Code }()
		synctest.Wait()
		for range 5*60 - 1 {
			time.Sleep(time.Second)
			w := get(h, "192.0.2.1:1", "/")
			if w.Code != 429 || w.Header().Get("Ratelimit-Policy") != `"t-concurrent";q=1;qu="concurrent-requests"` || w.Header().Get("Retry-After") != "1" {
				t.Fatalf("%d %v", w.Code, w.Header())
			}
		}
		if w := get(h, "192.0.2.2:1", "/"); w.Code != 204 {
			t.Errorf("another address: %d", w.Code)
		}
		if code := <-done; code != 200 {
			t.Errorf("%d", code)
		}
		if w := get(h, "192.0.2.1:1", "/"); w.Code != 204 || w.Header().Get("RateLimit") == "" {
			t.Errorf("after the end: %d %v", w.Code, w.Header())
		}
		renewed := store.renewed.Load()
		time.Sleep(time.Hour)
		if n := store.renewed.Load(); renewed != 29 && renewed != 30 || n != renewed {
			t.Errorf("%d renewals in 5 minutes, %d after the end", renewed, n-renewed)
		}
	})
}

func TestTheSlotsOfAKilledNodeComeBackWithin30s(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, store := oneAtATime, &leases{Store: memoryStore(t)}
		cfg.Store = store
		h := newLimiter(t, cfg).Wrap(ok)
		busy := newLimiter(t, cfg).Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(time.Hour) }))
		go get(busy, "192.0.2.1:1", "/")
		time.Sleep(35 * time.Second) // renewed at 30
		store.away.Store(true)
		killed := time.Now()
		for get(h, "192.0.2.1:1", "/").Code == 429 {
			if time.Since(killed) > 30*time.Second {
				t.Fatal("not back after 30 s")
			}
			time.Sleep(time.Second)
		}
		if back := time.Since(killed); back < 25*time.Second-time.Second {
			t.Errorf("back after %v, of a lease that was renewed 5 s before", back)
		}
		time.Sleep(time.Hour)
	})
}

// trouble is a store whose renewals panic, or wait for as long as they may.
type trouble struct {
	leases
	panics, hangs bool
}

func (s *trouble) Renew(ctx context.Context, cs []ratelimit.Charge, st []ratelimit.State) error {
	if s.panics {
		panic("a store's mistake")
	}
	if s.hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.leases.Renew(ctx, cs, st)
}

func TestARenewalThatPanicsOrHangsHoldsUpNoRequest(t *testing.T) {
	for name, store := range map[string]*trouble{"panics": {panics: true}, "hangs": {hangs: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := oneAtATime
				store.Store = memoryStore(t)
				cfg.Store = store
				var log bytes.Buffer
				cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
				l := newLimiter(t, cfg)
				start := time.Now()
				w := get(l.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(15 * time.Second) })), "192.0.2.1:1", "/")
				if took := time.Since(start); w.Code != 200 || took != 15*time.Second {
					t.Errorf("%d after %v", w.Code, took)
				}
				time.Sleep(20 * time.Second) // the renewal has given up, and the slot is back
				if w := get(l.Wrap(ok), "192.0.2.1:1", "/"); w.Code != 204 {
					t.Errorf("afterwards: %d", w.Code)
				}
				time.Sleep(time.Minute)
				if told := strings.Contains(log.String(), "the store panics"); told != store.panics {
					t.Errorf("told of a panic: %t", told)
				}
			})
		})
	}
}

// A slot and the limits are taken together or not at all.
func TestARequestWithoutASlotConsumesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := oneAtATime
		cfg.Store = &leases{Store: memoryStore(t)}
		cfg.Tiers = []ratelimit.Tier{{Name: "t", IP: []ratelimit.Limit{ratelimit.PerHour(3)}, Concurrent: 1}}
		l := newLimiter(t, cfg)
		busy := l.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(time.Minute) }))
		go get(busy, "192.0.2.1:1", "/")
		synctest.Wait()
		for range 10 {
			get(l.Wrap(ok), "192.0.2.1:1", "/")
		}
		time.Sleep(2 * time.Minute)
		for i := range 4 {
			if w := get(l.Wrap(ok), "192.0.2.1:1", "/"); (w.Code == 204) != (i < 2) {
				t.Errorf("request %d of the 2 that are left: %d", i+1, w.Code)
			}
		}
		// A request that a limit refuses holds no slot.
		time.Sleep(time.Hour)
		if w := get(l.Wrap(ok), "192.0.2.1:1", "/"); w.Code != 204 {
			t.Errorf("an hour later: %d", w.Code)
		}
	})
}
