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
	until    time.Time // when the store is asked again
	fits     time.Time // when it said that it will admit
	decision Decision
}

// deniedShared is how long a refusal by a store of several nodes is repeated at
// most: another node may reset or refund meanwhile, and a store that was away may
// be back.
const deniedShared = time.Second

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
	now := time.Now()
	if !now.Before(d.until) {
		return nil
	}
	out, left := d.decision, d.fits.Sub(now)
	out.ResetAfter = max(out.ResetAfter-(out.RetryAfter-left), left)
	out.RetryAfter = left
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
			a, now := l.network(r.Addr), time.Now()
			n := denial{addr: a, fits: now.Add(d.RetryAfter), decision: d}
			if n.until = n.fits; l.memory == nil {
				n.until = now.Add(min(d.RetryAfter, deniedShared))
			}
			s.slots[slotOf(a)].Store(&n)
			return
		}
	}
}

// forget drops what is remembered about an address.
func (s *denials) forget(network netip.Addr) {
	s.slots[slotOf(network)].Store(nil)
}
