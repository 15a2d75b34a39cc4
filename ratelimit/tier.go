package ratelimit

import "time"

// Tier is what one class of callers may use. Tiers are data: load them from
// wherever plans are kept and pass them to [Config.Tiers].
type Tier struct {
	// Name is what Identify answers with: 1 to 64 letters, digits, '-', '_', '.'.
	Name string
	// User limits each user of the tier, over all addresses. A change of tier
	// keeps what was used in windows of the same length, so give all tiers the same
	// lengths; one that the old tier did not have begins empty.
	User []Limit
	// IP limits each address for requests of this tier. The lowest tier's also
	// hold for anonymous requests: all who share an address and are not logged in
	// yet, login page included. Raise that of [Free] for a hospital behind one
	// address, and serve static files by a route that is DangerouslyUnlimited.
	IP []Limit
	// Org limits each organisation ([Identity.Org]), over all of its users. Its
	// counter is one for all tiers, as a user's. Default: none.
	Org []Limit
	// Concurrent is how many requests of one user, or of one address where the
	// request is anonymous, [Limiter.Wrap] serves at a time; the next one gets
	// 429. A slot is free again when the handler returns or panics; a hijacked
	// connection no longer counts then. Take holds none. With a [LeaseStore], such
	// as ratelimit/redislimit, all nodes count together, at the cost of a second
	// round trip when a request ends, and the slots of a node that is killed
	// come back within 30 seconds, 31 where this is above 128; else each node counts
	// for itself. 0 = no bound.
	Concurrent int
	// Timeout is how long Wrap lets one request run: then its context ends with
	// the cause [ErrTimeout], and a handler that gives up without having
	// answered, or with a 5xx, is answered with 503. One that does not heed its context is not
	// cut off. Long uploads are ended too. A handler that flushes its response or
	// takes the connection over in time has begun a stream, and streams have no
	// end; bound their number with Concurrent. 0 = none.
	Timeout time.Duration
}

// Free is the lowest tier: 60 a minute and 1000 an hour for each user, 100 a
// minute for each address (the default of Better Auth), 25 seconds for a request,
// any number at a time.
func Free() Tier {
	return Tier{Name: "free", User: []Limit{PerMinute(60), PerHour(1000)}, IP: []Limit{PerMinute(100)}, Timeout: 25 * time.Second}
}

// Pro allows 600 a minute and 20000 an hour for each user, 2000 a minute for
// each address, 5 minutes for a request, any number at a time.
func Pro() Tier {
	return Tier{Name: "pro", User: []Limit{PerMinute(600), PerHour(20000)}, IP: []Limit{PerMinute(2000)}, Timeout: 5 * time.Minute}
}

// Enterprise allows 6000 a minute for each user, and 20000 for each address, of
// which [Config.IP] leaves 6000 unless it is raised; requests have no end, and
// any number run at a time.
func Enterprise() Tier {
	return Tier{Name: "enterprise", User: []Limit{PerMinute(6000)}, IP: []Limit{PerMinute(20000)}}
}

// DefaultTiers are [Free], [Pro] and [Enterprise], lowest first. Except where
// noted their numbers are ours: measure your own callers.
func DefaultTiers() []Tier { return []Tier{Free(), Pro(), Enterprise()} }

// Route limits requests that match a pattern, for each user, or for each
// address where the request is anonymous or ByAddress is set.
type Route struct {
	// Pattern is "[METHOD ][HOST]/path", such as "POST /login", "GET /records/{id}",
	// "/files/{path...}", "/static/" or "example.com/{$}", and means what
	// net/http.ServeMux makes of it: the most specific one of all routes counts,
	// GET is HEAD too, and a request that would be redirected to the route counts
	// as one for it. A pattern that no request matches is a fault.
	Pattern string
	// Limits are added to those of the tier.
	Limits []Limit
	// ByAddress counts by address also where the sender is known. Set it for a
	// login: whoever is logged in under many accounts is still one guesser.
	ByAddress bool
	// DangerouslyUnlimited lets matching requests through uncounted, whatever
	// else their sender has used: for a logout, which must work for a user at
	// the limit, for health checks and static files. Anyone can send them
	// without end, so each such route must be cheap. It has no Limits, only
	// clean paths match, and a finding lists it. Only [Limiter.Wrap] asks for it: a Take
	// is always counted.
	DangerouslyUnlimited bool
}
