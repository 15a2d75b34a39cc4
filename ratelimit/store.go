package ratelimit

import (
	"context"
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
}

// Store counts. Implementations are safe for concurrent use.
type Store interface {
	// TakeAll admits the request if every charge fits, and consumes their costs
	// only then: a refusal consumes nothing anywhere. It fills states, which is
	// as long as charges. Two charges of one call never name the same rule and
	// subject. Usage belongs to rule, subject and window: it stays when N
	// changes.
	TakeAll(ctx context.Context, charges []Charge, states []State) (bool, error)
	// PeekAll fills states as TakeAll would, and consumes nothing.
	PeekAll(ctx context.Context, charges []Charge, states []State) (bool, error)
	// Reset forgets what the charges' rules and subjects have used.
	Reset(ctx context.Context, charges []Charge) error
}
