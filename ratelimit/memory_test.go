package ratelimit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

func addr(i uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], i)
	return netip.AddrFrom4(b)
}

func TestExactlyNAreAdmittedFrom64Goroutines(t *testing.T) {
	for _, n := range []int64{100, 5000} {
		s := newStore(t, MemoryConfig{})
		var admitted atomic.Int64
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				var st [2]State
				for range 2 * n / 64 {
					ok, err := s.TakeAll(t.Context(), []Charge{
						{Rule: "a", N: n, Per: time.Hour, Cost: 1}, {Rule: "b", N: 2 * n, Per: time.Hour, Cost: 1},
					}, st[:])
					if err != nil {
						t.Error(err)
					}
					if ok {
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
}

func TestARefusalConsumesNothingAnywhere(t *testing.T) {
	s := newStore(t, MemoryConfig{})
	wide := Charge{Rule: "wide", N: 10, Per: time.Hour, Cost: 1}
	tight := Charge{Rule: "tight", N: 2, Per: time.Hour, Cost: 1}
	var st [2]State
	for i := range 50 {
		ok, err := s.TakeAll(t.Context(), []Charge{wide, tight}, st[:])
		if err != nil || ok != (i < 2) {
			t.Fatalf("%d: %t, %v", i, ok, err)
		}
	}
	if st[0].Remaining != 8 || !st[0].Fits || st[1].Fits || st[1].RetryAfter <= 0 {
		t.Errorf("after 48 refusals: %+v", st)
	}
}

func TestPeekAndReset(t *testing.T) {
	s := newStore(t, MemoryConfig{})
	for _, n := range []int64{2, 500} {
		c := Charge{Rule: fmt.Sprint(n), N: n, Per: time.Hour, Cost: n}
		var st [1]State
		for range 3 {
			if ok, err := s.PeekAll(t.Context(), []Charge{c}, st[:]); !ok || err != nil || st[0].Remaining != n {
				t.Fatalf("a peek changed something: %+v, %v", st, err)
			}
		}
		take(t, s, c)
		if ok, _ := s.PeekAll(t.Context(), []Charge{c}, st[:]); ok {
			t.Error("the limit is used up")
		}
		if err := s.Reset(t.Context(), []Charge{c}); err != nil {
			t.Fatal(err)
		}
		if !take(t, s, c).Fits {
			t.Error("refused after Reset")
		}
	}
}

func TestHostileCharges(t *testing.T) {
	s := newStore(t, MemoryConfig{})
	huge := take(t, s, Charge{Rule: "r", N: 10, Per: time.Hour, Cost: 1<<63 - 1})
	if huge.Fits || huge.RetryAfter >= 0 || huge.Remaining != 10 {
		t.Errorf("a cost that never fits: %+v", huge)
	}
	if st := take(t, s, Charge{Rule: "r", N: 10, Per: time.Hour, Cost: 10}); !st.Fits {
		t.Errorf("the huge cost consumed something: %+v", st)
	}
	var st [17]State
	if _, err := s.TakeAll(t.Context(), make([]Charge, 17), st[:]); !errors.Is(err, ErrCharges) {
		t.Errorf("17 charges: %v", err)
	}
	if ok, err := s.TakeAll(t.Context(), nil, nil); !ok || err != nil {
		t.Errorf("no charges admit: %t, %v", ok, err)
	}
	long := strings.Repeat("x", 1000)
	take(t, s, Charge{Rule: long + "a", N: 1, Per: time.Hour, Cost: 1})
	if !take(t, s, Charge{Rule: long + "b", N: 1, Per: time.Hour, Cost: 1}).Fits {
		t.Error("two long rule names share a counter")
	}
	take(t, s, Charge{Rule: "s", Subject: Subject{Name: "ab"}, N: 1, Per: time.Hour, Cost: 1})
	for _, c := range []Charge{
		{Rule: "sa", Subject: Subject{Name: "b"}}, {Rule: "s", Subject: Subject{Name: "ba"}}, {Rule: "s", Subject: Subject{}},
		{Rule: "s", Subject: Subject{Addr: addr(1), Name: "ab"}},
	} {
		c.N, c.Per, c.Cost = 1, time.Hour, 1
		if !take(t, s, c).Fits {
			t.Errorf("%+v shares a counter with another subject", c)
		}
	}
}

// A clock that runs backwards, as for a store made outside a synctest bubble,
// only ever holds time still.
func TestTimeBeforeTheStoreReleasesNobody(t *testing.T) {
	s := newStore(t, MemoryConfig{})
	s.base = time.Now().Add(time.Hour)
	for _, n := range []int64{2, 500} {
		c := Charge{Rule: fmt.Sprint(n), N: n, Per: time.Millisecond, Cost: n}
		if !take(t, s, c).Fits || take(t, s, c).Fits {
			t.Errorf("N = %d is not kept", n)
		}
	}
}

func TestRecoveredKeysAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, MemoryConfig{})
		for i := range uint32(10000) {
			take(t, s, Charge{Rule: "ip", Subject: Subject{Addr: addr(i)}, N: 5, Per: time.Second, Cost: 1})
		}
		time.Sleep(time.Minute)
		for i := range uint32(10000) {
			take(t, s, Charge{Rule: "ip", Subject: Subject{Addr: addr(1<<20 + i)}, N: 5, Per: time.Second, Cost: 1})
		}
		if keys, _ := s.Usage(); keys > 11000 {
			t.Errorf("%d keys are kept, of which 10000 count", keys)
		}
	})
}

