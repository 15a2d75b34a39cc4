package ratelimit

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// Subject is what a limit counts by: an address, a name, or both empty for the
// whole service.
type Subject struct {
	Addr netip.Addr // masked to its network; compared first
	Name string     // user, organisation
}

// Charge is one limit that a request is held against.
type Charge struct {
	Rule    string // tells rules with the same subject apart
	Subject Subject
	N       int64
	Per     time.Duration
	Cost    int64 // at least 1
	// Burst makes it a leaky bucket that holds Burst and loses N in Per; 0 is a
	// window. See [Limit].
	Burst int64
	// OnOutage is what a shared store does with the charge when it cannot count:
	// a Closed one is answered with ErrOutage, an open one fits.
	OnOutage Outage

	rule key // Rule and Per as the Limiter's own MemoryStore hashes them, or zero
}

// State is where one charge stands after a decision.
type State struct {
	Fits       bool          // this limit would admit it
	Remaining  int64         // units left now
	RetryAfter time.Duration // until the cost fits; 0 if it fits; negative if it never will
	ResetAfter time.Duration // until nothing is counted any more
	Degraded   bool          // decided without the store that the nodes share
	// At is the time of the store's clock at which it consumed the charge, for
	// Refund. 0 if it did not, or cannot give back.
	At int64
}

// Capacity is what the charge admits at once: Burst, or N without one.
func (c *Charge) Capacity() int64 {
	if c.Burst > 0 {
		return c.Burst
	}
	return c.N
}

// BlockStore is a [Store] that also tells all nodes who is blocked, as
// ratelimit/redislimit does. [Limiter.Block] uses it.
type BlockStore interface {
	Store
	// Block refuses a user, or an organisation if User is empty, until then; a
	// time that is past lifts the block. The newest change counts on all nodes.
	// Its error is [ErrBlocks], or says that the nodes could not be told: an
	// [ErrUntold] that this one answers by the change already, and will tell the
	// others when it can; any other that it does not know of it either.
	Block(ctx context.Context, who Identity, until time.Time) error
	// Blocked is until when the user or the organisation is blocked, whichever
	// is later. What it knows is at most a second old, or, while the nodes cannot
	// be reached, what it knew last.
	Blocked(ctx context.Context, who Identity) time.Time
}

// Store counts. Implementations are safe for concurrent use.
type Store interface {
	// TakeAll admits the request if every charge fits, and consumes their costs
	// only then: a refusal consumes nothing anywhere. It fills states, which is
	// as long as charges. Two charges of one call never name the same rule and
	// subject. Usage belongs to rule, subject and window: it stays when N
	// changes. A charge with Burst and one without are counted apart; a
	// store that has no leaky buckets answers a Burst with [ErrCharges].
	TakeAll(ctx context.Context, charges []Charge, states []State) (bool, error)
	// PeekAll fills states as TakeAll would, and consumes nothing.
	PeekAll(ctx context.Context, charges []Charge, states []State) (bool, error)
	// Refund gives back what TakeAll consumed for these charges when it filled
	// these states, and no more than is still counted of it: nothing of a window
	// that has passed or that was reset since. The caller gives back once. A
	// store that cannot give back sets no State.At and returns [ErrRefund].
	Refund(ctx context.Context, charges []Charge, taken []State) error
	// Reset forgets what the charges' rules and subjects have used.
	Reset(ctx context.Context, charges []Charge) error
}

// maxCharges bounds one decision, so that its working set stays on the stack.
const maxCharges = 16

// ErrCharges is returned for a call with more than 16 charges, fewer states
// than charges, or a charge whose N, Per, Cost or Burst is out of range.
var ErrCharges = errors.New("ratelimit: charges that cannot be counted")

// countable is CheckCharges for room for that many states.
func countable(charges []Charge, states int) bool {
	if len(charges) > maxCharges || states < len(charges) {
		return false
	}
	for i := range charges {
		c := &charges[i]
		if c.N < 1 || c.N > maxN || c.Per < minPer || c.Per > maxPer || c.Cost < 1 || c.Burst < 0 || c.Burst > maxN {
			return false
		}
	}
	return true
}

// CheckCharges returns [ErrCharges] for a call that no Store can decide. Stores
// call it first.
func CheckCharges(charges []Charge, states []State) error {
	if !countable(charges, len(states)) {
		return ErrCharges
	}
	return nil
}
