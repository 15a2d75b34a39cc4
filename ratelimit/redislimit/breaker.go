package redislimit

import (
	"sync"
	"time"
)

// breakers are one for each slot that the keys lie in, and with several slots one
// more for the blocks: a server of a Cluster that hangs keeps nobody from the
// others.
type breakers struct {
	each []breaker
	mu   sync.Mutex // guards the field below
	open int        // how many are
}

// admits reports whether all of them may be asked now. Who is admitted calls done
// or abandoned for each.
func (b *breakers) admits(now time.Time, which ...int) bool {
	for i, at := range which {
		if !b.each[at].admits(now) {
			b.abandoned(which[:i]...)
			return false
		}
	}
	return true
}

func (b *breakers) abandoned(which ...int) {
	for _, at := range which {
		b.each[at].abandoned()
	}
}

// done records how a call went. It tells when the first one opens, and when the
// last one closes.
func (b *breakers) done(now time.Time, at int, ok bool) change {
	c := b.each[at].done(now, ok)
	if c == unchanged {
		return c
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.open
	if c == opened {
		b.open++
	} else {
		b.open--
	}
	if was != 0 && b.open != 0 {
		return unchanged
	}
	return c
}

// breaker keeps requests from Redis while it does not answer. It has no
// goroutine: the first request after a pause is the probe.
type breaker struct {
	mu       sync.Mutex // guards the fields below
	failures int        // in a row
	open     bool
	probing  bool
	until    time.Time // of the pause
	pause    time.Duration
}

const (
	failuresToOpen = 3
	firstPause     = 100 * time.Millisecond
	longestPause   = 4 * time.Second // so that a return is noticed within 5
)

// change is what a call has changed.
type change int

const (
	unchanged change = iota
	opened
	closed
)

// admits reports whether Redis may be asked now. Who is admitted calls done or
// abandoned.
func (b *breaker) admits(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open {
		return true
	}
	if b.probing || now.Before(b.until) {
		return false
	}
	b.probing = true
	return true
}

// done records how a call went.
func (b *breaker) done(now time.Time, ok bool) change {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	if ok {
		was := b.open
		b.failures, b.open, b.pause = 0, false, 0
		if was {
			return closed
		}
		return unchanged
	}
	if b.failures++; b.failures < failuresToOpen {
		return unchanged
	}
	was := b.open
	b.open = true
	b.pause = min(max(2*b.pause, firstPause), longestPause)
	b.until = now.Add(b.pause)
	if was {
		return unchanged
	}
	return opened
}

// abandoned records a call that its caller gave up.
func (b *breaker) abandoned() {
	b.mu.Lock()
	b.probing = false
	b.mu.Unlock()
}
