package event

import (
	"sync/atomic"
	"time"
)

// Seldom lets one event a minute through and counts the others, so that a
// flood of bad requests does not become a flood of records. The zero value is
// ready; it is safe for concurrent use.
type Seldom struct {
	muted atomic.Bool
	count atomic.Int64 // occurrences while muted
}

// Next counts one occurrence. It returns how many an event now stands for, or
// 0 if none is due.
func (s *Seldom) Next() int64 {
	if s.muted.Load() || !s.muted.CompareAndSwap(false, true) {
		s.count.Add(1)
		return 0
	}
	// A timer, because reading the clock would be the dearest part of refusing
	// a request. It ends by itself, and holds on to s for that minute only.
	time.AfterFunc(time.Minute, func() { s.muted.Store(false) })
	return s.count.Swap(0) + 1
}
