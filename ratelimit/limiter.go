package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/inovy/hardening/internal/faults"
)

// Limiter decides which requests are within their limits. It is immutable and
// safe for concurrent use.
type Limiter struct {
	cfg    Config
	store  Store
	memory *MemoryStore // store, if it is one
	shared BlockStore   // store, if it is one
	leases LeaseStore   // store, if it is one
	global []policy
	ip     []policy
	tiers  []tier
	routes []route
	mux    *http.ServeMux // matches routes; its handlers are never called
	begins []beginning    // of what a route can match
	// unlimited says that some routes are.
	unlimited bool
	denied    denials
	events    *coalescer
	pool      sync.Pool // of *work
	inFlight  inFlight
	blocks    blocks
	refunds   refunds
	seed      maphash.Seed // of receipts
	salt      uint64       // likewise, of this Limiter only
}

// policy is one limit with everything that does not change between requests.
type policy struct {
	Limit
	rule   string // counter: the same rule and window share usage
	hashed key    // rule and window as Limiter.memory hashes them
	slot   bool   // counts requests at a time: its window is that of a lease
}

func (p *policy) charge(who Subject, cost int64) Charge {
	return Charge{Rule: p.rule, Subject: who, N: p.N, Per: p.Per, Cost: cost, Burst: p.Burst, rule: p.hashed}
}

type tier struct {
	name          string
	user, ip, org []policy
	concurrent    int
	slots         []policy // one for concurrent, where slots are leases
	timeout       time.Duration
}

type route struct {
	pattern   string
	limits    []policy
	byAddress bool
	unlimited bool
}

// work is what one decision needs, kept for the next one.
type work struct {
	policies []*policy
	charges  []Charge
	states   []State
	shadow   []*policy // of limits that only report, and what they count
	trial    []Charge
	verdict  [1]State
}

