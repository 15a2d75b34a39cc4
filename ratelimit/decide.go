package ratelimit

import (
	"context"
	"fmt"
	"slices"
)

// work is what one decision needs, kept for the next one.
type work struct {
	policies []*policy
	charges  []Charge
	states   []State
	shadow   []*policy // of limits that only report, and what they count
	trial    []Charge
	verdict  [1]State
}

func (l *Limiter) work() *work {
	w := l.pool.Get().(*work)
	w.policies, w.charges, w.states = w.policies[:0], w.charges[:0], w.states[:0]
	w.shadow, w.trial = w.shadow[:0], w.trial[:0]
	return w
}

func (l *Limiter) decide(ctx context.Context, r *Request, take bool, d *Decision) (*policy, error) {
	if left, ok := l.blocked(ctx, &r.Identity); ok {
		if !l.knownRoute(r.Route) { // events and metrics are told apart by it
			return nil, fmt.Errorf("%w: %.80q", ErrRoute, r.Route)
		}
		*d = Decision{Policy: policyBlocked, Violated: []string{policyBlocked}, RetryAfter: left, ResetAfter: left}
		return nil, nil
	}
	if r.crowded {
		d.crowded(l.tier(r.Tier))
		return nil, nil
	}
	if p := l.only(r); p != nil {
		addr, cost := l.network(r.Addr), max(r.Cost, 1)
		if take && l.memory.takeKnown(p, addr, cost, d) {
			return p, nil
		}
		c := p.charge(Subject{Addr: addr}, cost)
		var s State
		d.Allowed = l.memory.decideOne(l.memory.keyOf(&c), &c, &s, take)
		if !d.Allowed {
			d.Violated = []string{p.Name}
		}
		d.bindTo(p, &s)
		return p, nil
	}
	w := l.work()
	defer l.pool.Put(w)
	if !l.collect(w, r) {
		return nil, fmt.Errorf("%w: %.80q", ErrRoute, r.Route)
	}
	if r.lease != nil {
		p := &l.tier(r.Tier).slots[0]
		w.policies, w.charges = append(w.policies, p), append(w.charges, p.charge(l.subject(r), 1))
	}
	w.states = slices.Grow(w.states, len(w.charges))[:len(w.charges)]
	var err error
	if take {
		_, err = l.store.TakeAll(ctx, w.charges, w.states)
	} else {
		_, err = l.store.PeekAll(ctx, w.charges, w.states)
	}
	if err != nil {
		return nil, err
	}
	p := bind(w, d)
	if d.Allowed && take {
		d.receipt.keep(w.states)
		if i := len(w.charges) - 1; r.lease != nil {
			r.lease.begin(l, &w.charges[i], &w.states[i])
		}
	}
	for i := range w.trial {
		if !take || !d.Allowed || d.Degraded { // what is refused anyway tries nothing; neither does a share, nor one more wait
			break
		}
		switch fits, err := l.store.TakeAll(ctx, w.trial[i:i+1], w.verdict[:]); {
		case err != nil:
			l.events.storeFailed(ctx, err) // a trial refuses nobody
		case !fits:
			d.Shadowed = append(d.Shadowed, w.shadow[i].Name)
		default:
			d.receipt.keepTrial(len(w.charges), i, w.verdict[0].At)
		}
	}
	return p, nil
}

// only returns the one limit that the request is held against, which counts its
// address, or nil if there are several or the store is not in memory.
func (l *Limiter) only(r *Request) *policy {
	if l.memory == nil || r.Route != "" || len(l.global) > 0 || len(l.ip) != 1 || l.ip[0].Shadow {
		return nil
	}
	t := l.tier(r.Tier)
	if len(t.ip) > 0 || r.User != "" && len(t.user) > 0 || r.Org != "" && len(t.org) > 0 {
		return nil
	}
	return &l.ip[0]
}

// collect lists the limits that the request is held against, the widest first.
// It reports whether the request's route is known.
func (l *Limiter) collect(w *work, r *Request) bool {
	addr := l.network(r.Addr)
	cost := max(r.Cost, 1)
	add := func(ps []policy, s Subject) {
		for i := range ps {
			p := &ps[i]
			c := p.charge(s, cost)
			if p.Shadow {
				w.shadow, w.trial = append(w.shadow, p), append(w.trial, c)
				continue
			}
			c.OnOutage = p.OnOutage // a limit that is tried out refuses nothing, then too
			w.policies, w.charges = append(w.policies, p), append(w.charges, c)
		}
	}
	byAddr := Subject{Addr: addr}
	byUser := byAddr
	t := l.tier(r.Tier)
	add(l.global, Subject{})
	add(l.ip, byAddr)
	add(t.ip, byAddr)
	if r.Org != "" {
		add(t.org, Subject{Name: r.Org})
	}
	if r.User != "" {
		byUser = Subject{Name: r.User}
		add(t.user, byUser)
	}
	if r.Route == "" {
		return true
	}
	for i := range l.routes {
		if l.routes[i].pattern == r.Route {
			if l.routes[i].byAddress {
				byUser = byAddr
			}
			add(l.routes[i].limits, byUser)
			return true
		}
	}
	return false
}
