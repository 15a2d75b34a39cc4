package ratelimit

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"
)

// denials remembers addresses that their address limit refuses, so that a
// flood is answered before Identify is called and before the store is asked.
// It only ever repeats a refusal of the store: what it forgets costs time, not
// safety.
type denials struct {
	slots [4096]atomic.Pointer[denial]
}

type denial struct {
	addr     netip.Addr
	until    time.Time
	decision Decision
}

// slotOf need not be keyed: who shares a slot only loses a short cut.
func slotOf(a netip.Addr) int {
	b := a.As16()
	h := (binary.LittleEndian.Uint64(b[:8]) ^ 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>32 ^ binary.LittleEndian.Uint64(b[8:])) * 0x94d049bb133111eb
	return int(h >> 52) // 12 bits: 4096 slots
}

// find returns a refusal of the address that still holds, or nil.
func (s *denials) find(l *Limiter, a netip.Addr) *Decision {
	a = l.network(a)
	d := s.slots[slotOf(a)].Load()
	if d == nil || d.addr != a {
		return nil
	}
	left := time.Until(d.until)
	if left <= 0 {
		return nil
	}
	out := d.decision
	out.RetryAfter = left
	out.ResetAfter = max(out.ResetAfter, left)
	return &out
}

// remember keeps a refusal if it holds for everything that the address sends:
// one by a limit of Config.IP, of a request that costs 1.
func (s *denials) remember(l *Limiter, r *Request, d Decision, by *policy) {
	if d.RetryAfter <= 0 || r.Cost > 1 {
		return
	}
	for i := range l.ip {
		if &l.ip[i] == by {
			a := l.network(r.Addr)
			s.slots[slotOf(a)].Store(&denial{addr: a, until: time.Now().Add(d.RetryAfter), decision: d})
			return
		}
	}
}

// forget drops what is remembered about an address.
func (s *denials) forget(network netip.Addr) {
	s.slots[slotOf(network)].Store(nil)
}
