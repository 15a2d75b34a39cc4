package tlsconfig

import (
	"context"
	"log/slog"
	"time"

	"github.com/inovy/hardening/internal/event"
)

// run does what time alone brings about: warnings before certificates expire,
// standbys that take over, files that are looked at again.
func (k *keeper) run(ctx context.Context) {
	defer close(k.done)
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		case <-t.C:
		}
		k.retryRefused(ctx, time.Now())
		k.warn(ctx, time.Now())
		k.refreshStaples(ctx)
		t.Reset(max(time.Until(k.nextTask(time.Now())), time.Second))
	}
}

// nextTask is when run has something to do.
func (k *keeper) nextTask(now time.Time) time.Time {
	next := now.Add(remindEvery)
	sooner := func(t time.Time) {
		if t.After(now) && t.Before(next) {
			next = t
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range k.certs {
		c := &k.certs[i]
		leaf := c.pair.leaf()
		life := leaf.NotAfter.Sub(leaf.NotBefore)
		for _, left := range []time.Duration{life / 3, life / 6, -1} {
			sooner(leaf.NotAfter.Add(-left))
		}
		if c.told != ExpiryFresh {
			sooner(c.toldAt.Add(remindEvery))
		}
		sooner(c.retryAt)
		if at, ok := k.stapleDue(c); ok {
			sooner(later(at, now.Add(time.Second)))
		}
	}
	if k.cas != nil {
		sooner(k.cas.retryAt)
		for _, ca := range k.cas.set.certs {
			life := ca.NotAfter.Sub(ca.NotBefore)
			for _, left := range []time.Duration{life / 3, life / 6, -1} {
				sooner(ca.NotAfter.Add(-left))
			}
		}
	}
	return next
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// retryRefused looks again at files that may be in order by now.
func (k *keeper) retryRefused(ctx context.Context, now time.Time) {
	k.mu.Lock()
	var again []int
	for i := range k.certs {
		if k.certs[i].mayRetry(now) {
			again = append(again, i)
		}
	}
	if k.cas != nil && k.cas.mayRetry(now) {
		again = append(again, len(k.certs))
	}
	k.mu.Unlock()
	for _, i := range again {
		if k.pollers[i] != nil {
			_ = k.pollers[i].Poll(ctx) // recorded by refuse
		}
	}
}

// warn gives each certificate's warning when its state gets worse, and daily
// from then on.
func (k *keeper) warn(ctx context.Context, now time.Time) {
	type warning struct {
		attrs []slog.Attr
		state Expiry
	}
	var warnings []warning
	k.mu.Lock()
	over := false
	tell := func(f *fate, e Expiry, attrs []slog.Attr) {
		worse := e > f.told
		over = over || worse && e == Expired
		if e == ExpiryFresh || !worse && now.Sub(f.toldAt) < remindEvery {
			return
		}
		f.told, f.toldAt = e, now
		warnings = append(warnings, warning{attrs, e})
	}
	for i := range k.certs {
		c := &k.certs[i]
		tell(&c.fate, expiryOf(c.pair.leaf().NotBefore, c.pair.leaf().NotAfter, now), c.pair.attrs())
	}
	if k.cas != nil {
		if e, ends := k.cas.set.expiry(now); e != ExpiryFresh {
			tell(&k.cas.fate, e, []slog.Attr{
				slog.String(event.KeyObjectType, "trust_anchors"), slog.String(event.KeyObject, k.cas.set.digest),
				slog.String(event.KeySource, k.cas.set.source), slog.Time(event.KeyNotAfter, ends.UTC()),
			})
		}
	}
	if over {
		k.publish() // a standby takes over
	}
	k.mu.Unlock()
	for _, w := range warnings {
		// There is nothing that an error of the audit handler could refuse.
		_ = k.sink.Emit(ctx, event.CertificateExpiring, append(w.attrs, slog.String(event.KeyReason, w.state.String()))...)
	}
}

// expiry is the state of the anchor that lasts longest: a bundle holds the old
// CA beside the new one while it is replaced.
func (a *anchors) expiry(now time.Time) (e Expiry, ends time.Time) {
	for _, c := range a.certs {
		if ce := expiryOf(c.NotBefore, c.NotAfter, now); ends.IsZero() || c.NotAfter.After(ends) {
			e, ends = ce, c.NotAfter
		}
	}
	return e, ends
}
