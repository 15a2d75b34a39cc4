package ratelimit

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/inovy/hardening/internal/event"
)

var (
	// ErrNobody is returned by [Limiter.Block] for an Identity without User and
	// Org.
	ErrNobody = errors.New("ratelimit: nobody to block")
	// ErrBlocks is returned by [Limiter.Block] when 1000 blocks hold already.
	ErrBlocks = errors.New("ratelimit: too many blocks")
)

const maxBlocks = 1000

// policyBlocked is [Decision.Policy] of who is blocked.
const policyBlocked = "blocked"

// blocks holds until when users and organisations are refused: a map that is
// never changed, replaced as a whole, so that requests read it without a lock.
type blocks struct {
	mu  sync.Mutex // serialises changes
	all atomic.Pointer[map[Identity]time.Time]
}

// Block refuses a user until then, or a whole organisation where User is empty,
// whatever its limits have left: for an incident. Wrap answers with 403, and
// DangerouslyReportOnly does not lift it. A time that is past lifts the block. Tier is
// ignored. Routes that are DangerouslyUnlimited stay open, so that who is
// blocked can log out.
//
// A block holds for this Limiter and ends with its process: tell every node.
// The reason goes into the event authz_change, never to the client. Block is
// safe for concurrent use; errors are [ErrNobody] and [ErrBlocks].
func (l *Limiter) Block(ctx context.Context, who Identity, until time.Time, reason string) error {
	who.Tier = ""
	if who.User != "" {
		who.Org = ""
	}
	if who == (Identity{}) {
		return ErrNobody
	}
	b, now := &l.blocks, time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	next := map[Identity]time.Time{}
	if old := b.all.Load(); old != nil {
		maps.Copy(next, *old)
	}
	maps.DeleteFunc(next, func(_ Identity, t time.Time) bool { return !now.Before(t) })
	outcome := event.OutcomeDenied
	if now.Before(until) {
		next[who] = until
	} else {
		delete(next, who)
		outcome = event.OutcomeSuccess
	}
	if len(next) > maxBlocks {
		return ErrBlocks
	}
	attrs := append(sender(&Request{Identity: who}, ""),
		slog.String(event.KeyReason, clip(reason)), slog.Time("until", until), slog.String(event.KeyOutcome, outcome))
	_ = l.events.sink.Emit(ctx, event.AuthzChange, attrs...) // a Logger never refuses
	if len(next) == 0 {
		b.all.Store(nil)
	} else {
		b.all.Store(&next)
	}
	return nil
}

// blocked reports whether who is blocked, and for how much longer.
func (b *blocks) blocked(who *Identity) (time.Duration, bool) {
	all := b.all.Load()
	if all == nil {
		return 0, false
	}
	var left time.Duration
	for _, one := range [2]Identity{{User: who.User}, {Org: who.Org}} {
		if until, found := (*all)[one]; found {
			left = max(left, time.Until(until))
		}
	}
	return left, left > 0
}
