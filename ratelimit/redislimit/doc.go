// Package redislimit counts the limits of package ratelimit in Redis, so that
// all nodes of a service share them.
//
//	store, err := redislimit.New(redislimit.Config{
//		Client:    redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1}),
//		Namespace: "portal",
//		Keys:      ring, // the same on every node
//		Nodes:     3,
//	})
//	limits, err := ratelimit.New(ratelimit.Config{Store: store, Nodes: 3})
//
// All limits of a request are decided by one script in one round trip, by the
// clock of the server: no window ever admits more than N, whatever the clocks
// of the nodes say. Up to N = 128 counting is exact; above, a hit may stay
// counted up to 1/32 of the window too long.
//
// # When Redis is away
//
// A call waits 100 ms at most, whatever the client's options. A request makes
// one; one more if it asks for the blocks, tells of a change or writes back what
// a flush took; one for each Shadow limit, unless Redis is away; with Slots above 1 one
// to give back what was taken in vain; and one at its end for a slot. MaxRetries: -1 keeps the client from repeating one that may have been
// counted, which would count it twice; DialerRetries: 1 has a server that refuses
// connections told at once, and not after 100 ms. After three failures in a
// row Redis is not asked for a while, 100 ms and then longer up to 4 s, but by
// one request at a time that probes it.
//
// Meanwhile each limit does what its OnOutage says. Local: each node counts in
// its own memory and admits ceil((N-u)/Nodes), where u is what Redis said last
// to this node, and until its last unit is over. A window that straddles the
// beginning of the outage so admits at most N + Nodes - 1, and beside that what
// a node had not heard from Redis. Closed: 503. DangerouslyOpen: uncounted.
// Such states are marked Degraded, and an event tells when this begins and
// ends. What nodes admitted during an outage Redis does not learn: a window
// that straddles its end admits at most N more. New does not need Redis.
//
// A counter that is gone while something must still be counted by it, after a
// flush, an eviction or a failover, is told by one store_reset event.
//
// # Requests at a time
//
// A slot of [ratelimit.Tier.Concurrent] is taken together with the limits, in
// their round trip, and given back in one of its own. It is a lease of 30 seconds
// that is renewed every 10 while its request runs. While Redis is away each node
// has its share of the slots, rounded up.
//
// # Blocks
//
// [ratelimit.Limiter.Block] holds on every node within a second: a node asks
// twice a second who is blocked, with a request that it serves anyway, in a
// round trip of its own: that request waits for two calls. While Redis is away who was known to be blocked stays so;
// a node that starts then does not know. At most 1000 blocks hold at a time.
// A change that is made meanwhile holds on the node that made it, which tells
// Redis with a request that it serves when Redis is back, up to 1000 changes. It is dated by
// when it was made, so that later changes of other nodes stay.
//
// After a flush, or a failover that lost a change, the first node that notices
// writes back what it knew within the last 24 hours, told by store_reset. Of each
// user the last change counts, by the clock of the server, and lifts are
// remembered for a day: a block that was lifted comes back only if no node that
// knew of the lift serves requests any more. If no node is left that knew of a
// block, it is gone.
//
// # What Redis sees
//
// Keys are namespace:{namespace}:rule:hash with a keyed hash of who is
// counted, so neither addresses nor names. A read-only replica, a full server or
// a failover is answered by the degraded mode.
//
// # On a Cluster
//
// One script decides only about keys of one slot. By default all keys of a
// namespace lie in one, so that one server decides about a request; give services
// namespaces of their own. Config.Slots spreads the counters of one service over
// the servers: the key begins with namespace:{namespace-number}, by a keyed hash of
// who is counted, so that the limits of one address, one user or one organisation
// stay together. A request is then held against up to four slots at once, still in
// one round trip; if one refuses, what the others took is given back in a second
// one. Until then somebody else may be refused for it, but nobody is admitted
// above a limit, and what a node that is killed between the two has taken stays
// counted. Every request asks the slot of the global limit: leave Config.Global out
// where one server cannot bear that, and limit in front of the service. Each slot
// has a breaker of its own: where one server hangs, the requests that it has
// nothing to do with are decided as before.
//
// # Access
//
// The least an ACL user needs:
//
//	user limits on >password ~portal:* resetchannels -@all +hello +auth +ping +evalsha +eval +time +get +set +pttl
//
// On a Cluster add +cluster|slots.
//
// # Threat model
//
// Whoever can write to this Redis can release or block anyone; give the
// namespace a user of its own and TLS (tlsconfig/redistls). FLUSHALL forgets
// counters: after it at most N more are admitted in a window. Rotating the primary key
// starts all counters anew; blocks hold until their key retires.
package redislimit
