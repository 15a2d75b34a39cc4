package redislimit

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/inovy/hardening/ratelimit"
)

// lastKnown keeps what Redis said last about each key, so that an outage does
// not begin with fresh limits, and so that a key that is gone too early is
// noticed. It is bounded: what is forgotten makes an outage laxer by one share,
// and never anything that is used up is forgotten for something that is not.
type lastKnown struct {
	shards [lastShards]lastShard
	hash   maphash.Seed

	mu    sync.Mutex // guards reset
	reset time.Time  // when the last loss was told: what was known before is explained by it
}

type lastShard struct {
	mu   sync.Mutex
	keys map[string]usage // guarded by mu
}

// usage is what stood in Redis after a decision.
type usage struct {
	used, n int64
	server  int64 // when, by its clock, in microseconds
	reset   int64 // microseconds until nothing is counted
	at      time.Time
}

func (a *answer) usage(c *ratelimit.Charge, now time.Time) usage {
	return usage{used: a.used, n: c.Capacity(), server: a.server, reset: a.reset, at: now}
}

func (u usage) left(now time.Time) time.Duration {
	return u.at.Add(time.Duration(u.reset) * time.Microsecond).Sub(now)
}

const (
	lastShards  = 64
	lastInShard = 4096 // 262 144 keys, some 50 MiB
	lastProbes  = 8    // entries looked at to make room
)

func (l *lastKnown) shard(key string) *lastShard {
	return &l.shards[maphash.String(l.hash, key)%lastShards]
}

// note records an answer. It reports whether a key was gone although something
// must still be counted for it, the first time since a loss was told.
func (l *lastKnown) note(key string, u usage, found bool) (gone bool) {
	s := l.shard(key)
	s.mu.Lock()
	before, known := s.keys[key]
	if known && u.server < before.server && u.at.Sub(before.at) < time.Second {
		s.mu.Unlock()
		return false // an older answer that arrives later
	}
	lost := known && !found && u.server > before.server && u.server < before.server+before.reset
	if s.keys == nil {
		s.keys = map[string]usage{}
	}
	switch {
	case u.used == 0 || u.reset <= 0:
		delete(s.keys, key)
	case known || len(s.keys) < lastInShard || s.makeRoom(u):
		s.keys[key] = u
	}
	s.mu.Unlock()
	if !lost {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !before.at.After(l.reset) {
		return false
	}
	l.reset = u.at
	return true
}

// makeRoom drops a key that is over or used less than u, if it meets one.
func (s *lastShard) makeRoom(u usage) bool {
	probes := 0
	for k, e := range s.keys { // begins anywhere
		if e.left(u.at) <= 0 || float64(e.used)/float64(e.n) < float64(u.used)/float64(u.n) {
			delete(s.keys, k)
			return true
		}
		if probes++; probes == lastProbes {
			break
		}
	}
	return false
}

// seed is what is still counted of a key, at most, and until when.
type seed struct {
	used int64
	left time.Duration
}

func (l *lastKnown) seed(key string, now time.Time) seed {
	s := l.shard(key)
	s.mu.Lock()
	u := s.keys[key]
	s.mu.Unlock()
	if left := u.left(now); left > 0 {
		return seed{u.used, left}
	}
	return seed{}
}
