// Package redissession keeps the sessions of package session in Redis, shared
// by many nodes.
//
//	client := redis.NewClient(&redis.Options{Addr: "...", ContextTimeoutEnabled: true, TLSConfig: tls.TLS()}) // verified TLS: see tlsconfig
//	store, err := redissession.New(redissession.Config{Client: client, Namespace: "portal"})
//	sessions, err := session.New[Visit](session.Config{Keys: ring, Store: store})
//
// # What it costs
//
// Reading a session is one round trip, saving one is one, a login is one and
// its old session one. Each is a script, so that what it decides is atomic. A
// Redis that was restarted lacks the scripts and is sent each one once.
//
// # What it leaves
//
// Every key begins with the namespace and has a time to live, so that nothing
// stays for ever. Ids are stored as SHA-256, user ids as keyed hashes, data
// sealed. The keys, with xx one of 256 parts, which the Cluster's slots follow:
//
//	portal:{xx}:s:<tag>:<id>   a session: version, born, expires, anonymous, data, last writes
//	portal:{xx}:u:<tag>        the user's sessions by age
//	portal:{xx}:m:<tag>        the user's revocation mark
//	portal:{xx}:a              everybody's revocation mark
//	portal:{xx}:e:<tag>:<id>   a session in a cookie that ended before its time
//	portal:{xx}:b              since when such ends are remembered
//	portal:{xx}:l              when a session last began
//
// # Least privilege
//
// This user can do what the store does and nothing else; the tests run as it:
//
//	ACL SETUSER sessions on >password resetchannels resetkeys ~portal:* -@all \
//	    +hello +ping +evalsha +eval +time +exists +del \
//	    +get +set +mget +hget +hset +hmget +hincrby \
//	    +pexpire +pttl +zadd +zrem +zrange
//
// From Redis 7.2 add +client|setinfo, or set DisableIdentity in the client's
// options. On a Cluster add +cluster|slots.
//
// # Threat model
//
// Against a Redis that others read: there is nothing to read. One that others
// write can end sessions and bring an older state of a session's data back
// (its seal says whose it is, not when it was written), but make none. A
// revocation holds although the index of a user is lost, evicted or stale,
// because every read compares the session's age with the marks. Time is
// Redis's own: a node whose clock is wrong revokes and logs in like the
// others; a login that is on the wire while the revocation runs counts as
// later. Where Redis's own clock went back, as after a failover, a revocation still
// ends every session there is; whom it ended can log in again when the clock has
// caught up. A Redis that was flushed has forgotten all sessions, and those in
// cookies have ended with it: it could not know their logouts any more. A replica that is promoted before it heard of a revocation has not
// heard of it: set min-replicas-to-write where that matters. Redis must not
// evict: with another maxmemory-policy than noeviction, a mark can be lost.
// The client may send a command again whose answer it lost: an update counts
// once all the same. Not covered: a Redis that others control while users work.
package redissession
