package ratelimit

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// LeaseStore is a [Store] of several nodes that can renew what it counts, as
// ratelimit/redislimit can. With it the slots of [Tier.Concurrent] are leases
// that all nodes see: one of 30 seconds, renewed while its request runs, so that
// the slots of a node that is killed come back.
type LeaseStore interface {
	Store
	// Renew counts the charges as if they were taken now instead of when these
	// states were filled, and fills them anew. It does so whether they fit or
	// not, and whether they were still counted or not: they are in use.
	Renew(ctx context.Context, charges []Charge, taken []State) error
}

const (
	leaseTime  = 30 * time.Second
	leaseRenew = leaseTime / 3 // so that two renewals may fail
)

// lease is the slot of one request, which owns it. A store may fail, hang or
// panic: that never holds up the request, nor ends the process.
type lease struct {
	store  LeaseStore
	failed func(context.Context, error)
	charge [1]Charge

	// A renewal that runs has the state below to itself.
	state [1]State

	mu       sync.Mutex  // guards the fields below
	timer    *time.Timer // nil before begin and after end
	renewing bool
}

// begin keeps the slot that a decision has taken.
func (x *lease) begin(l *Limiter, c *Charge, st *State) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.store, x.failed, x.charge[0], x.state[0] = l.leases, l.events.storeFailed, *c, *st
	x.timer = time.AfterFunc(leaseRenew, x.renew)
}

// renew runs while the request does. What fails is tried again.
func (x *lease) renew() {
	x.mu.Lock()
	if x.timer == nil {
		x.mu.Unlock()
		return
	}
	x.renewing = true
	x.mu.Unlock()
	x.change(context.Background(), x.store.Renew)
	x.mu.Lock()
	x.renewing = false
	ended := x.timer == nil
	if !ended {
		x.timer.Reset(leaseRenew)
	}
	x.mu.Unlock()
	if ended {
		x.change(context.Background(), x.store.Refund)
	}
}

// end gives the slot back, once. While a renewal runs it is left to that. What
// cannot be given back is over in 30 seconds.
func (x *lease) end(ctx context.Context) {
	x.mu.Lock()
	mine := x.timer != nil && !x.renewing
	if x.timer != nil {
		x.timer.Stop()
		x.timer = nil
	}
	x.mu.Unlock()
	if mine {
		x.change(context.WithoutCancel(ctx), x.store.Refund)
	}
}

// change calls the store, which has until the next renewal at most. A panic,
// which would end the process from a timer, is a failure like any other.
func (x *lease) change(ctx context.Context, do func(context.Context, []Charge, []State) error) {
	ctx, cancel := context.WithTimeout(ctx, leaseRenew)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			x.failed(ctx, fmt.Errorf("ratelimit: the store panics: %v", p))
		}
	}()
	_ = do(ctx, x.charge[:], x.state[:]) // the store tells
}