// New returns a Limiter, or every fault of cfg at once as
// [hardening.ConfigError]s.
func New(cfg Config) (*Limiter, error) {
	f := faults.For("ratelimit")
	cfg = cfg.withDefaults()
	cfg.check(f)
	l := &Limiter{cfg: cfg, store: cfg.Store, mux: http.NewServeMux(), seed: maphash.MakeSeed()}
	l.salt = maphash.String(l.seed, "receipt")
	for i, r := range cfg.Routes {
		if reason, fix := register(l.mux, cfg.Routes[:i], r.Pattern); reason != "" {
			f.Add(fmt.Sprintf("Routes[%d].Pattern", i), r.Pattern, reason, fix)
		}
	}
	if _, ok := cfg.Store.(fromUlule); ok {
		for field, p := range cfg.limits() {
			if p.Burst > 0 {
				f.Add(field+".Burst", p.Burst, "is more than a store of ulule/limiter can count", "leave it 0, or use another Store")
			}
		}
	}
	f.NilInside("Store", cfg.Store, "leave it nil for a store in memory, or make one with NewMemoryStore")
	if m, ok := cfg.Store.(*MemoryStore); ok && m != nil && m.base.IsZero() {
		f.Missing("Store", "was not made by NewMemoryStore", "make it with NewMemoryStore, or leave it nil")
	}
	if l.store == nil && f.Len() == 0 {
		store, err := NewMemoryStore(MemoryConfig{})
		f.Join(err)
		l.store = store
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	l.memory, _ = l.store.(*MemoryStore)
	l.shared, _ = l.store.(BlockStore)
	l.leases, _ = l.store.(LeaseStore)
	for _, r := range cfg.Routes {
		l.begins = addBeginning(l.begins, r.Pattern)
		l.routes = append(l.routes, route{r.Pattern, l.policies("route", "route:"+r.Pattern, r.Limits), r.ByAddress, r.DangerouslyUnlimited})
		l.unlimited = l.unlimited || r.DangerouslyUnlimited
	}
	l.global = l.policies("global", "global", cfg.Global)
	l.ip = l.policies("ip", "ip", cfg.IP)
	for _, t := range cfg.Tiers {
		// A user's counter is one for all tiers, so a change of tier keeps what
		// was used. An address serves callers of several tiers, so there each
		// tier counts its own.
		l.tiers = append(l.tiers, tier{
			t.Name, l.policies("user", "user", t.User), l.policies(t.Name+"-ip", "ip:"+t.Name, t.IP), l.policies("org", "org", t.Org),
			t.Concurrent, l.slots(t), t.Timeout,
		})
	}
	l.events = newCoalescer(l)
	l.pool.New = func() any { return new(work) }
	return l, nil
}

// slots is the policy of a tier's requests at a time. Where the store is not
// shared, inFlight counts them.
func (l *Limiter) slots(t Tier) []policy {
	if l.leases == nil || t.Concurrent == 0 {
		return nil
	}
	return []policy{{Limit: Limit{N: int64(t.Concurrent), Per: leaseTime, Name: t.Name + "-concurrent"}, rule: "slots", slot: true}}
}

func (l *Limiter) policies(kind, rule string, limits []Limit) []policy {
	out := make([]policy, 0, len(limits))
	for _, limit := range limits {
		if limit.Name == "" {
			limit.Name = kind + "-" + per(limit.Per)
			if limit.Burst > 0 {
				limit.Name += "-burst"
			}
		}
		p := policy{Limit: limit, rule: rule}
		if limit.Shadow {
			p.rule += "~shadow" // a trial counts apart from the limit it may replace
		}
		if l.memory != nil {
			p.hashed = l.memory.ruleKey(p.rule, ruleWindow(limit.Per, limit.Burst))
		}
		out = append(out, p)
	}
	return out
}

// Request is what a decision without HTTP is about.
type Request struct {
	Addr netip.Addr // the zero Addr is the one client without an address
	Identity
	Route string // pattern of one of Config.Routes, or ""
	Cost  int64  // 0 is 1

	lease *lease // takes a slot of Tier.Concurrent too
}

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

// ErrRoute is returned for a Request whose Route is not in [Config.Routes].
var ErrRoute = errors.New("ratelimit: no such route")

// Take decides about a request and, if it is allowed, consumes its cost from
// every limit at once. A refusal consumes nothing. The error is the store's, or
// [ErrRoute]; treat it as a refusal.
func (l *Limiter) Take(ctx context.Context, r Request) (d Decision, err error) {
	if _, err = l.take(ctx, &r, "", &d); d.Allowed {
		d.receipt.seal = l.seal(&r, &d)
	}
	return d, err
}

// take is Take with its events, for the request of this id. It also returns the
// limit that binds. A Decision is large: d is written in place, not copied.
func (l *Limiter) take(ctx context.Context, r *Request, requestID string, d *Decision) (*policy, error) {
	if r.Tier != "" && !l.knownTier(r.Tier) {
		l.events.unknownTier(ctx, r)
	}
	binding, err := l.decide(ctx, r, true, d)
	if err != nil {
		l.events.storeFailed(ctx, err)
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

// Peek decides as [Limiter.Take] would, consumes nothing and makes no event.
func (l *Limiter) Peek(ctx context.Context, r Request) (d Decision, err error) {
	_, err = l.decide(ctx, &r, false, &d)
	return d, err
}

// Reset forgets what the request's user has used under every tier and route, or
// its address if there is no user. The global limits stay.
func (l *Limiter) Reset(ctx context.Context, r Request) error {
	who := Subject{Name: r.User}
	if r.User == "" {
		who = Subject{Addr: l.network(r.Addr)}
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

func (l *Limiter) work() *work {
	w := l.pool.Get().(*work)
	w.policies, w.charges, w.states = w.policies[:0], w.charges[:0], w.states[:0]
	w.shadow, w.trial = w.shadow[:0], w.trial[:0]
	return w
}

func (l *Limiter) decide(ctx context.Context, r *Request, take bool, d *Decision) (*policy, error) {
	if left, ok := l.blocked(ctx, &r.Identity); ok {
		*d = Decision{Policy: policyBlocked, Violated: []string{policyBlocked}, RetryAfter: left, ResetAfter: left}
		return nil, nil
	}
	if p := l.only(r); p != nil {
		addr, cost := l.network(r.Addr), max(r.Cost, 1)
		if take && l.memory.takeKnown(p, addr, cost, d) {
			return p, nil
		}
		c := p.charge(Subject{Addr: addr}, cost)
		var s State
		d.Allowed = l.memory.decideOne(&c, &s, take)
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
		p, who := &l.tier(r.Tier).slots[0], Subject{Name: r.User}
		if r.User == "" {
			who = Subject{Addr: l.network(r.Addr)}
		}
		w.policies, w.charges = append(w.policies, p), append(w.charges, p.charge(who, 1))
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
		if !take || !d.Allowed { // what is refused anyway tries nothing
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

// tier returns the tier of the name, or the lowest one.
func (l *Limiter) tier(name string) *tier {
	if name != "" {
		for i := range l.tiers {
			if l.tiers[i].name == name {
				return &l.tiers[i]
			}
		}
	}
	return &l.tiers[0]
}

// knownTier reports whether a tier has that name.
func (l *Limiter) knownTier(name string) bool {
	return slices.ContainsFunc(l.tiers, func(t tier) bool { return t.name == name })
}

// network is what counts as one address. Without an address it is the zero
// Addr: one strict counter for all that have none.
func (l *Limiter) network(a netip.Addr) netip.Addr {
	if a.Is4() {
		return a
	}
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a
	}
	p, err := a.Prefix(l.cfg.IPv6Prefix)
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr()
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
