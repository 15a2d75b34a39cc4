package ratelimit

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/inovy/hardening/internal/faults"
)

// Limiter decides which requests are within their limits. Its limits never
// change; make another one to change them, with the same Store to keep what was
// used. It is safe for concurrent use and needs no Close.
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
	match  *matcher // of routes
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

// New returns a Limiter, or every fault of cfg at once as
// [hardening.ConfigError]s.
func New(cfg Config) (*Limiter, error) {
	f := faults.For("ratelimit")
	cfg = cfg.withDefaults()
	cfg.check(f)
	l := &Limiter{cfg: cfg, store: cfg.Store, seed: maphash.MakeSeed()}
	l.salt = maphash.String(l.seed, "receipt")
	patterns := parseRoutes(cfg.Routes, func(i int, reason, fix string) {
		f.Add(fmt.Sprintf("Routes[%d].Pattern", i), cfg.Routes[i].Pattern, reason, fix)
	})
	if len(cfg.Routes) > 0 && !readsPatterns() {
		f.Missing("Routes", "have patterns that a ServeMux of this process reads otherwise, by GODEBUG=httpmuxgo121=1", "remove httpmuxgo121 from GODEBUG and from go:debug lines")
	}
	if u, ok := cfg.Store.(fromUlule); ok {
		if u.store == nil {
			f.Missing("Store", "is FromUlule(nil)", "pass a store of ulule/limiter to FromUlule")
		}
		f.NilInside("Store", u.store, "pass a store of ulule/limiter that was made to FromUlule")
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
	l.match = newMatcher(patterns)
	for _, r := range cfg.Routes {
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
		limit.Name = limit.nameIn(kind)
		p := policy{Limit: limit, rule: rule}
		if limit.Shadow {
			p.rule = "shadow:" + rule // a trial counts apart from the limit it may replace
		}
		if l.memory != nil {
			p.hashed = l.memory.ruleKey(p.rule, ruleWindow(limit.Per, limit.Burst))
		}
		out = append(out, p)
	}
	return out
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

// knownRoute reports whether a route has that pattern; none is known too.
func (l *Limiter) knownRoute(pattern string) bool {
	return pattern == "" || slices.ContainsFunc(l.routes, func(r route) bool { return r.pattern == pattern })
}

// subject is who a request is counted for: its user, or its address without one.
func (l *Limiter) subject(r *Request) Subject {
	if r.User != "" {
		return Subject{Name: r.User}
	}
	return Subject{Addr: l.network(r.Addr)}
}

// network is what counts as one address. Without an address it is the zero
// Addr: one strict counter for all that have none.
func (l *Limiter) network(a netip.Addr) netip.Addr {
	if a.Is4() {
		return a
	}
	a = a.Unmap()
	if !a.Is6() {
		return a
	}
	p, err := a.Prefix(l.cfg.IPv6Prefix) // without its zone
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr()
}
