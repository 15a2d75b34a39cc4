package ratelimit

import (
	"context"
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

// lease is the slot of one request. The request owns it: nothing runs for it
// after end.
type lease struct {
	store  LeaseStore
	charge [1]Charge
	mu     sync.Mutex // guards the fields below, and is held while they change in the store
	state  [1]State
	timer  *time.Timer // nil before begin and after end
}

// begin keeps the slot that a decision has taken.
func (x *lease) begin(store LeaseStore, c *Charge, st *State) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.store, x.charge[0], x.state[0] = store, *c, *st
	x.timer = time.AfterFunc(leaseRenew, x.renew)
}

// renew runs while the request does. What fails is tried again: the store tells.
func (x *lease) renew() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.timer == nil {
		return
	}
	_ = x.store.Renew(context.Background(), x.charge[:], x.state[:])
	x.timer.Reset(leaseRenew)
}

// end gives the slot back, once. A renewal that runs is waited for. What cannot
// be given back is over in 30 seconds.
func (x *lease) end(ctx context.Context) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.timer == nil {
		return
	}
	x.timer.Stop()
	x.timer = nil
	_ = x.store.Refund(context.WithoutCancel(ctx), x.charge[:], x.state[:])
}
