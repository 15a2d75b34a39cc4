package password

import (
	"container/list"
	"context"
	"errors"
	"sync"
)

// ErrBusy says that so many hashes wait for memory that one more would not be
// served in time. Answer it with 503 and Retry-After.
var ErrBusy = errors.New("password: too many hashes are waiting for memory")

// budget hands out memory, first come, first served, so that a large request
// is not starved by small ones.
type budget struct {
	total   int64 // KiB
	maxWait int

	mu      sync.Mutex // guards the fields below
	used    int64
	peak    int64     // the most that was used at one time
	waiters list.List // of *waiter
}

type waiter struct {
	kib   int64
	ready chan struct{}
}

// acquire waits for kib, which must not exceed total. Its errors are ErrBusy
// and those of ctx.
func (b *budget) acquire(ctx context.Context, kib int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	if b.waiters.Len() == 0 && b.used+kib <= b.total {
		b.take(kib)
		b.mu.Unlock()
		return nil
	}
	if b.waiters.Len() >= b.maxWait {
		b.mu.Unlock()
		return ErrBusy
	}
	w := &waiter{kib: kib, ready: make(chan struct{})}
	place := b.waiters.PushBack(w)
	b.mu.Unlock()

	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-w.ready: // granted while the context ended; give it back
		b.used -= kib
	default:
		b.waiters.Remove(place)
	}
	b.grant()
	return ctx.Err()
}

// take uses memory, with mu held.
func (b *budget) take(kib int64) {
	b.used += kib
	b.peak = max(b.peak, b.used)
}

func (b *budget) release(kib int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= kib
	b.grant()
}

// grant wakes as many waiters as there is memory for, with mu held.
func (b *budget) grant() {
	for e := b.waiters.Front(); e != nil; e = b.waiters.Front() {
		w := e.Value.(*waiter)
		if b.used+w.kib > b.total {
			return
		}
		b.take(w.kib)
		b.waiters.Remove(e)
		close(w.ready)
	}
}
