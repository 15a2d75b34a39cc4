// Package storetest checks that a ratelimit.Store holds to its contract. An
// implementation runs it from its own tests:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, storetest.Subject{New: newStore, Advance: advance})
//	}
package storetest

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/inovy/hardening/ratelimit"
)

// Subject is the store under test.
type Subject struct {
	// New returns an empty store. It is called once per test.
	New func(t *testing.T) ratelimit.Store
	// Join returns the store of another node, which shares everything with the one
	// that New returned last. nil leaves out the test that needs it: the stores
	// of several nodes tell each other who is blocked.
	Join func(t *testing.T) ratelimit.Store
	// Advance moves the store's clock. nil leaves out the tests that need it.
	Advance func(d time.Duration)
	// Around runs a test; synctest.Test for a store that lives in this process
	// and tells the time by time.Now. nil = the test is called directly.
	Around func(t *testing.T, test func(*testing.T))
}

// Run tests the store against every clause of the contract, each as a subtest.
// What a store may lack, such as refunds, leaky buckets and blocks, is skipped if
// it says so, or is no LeaseStore or BlockStore.
func Run(t *testing.T, s Subject) {
	if s.Around == nil {
		s.Around = func(t *testing.T, test func(*testing.T)) { test(t) }
	}
	for _, c := range []struct {
		name  string
		needs need
		test  func(*testing.T, ratelimit.Store, Subject)
	}{
		{"exactly N are admitted", 0, exactlyN},
		{"exactly N are admitted to 64 goroutines", 0, concurrent},
		{"a refusal consumes nothing anywhere", 0, allOrNothing},
		{"a cost counts as that many", 0, costs},
		{"rules, windows, addresses and names are counted apart", 0, apart},
		{"a peek consumes nothing, a reset forgets", 0, peekAndReset},
		{"usage stays when N changes", 0, changeOfN},
		{"what cannot be counted is refused with ErrCharges", 0, hostile},
		{"a refund gives back what was taken, and no more", refunds, refund},
		{"a leaky bucket and a window are counted apart", bursts, kinds},
		{"a refund gives nothing back of what is past or was reset", clock | refunds, lateRefund},
		{"a refund takes back the admission that it names", clock | refunds, namedRefund},
		{"no window admits more than N beside what a refund gave back", clock | refunds, refundedWindows},
		{"a renewal counts from now, whether it fits or not", clock | renewals, renewal},
		{"a leaky bucket admits at most Burst and its pace", clock | bursts, leaky},
		{"a leaky bucket gives back what has not leaked", clock | bursts | refunds, leakyRefund},
		{"no window admits more than N at any phase", clock, anyWindow},
		{"no window admits more than N of two bursts close together", clock, twoBursts},
		{"evenly spaced traffic is admitted but for a thirty-third", clock, evenlySpaced},
		{"RetryAfter is when it fits", clock, retryAfter},
		{"users and organisations are blocked, and lifted, apart", blocking, blocks},
		{"the newest change of a block counts", blocking, newestBlock},
		{"a block ends at its time", blocking, blockEnds},
		{"of blocks that are made at once none is lost", blocking, blocksAtOnce},
		{"a change of a block holds on every node", blocking | nodes, blocksOnEveryNode},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.needs&clock != 0 && s.Advance == nil {
				t.Skip("the subject's clock cannot be moved")
			}
			if c.needs&nodes != 0 && s.Join == nil {
				t.Skip("the subject has one node")
			}
			s.Around(t, func(t *testing.T) {
				store := s.New(t)
				c.needs.skip(t, store)
				c.test(t, store, s)
			})
		})
	}
}

// need is what a clause needs that a subject may lack.
type need int

const (
	clock need = 1 << iota
	refunds
	bursts
	renewals
	blocking
	nodes
)

// skip skips a test that needs what the store says it does not have.
func (n need) skip(t *testing.T, s ratelimit.Store) {
	if n&refunds != 0 {
		c := charge("lacks", 1, 1)
		if err := s.Refund(context.Background(), []ratelimit.Charge{c}, make([]ratelimit.State, 1)); errors.Is(err, ratelimit.ErrRefund) {
			t.Skip("the store gives nothing back")
		}
	}
	if _, ok := s.(ratelimit.LeaseStore); n&renewals != 0 && !ok {
		t.Skip("the store renews nothing")
	}
	if _, ok := s.(ratelimit.BlockStore); n&blocking != 0 && !ok {
		t.Skip("the store tells nobody who is blocked")
	}
	if n&bursts != 0 && !hasBursts(s) {
		t.Skip("the store has no leaky buckets")
	}
}

