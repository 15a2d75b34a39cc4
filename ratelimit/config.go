package ratelimit

import (
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/faults"
)

// Identity is who sends a request, as far as the service knows.
type Identity struct {
	User string // "" is anonymous; unique over all organisations, such as an id
	Org  string // for Tier.Org, and carried into events
	Tier string // "" is the lowest tier; an unknown one too, with an event
}

// Config says what callers may use. The zero value limits each address to 6000
// requests a minute, and anonymous callers to [Free]'s 100.
type Config struct {
	_ [0]func()

	// Name is the Component of findings and the instance in events. Default:
	// "ratelimit".
	Name string

	// Tiers, lowest first. Default: [DefaultTiers].
	Tiers []Tier

	// IP limits each address whatever its tier. An address that was refused by
	// it is refused again before Identify is called and the store is asked, so
	// that a flood costs neither. A store that is not a [MemoryStore] is asked
	// once a second, since other nodes may change what it says. Default: 6000 a
	// minute, as much as one user of [Enterprise] may. Raise it where several such
	// users share an address; for those who are not logged in yet see [Tier.IP].
	IP []Limit

	// Global limits the whole service. Default: none.
	Global []Limit

	// Routes are further limits for some requests. Default: none; limit at
	// least the login.
	Routes []Route

	// Identify names the sender. It is not called for an address that a limit
	// of IP refuses at the moment. If it fails the request counts as anonymous,
	// and an event says so; a credential that is missing or wrong is no failure:
	// answer Identity{}. Default: everyone is anonymous.
	Identify func(*http.Request) (Identity, error)

	// Cost is what a request costs, by every limit that it meets: the smallest N
	// of them must admit it. Below 1 is 1. It is asked before the mux, so that
	// r.Pattern is empty. Default: 1.
	Cost func(*http.Request) int64

	// IPv6Prefix is the length of the network that counts as one address, from
	// 32 to 64 bits. Default: 64, what a provider gives one customer at least.
	// Lengths above 64 let one customer be millions; they need
	// DangerouslyLongIPv6Prefix.
	IPv6Prefix int

	// DangerouslyLongIPv6Prefix allows an IPv6Prefix of up to 128.
	DangerouslyLongIPv6Prefix bool

	// DangerouslyReportOnly counts and reports, and refuses nothing but whom
	// [Limiter.Block] names: neither Wrap nor Take.
	DangerouslyReportOnly bool

	// Store counts. Default: a [MemoryStore] of 256 MiB.
	Store Store

	// Nodes is how many instances of the service share the load. Default: what a
	// store of redislimit was made for, else 1; another number than that is a
	// fault. With more than one, each memory store sees only its own share: a
	// finding says so.
	Nodes int

	// XRateLimit adds X-RateLimit-Limit, X-RateLimit-Remaining and
	// X-RateLimit-Reset (seconds since 1970), for clients that read the
	// headers of before the draft. Default: off.
	XRateLimit bool

	// OnDeny answers a refused request; headers are set already. Default:
	// [hardening.WriteProblem].
	OnDeny func(http.ResponseWriter, *http.Request, *hardening.Problem)

	// Observe is called with every decision but those of Peek, in the request's
	// goroutine. It must be safe for concurrent use.
	Observe func(Event)

	// Audit gets the record of each [Limiter.Block] instead of Logger, before it
	// takes effect; its error refuses the block. nil = Logger.
	Audit slog.Handler

	// Logger gets excess_rate_limit_exceeded for refusals, and rate_limit_near
	// when an admitted request leaves 20 % or less of the limit that binds it, if
	// that is 10 or more: each at most once in ten seconds for each policy and
	// route, with the count since. Likewise store_degraded when Identify or the
	// store fails, and input_validation_fail for an unknown tier. nil =
	// slog.Default() at that moment.
	Logger *slog.Logger
}

// Event is one decision, for metrics. Tier, Route and the names of policies are
// those of the Config, and so few enough for labels.
type Event struct {
	Decision Decision
	Tier     string // of [Config.Tiers]: the lowest one for an unknown or no tier
	Route    string // pattern, or ""
}

