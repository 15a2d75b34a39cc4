package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/inovy/hardening/ratelimit"
)

func giveBack(t *testing.T, s ratelimit.Store, cs []ratelimit.Charge, taken []ratelimit.State) {
	t.Helper()
	if err := s.Refund(context.Background(), cs, taken); err != nil {
		t.Fatal(err)
	}
}

// left is what a peek says is left.
func left(t *testing.T, s ratelimit.Store, c ratelimit.Charge) int64 {
	t.Helper()
	var st [1]ratelimit.State
	if _, err := s.PeekAll(context.Background(), []ratelimit.Charge{c}, st[:]); err != nil {
		t.Fatal(err)
	}
	return st[0].Remaining
}

func refund(t *testing.T, s ratelimit.Store, _ Subject) {
	for _, n := range []int64{4, 500} {
		a, b := charge("a", n, 2), charge("b", 2*n, 2)
		a.Subject.Name, b.Subject.Name = time.Duration(n).String(), time.Duration(n).String()
		cs := []ratelimit.Charge{a, b}
		_, st := take(t, s, cs...)
		for _, one := range st {
			if one.At == 0 {
				t.Fatalf("not told when it was taken: %+v", one)
			}
		}
		giveBack(t, s, cs, st)
		if left(t, s, a) != n || left(t, s, b) != 2*n {
			t.Errorf("N = %d: %d and %d are left", n, left(t, s, a), left(t, s, b))
		}
		giveBack(t, s, cs, st)
		if left(t, s, a) != n || left(t, s, b) != 2*n {
			t.Errorf("N = %d: given back more than all: %d and %d are left", n, left(t, s, a), left(t, s, b))
		}
		take(t, s, cs...)
		_, st = take(t, s, cs...)
		giveBack(t, s, cs, st)
		if left(t, s, a) != n-2 || left(t, s, b) != 2*n-2 {
			t.Errorf("N = %d: after two and one refund %d and %d are left", n, left(t, s, a), left(t, s, b))
		}
		if err := s.Reset(context.Background(), cs); err != nil {
			t.Fatal(err)
		}
		full := a
		full.Cost = n
		take(t, s, full)
		_, refused := take(t, s, cs...)
		giveBack(t, s, cs, refused)
		if left(t, s, a) != 0 || refused[0].At != 0 || refused[1].At != 0 {
			t.Errorf("N = %d: a refusal was given back: %d are left, %+v", n, left(t, s, a), refused)
		}
	}
	if err := s.Refund(context.Background(), []ratelimit.Charge{{}}, make([]ratelimit.State, 1)); err == nil {
		t.Error("what cannot be counted was given back")
	}
	if err := s.Refund(context.Background(), []ratelimit.Charge{charge("a", 1, 1)}, nil); err == nil {
		t.Error("a refund without states")
	}
}

func lateRefund(t *testing.T, s ratelimit.Store, sub Subject) {
	for _, n := range []int64{4, 500} {
		for _, burst := range []int64{0, n} {
			if burst > 0 && !hasBursts(s) {
				continue
			}
			c := charge("late", n, 1)
			c.Burst, c.Subject.Name = burst, time.Duration(n).String()
			all := c
			all.Cost = n
			_, st := take(t, s, c)
			sub.Advance(c.Per + c.Per/16)
			take(t, s, all)
			giveBack(t, s, []ratelimit.Charge{c}, st)
			if got := left(t, s, c); got != 0 {
				t.Errorf("N = %d, burst %d: given back to a later window: %d are left", n, burst, got)
			}
			sub.Advance(2 * c.Per)
			_, st = take(t, s, c)
			if err := s.Reset(context.Background(), []ratelimit.Charge{c}); err != nil {
				t.Fatal(err)
			}
			sub.Advance(time.Millisecond)
			take(t, s, all)
			giveBack(t, s, []ratelimit.Charge{c}, st)
			if got := left(t, s, c); got != 0 {
				t.Errorf("N = %d, burst %d: given back after a reset: %d are left", n, burst, got)
			}
			sub.Advance(2 * c.Per)
		}
	}
}

// namedRefund takes early and late, gives one of both back, and looks when the
// other leaves the window.
func namedRefund(t *testing.T, s ratelimit.Store, sub Subject) {
	for _, n := range []int64{2, 500} {
		for _, early := range []bool{true, false} {
			c := charge("named", n, n/2)
			c.Subject.Name = time.Duration(n).String()
			cs := []ratelimit.Charge{c}
			_, first := take(t, s, c)
			sub.Advance(c.Per / 2)
			_, second := take(t, s, c)
			given := second
			if early {
				given = first
			}
			giveBack(t, s, cs, given)
			if got := left(t, s, c); got != n/2 {
				t.Fatalf("N = %d, early %t: %d are left", n, early, got)
			}
			sub.Advance(c.Per/2 + c.Per/16) // the first has left
			want := n
			if early {
				want = n / 2
			}
			if got := left(t, s, c); got != want {
				t.Errorf("N = %d, early %t: %d are left after the first is past", n, early, got)
			}
			sub.Advance(2 * c.Per)
		}
	}
}

