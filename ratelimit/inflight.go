package ratelimit

import (
	"sync"
	"time"
)

// inFlight counts the requests that are being served for each sender, where no
// [LeaseStore] does. What it holds is bounded by the requests in flight. A slot
// lives as long as its request: it needs no expiry, since it dies with the
// process that serves.
type inFlight struct {
	mu   sync.Mutex // guards busy
	busy map[Subject]int
}

// concurrentRetry is what a sender without a free slot is told to wait. Nobody
// knows when a request ends; a second is the least the header can say.
const concurrentRetry = time.Second

// acquire takes one of most slots.
func (s *inFlight) acquire(who Subject, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.busy[who]
	if n >= most {
		return false
	}
	if s.busy == nil {
		s.busy = map[Subject]int{}
	}
	s.busy[who] = n + 1
	return true
}

// release gives one slot back.
func (s *inFlight) release(who Subject) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.busy[who]; n > 1 {
		s.busy[who] = n - 1
	} else {
		delete(s.busy, who)
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
