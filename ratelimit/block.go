package ratelimit

import (
	"context"
	"errors"
	"fmt"
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
	// ErrUntold is returned by [Limiter.Block] for a change that holds on this
	// node, which tells the others when it can reach them again.
	ErrUntold = errors.New("ratelimit: the other nodes are not told yet")
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
// ignored, and so is Org where User is set. Addresses are not blocked here but in
// front of the service. Routes that are DangerouslyUnlimited stay open, so that who is
// blocked can log out.
//
// With a [BlockStore], such as ratelimit/redislimit, a block holds on all nodes
// within a second, and survives them; else it holds for this Limiter and ends
// with its process. While the store is away, a change holds on this node, and the
// error is [ErrUntold]: with the requests that it serves when the store is back,
// the node tells the others, to whom it counts as made now; what they change
// after that is newer. A node that ends before has told nobody: to be sure, call
// Block again until it returns nil. After another error of the store a block holds
// on this node only, and nobody is told later.
//
// Before it takes effect the event authz_change goes to [Config.Audit], whose
// error refuses it, with the reason; the client never learns that. Other errors
// are [ErrNobody], [ErrBlocks], [ErrUntold] and the store's. Block is safe for concurrent use.
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
	lifts := !now.Before(until)
	outcome := event.OutcomeDenied
	if lifts {
		outcome = event.OutcomeSuccess
		delete(next, who)
	} else {
		next[who] = until
	}
	if len(next) > maxBlocks {
		return ErrBlocks
	}
	audit := event.Sink{Audit: l.cfg.Audit, Logger: l.cfg.Logger, Room: "ratelimit", Name: l.cfg.Name}
	record := func(outcome string, more ...slog.Attr) error {
		attrs := append(sender(&Request{Identity: who}, ""),
			slog.String(event.KeyReason, clip(reason)), slog.Time("until", until), slog.String(event.KeyOutcome, outcome))
		return audit.Emit(ctx, event.AuthzChange, append(attrs, more...)...)
	}
	if err := record(outcome); err != nil {
		return fmt.Errorf("ratelimit: the block is not recorded and takes no effect: %w", err)
	}
	var err error
	if l.shared != nil {
		err = l.shared.Block(ctx, who, until)
		if err == nil || errors.Is(err, ErrUntold) {
			delete(next, who) // the store knows
		}
		if err != nil {
			err = errors.Join(fmt.Errorf("ratelimit: the other nodes could not be told; call Block again until it returns nil: %w", err),
				record(event.OutcomeFailure, slog.String(event.KeyError, clip(err.Error()))))
		}
	}
	if len(next) == 0 {
		b.all.Store(nil)
	} else {
		b.all.Store(&next)
	}
	return err
}

// blocked reports whether who is blocked, and for how much longer.
func (l *Limiter) blocked(ctx context.Context, who *Identity) (time.Duration, bool) {
	left, ok := l.blocks.blocked(who)
	if l.shared != nil && (who.User != "" || who.Org != "") {
		if until := l.shared.Blocked(ctx, *who); !until.IsZero() {
			left = max(left, time.Until(until))
			ok = left > 0
		}
	}
	return left, ok
}

// blocked looks among the blocks that only this node knows.
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
