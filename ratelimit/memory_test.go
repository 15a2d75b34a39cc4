package ratelimit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
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

// When not even the overflow has a place, nobody new is admitted, and nobody
// is told to come back at once.
func TestAFullOverflowRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, MemoryConfig{MaxBytes: 1 << 20})
		per := func(i uint32) Charge {
			return Charge{Rule: "ip", Subject: Subject{Addr: addr(i << 16)}, N: 3, Per: time.Minute, Cost: 1}
		}
		for i := range uint32(1 << 14) {
			take(t, s, per(i))
		}
		refused := 0
		for i := range uint32(1000) {
			if st := take(t, s, per(1<<15+i)); !st.Fits {
				refused++
				if st.RetryAfter != time.Minute || st.Remaining != 0 {
					t.Fatalf("%+v", st)
				}
			}
		}
		if windows, bytes := s.Usage(); refused < 900 || bytes > 1<<20 {
			t.Errorf("%d refused with %d windows, %d bytes", refused, windows, bytes)
		}
		time.Sleep(time.Minute)
		tries := 0
		for !take(t, s, per(1<<15)).Fits && tries < 10 { // a refusal looks for what has recovered
			tries++
		}
		if tries > 1 {
			t.Errorf("refused %d times although everything has recovered", tries)
		}
	})
}

// An attacker whose addresses are blocked touches a million others of its
// network, none of them twice, to have its counters evicted. All stay blocked,
// the memory stays within its cap, and newcomers of other networks are admitted.
func TestFillingTheMemoryReleasesNobody(t *testing.T) {
	s := newStore(t, MemoryConfig{MaxBytes: 1 << 20})
	from := func(i uint32) Charge { // the i-th /64 of 2001:db8::/32
		a := [16]byte{0x20, 0x01, 0x0d, 0xb8}
		binary.BigEndian.PutUint32(a[4:], i)
		return Charge{Rule: "ip", Subject: Subject{Addr: netip.AddrFrom16(a)}, N: 5, Per: time.Hour, Cost: 1}
	}
	const blocked = 100
	for i := range uint32(blocked) {
		for take(t, s, from(i)).Fits {
		}
	}
	keys := uint32(1_000_000)
	if raceEnabled {
		keys = 100_000
	}
	admitted := 0
	for i := range keys {
		if take(t, s, from(blocked+i)).Fits {
			admitted++
		}
	}
	for i := range uint32(blocked) {
		if take(t, s, from(i)).Fits {
			t.Fatalf("filling the memory released %v", from(i).Subject.Addr)
		}
	}
	windows, bytes := s.Usage()
	if bytes > 1<<20 {
		t.Errorf("%d bytes of a cap of 1 MiB", bytes)
	}
	// Each key with a window of its own, and 5 for the network in each shard.
	if most := windows + 5*shardCount; admitted > most {
		t.Errorf("%d of %d fresh keys were admitted by %d windows", admitted, keys, windows)
	}
	if windows < 1000 || admitted < windows/2 {
		t.Errorf("%d admitted by %d windows: the memory was not filled", admitted, windows)
	}
	for name, newcomer := range map[string]func(i uint32) netip.Addr{
		"IPv4": func(i uint32) netip.Addr { return addr(0xc0000000 + i<<16) },
		"IPv6": func(i uint32) netip.Addr {
			a := [16]byte{0x24}
			binary.BigEndian.PutUint16(a[2:], uint16(i))
			return netip.AddrFrom16(a)
		},
	} {
		refused := 0
		for i := range uint32(128) {
			if !take(t, s, Charge{Rule: "ip", Subject: Subject{Addr: newcomer(i)}, N: 5, Per: time.Hour, Cost: 1}).Fits {
				refused++
			}
		}
		if refused > 32 {
			t.Errorf("%d of 128 newcomers by %s from other networks were starved", refused, name)
		}
	}
}

// What a key was admitted while it shared an overflow counter still counts
// when there is room for a counter of its own.
func TestLeavingTheOverflowGivesNoFreshQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, MemoryConfig{MaxBytes: 1 << 20})
		short := func(i uint32) Charge {
			return Charge{Rule: "ip", Subject: Subject{Addr: addr(0x0b000000 + i)}, N: 1, Per: time.Second, Cost: 1}
		}
		for i := range uint32(40000) { // full of keys that recover after a second
			take(t, s, short(i))
		}
		victim := Charge{Rule: "long", Subject: Subject{Addr: addr(0xc0a80001)}, N: 5, Per: time.Hour, Cost: 1}
		admitted := 0
		for take(t, s, victim).Fits {
			admitted++
		}
		time.Sleep(2 * time.Second)
		for i := range uint32(40000) { // sweeps the recovered keys out
			take(t, s, short(100000+i%100))
		}
		for take(t, s, victim).Fits {
			admitted++
		}
		if admitted > 5 {
			t.Errorf("%d admitted within an hour of a limit of 5", admitted)
		}
	})
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

func TestANewcomerInFullMemoryIsStillLimited(t *testing.T) {
	for _, n := range []int64{19, 20, 60, 128, 129} {
		s := newStore(t, MemoryConfig{MaxBytes: 1 << 20})
		for i := range uint32(20000) {
			take(t, s, Charge{Rule: "ip", Subject: Subject{Addr: addr(0x0a000000 + i)}, N: n, Per: time.Hour, Cost: 1})
		}
		admitted := int64(0)
		for range 5000 {
			if take(t, s, Charge{Rule: "ip", Subject: Subject{Addr: addr(0xc0a80001)}, N: n, Per: time.Hour, Cost: 1}).Fits {
				admitted++
			}
		}
		if admitted > n {
			t.Errorf("N = %d: %d admitted", n, admitted)
		}
	}
}

// What a larger limit admitted under the same rule does not make room, by
// overflow, for a request that costs more than anything.
func TestACostBeyondEverythingFitsNowhere(t *testing.T) {
	s, err := NewMemoryStore(MemoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddr("192.0.2.1")
	l, err := New(Config{Store: s, IP: []Limit{PerHour(200)}, Tiers: []Tier{{Name: "all", User: []Limit{PerHour(200)}}}})
	if err != nil {
		t.Fatal(err)
	}
	before := []Charge{{Rule: l.ip[0].rule, Subject: Subject{Addr: addr}, N: 1000, Per: time.Hour, Cost: 900}}
	if ok, err := s.TakeAll(t.Context(), before, make([]State, 1)); !ok || err != nil {
		t.Fatal(ok, err)
	}
	for _, cost := range []int64{1, 200, 201, math.MaxInt64 - 1, math.MaxInt64} {
		d, err := l.Take(t.Context(), Request{Addr: addr, Cost: cost})
		if err != nil || d.Allowed {
			t.Errorf("cost %d: %+v, %v", cost, d, err)
		}
	}
}
