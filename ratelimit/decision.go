package ratelimit

import "time"

// Decision is the answer to a request.
type Decision struct {
	Allowed bool
	// Policy is the name of the limit that binds: the one that refuses, or that
	// has the least left. Limit is that limit.
	Policy string
	Limit  Limit
	// Violated names all limits that refuse.
	Violated []string
	// Remaining is what the binding limit has left.
	Remaining int64
	// RetryAfter is when the same request can succeed: 0 if it is within its
	// limits, negative if it never can because it costs more than a limit admits.
	RetryAfter time.Duration
	// ResetAfter is when nothing is counted any more under the binding limit.
	ResetAfter time.Duration
	// Shadowed names the limits that admit it only because of [Limit.Shadow].
	Shadowed []string
	// ReportOnly says that the request is allowed only because of
	// [Config.DangerouslyReportOnly]: it is over a limit and consumed nothing.
	ReportOnly bool
	// Degraded says that a store which nodes share was away, and this node
	// decided by its own share.
	Degraded bool

	receipt receipt
}

// bind finds the limit that binds.
func bind(w *work, d *Decision) *policy {
	d.Allowed = true
	binding := -1
	for i := range w.states {
		s := &w.states[i]
		if w.policies[i].slot {
			if s.Fits {
				continue // what a slot leaves is no quota
			}
			s.RetryAfter, s.ResetAfter = concurrentRetry, concurrentRetry
		}
		if !s.Fits {
			d.Allowed = false
			d.Violated = append(d.Violated, w.policies[i].Name)
		}
		if binding < 0 || tighter(s, &w.states[binding]) {
			binding = i
		}
	}
	if binding < 0 {
		return nil // a Config always has limits
	}
	s := &w.states[binding]
	d.bindTo(w.policies[binding], s)
	return w.policies[binding]
}

// bindTo takes over the limit that binds.
func (d *Decision) bindTo(p *policy, s *State) {
	d.Policy, d.Limit = p.Name, p.Limit
	if p.slot {
		d.Limit.Per = 0
	}
	d.Degraded = s.Degraded
	d.receipt.at = s.At
	d.Remaining, d.RetryAfter, d.ResetAfter = s.Remaining, s.RetryAfter, s.ResetAfter
}

// tighter reports whether a binds more than b: the one that refuses, and for
// longer; else the one with less left.
func tighter(a, b *State) bool {
	switch {
	case a.Fits != b.Fits:
		return !a.Fits
	case !a.Fits && (a.RetryAfter < 0) != (b.RetryAfter < 0):
		return a.RetryAfter < 0
	case !a.Fits:
		return a.RetryAfter > b.RetryAfter
	}
	return a.Remaining < b.Remaining
}
