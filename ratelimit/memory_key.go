package ratelimit

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
)

// key is a keyed hash of 128 bits: two subjects never meet in one.
type key struct{ lo, hi uint64 }

// hash is keyed by two seeds of this process: nobody outside can choose
// addresses or names that meet in one key.
func (s *MemoryStore) hash(rule string, per int64, addr netip.Addr, name string) key {
	const head = 8 + 2 + 16
	var b [128]byte
	binary.LittleEndian.PutUint64(b[:], uint64(per))
	if addr.IsValid() {
		a := addr.As16()
		copy(b[10:], a[:])
		b[8] = 1
	}
	if len(rule)+len(name) <= len(b)-head {
		b[9] = byte(len(rule))
		n := head + copy(b[head:], rule)
		n += copy(b[n:], name)
		return key{maphash.Bytes(s.lo, b[:n]), maphash.Bytes(s.hi, b[:n])}
	}
	b[8] |= 2
	return key{s.long(s.lo, b[:head], rule, name), s.long(s.hi, b[:head], rule, name)}
}

// long hashes what does not fit the stack, without joining it: the hash of
// hashes.
func (s *MemoryStore) long(seed maphash.Seed, head []byte, rule, name string) uint64 {
	var b [24]byte
	binary.LittleEndian.PutUint64(b[0:], maphash.Bytes(seed, head))
	binary.LittleEndian.PutUint64(b[8:], maphash.String(seed, rule))
	binary.LittleEndian.PutUint64(b[16:], maphash.String(seed, name))
	return maphash.Bytes(seed, b[:])
}

func (s *MemoryStore) keyOf(c *Charge) key {
	return s.hash(c.Rule, int64(c.Per), c.Subject.Addr, c.Subject.Name)
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
		return s.hash(c.Rule, int64(c.Per), p.Addr(), "")
	}
	k := s.hash(c.Rule, int64(c.Per), netip.Addr{}, "")
	k.hi ^= maphash.String(s.lo, c.Subject.Name) % s.nameSlots
	return k
}
