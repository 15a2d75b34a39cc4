package ratelimit

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

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

// However small the memory is and however many rules hold for a request, one
// network that fills it leaves room for newcomers of others.
func TestOneNetworkLeavesTheOverflowToOthers(t *testing.T) {
	s := newStore(t, MemoryConfig{MaxBytes: 1 << 20})
	request := func(a netip.Addr) bool {
		var cs []Charge
		for _, rule := range []string{"ip", "ip:free", "route:POST /login", "route:POST /reset"} {
			cs = append(cs, Charge{Rule: rule, Subject: Subject{Addr: a}, N: 100, Per: time.Hour, Cost: 1})
		}
		all, err := s.TakeAll(t.Context(), cs, make([]State, len(cs)))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	for i := range uint32(50_000) {
		a := [16]byte{0x20, 0x01, 0x0d, 0xb8}
		binary.BigEndian.PutUint32(a[4:], i)
		request(netip.AddrFrom16(a))
	}
	starved := 0
	for i := range uint32(16) {
		if !request(addr(0xc0000201 + i<<16)) {
			starved++
		}
	}
	if starved > 0 {
		t.Errorf("%d of 16 newcomers from other networks were starved", starved)
	}
	if _, bytes := s.Usage(); bytes > 1<<20 {
		t.Errorf("%d bytes of a cap of 1 MiB", bytes)
	}
}

// Nor do the users of a service take the room of newcomers by address.
func TestNamesLeaveTheOverflowToAddresses(t *testing.T) {
	s := newStore(t, MemoryConfig{MaxBytes: 1 << 20})
	request := func(rules []string, who Subject) bool {
		var cs []Charge
		for _, rule := range rules {
			cs = append(cs, Charge{Rule: rule, Subject: who, N: 1_000_000, Per: time.Hour, Cost: 1})
		}
		all, err := s.TakeAll(t.Context(), cs, make([]State, len(cs)))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	for i := range uint32(50_000) {
		a := [16]byte{0x20, 0x01, 0x0d, 0xb8}
		binary.BigEndian.PutUint32(a[4:], i)
		request([]string{"ip"}, Subject{Addr: netip.AddrFrom16(a)})
	}
	var rules []string
	for i := range 10 {
		rules = append(rules, fmt.Sprintf("route:/%d", i))
	}
	for i := range 5000 {
		if !request(rules, Subject{Name: fmt.Sprintf("user %d", i)}) {
			t.Fatalf("user %d was starved", i)
		}
	}
	starved := 0
	for i := range uint32(32) {
		if !request([]string{"ip", "ip:free"}, Subject{Addr: addr(0xc0000201 + i<<16)}) {
			starved++
		}
	}
	if starved > 0 {
		t.Errorf("%d of 32 newcomers by address were starved", starved)
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
