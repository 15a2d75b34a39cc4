// Package ratelimit limits what each user, address and route may ask for, so
// that no window of a limit's length ever admits more than the limit says.
//
//	limits, err := ratelimit.New(ratelimit.Config{
//		Identify: func(r *http.Request) (ratelimit.Identity, error) {
//			return ratelimit.Identity{User: userOf(r), Tier: "pro"}, nil
//		},
//		Routes: []ratelimit.Route{{Pattern: "POST /login", Limits: []ratelimit.Limit{ratelimit.PerMinute(10)}, ByAddress: true}},
//	})
//	if err != nil {
//		return err // every fault of the Config
//	}
//	h := limits.Wrap(mux)
//
// Wrap it inside hardening.Edge, headers and session, outside the mux:
// addresses come from [hardening.ClientOf], the user from Identify. Behind a load
// balancer, without hardening.Edge, everyone has its address and shares one limit.
//
// # Promises
//
// A [Limit] of N per window admits at most N units in every window of that
// length. Up to N = 128 counting is exact: the next request fits the moment the
// oldest leaves the window. Above, a hit may stay counted up to 1/32 of the
// window too long, so that evenly spaced traffic gets at least 96.9 % of N; the
// error is never in the caller's favour.
//
// A Limit with Burst is a leaky bucket (GCRA) instead: Burst at once and then the
// pace of N in Per, so that a window admits up to N + Burst.
//
// All limits of a request are checked together: it consumes from all or, if
// one refuses, from none. [Limiter.Refund] gives back what Take took. Usage of a user stays
// when the tier changes.
//
// A [Tier] also bounds what one sender has served at a time and how long one
// request may run. [Limiter.Block] refuses a user or an organisation during an
// incident; [Limit.Shadow] tries a limit out.
//
// # Threat model
//
// Attackers send from many addresses, spoof forwarding headers, try to fill
// the memory so that their own refusal is forgotten, set clocks, and ask for
// absurd costs. Addresses are believed only from [hardening.Edge]; IPv6 counts
// by /64; a key that counts anything is never dropped, and when memory is full
// newcomers share counters with their own network; time is monotonic; keys are
// hashed with seeds of the process. A distributed flood that stays under each
// limit is out of scope: set [Config.Global] and defend upstream. The memory
// store sees one process; with several nodes each admits N, unless they share
// ratelimit/redislimit.
package ratelimit