func kinds(t *testing.T, s ratelimit.Store, _ Subject) {
	w := charge("kind", 5, 1)
	b := w
	b.Burst = 2
	for i := range 4 {
		if ok, st := take(t, s, b); ok != (i < 2) || st[0].Remaining != max(1-int64(i), 0) {
			t.Errorf("request %d of a burst of 2: %t, %+v", i+1, ok, st)
		}
	}
	for i := range 7 {
		if ok, _ := take(t, s, w); ok != (i < 5) {
			t.Errorf("request %d of a window of 5 beside a burst: %t", i+1, ok)
		}
	}
	b.Cost = 3
	if ok, st := take(t, s, b); ok || st[0].RetryAfter >= 0 {
		t.Errorf("a cost above the burst: %t, %+v", ok, st)
	}
}

// leaky asks at random moments, mostly too often, and looks at every stretch.
func leaky(t *testing.T, s ratelimit.Store, sub Subject) {
	const per = time.Minute
	for i, c := range []ratelimit.Charge{
		{N: 60, Burst: 10}, {N: 7, Burst: 1}, {N: 60, Burst: 60}, {N: 1000, Burst: 50}, {N: 3, Burst: 40},
	} {
		c.Rule, c.Per, c.Cost = "leaky", per, 1
		c.Subject.Name = time.Duration(i).String()
		var now time.Duration
		var at []time.Duration // of each admitted unit
		rng := dice(i)
		for now < 3*per {
			c.Cost = 1 + rng.below(min(c.Burst, 3))
			ok, st := take(t, s, c)
			if ok {
				for range c.Cost {
					at = append(at, now)
				}
			} else if st[0].RetryAfter <= 0 || st[0].RetryAfter > 2*per*time.Duration(c.Cost) {
				t.Fatalf("%d of %d per minute: retry after %v", c.Burst, c.N, st[0].RetryAfter)
			} else if rng.below(4) == 0 {
				late := st[0].RetryAfter.Truncate(time.Millisecond) + time.Millisecond
				sub.Advance(late - 2*time.Millisecond)
				if ok, _ := take(t, s, c); ok && late > 2*time.Millisecond {
					t.Fatalf("%d of %d per minute: admitted 2 ms before RetryAfter", c.Burst, c.N)
				}
				sub.Advance(2 * time.Millisecond)
				now += late
				if ok, st := take(t, s, c); !ok {
					t.Fatalf("%d of %d per minute: refused after RetryAfter: %+v", c.Burst, c.N, st)
				}
				for range c.Cost {
					at = append(at, now)
				}
			}
			step := time.Duration(rng.below(int64(per) / c.N)).Truncate(time.Millisecond)
			if rng.below(30) == 0 {
				step = time.Duration(rng.below(int64(per)/2 + 1)).Truncate(time.Millisecond)
			}
			sub.Advance(step)
			now += step
		}
		for from := range at {
			for to := from; to < len(at); to++ {
				stretch := at[to] - at[from]
				if most := float64(c.Burst) + float64(c.N)*float64(stretch)/float64(per); float64(to-from+1) > most+1e-9 {
					t.Fatalf("burst %d, %d per minute: %d admitted within %v, at most %.3f may be", c.Burst, c.N, to-from+1, stretch, most)
				}
			}
		}
		// Who waits for RetryAfter gets the whole pace.
		c.Cost = 1
		var waited time.Duration
		admitted := int64(0)
		for waited < per {
			ok, st := take(t, s, c)
			if ok {
				admitted++
				continue
			}
			sub.Advance(st[0].RetryAfter)
			waited += st[0].RetryAfter
		}
		if admitted < c.N-1 {
			t.Errorf("burst %d, %d per minute: only %d admitted to who waits for a minute", c.Burst, c.N, admitted)
		}
	}
}

