package ratelimit_test

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/ratelimit"
)

var alice = ratelimit.Request{Addr: netip.MustParseAddr("192.0.2.1"), Identity: ratelimit.Identity{User: "alice", Org: "clinic"}, Route: "POST /login"}

// everyLimit counts alice's requests in five ways.
func everyLimit(t *testing.T) *ratelimit.Limiter {
	return newLimiter(t, ratelimit.Config{
		Global: []ratelimit.Limit{ratelimit.PerHour(1000)},
		IP:     []ratelimit.Limit{ratelimit.PerHour(500), {N: 50, Per: time.Hour, Burst: 200}},
		Tiers:  []ratelimit.Tier{{Name: "t", User: []ratelimit.Limit{ratelimit.PerHour(10)}, Org: []ratelimit.Limit{ratelimit.PerHour(300)}}},
		Routes: []ratelimit.Route{{Pattern: "POST /login", Limits: []ratelimit.Limit{ratelimit.PerHour(20), {N: 3, Per: time.Hour, Name: "trial", Shadow: true}}}},
	})
}

func mustTake(t *testing.T, l *ratelimit.Limiter, r ratelimit.Request) ratelimit.Decision {
	t.Helper()
	d, err := l.Take(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestRefundGivesBackToEveryLimitOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := everyLimit(t)
		for i := range 50 { // a service that counts failures only is never at its limit
			d := mustTake(t, l, alice)
			if !d.Allowed || d.Remaining != 9 || len(d.Shadowed) > 0 {
				t.Fatalf("request %d: %+v", i+1, d)
			}
			time.Sleep(time.Second)
			again := d // a copy is the same decision
			if err := l.Refund(t.Context(), alice, d); err != nil {
				t.Fatal(err)
			}
			if err := l.Refund(t.Context(), alice, again); !errors.Is(err, ratelimit.ErrRefund) {
				t.Fatalf("given back twice: %v", err)
			}
		}
		for i := range 12 {
			if d := mustTake(t, l, alice); d.Allowed != (i < 10) {
				t.Errorf("request %d of 10: %+v", i+1, d)
			}
		}
	})
}

func TestWhatTookNothingIsNotGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := everyLimit(t)
		var refused ratelimit.Decision
		for range 11 {
			refused = mustTake(t, l, alice)
		}
		peeked, err := l.Peek(t.Context(), ratelimit.Request{Addr: netip.MustParseAddr("192.0.2.9")})
		if err != nil || !peeked.Allowed {
			t.Fatal(peeked, err)
		}
		for name, d := range map[string]ratelimit.Decision{
			"a refusal": refused, "a peek": peeked, "none": {},
		} {
			if err := l.Refund(t.Context(), alice, d); !errors.Is(err, ratelimit.ErrRefund) {
				t.Errorf("%s: %v", name, err)
			}
		}
		nowhere := alice
		nowhere.Route = "GET /nowhere"
		if err := l.Refund(t.Context(), nowhere, mustTake(t, l, ratelimit.Request{})); !errors.Is(err, ratelimit.ErrRoute) {
			t.Errorf("an unknown route: %v", err)
		}
		if d := mustTake(t, l, alice); d.Allowed {
			t.Error("something was given back")
		}
	})
}

// What a refund gives back is what its decision took, whatever else the caller
// mixes up or changes.
func TestARefundIsOfItsOwnDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := everyLimit(t)
		bob := alice
		bob.User = "bob"
		for range 10 { // all that bob has, in one moment
			mustTake(t, l, bob)
		}
		d := mustTake(t, l, alice)
		refuse := func(name string, l *ratelimit.Limiter, r ratelimit.Request, d ratelimit.Decision) {
			t.Helper()
			if err := l.Refund(t.Context(), r, d); !errors.Is(err, ratelimit.ErrRefund) {
				t.Errorf("%s: %v", name, err)
			}
		}
		refuse("another user", l, bob, d)
		for name, change := range map[string]func(*ratelimit.Request){
			"a higher cost":   func(r *ratelimit.Request) { r.Cost = 10 },
			"another address": func(r *ratelimit.Request) { r.Addr = netip.MustParseAddr("192.0.2.2") },
			"another org":     func(r *ratelimit.Request) { r.Org = "ward" },
			"no user":         func(r *ratelimit.Request) { r.User = "" },
			"no route":        func(r *ratelimit.Request) { r.Route = "" },
		} {
			r := alice
			change(&r)
			refuse(name, l, r, d)
		}
		other := everyLimit(t)
		mustTake(t, other, alice)
		refuse("another limiter", other, alice, d)
		if left := mustTake(t, other, alice).Remaining; left != 8 {
			t.Errorf("another limiter gave something back: %d left", left)
		}
		if next := mustTake(t, l, bob); next.Allowed {
			t.Error("bob was given something back")
		}
		same := alice
		same.Cost = 1 // which is what none means
		if err := l.Refund(t.Context(), same, d); err != nil {
			t.Fatal(err)
		}
		forged := d
		forged.Remaining, forged.Policy, forged.Degraded = 3, "else", true
		refuse("a changed copy of what was given back", l, alice, forged)
		if left := mustTake(t, l, alice).Remaining; left != 9 {
			t.Errorf("%d left of alice's 10 after one more", left)
		}
	})
}

func TestARefundOfAPastWindowIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := everyLimit(t)
		old := mustTake(t, l, alice)
		time.Sleep(time.Hour)
		for range 10 {
			mustTake(t, l, alice)
		}
		if err := l.Refund(t.Context(), alice, old); err != nil {
			t.Fatal(err)
		}
		if d := mustTake(t, l, alice); d.Allowed {
			t.Error("an hour later the next window was given something")
		}
	})
}

func TestOf64RefundsOfOneDecisionOneCounts(t *testing.T) {
	for range 20 {
		l := everyLimit(t)
		d := mustTake(t, l, alice)
		mustTake(t, l, alice)
		var done atomic.Int64
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				if l.Refund(context.Background(), alice, d) == nil {
					done.Add(1)
				}
			})
		}
		wg.Wait()
		if next := mustTake(t, l, alice); done.Load() != 1 || next.Remaining != 8 {
			t.Fatalf("%d refunds, %d left", done.Load(), next.Remaining)
		}
	}
}

func TestRefundsAreBoundedAndForgottenInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, ratelimit.Config{IP: []ratelimit.Limit{ratelimit.PerMinute(1_000_000)}, Tiers: []ratelimit.Tier{{Name: "t", User: []ratelimit.Limit{ratelimit.PerMinute(1)}}}})
		r := ratelimit.Request{Addr: netip.MustParseAddr("192.0.2.1")}
		give := func() error {
			time.Sleep(time.Microsecond)
			return l.Refund(t.Context(), r, mustTake(t, l, r))
		}
		for range 1 << 16 {
			if err := give(); err != nil {
				t.Fatal(err)
			}
		}
		if err := give(); !errors.Is(err, ratelimit.ErrRefunds) {
			t.Errorf("one more: %v", err)
		}
		time.Sleep(2 * time.Minute)
		if err := give(); err != nil {
			t.Errorf("two minutes later: %v", err)
		}
	})
}