// What the process really takes stays within the bound: when every key counts
// to a large N or a long ring, and when keys come and go for long.
func TestMemoryStaysWithinItsBound(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has memory of its own")
	}
	const bound = 8 << 20
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for _, n := range []int64{1, 10, 128, 1000} {
		synctest.Test(t, func(t *testing.T) {
			before := heap()
			s := newStore(t, MemoryConfig{MaxBytes: bound})
			var most int64
			states := make([]State, 2)
			for generation := range uint32(4) {
				for range 3 {
					for i := range uint32(30000) {
						a := Subject{Addr: addr(generation<<28 + i<<4)}
						_, err := s.TakeAll(t.Context(), []Charge{
							{Rule: "a", Subject: a, N: n, Per: time.Minute, Cost: max(n/3, 1)},
							{Rule: "b", Subject: a, N: 2 * n, Per: time.Minute, Cost: 1},
						}, states)
						if err != nil {
							t.Fatal(err)
						}
					}
					most = max(most, heap()-before)
				}
				time.Sleep(2 * time.Minute)
			}
			windows, bytes := s.Usage()
			t.Logf("N = %d: %d windows; %d bytes counted, %d taken at most", n, windows, bytes, most)
			if most > bound || bytes > bound {
				t.Errorf("N = %d: %d bytes taken and %d counted of a bound of %d", n, most, bytes, bound)
			}
			if bytes < bound/2 {
				t.Errorf("N = %d: the store was not filled: %d bytes", n, bytes)
			}
		})
	}
}

func TestTakeAllocatesNothing(t *testing.T) {
	s := newStore(t, MemoryConfig{})
	charges := []Charge{
		{Rule: "user", Subject: Subject{Name: "u1"}, N: 1 << 20, Per: time.Hour, Cost: 1},
		{Rule: "ip", Subject: Subject{Addr: addr(1)}, N: 100, Per: time.Millisecond, Cost: 1},
		{Rule: "global", N: 1 << 20, Per: time.Hour, Cost: 1},
	}
	states := make([]State, len(charges))
	for range 1000 {
		_, _ = s.TakeAll(t.Context(), charges, states)
	}
	for _, n := range []int{1, 3} {
		if got := testing.AllocsPerRun(1000, func() { _, _ = s.TakeAll(t.Context(), charges[:n], states[:n]) }); got != 0 && !raceEnabled { // the race detector allocates
			t.Errorf("%d charges: %v allocations", n, got)
		}
	}
}

// A full ring of 20 words and the buckets that take its place have one length.
// The buckets must be kept all the same, or every later hit is forgotten.
func TestARingThatBecomesBucketsIsKept(t *testing.T) {
	s := newStore(t, MemoryConfig{})
	c := Charge{Rule: "user", N: 19, Per: time.Hour, Cost: 1}
	for take(t, s, c).Fits {
	}
	c.N = 200
	admitted := 19
	for range 10000 {
		if take(t, s, c).Fits {
			admitted++
		}
	}
	if admitted != 200 {
		t.Errorf("%d admitted after the limit rose from 19 to 200", admitted)
	}
}

// Neither does a wall clock that is set back or forward while windows are open:
// only the monotonic one counts.
func TestTheWallClockMovesNoWindow(t *testing.T) {
	for _, step := range []int64{-3600, 3600} {
		s := newStore(t, MemoryConfig{})
		c := Charge{Rule: "r", N: 2, Per: time.Minute, Cost: 2}
		if !take(t, s, c).Fits {
			t.Fatal("refused")
		}
		// What the store would see if the wall clock had been set by that many seconds:
		// its base is as far away by the one clock, and not by the other.
		before := s.base.Round(0)
		*(*uint64)(unsafe.Pointer(&s.base)) -= uint64(step) << 30 // seconds stand above 30 bits of nanoseconds
		if moved := before.Sub(s.base.Round(0)); moved != time.Duration(step)*time.Second {
			t.Fatalf("the base moved by %v", moved)
		}
		if st := take(t, s, c); st.Fits || st.RetryAfter < 50*time.Second || st.RetryAfter > time.Minute {
			t.Errorf("the clock was set by %d s: %+v", step, st)
		}
	}
}

func TestTheDefaultBoundIs256MiB(t *testing.T) {
	if s := newStore(t, MemoryConfig{}); s.maxBytes != 256<<20 {
		t.Errorf("%d bytes", s.maxBytes)
	}
}
