package ratelimit

import (
	"context"
	"errors"
	"net/netip"
	"slices"
)

// Request is what a decision without HTTP is about.
type Request struct {
	Addr netip.Addr // the zero Addr is the one client without an address
	Identity
	Route string // pattern of one of Config.Routes, or ""
	Cost  int64  // below 1 is 1

	lease   *lease // takes a slot of Tier.Concurrent too
	crowded bool   // found none free
}

// ErrRoute is returned for a Request whose Route is not in [Config.Routes].
var ErrRoute = errors.New("ratelimit: no such route")

// Take decides about a request and, if it is allowed, consumes its cost from
// every limit at once. A refusal consumes nothing. The error is the store's, or
// [ErrRoute]; treat it as a refusal.
func (l *Limiter) Take(ctx context.Context, r Request) (d Decision, err error) {
	err = l.takeSealed(ctx, &r, &d)
	return d, err
}

// takeSealed is Take, apart so that Take is small enough to be compiled into its
// caller: neither Request nor Decision is copied then.
func (l *Limiter) takeSealed(ctx context.Context, r *Request, d *Decision) error {
	_, err := l.take(ctx, r, "", d)
	if d.Allowed && d.receipt.seal == 0 {
		d.receipt.seal = l.seal(r, d)
	}
	return err
}

// take is Take with its events, for the request of this id. It also returns the
// limit that binds. A Decision is large: d is written in place, not copied.
func (l *Limiter) take(ctx context.Context, r *Request, requestID string, d *Decision) (*policy, error) {
	if r.Tier != "" && !l.knownTier(r.Tier) {
		l.events.unknownTier(ctx, r)
	}
	binding, err := l.decide(ctx, r, true, d)
	if err != nil {
		if !errors.Is(err, ErrRoute) { // which is the caller's mistake, and no store's
			l.events.storeFailed(ctx, err)
		}
		return nil, err
	}
	if !d.Allowed && l.cfg.DangerouslyReportOnly && d.Policy != policyBlocked {
		d.Allowed, d.ReportOnly = true, true
	}
	l.report(ctx, r, d, requestID)
	return binding, nil
}

// nearFrom is the smallest limit whose end is announced: of a smaller one,
// every other request would be.
const nearFrom = 10

// report tells about a decision that was acted upon.
func (l *Limiter) report(ctx context.Context, r *Request, d *Decision, requestID string) {
	if !d.Allowed || d.ReportOnly {
		l.events.exceeded(ctx, r, *d, requestID)
	} else if n := d.Limit.capacity(); n >= nearFrom && d.Remaining <= n/5 {
		l.events.near(ctx, r, d, requestID)
	}
	for _, name := range d.Shadowed {
		l.events.exceeded(ctx, r, Decision{Policy: name, ReportOnly: true}, requestID)
	}
	if l.cfg.Observe != nil {
		l.cfg.Observe(Event{Decision: *d, Tier: l.tier(r.Tier).name, Route: r.Route})
	}
}

// Peek decides as [Limiter.Take] would, consumes nothing and makes no event. It
// says what the limits say: [Config.DangerouslyReportOnly] changes nothing of it,
// and it tries no [Limit.Shadow]. Errors are as of Take.
func (l *Limiter) Peek(ctx context.Context, r Request) (d Decision, err error) {
	_, err = l.decide(ctx, &r, false, &d)
	return d, err
}

// Reset forgets what the request's user has used under every tier and route, or
// its address if there is no user. Limits of its organisation and the global ones
// stay, and so do the slots of requests that run. The error is the store's: what
// was forgotten by then stays forgotten.
func (l *Limiter) Reset(ctx context.Context, r Request) error {
	who := l.subject(&r)
	if r.User == "" {
		l.denied.forget(who.Addr)
	}
	var charges []Charge
	add := func(ps []policy) {
		for i := range ps {
			c := ps[i].charge(who, 1)
			same := func(o Charge) bool { return o.Rule == c.Rule && o.Per == c.Per && (o.Burst > 0) == (c.Burst > 0) }
			if !slices.ContainsFunc(charges, same) {
				charges = append(charges, c)
			}
		}
	}
	for i := range l.routes {
		add(l.routes[i].limits)
	}
	for i := range l.tiers {
		if r.User != "" {
			add(l.tiers[i].user)
		} else {
			add(l.tiers[i].ip)
		}
	}
	if r.User == "" {
		add(l.ip)
	}
	for some := range slices.Chunk(charges, maxCharges) {
		if err := l.store.Reset(ctx, some); err != nil {
			return err
		}
	}
	return nil
}