func hasBursts(s ratelimit.Store) bool {
	c := charge("lacks", 1, 1)
	c.Burst = 1
	_, err := s.PeekAll(context.Background(), []ratelimit.Charge{c}, make([]ratelimit.State, 1))
	return !errors.Is(err, ratelimit.ErrCharges)
}

func charge(rule string, n, cost int64) ratelimit.Charge {
	return ratelimit.Charge{Rule: rule, Subject: ratelimit.Subject{Name: "u"}, N: n, Per: time.Hour, Cost: cost}
}

func take(t *testing.T, s ratelimit.Store, cs ...ratelimit.Charge) (bool, []ratelimit.State) {
	t.Helper()
	states := make([]ratelimit.State, len(cs))
	ok, err := s.TakeAll(context.Background(), cs, states)
	if err != nil {
		t.Fatal(err)
	}
	fits := true
	for _, st := range states {
		fits = fits && st.Fits
		if st.Degraded {
			t.Fatal("the store is degraded")
		}
	}
	if ok != fits {
		t.Fatalf("admitted %t, states %+v", ok, states)
	}
	return ok, states
}

func exactlyN(t *testing.T, s ratelimit.Store, _ Subject) {
	for _, n := range []int64{1, 2, 127, 128, 129, 500} {
		c := charge("r", n, 1)
		c.Subject.Name = time.Duration(n).String()
		for i := range n + 5 {
			ok, st := take(t, s, c)
			if ok != (i < n) || st[0].Remaining != max(n-i-1, 0) {
				t.Fatalf("N = %d, request %d: %t, %+v", n, i+1, ok, st[0])
			}
			if !ok && (st[0].RetryAfter <= 0 || st[0].RetryAfter > time.Hour+time.Hour/32+time.Second) {
				t.Fatalf("N = %d: retry after %v", n, st[0].RetryAfter)
			}
		}
	}
}

