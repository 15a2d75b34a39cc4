package ratelimit

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/text"
)

// coalesceFor is how long events of one kind are counted before the next one
// is sent: a flood of refusals must not become a flood of log lines.
const coalesceFor = 10 * time.Second

// coalescer sends the first event of a kind at once and then at most one in
// coalesceFor, with the count of those it stands for. What is counted when a
// flood ends is sent with the next event of its kind: there is no goroutine.
type coalescer struct {
	sink event.Sink

	mu    sync.Mutex // guards kinds
	kinds map[kind]*tally
}

// kind is an event's name and what tells events of that name apart: a policy,
// the route, and whether it refuses. Kinds are few: nothing that a client
// chooses is in them.
type kind struct {
	name, detail, route string
	trial               bool
}

type tally struct {
	last  time.Time
	count int64
}

func newCoalescer(l *Limiter) *coalescer {
	return &coalescer{
		sink:  event.Sink{Logger: l.cfg.Logger, Room: "ratelimit", Name: l.cfg.Name},
		kinds: map[kind]*tally{},
	}
}

// due counts one event and reports whether it is time to send, and for how many.
func (c *coalescer) due(k kind) (count int64, ok bool) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.kinds[k]
	if t == nil {
		t = new(tally)
		c.kinds[k] = t
	}
	t.count++
	if !t.last.IsZero() && now.Sub(t.last) < coalesceFor {
		return 0, false
	}
	count, t.count, t.last = t.count, 0, now
	return count, true
}

// send counts an event and sends it if it is due. attrs is called only then.
func (c *coalescer) send(ctx context.Context, k kind, attrs func() []slog.Attr) {
	n, ok := c.due(k)
	if !ok {
		return
	}
	_ = c.sink.Emit(ctx, k.name, append(attrs(), slog.Int64(event.KeyCount, n))...) // an operational logger never refuses
}

func (c *coalescer) exceeded(ctx context.Context, r *Request, d Decision, requestID string) {
	c.send(ctx, kind{event.ExcessRateLimitExceeded, d.Policy, r.Route, d.ReportOnly}, func() []slog.Attr {
		outcome := event.OutcomeDenied
		if d.ReportOnly {
			outcome = event.OutcomeSuccess
		}
		return append(append(sender(r, requestID), routeAttr(r)...),
			slog.String(event.KeyOutcome, outcome),
			slog.String("policy", d.Policy),
			slog.Bool("report_only", d.ReportOnly))
	})
}

// near tells that little of a limit is left: what an operator wants to know
// before its users do.
func (c *coalescer) near(ctx context.Context, r *Request, d *Decision, requestID string) {
	policy, left := d.Policy, d.Remaining // d itself must not escape
	from := *r
	c.send(ctx, kind{name: event.RateLimitNear, detail: policy, route: from.Route}, func() []slog.Attr {
		return append(append(sender(&from, requestID), routeAttr(&from)...),
			slog.String(event.KeyOutcome, event.OutcomeSuccess),
			slog.String(event.KeyReason, "80 % of the limit or more is used"),
			slog.String("policy", policy),
			slog.Int64("remaining", left))
	})
}

func (c *coalescer) identifyFailed(ctx context.Context, r *Request, requestID string, err error) {
	if left(ctx, err) {
		return
	}
	c.send(ctx, kind{name: event.StoreDegraded, detail: "identify"}, func() []slog.Attr {
		return append(sender(r, requestID),
			slog.String(event.KeyReason, "the sender could not be identified; only address limits hold"),
			slog.String(event.KeyError, clip(err.Error())))
	})
}

func (c *coalescer) unknownTier(ctx context.Context, r *Request) {
	c.send(ctx, kind{name: event.InputValidationFail, detail: "tier"}, func() []slog.Attr {
		return append(sender(r, ""),
			slog.String(event.KeyReason, "unknown tier; the lowest one holds"),
			slog.String("tier", clip(r.Tier)))
	})
}

func (c *coalescer) storeFailed(ctx context.Context, err error) {
	if left(ctx, err) || errors.Is(err, ErrOutage) { // whoever knows of the outage tells, once
		return
	}
	c.send(ctx, kind{name: event.StoreDegraded, detail: "store"}, func() []slog.Attr {
		return []slog.Attr{
			slog.String(event.KeyReason, "limits could not be checked; requests are refused"),
			slog.String(event.KeyError, clip(err.Error())),
		}
	})
}

// left reports whether the caller has gone, and that is all the error says. It is
// no event: anyone can leave, and nothing is wrong.
func left(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, context.Canceled)
}

// sender is who a request came from, without what is not known.
func sender(r *Request, requestID string) []slog.Attr {
	var attrs []slog.Attr
	for _, a := range []struct{ key, value string }{
		{event.KeyClient, addrText(r.Addr)}, {event.KeyActor, r.User}, {event.KeyActorOrg, r.Org}, {event.KeyRequestID, requestID},
	} {
		if a.value != "" {
			attrs = append(attrs, slog.String(a.key, clip(a.value)))
		}
	}
	return attrs
}

// routeAttr names the route that a request matched, if any: its pattern.
func routeAttr(r *Request) []slog.Attr {
	if r.Route == "" {
		return nil
	}
	return []slog.Attr{slog.String("route", r.Route)}
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// clip bounds what a caller chose.
func clip(s string) string { return text.Clip(s, 200) }
