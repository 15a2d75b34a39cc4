package ratelimit

import (
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

func slotOf(a netip.Addr) int {
	b := a.As16()
	h := uint32(2166136261)
	for _, c := range b {
		h = (h ^ uint32(c)) * 16777619
	}
	return int(h % 4096)
}

// find returns a refusal of the address that still holds.
func (s *denials) find(l *Limiter, a netip.Addr) (Decision, bool) {
	a = l.network(a)
	d := s.slots[slotOf(a)].Load()
	if d == nil || d.addr != a {
		return Decision{}, false
	}
	left := time.Until(d.until)
	if left <= 0 {
		return Decision{}, false
	}
	out := d.decision
	out.RetryAfter = left
	out.ResetAfter = max(out.ResetAfter, left)
	return out, true
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
