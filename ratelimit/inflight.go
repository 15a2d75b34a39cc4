package ratelimit

import (
	"net/netip"
	"sync"
	"time"
)

// inFlight counts the requests that are being served for each sender, where no
// [LeaseStore] does. What it holds is bounded by the requests in flight. A slot lives as long as its
// request: it needs no expiry, since it dies with the process that serves.
type inFlight struct {
	mu   sync.Mutex // guards busy
	busy map[holder]int
}

// holder is who a slot is counted for: a user, or an address without one.
type holder struct {
	user string
	addr netip.Addr
}

// concurrentRetry is what a sender without a free slot is told to wait. Nobody
// knows when a request ends; a second is the least the header can say.
const concurrentRetry = time.Second

func (l *Limiter) holder(r *Request) holder {
	if r.User != "" {
		return holder{user: r.User}
	}
	return holder{addr: l.network(r.Addr)}
}

// acquire takes one of most slots.
func (s *inFlight) acquire(h holder, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.busy[h]
	if n >= most {
		return false
	}
	if s.busy == nil {
		s.busy = map[holder]int{}
	}
	s.busy[h] = n + 1
	return true
}

// release gives one slot back.
func (s *inFlight) release(h holder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.busy[h]; n > 1 {
		s.busy[h] = n - 1
	} else {
		delete(s.busy, h)
	}
}

// crowded is the refusal of a sender without a free slot.
func (d *Decision) crowded(t *tier) {
	name := t.name + "-concurrent"
	*d = Decision{
		Policy: name, Limit: Limit{N: int64(t.concurrent), Name: name},
		Violated: []string{name}, RetryAfter: concurrentRetry, ResetAfter: concurrentRetry,
	}
}
