package ratelimit

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
)

// Whatever addresses a client has to choose from, their keys differ in both
// halves, and spread evenly over the shards and within them.
func TestKeysOfAddressesAreEven(t *testing.T) {
	v4 := func(i uint64) netip.Addr { return addr(uint32(i)) }
	v6 := func(hi, lo uint64) netip.Addr {
		var b [16]byte
		binary.BigEndian.PutUint64(b[:], 0x20010db8<<32|hi)
		binary.BigEndian.PutUint64(b[8:], lo)
		return netip.AddrFrom16(b)
	}
	sets := map[string]func(i uint64) netip.Addr{}
	for _, shift := range []int{0, 1, 4, 8, 12, 16} {
		sets[fmt.Sprintf("IPv4<<%d", shift)] = func(i uint64) netip.Addr { return v4(i << shift) }
		sets[fmt.Sprintf("IPv6 networks<<%d", shift)] = func(i uint64) netip.Addr { return v6(i<<shift, 0) }
	}
	for _, shift := range []int{0, 16, 32, 48} {
		sets[fmt.Sprintf("IPv6 hosts<<%d", shift)] = func(i uint64) netip.Addr { return v6(0, i<<shift) }
	}
	sets["IPv6 both"] = func(i uint64) netip.Addr { return v6(i>>8, i&0xff) }
	const n, places = 1 << 16, 256
	for name, at := range sets {
		s := newStore(t, MemoryConfig{})
		rule := s.ruleKey("ip", 1)
		var counts [3][places]int
		lo, hi := map[uint64]bool{}, map[uint64]bool{}
		for i := range uint64(n) {
			k := s.addrKey(&rule, at(i))
			lo[k.lo], hi[k.hi] = true, true
			counts[0][k.lo%places]++
			counts[1][k.hi%places]++
			counts[2][(k.lo^k.hi)%places]++ // independent of each other
		}
		if len(lo) != n || len(hi) != n {
			t.Errorf("%s: %d and %d halves of keys for %d addresses", name, len(lo), len(hi), n)
		}
		for i := range counts {
			for place, c := range counts[i] {
				if c < n/places-8*16 || c > n/places+8*16 { // 8 standard deviations
					t.Errorf("%s: %d keys of %d in place %d of %d", name, c, n, place, places)
				}
			}
		}
	}
}

// Rules are told apart, whatever the address.
func TestKeysTellRulesApart(t *testing.T) {
	s := newStore(t, MemoryConfig{})
	seen := map[key]string{}
	for i := range 1000 {
		rule := s.ruleKey(fmt.Sprint(i), 1)
		for _, a := range []string{"192.0.2.1", "::1", "::", "ff::", "2001:db8::"} {
			k, here := s.subjectKey(rule, netip.MustParseAddr(a), ""), fmt.Sprint(i, " ", a)
			if there, found := seen[k]; found {
				t.Errorf("%s and %s have one key", here, there)
			}
			seen[k] = here
		}
	}
}

// What is learnt about one store says nothing about another.
func TestKeysDifferBetweenStores(t *testing.T) {
	one, other := newStore(t, MemoryConfig{}), newStore(t, MemoryConfig{})
	rule := key{1, 2} // the same, so that only their secrets differ
	a := netip.MustParseAddr("192.0.2.1")
	k, l := one.subjectKey(rule, a, ""), other.subjectKey(rule, a, "")
	if k.lo == l.lo || k.hi == l.hi {
		t.Error("an address has one key in two stores")
	}
	k, l = one.subjectKey(rule, netip.Addr{}, "alice"), other.subjectKey(rule, netip.Addr{}, "alice")
	if k.lo == l.lo || k.hi == l.hi {
		t.Error("a name has one key in two stores")
	}
	if k, l = one.ruleKey("ip", 1), other.ruleKey("ip", 1); k.lo == l.lo || k.hi == l.hi {
		t.Error("a rule has one key in two stores")
	}
}
