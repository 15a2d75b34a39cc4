package ratelimit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"
)

var (
	// ErrRefund is returned by [Limiter.Refund] for a Decision that took nothing,
	// was given back before, or is not of this Limiter and Request, and by a
	// store that cannot give back.
	ErrRefund = errors.New("ratelimit: nothing to give back")
	// ErrRefunds is returned by [Limiter.Refund] while it remembers 65536
	// refunds, as many as it can without forgetting one.
	ErrRefunds = errors.New("ratelimit: too many refunds")
)

const maxRefunds = 1 << 16

// receipt is when a Decision took what it took, by the store's clock.
type receipt struct {
	at   int64              // of every charge, 0 if nothing was taken
	each *[maxCharges]int64 // of each charge, then of each trial; nil if all are at
	seal uint64             // of what was decided, so that a refund is of nothing else; 0 = not sealed
}

// seal is a hash, by seeds of this Limiter, of what was charged for a request and
// what was decided about it: not the request itself, which would make every Decision
// twice as large. It guards against mistakes of the service, not against who can
// choose Decisions; every part has an odd factor of its own, so that none stands for
// another.
func (l *Limiter) seal(r *Request, d *Decision) uint64 {
	if p := l.only(r); p != nil {
		return l.memory.addrKey(&p.hashed, l.network(r.Addr)).seal(max(r.Cost, 1), d.Remaining)
	}
	a := r.Addr.As16()
	h := l.salt + binary.LittleEndian.Uint64(a[:8])*0x9e3779b97f4a7c15 + binary.LittleEndian.Uint64(a[8:])*0xbf58476d1ce4e5b9 +
		uint64(max(r.Cost, 1))*costFactor + uint64(d.Remaining)*remainingFactor
	if d.Degraded {
		h = ^h
	}
	if r.User != "" {
		h += maphash.String(l.seed, r.User)
	}
	if r.Org != "" {
		h += maphash.String(l.seed, r.Org) * 3
	}
	if r.Tier != "" {
		h += maphash.String(l.seed, r.Tier) * 5
	}
	if r.Route != "" {
		h += maphash.String(l.seed, r.Route) * 7
	}
	return h | 1
}

// Odd, and large, so that small numbers differ in many bits.
const (
	costFactor      = 0x94d049bb133111eb
	remainingFactor = 0xd6e8feb86659fd93
)

// seal is that of a decision by the one limit whose key k is. It is never 0.
func (k key) seal(cost, remaining int64) uint64 {
	return (k.lo + k.hi*3 + uint64(cost)*costFactor + uint64(remaining)*remainingFactor) | 1
}

// keep remembers when the charges were taken.
func (r *receipt) keep(states []State) {
	for i := range states {
		if states[i].At != r.at {
			r.each = new([maxCharges]int64)
			for j := range states {
				r.each[j] = states[j].At
			}
			return
		}
	}
}

// keepTrial remembers when the i-th trial was taken, beside that many charges.
func (r *receipt) keepTrial(charges, i int, at int64) {
	if r.each == nil {
		r.each = new([maxCharges]int64)
		for j := range charges {
			r.each[j] = r.at
		}
	}
	r.each[charges+i] = at
}

// stamp is when the i-th charge was taken; trials follow the charges.
func (r *receipt) stamp(i, charges int) int64 {
	switch {
	case r.each != nil:
		return r.each[i]
	case i < charges:
		return r.at
	}
	return 0
}

// refund is what tells one decision from every other: of two that were made for
// the same request at the same moment, the later has left less, which the seal
// tells.
type refund struct {
	seal uint64
	at   int64
}

// refunds remembers which decisions were given back, until what they took has
// left every window anyway.
type refunds struct {
	mu    sync.Mutex // guards the fields below
	until map[refund]time.Time
	swept time.Time
}

// begin reports whether the refund is the first of its decision.
func (s *refunds) begin(id refund, until time.Time) error {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, found := s.until[id]; found {
		return ErrRefund
	}
	if len(s.until) >= maxRefunds/2 && now.Sub(s.swept) >= time.Second {
		s.swept = now
		for k, t := range s.until {
			if t.Before(now) {
				delete(s.until, k)
			}
		}
	}
	if len(s.until) >= maxRefunds {
		return ErrRefunds
	}
	if s.until == nil {
		s.until = map[refund]time.Time{}
	}
	s.until[id] = until
	return nil
}

// drain is how long a full leaky bucket takes to lose all, at most 100 years.
func (c *Charge) drain() time.Duration {
	const century = 100 * 365 * 24 * time.Hour
	return time.Duration(min(float64(c.Per)*float64(c.Burst)/float64(c.N), float64(century)))
}

// Refund gives back what Take took for the request when it answered with the
// decision, from every limit: for a request that turned out not to be one, such
// as an upload that was broken off, or a login that succeeded. It gives back no
// more than that, once, and only what is still counted: nothing of a window that
// has passed or that Reset has emptied. Of a limit with Burst it gives back what
// has not leaked out since. A Decision of another Limiter, of a Request that counts
// elsewhere, or with another Cost, gives back nothing; neither does one whose
// Remaining or Degraded was changed.
//
// Only what Take took can be given back: Wrap keeps no Decision for its handler.
// A handler that calls Take behind Wrap of the same Limiter counts its request
// twice, by every limit. Give what may be given back a Limiter of its own, with
// that limit only, or leave its routes out of Wrap.
//
// Errors are [ErrRefund], [ErrRefunds], [ErrRoute] and the store's. After an
// error of the store nobody knows what was given back, and a second Refund is
// refused too. Refund is safe for concurrent use.
func (l *Limiter) Refund(ctx context.Context, r Request, d Decision) error {
	if d.receipt.at == 0 && d.receipt.each == nil {
		return ErrRefund
	}
	w := l.work()
	defer l.pool.Put(w)
	if !l.collect(w, &r) {
		return fmt.Errorf("%w: %.80q", ErrRoute, r.Route)
	}
	if d.receipt.seal != l.seal(&r, &d) {
		return ErrRefund
	}
	charges := len(w.charges)
	w.charges = append(w.charges, w.trial...)
	var longest time.Duration
	for i := range w.charges {
		longest = max(longest, w.charges[i].Per, w.charges[i].drain())
		w.states = append(w.states, State{At: d.receipt.stamp(i, charges), Degraded: d.Degraded})
	}
	if err := l.refunds.begin(refund{d.receipt.seal, d.receipt.at}, time.Now().Add(longest+longest/subBuckets+time.Second)); err != nil {
		return err
	}
	if err := l.store.Refund(ctx, w.charges[:charges], w.states[:charges]); err != nil {
		return err
	}
	for i := charges; i < len(w.charges); i++ {
		if w.states[i].At != 0 {
			if err := l.store.Refund(ctx, w.charges[i:i+1], w.states[i:i+1]); err != nil {
				return err
			}
		}
	}
	l.denied.forget(l.network(r.Addr))
	return nil
}
