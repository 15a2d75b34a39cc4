package ratelimit

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// oneLimit is a Limiter that has one limit for each address.
func oneLimit(t testing.TB, limit Limit) *Limiter {
	l, err := New(Config{IP: []Limit{limit}, Tiers: []Tier{{Name: "t", User: []Limit{PerHour(1)}}}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A request of a known address waits for nobody.
func TestTakeNeedsNoLock(t *testing.T) {
	l := oneLimit(t, PerHour(1000))
	r := Request{Addr: netip.MustParseAddr("192.0.2.1")}
	if d, err := l.Take(t.Context(), r); err != nil || !d.Allowed {
		t.Fatal(d, err)
	}
	for i := range uint32(10_000) { // whose sweeps look at it
		_, _ = l.Take(t.Context(), Request{Addr: addr(1<<24 + i)})
	}
	for i := range l.memory.shards {
		l.memory.shards[i].mu.Lock()
		defer l.memory.shards[i].mu.Unlock()
	}
	done := make(chan Decision)
	go func() {
		d, _ := l.Take(t.Context(), r)
		done <- d
	}()
	select {
	case d := <-done:
		if !d.Allowed || d.Remaining != 998 {
			t.Errorf("%+v", d)
		}
	case <-time.After(time.Minute):
		t.Error("Take waits for a lock")
	}
}

// Exactly N are admitted while hits without the lock meet everything that takes
// it: peeks, refunds, resets of others, keys that come and are swept out.
func TestHitsBesideTheLockAreExact(t *testing.T) {
	const n, goroutines = 5000, 64
	l := oneLimit(t, PerHour(n))
	r := Request{Addr: netip.MustParseAddr("192.0.2.1")}
	var admitted, refunded atomic.Int64
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range 2 * n / goroutines {
				d, err := l.Take(t.Context(), r)
				if err != nil {
					t.Error(err)
				}
				if !d.Allowed {
					continue
				}
				admitted.Add(1)
				switch i % 8 {
				case 1:
					if p, err := l.Peek(t.Context(), r); err != nil || p.Remaining >= n {
						t.Errorf("%+v, %v", p, err)
					}
				case 2:
					if l.Refund(t.Context(), r, d) == nil {
						refunded.Add(1)
					}
				case 3:
					other := Request{Addr: addr(uint32(g<<16 + i))}
					_, _ = l.Take(t.Context(), other)
					_ = l.Reset(t.Context(), other)
				}
			}
		})
	}
	wg.Wait()
	for range n { // what was given back near the end
		if d, _ := l.Take(t.Context(), r); d.Allowed {
			admitted.Add(1)
		}
	}
	if got := admitted.Load() - refunded.Load(); got != n || refunded.Load() == 0 {
		t.Errorf("%d admitted and %d given back of a limit of %d", admitted.Load(), refunded.Load(), n)
	}
}

// So they are where some decide about several limits at once.
func TestHitsBesideDecisionsAboutSeveralAreExact(t *testing.T) {
	const n, goroutines = 5000, 64
	s := newStore(t, MemoryConfig{})
	charges := []Charge{{Rule: "a", N: n, Per: time.Hour, Cost: 1}, {Rule: "b", N: 2 * n, Per: time.Hour, Cost: 1}}
	var admitted atomic.Int64
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			var st [2]State
			for i := range 2 * n / goroutines {
				if ok, err := s.TakeAll(t.Context(), charges[:1+i%2], st[:]); err != nil {
					t.Error(err)
				} else if ok {
					admitted.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if admitted.Load() != n {
		t.Errorf("%d admitted of a limit of %d", admitted.Load(), n)
	}
}

// Who saves a limit up until its first hit is nearly forgotten does not get it twice.
func TestHitsAreCountedInTheirOwnBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, per = 1000, time.Minute
		s := newStore(t, MemoryConfig{})
		c := Charge{Rule: "r", N: n, Per: per, Cost: 1}
		take(t, s, c)
		time.Sleep(per - time.Second)
		for i := range n - 1 {
			if !take(t, s, c).Fits {
				t.Fatalf("hit %d of %d was refused", i+2, n)
			}
		}
		time.Sleep(per / 10)
		admitted := 0
		for take(t, s, c).Fits {
			admitted++
		}
		if admitted != 1 {
			t.Errorf("%d admitted after the first hit was forgotten, want 1", admitted)
		}
		time.Sleep(per / 2)
		st := take(t, s, c)
		if want := per/2 + per/subBuckets; st.Fits || st.ResetAfter > want || st.ResetAfter <= per/2-per/subBuckets {
			t.Errorf("%+v half a window after the last hit", st)
		}
	})
}

// No window admits more than N to goroutines that race each other over the
// borders of buckets, by their own clocks.
func TestHitsBesideTheLockKeepTheWindow(t *testing.T) {
	const n, per = 3000, 64 * time.Millisecond // a bucket of 2 ms
	l := oneLimit(t, Limit{N: n, Per: per})
	r := Request{Addr: netip.MustParseAddr("192.0.2.1")}
	type hit struct{ before, after time.Duration }
	var mu sync.Mutex
	var hits []hit
	var admitted atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for g := range 4 {
		wg.Go(func() {
			var mine []hit
			for i := 0; admitted.Load() < 6*n && time.Since(start) < time.Minute; i++ {
				if g == 0 && i%4 == 0 {
					_, _ = l.Peek(t.Context(), r)
				}
				before := time.Since(start)
				if d, _ := l.Take(t.Context(), r); d.Allowed {
					mine = append(mine, hit{before, time.Since(start)})
					admitted.Add(1)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			hits = append(hits, mine...)
		})
	}
	wg.Wait()
	// What began and ended within one window was admitted in it.
	slices.SortFunc(hits, func(a, b hit) int { return int(a.before - b.before) })
	for i := 0; i < len(hits); i += 1 + len(hits)/2000 {
		inside := 0
		for _, h := range hits[i:] {
			if h.before >= hits[i].before+per {
				break
			}
			if h.after < hits[i].before+per {
				inside++
			}
		}
		if inside > n {
			t.Fatalf("%d admitted in a window of %v of a limit of %d", inside, per, n)
		}
	}
	if len(hits) < 6*n {
		t.Errorf("only %d admitted in %v", len(hits), time.Since(start))
	}
}

// A cell that was dropped admits nobody, though somebody may still have found it.
func TestADroppedCellAdmitsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, MemoryConfig{MaxBytes: 1 << 20})
		c := Charge{Rule: "ip", Subject: Subject{Addr: addr(1)}, N: 1000, Per: time.Second, Cost: 1}
		take(t, s, c)
		k := s.keyOf(&c)
		own := &s.shards[k.lo&s.mask].own
		old := own.find(k)
		time.Sleep(3 * time.Second)
		for i := range uint32(10_000) {
			fresh := c
			fresh.Subject.Addr = addr(1<<24 + i)
			take(t, s, fresh)
		}
		if own.find(k) != nil {
			t.Fatal("the key is still there")
		}
		if _, _, ok := old.tryHit(0, int64(c.Per), 1, c.N); ok {
			t.Error("a cell that is not in the table took a hit")
		}
		if st := take(t, s, c); st.Remaining != 999 {
			t.Errorf("%+v", st)
		}
	})
}