func concurrent(t *testing.T, s ratelimit.Store, _ Subject) {
	for _, n := range []int64{100, 101, 300} {
		if n == 101 && !hasBursts(s) {
			continue
		}
		var admitted atomic.Int64
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				states := make([]ratelimit.State, 2)
				for range 2 * n / 64 {
					c := charge("c", n, 1)
					c.Subject.Name = time.Duration(n).String()
					if n == 101 {
						c.Burst = 101 // of which none leaks out in less than 35 s
					}
					wide := charge("wide", 10*n, 1)
					ok, err := s.TakeAll(context.Background(), []ratelimit.Charge{c, wide}, states)
					if err != nil || states[0].Degraded {
						t.Errorf("%v, %+v", err, states)
					}
					if ok {
						admitted.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if want := min(n, 2*n/64*64); admitted.Load() != want {
			t.Errorf("%d admitted of %d", admitted.Load(), want)
		}
	}
}

func allOrNothing(t *testing.T, s ratelimit.Store, _ Subject) {
	wide, tight := charge("wide", 10, 1), charge("tight", 2, 1)
	for i := range 20 {
		ok, st := take(t, s, wide, tight)
		if ok != (i < 2) || i >= 2 && (st[0].Remaining != 8 || !st[0].Fits || st[1].Fits) {
			t.Fatalf("request %d: %t, %+v", i+1, ok, st)
		}
	}
}

func costs(t *testing.T, s ratelimit.Store, _ Subject) {
	for _, n := range []int64{10, 1000} {
		c := charge("cost", n, n/2)
		c.Subject.Name = time.Duration(n).String()
		for i := range 3 {
			if ok, _ := take(t, s, c); ok != (i < 2) {
				t.Errorf("N = %d: request %d of half of it: %t", n, i+1, ok)
			}
		}
		for _, cost := range []int64{n + 1, 1<<63 - 1} {
			c.Cost = cost
			if ok, st := take(t, s, c); ok || st[0].RetryAfter >= 0 {
				t.Errorf("a cost of %d, which never fits %d: %t, %+v", cost, n, ok, st)
			}
		}
	}
}

func apart(t *testing.T, s ratelimit.Store, _ Subject) {
	ip, name := netip.MustParseAddr("192.0.2.1"), "192.0.2.1"
	for i, c := range []ratelimit.Charge{
		{Rule: "a", Subject: ratelimit.Subject{Name: "bc"}}, {Rule: "ab", Subject: ratelimit.Subject{Name: "c"}},
		{Rule: "a", Subject: ratelimit.Subject{Name: "b:c"}}, {Rule: "a:b", Subject: ratelimit.Subject{Name: "c"}},
		{Rule: "a", Subject: ratelimit.Subject{Addr: ip}}, {Rule: "a", Subject: ratelimit.Subject{Name: name}},
		{Rule: "a", Subject: ratelimit.Subject{Addr: netip.MustParseAddr("2001:db8::")}}, {Rule: "a"}, {Rule: "{x}"},
		{Rule: "a", Per: time.Minute}, {Rule: "a\r\nb"}, {Rule: "a", Subject: ratelimit.Subject{Addr: ip, Name: "bc"}},
	} {
		c.N, c.Cost = 1, 1
		if c.Per == 0 {
			c.Per = time.Hour
		}
		if ok, _ := take(t, s, c); !ok {
			t.Errorf("%d shares a counter with one before it", i)
		}
		if ok, _ := take(t, s, c); ok {
			t.Errorf("%d is not counted", i)
		}
	}
}

func peekAndReset(t *testing.T, s ratelimit.Store, _ Subject) {
	for _, n := range []int64{2, 500} {
		c := []ratelimit.Charge{charge("p", n, n)}
		c[0].Subject.Name = time.Duration(n).String()
		st := make([]ratelimit.State, 1)
		for range 3 {
			if ok, err := s.PeekAll(context.Background(), c, st); !ok || err != nil || st[0].Remaining != n {
				t.Fatalf("a peek changed something: %+v, %v", st, err)
			}
		}
		take(t, s, c...)
		if ok, err := s.PeekAll(context.Background(), c, st); ok || err != nil || st[0].Remaining != 0 {
			t.Errorf("a peek at what is used up: %t, %+v, %v", ok, st, err)
		}
		if err := s.Reset(context.Background(), c); err != nil {
			t.Fatal(err)
		}
		if ok, _ := take(t, s, c...); !ok {
			t.Error("refused after Reset")
		}
	}
}

func changeOfN(t *testing.T, s ratelimit.Store, _ Subject) {
	for range 19 {
		take(t, s, charge("t", 19, 1))
	}
	if _, st := take(t, s, charge("t", 200, 1)); st[0].Remaining != 180 {
		t.Errorf("after 20 of 200 %d remain", st[0].Remaining)
	}
	if ok, st := take(t, s, charge("t", 10, 1)); ok || st[0].Remaining != 0 {
		t.Errorf("20 were used of a limit lowered to 10: %t, %+v", ok, st)
	}
	if ok, _ := take(t, s, charge("t", 1000, 980)); !ok {
		t.Error("20 of 1000 were used, and 980 do not fit")
	}
	if ok, _ := take(t, s, charge("t", 1000, 1)); ok {
		t.Error("1001 of 1000 fit")
	}
}

func hostile(t *testing.T, s ratelimit.Store, _ Subject) {
	good := charge("h", 1, 1)
	for name, change := range map[string]func(*ratelimit.Charge){
		"no N": func(c *ratelimit.Charge) { c.N = 0 }, "negative N": func(c *ratelimit.Charge) { c.N = -1 },
		"huge N": func(c *ratelimit.Charge) { c.N = 1 << 62 }, "no cost": func(c *ratelimit.Charge) { c.Cost = 0 },
		"negative cost": func(c *ratelimit.Charge) { c.Cost = -1 << 63 }, "no window": func(c *ratelimit.Charge) { c.Per = 0 },
		"short window": func(c *ratelimit.Charge) { c.Per = time.Microsecond }, "endless window": func(c *ratelimit.Charge) { c.Per = 1<<63 - 1 },
	} {
		c := good
		change(&c)
		if ok, err := s.TakeAll(context.Background(), []ratelimit.Charge{c}, make([]ratelimit.State, 1)); ok || !errors.Is(err, ratelimit.ErrCharges) {
			t.Errorf("%s: %t, %v", name, ok, err)
		}
	}
	if ok, err := s.TakeAll(context.Background(), []ratelimit.Charge{good}, nil); ok || !errors.Is(err, ratelimit.ErrCharges) {
		t.Errorf("no room for states: %t, %v", ok, err)
	}
	if ok, err := s.TakeAll(context.Background(), nil, nil); !ok || err != nil {
		t.Errorf("no charges: %t, %v", ok, err)
	}
}

// anyWindow hammers around the edges of windows, at 13 phases.
func anyWindow(t *testing.T, s ratelimit.Store, sub Subject) {
	const steps = 52
	for _, n := range []int64{5, 100, 200} {
		for phase := range 13 {
			c := ratelimit.Charge{Rule: "w", Subject: ratelimit.Subject{Name: time.Duration(n*100 + int64(phase)).String()}, N: n, Per: 1040 * time.Millisecond, Cost: 1}
			sub.Advance(time.Duration(phase) * c.Per / 13)
			var hits [3 * steps]int64
			for step := range hits {
				for i := int64(0); i <= n/3; i++ { // greedy bursts of a third
					if ok, _ := take(t, s, c); !ok {
						break
					}
					hits[step]++
				}
				sub.Advance(c.Per / steps)
			}
			for first := range hits {
				var sum int64
				for _, h := range hits[first:min(first+steps, len(hits))] {
					sum += h
				}
				if sum > n {
					t.Fatalf("N = %d, phase %d: %d admitted in one window", n, phase, sum)
				}
			}
			var all int64
			for _, h := range hits {
				all += h
			}
			if all < 2*n {
				t.Errorf("N = %d, phase %d: only %d admitted in three windows", n, phase, all)
			}
		}
	}
}

// twoBursts are hits that a store may count together: as one that is as young as
// the younger.
func twoBursts(t *testing.T, s ratelimit.Store, sub Subject) {
	for _, n := range []int64{100, 200, 1000} {
		for _, apart := range []time.Duration{time.Millisecond, 9 * time.Millisecond, 31 * time.Millisecond} {
			for phase := range 8 { // a thirty-second of the window is 32 ms
				c := ratelimit.Charge{Rule: "two", Subject: ratelimit.Subject{Name: time.Duration(n*100+int64(phase)).String() + apart.String()}, N: n, Per: 1024 * time.Millisecond, Cost: n / 2}
				sub.Advance(4 * time.Millisecond)
				take(t, s, c)
				sub.Advance(apart)
				if ok, st := take(t, s, c); !ok {
					t.Fatalf("N = %d: %+v", n, st)
				}
				sub.Advance(c.Per - apart) // the first burst is over, and the second is not
				var again int64
				for ok, _ := take(t, s, c); ok && again < n; ok, _ = take(t, s, c) {
					again += c.Cost
				}
				if again > n/2 {
					t.Fatalf("N = %d, %v apart: %d admitted in one window", n, apart, n/2+again)
				}
			}
		}
	}
}

func evenlySpaced(t *testing.T, s ratelimit.Store, sub Subject) {
	for _, n := range []int64{100, 640} {
		c := ratelimit.Charge{Rule: "even", Subject: ratelimit.Subject{Name: time.Duration(n).String()}, N: n, Per: 64 * time.Second, Cost: 1}
		var admitted int64
		for range 3 * n {
			if ok, _ := take(t, s, c); ok {
				admitted++
			}
			sub.Advance(c.Per / time.Duration(n))
		}
		if share := float64(admitted) / float64(3*n); share < 0.969 {
			t.Errorf("N = %d: %.1f %% of evenly spaced requests were admitted", n, 100*share)
		}
	}
}

func retryAfter(t *testing.T, s ratelimit.Store, sub Subject) {
	for _, n := range []int64{3, 300} {
		c := ratelimit.Charge{Rule: "ra", Subject: ratelimit.Subject{Name: time.Duration(n).String()}, N: n, Per: time.Minute, Cost: 1}
		for range n {
			take(t, s, c)
		}
		ok, st := take(t, s, c)
		after := st[0].RetryAfter
		if ok || after <= 0 {
			t.Fatalf("%t, %+v", ok, st)
		}
		sub.Advance(after - time.Millisecond)
		if ok, _ := take(t, s, c); ok {
			t.Errorf("N = %d: admitted before RetryAfter", n)
		}
		sub.Advance(time.Millisecond)
		if ok, st := take(t, s, c); !ok {
			t.Errorf("N = %d: refused after RetryAfter: %+v", n, st)
		}
	}
}