func leakyRefund(t *testing.T, s ratelimit.Store, sub Subject) {
	c := charge("leakyrefund", 3600, 1) // one a second
	c.Burst = 10
	cs := []ratelimit.Charge{c}
	_, st := take(t, s, c)
	giveBack(t, s, cs, st)
	giveBack(t, s, cs, st)
	if got := left(t, s, c); got != 10 {
		t.Errorf("%d of 10 are left after a refund", got)
	}
	// Of three units of which two have leaked one is given back, and not for
	// what others take later.
	three := c
	three.Cost = 3
	_, st = take(t, s, three)
	sub.Advance(2 * time.Second)
	five := c
	five.Cost = 5
	_, later := take(t, s, five)
	if got := left(t, s, c); got != 4 {
		t.Fatalf("%d left of 10 after 3, 2 s and 5", got)
	}
	giveBack(t, s, []ratelimit.Charge{three}, st)
	if got := left(t, s, c); got != 5 {
		t.Errorf("%d left after one unit could be given back", got)
	}
	giveBack(t, s, []ratelimit.Charge{five}, later)
	if got := left(t, s, c); got != 10 && got != 5 {
		t.Errorf("%d left after all was given back", got)
	}
}

func renewal(t *testing.T, s ratelimit.Store, sub Subject) {
	leases := s.(ratelimit.LeaseStore)
	renew := func(c ratelimit.Charge, st []ratelimit.State) {
		t.Helper()
		if err := leases.Renew(context.Background(), []ratelimit.Charge{c}, st); err != nil || st[0].At == 0 {
			t.Fatalf("%+v, %v", st, err)
		}
	}
	for _, n := range []int64{2, 500} {
		c := charge("lease", n, n/2)
		c.Subject.Name = time.Duration(n).String()
		_, mine := take(t, s, c)
		sub.Advance(c.Per / 2)
		_, other := take(t, s, c)
		renew(c, mine)
		if got := left(t, s, c); got != 0 {
			t.Errorf("N = %d: a renewal of what was counted leaves %d", n, got)
		}
		sub.Advance(c.Per/2 + c.Per/16) // when mine would have been over
		if got := left(t, s, c); got != 0 {
			t.Errorf("N = %d: the renewal was not counted from its own time: %d are left", n, got)
		}
		giveBack(t, s, []ratelimit.Charge{c}, mine)
		if got := left(t, s, c); got != n/2 {
			t.Errorf("N = %d: %d are left after what was renewed was given back", n, got)
		}
		sub.Advance(2 * c.Per)
		take(t, s, c)
		take(t, s, c)
		renew(c, other) // over long since, and in use
		if ok, _ := take(t, s, c); ok {
			t.Errorf("N = %d: one too many", n)
		}
		giveBack(t, s, []ratelimit.Charge{c}, other)
		if got := left(t, s, c); got != 0 {
			t.Errorf("N = %d: of N and a renewal above it, %d are left after that was given back", n, got)
		}
		sub.Advance(2 * c.Per)
	}
}

// refundedWindows takes and gives back at random. In no window more than N are
// admitted that were not given back, and what was is admitted again.
func refundedWindows(t *testing.T, s ratelimit.Store, sub Subject) {
	const per = time.Second
	for i, n := range []int64{3, 20, 300} {
		rng := dice(100 + i)
		c := ratelimit.Charge{Rule: "refunded", Subject: ratelimit.Subject{Name: time.Duration(n).String()}, N: n, Per: per}
		type hit struct {
			at   time.Duration
			cost int64
			st   []ratelimit.State
		}
		var now time.Duration
		var hits []hit // that were not given back
		total := int64(0)
		for now < 8*per {
			c.Cost = 1 + rng.below(max(n/10, 2))
			if ok, st := take(t, s, c); ok {
				hits = append(hits, hit{now, c.Cost, st})
				total += c.Cost
				sum := int64(0)
				for _, h := range hits {
					if now-h.at < per {
						sum += h.cost
					}
				}
				if sum > n {
					t.Fatalf("N = %d: %d in one window, without what was given back", n, sum)
				}
			}
			if len(hits) > 0 && rng.below(3) == 0 {
				j := len(hits) - 1 - int(rng.below(int64(min(len(hits), 12))))
				c.Cost = hits[j].cost
				giveBack(t, s, []ratelimit.Charge{c}, hits[j].st)
				if now-hits[j].at < per { // else it was past, and nothing came back
					hits = append(hits[:j], hits[j+1:]...)
				}
			}
			if rng.below(3) == 0 {
				step := time.Duration(rng.below(60)) * time.Millisecond
				sub.Advance(step)
				now += step
			}
		}
		if total < 9*n {
			t.Errorf("N = %d: only %d admitted in 8 windows with refunds", n, total)
		}
	}
}

// dice throws the same numbers in every run.
type dice uint64

// below throws a number from 0 to n-1.
func (d *dice) below(n int64) int64 {
	*d = *d*6364136223846793005 + 1442695040888963407 // Knuth's MMIX
	x := uint64(*d)
	return int64((x^x>>32)>>1) % n
}