// withDefaults returns a deep copy with every default filled in.
func (c Config) withDefaults() Config {
	if c.Name == "" {
		c.Name = "ratelimit"
	}
	if c.Tiers == nil {
		c.Tiers = DefaultTiers()
	}
	c.Tiers = slices.Clone(c.Tiers)
	for i := range c.Tiers {
		c.Tiers[i].User = slices.Clone(c.Tiers[i].User)
		c.Tiers[i].IP = slices.Clone(c.Tiers[i].IP)
		c.Tiers[i].Org = slices.Clone(c.Tiers[i].Org)
	}
	if c.IP == nil {
		c.IP = []Limit{PerMinute(6000)}
	}
	c.IP = slices.Clone(c.IP)
	c.Global = slices.Clone(c.Global)
	c.Routes = slices.Clone(c.Routes)
	for i := range c.Routes {
		c.Routes[i].Limits = slices.Clone(c.Routes[i].Limits)
	}
	if c.IPv6Prefix == 0 {
		c.IPv6Prefix = 64
	}
	if c.Nodes == 0 {
		n, _ := c.storeNodes()
		c.Nodes = max(n, 1)
	}
	if c.OnDeny == nil {
		c.OnDeny = hardening.WriteProblem
	}
	return c
}

// check collects every fault of a config with defaults.
func (c *Config) check(f *faults.Collector) {
	f.Name("Name", c.Name)
	emptyList(f, "Tiers", c.Tiers, "leave it nil for Free, Pro and Enterprise")
	emptyList(f, "IP", c.IP, "leave it nil for 6000 a minute")
	emptyList(f, "Global", c.Global, "leave it nil for no global limit")
	emptyList(f, "Routes", c.Routes, "leave it nil for no route limits")
	seen := map[string]bool{}
	for i, t := range c.Tiers {
		field := fmt.Sprintf("Tiers[%d]", i)
		switch {
		case !validName(t.Name):
			f.Add(field+".Name", t.Name, "is not a tier's name", "use 1 to 64 letters, digits, '-', '_' and '.'")
		case seen[t.Name]:
			f.Add(field+".Name", t.Name, "stands twice", "give every tier a name of its own")
		}
		seen[t.Name] = true
		if len(t.User) == 0 && len(t.IP) == 0 && len(t.Org) == 0 {
			f.Add(field, t.Name, "has no limits", "set User, IP or both")
		}
		if t.Concurrent < 0 || t.Concurrent > maxN {
			f.Add(field+".Concurrent", t.Concurrent, "is not between 0 and 1000000000", "leave it 0 for no bound")
		}
		if t.Timeout < 0 {
			f.Add(field+".Timeout", t.Timeout, "is negative", "leave it 0 for none")
		}
		emptyList(f, field+".Org", t.Org, "leave it nil for no limits of organisations")
		checkLimits(f, field+".Org", t.Org)
		emptyList(f, field+".User", t.User, "leave it nil for no limits of users")
		emptyList(f, field+".IP", t.IP, "leave it nil for no limits of addresses")
		checkLimits(f, field+".User", t.User)
		checkLimits(f, field+".IP", t.IP)
	}
	checkLimits(f, "IP", c.IP)
	if len(c.IP) > 0 && !slices.ContainsFunc(c.IP, func(l Limit) bool { return !l.Shadow }) {
		f.Add("IP", c.IP[0], "only tries limits out, so that addresses would have none", "clear Shadow of one, or add a limit")
	}
	checkLimits(f, "Global", c.Global)
	for i, r := range c.Routes {
		field := fmt.Sprintf("Routes[%d]", i)
		switch {
		case r.DangerouslyUnlimited && len(r.Limits) > 0:
			f.Add(field+".DangerouslyUnlimited", true, "stands beside limits, which would never hold", "remove the limits, or clear it")
		case !r.DangerouslyUnlimited && len(r.Limits) == 0:
			f.Add(field+".Limits", r.Pattern, "has no limits", "set at least one, such as ratelimit.PerMinute(10)")
		}
		checkLimits(f, field+".Limits", r.Limits)
		for j, lim := range r.Limits {
			if lim.OnOutage == DangerouslyOpen && authenticates(&c.Routes[i]) {
				f.Add(fmt.Sprintf("%s.Limits[%d].OnOutage", field, j), lim.OnOutage, "makes an outage the time to guess secrets on a route that authenticates", "leave it Local, or set Closed")
			}
		}
	}
	most := 128
	if !c.DangerouslyLongIPv6Prefix {
		most = 64
	}
	if c.IPv6Prefix < 32 || c.IPv6Prefix > most {
		f.Add("IPv6Prefix", c.IPv6Prefix, fmt.Sprintf("is not between 32 and %d", most), "use 64, or 56 or 48 where providers give each customer more")
	}
	f.NilInside("Audit", c.Audit, "leave it nil to use Logger, or pass a handler that was made")
	if c.Nodes < 1 || c.Nodes > 10000 {
		f.Add("Nodes", c.Nodes, "is not between 1 and 10000", "set the number of instances behind the load balancer")
	} else if n, known := c.storeNodes(); known && n == 0 {
		f.Missing("Store", "was not made by its New", "make it with redislimit.New, or leave it nil")
	} else if known && n != c.Nodes {
		f.Add("Nodes", c.Nodes, fmt.Sprintf("is not the %d that the store was made for, by which it divides limits while it counts alone", n), "set both to the number of instances behind the load balancer")
	}
	c.checkNames(f)
	if n := c.mostCharges(); n > maxCharges {
		f.Add("Routes", n, "gives one request more limits than 16", "use fewer limits for each tier and route")
	}
}

