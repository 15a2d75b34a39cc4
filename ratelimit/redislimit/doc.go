// Package redislimit counts the limits of package ratelimit in Redis, so that
// all nodes of a service share them.
//
//	store, err := redislimit.New(redislimit.Config{
//		Client:    redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true, MaxRetries: -1}),
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
// A call waits 100 ms at most. MaxRetries: -1 keeps the client from repeating
// one that may have been counted, which would count it twice. After three failures in a
// row Redis is not asked for a while, 100 ms and then longer up to 4 s, but by
// one request at a time that probes it. Meanwhile each node counts in its own
// memory, with ceil(N/Nodes): all together admit at most N + Nodes - 1 in a
// window, beside what Redis admitted before. Such states are marked Degraded,
// and an event tells when this begins and ends. New does not need Redis.
//
// # What Redis sees
//
// Keys are namespace:{namespace}:rule:hash with a keyed hash of who is
// counted, so neither addresses nor names. All keys of a namespace lie in one
// slot of a Cluster, since one script can decide only within a slot: give
// services namespaces of their own to spread them. A read-only replica, a full
// server or a failover is answered by the degraded mode.
//
// The least an ACL user needs:
//
//	user limits on >password ~portal:* resetchannels -@all +hello +auth +ping +evalsha +eval +time +get +set +del +pttl
//
// On a Cluster add +cluster|slots +cluster|shards +readonly +command.
//
// # Threat model
//
// Whoever can write to this Redis can release or block anyone; give the
// namespace a user of its own and TLS (tlsconfig/redistls). FLUSHALL forgets:
// after it at most N more are admitted in a window. Rotating the primary key
// starts all counters anew.
package redislimit
