package ratelimit

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"net/netip"
	"time"
)

// key is a keyed hash of 128 bits: two subjects never meet in one.
type key struct{ lo, hi uint64 }

// ruleKey hashes what the charges of one limit have in common. A Limiter does
// so once. It is keyed by secrets of this process, as everything below: nobody
// outside can choose addresses or names that meet in one key.
func (s *MemoryStore) ruleKey(rule string, per int64) key {
	var b [24]byte
	hash := func(seed maphash.Seed) uint64 {
		binary.LittleEndian.PutUint64(b[0:], uint64(per))
		binary.LittleEndian.PutUint64(b[8:], uint64(len(rule)))
		binary.LittleEndian.PutUint64(b[16:], maphash.String(seed, rule))
		return maphash.Bytes(seed, b[:])
	}
	return key{hash(s.lo), hash(s.hi)}
}

// ruleWindow is a window for ruleKey, with a range of its own for leaky ones.
func ruleWindow(per time.Duration, burst int64) int64 {
	if burst > 0 {
		return -int64(per)
	}
	return int64(per)
}

// subjectKey is the key of a subject under a rule. What precedes the name has
// one length for each of its three forms, and says which one it is.
func (s *MemoryStore) subjectKey(rule key, addr netip.Addr, name string) key {
	if name == "" && addr.IsValid() {
		return s.addrKey(&rule, addr)
	}
	const head = 16 + 1 + 16
	var b [96]byte
	binary.LittleEndian.PutUint64(b[0:], rule.lo)
	binary.LittleEndian.PutUint64(b[8:], rule.hi)
	n := 16 + 1
	if addr.IsValid() {
		a := addr.As16()
		copy(b[n:], a[:])
		b[16], n = 1, head
	}
	if len(name) <= len(b)-head {
		n += copy(b[n:], name)
		return key{maphash.Bytes(s.lo, b[:n]), maphash.Bytes(s.hi, b[:n])}
	}
	// A long name goes in as its hash under each seed.
	b[16] |= 2
	binary.LittleEndian.PutUint64(b[n:], maphash.String(s.lo, name))
	binary.LittleEndian.PutUint64(b[n+8:], maphash.String(s.hi, name))
	n += 16
	return key{maphash.Bytes(s.lo, b[:n]), maphash.Bytes(s.hi, b[:n])}
}

// addrKey is the key of an address under a rule: what maphash does on processors
// without AES (wyhash), twice over one product, in registers. The factors and the
// rule's key are secret and random, so that nobody outside can choose addresses
// which meet: those of one network (IPv4, or the high half of IPv6) differ in one factor
// of a product of 128 bits, which keeps them apart.
func (s *MemoryStore) addrKey(rule *key, addr netip.Addr) key {
	var x, y uint64 = 0xffff, 0 // as As16 has it
	if addr.Is4() {
		a := addr.As4()
		x |= uint64(binary.LittleEndian.Uint32(a[:])) << 32
	} else {
		a := addr.As16()
		y, x = binary.LittleEndian.Uint64(a[:8]), binary.LittleEndian.Uint64(a[8:])
	}
	hi, lo := bits.Mul64(x^rule.lo, y^rule.hi)
	return key{mix(hi^s.factors[0], lo^s.factors[1]), mix(hi^s.factors[2], lo^s.factors[3])}
}

// mix folds a product of 128 bits, whose ends alone are not evenly spread.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// ruleOf is the rule's key, which a Limiter passes along.
func (s *MemoryStore) ruleOf(c *Charge) key {
	if c.rule != (key{}) {
		return c.rule
	}
	return s.ruleKey(c.Rule, ruleWindow(c.Per, c.Burst))
}

func (s *MemoryStore) keyOf(c *Charge) key {
	return s.subjectKey(s.ruleOf(c), c.Subject.Addr, c.Subject.Name)
}

// overflowKey names the window that a subject shares with others of its network
// within its shard: /16 or /32. Names have no network; a hash splits them.
func (s *MemoryStore) overflowKey(c *Charge) key {
	if a := c.Subject.Addr; a.IsValid() {
		bits := 16
		if a.Is6() {
			bits = 32
		}
		p, _ := a.Prefix(bits) // of a valid address it cannot fail
		return s.subjectKey(s.ruleOf(c), p.Addr(), "")
	}
	k := s.subjectKey(s.ruleOf(c), netip.Addr{}, "")
	k.hi ^= maphash.String(s.lo, c.Subject.Name) % s.nameSlots
	return k
}