func emptyList[T any](f *faults.Collector, field string, list []T, fix string) {
	if list != nil && len(list) == 0 {
		f.Add(field, "[]", "is empty but not nil", fix)
	}
}

func checkLimits(f *faults.Collector, field string, limits []Limit) {
	for i, l := range limits {
		name := fmt.Sprintf("%s[%d]", field, i)
		for reason, fix := range l.faults() {
			f.Add(name, l, reason, fix)
		}
		for j := range i {
			if limits[j].Per == l.Per && limits[j].Shadow == l.Shadow && (limits[j].Burst > 0) == (l.Burst > 0) {
				f.Add(name, l, "has the same window as another limit beside it", "keep the smaller one")
				break
			}
		}
	}
}

// storeNodes is how many nodes the store was made for, if it says.
func (c *Config) storeNodes() (n int, known bool) {
	s, ok := c.Store.(interface{ Nodes() int })
	if !ok {
		return 0, false
	}
	return s.Nodes(), true
}

// checkNames finds limits of one name that a request can meet together: those
// of two tiers, or of two routes, it can not.
func (c *Config) checkNames(f *faults.Collector) {
	type named struct {
		field, name string
		tier, route int
	}
	var all []named
	add := func(field, kind string, limits []Limit, tier, route int) {
		for i := range limits {
			one := named{fmt.Sprintf("%s[%d]", field, i), limits[i].nameIn(kind), tier, route}
			for _, other := range all {
				if other.name == one.name && (tier < 0 || other.tier < 0 || tier == other.tier) && (route < 0 || other.route < 0 || route == other.route) {
					// The same window beside it is a fault already.
					if limits[i].Name != "" || other.field[:strings.LastIndexByte(other.field, '[')] != field {
						f.Add(one.field+".Name", one.name, "is the name of "+other.field+" too, which the same request meets", "give each a name of its own")
					}
					break
				}
			}
			all = append(all, one)
		}
	}
	add("IP", "ip", c.IP, -1, -1)
	add("Global", "global", c.Global, -1, -1)
	for i, t := range c.Tiers {
		field := fmt.Sprintf("Tiers[%d]", i)
		add(field+".User", "user", t.User, i, -1)
		add(field+".IP", t.Name+"-ip", t.IP, i, -1)
		add(field+".Org", "org", t.Org, i, -1)
	}
	for i, r := range c.Routes {
		add(fmt.Sprintf("Routes[%d].Limits", i), "route", r.Limits, -1, i)
	}
}

func (c *Config) mostCharges() int {
	tier, route := 0, 0
	_, leases := c.Store.(LeaseStore)
	for _, t := range c.Tiers {
		n := len(t.User) + len(t.IP) + len(t.Org)
		if leases && t.Concurrent > 0 {
			n++
		}
		tier = max(tier, n)
	}
	for _, r := range c.Routes {
		route = max(route, len(r.Limits))
	}
	return len(c.Global) + len(c.IP) + tier + route
}

// limits goes over every limit with its field.
func (c *Config) limits() iter.Seq2[string, Limit] {
	return func(yield func(string, Limit) bool) {
		lists := map[string][]Limit{"Global": c.Global, "IP": c.IP}
		for i, t := range c.Tiers {
			field := fmt.Sprintf("Tiers[%d]", i)
			lists[field+".User"], lists[field+".IP"], lists[field+".Org"] = t.User, t.IP, t.Org
		}
		for i, r := range c.Routes {
			lists[fmt.Sprintf("Routes[%d].Limits", i)] = r.Limits
		}
		for _, field := range slices.Sorted(maps.Keys(lists)) {
			for i, limit := range lists[field] {
				if !yield(fmt.Sprintf("%s[%d]", field, i), limit) {
					return
				}
			}
		}
	}
}
