package ratelimit

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/event"
)

// coalesceFor is how long events of one kind are counted before the next one
// is sent: a flood of refusals must not become a flood of log lines.
const coalesceFor = 10 * time.Second

// coalescer sends the first event of a kind at once and then at most one in
// coalesceFor, with the count of those it stands for.
type coalescer struct {
	sink event.Sink

	mu    sync.Mutex // guards kinds
	kinds map[string]*kind
}

type kind struct {
	last  time.Time
	count int64
}

func newCoalescer(l *Limiter) *coalescer {
	return &coalescer{
		sink:  event.Sink{Logger: l.cfg.Logger, Room: "ratelimit", Name: l.cfg.Name},
		kinds: map[string]*kind{},
	}
}

// due counts one event and reports whether it is time to send, and for how many.
// The names of kinds are few: policies, and the three constants below.
func (c *coalescer) due(name string) (count int64, ok bool) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.kinds[name]
	if k == nil {
		k = new(kind)
		c.kinds[name] = k
	}
	k.count++
	if !k.last.IsZero() && now.Sub(k.last) < coalesceFor {
		return 0, false
	}
	count, k.count, k.last = k.count, 0, now
	return count, true
}

func (c *coalescer) emit(ctx context.Context, name, kind string, attrs ...slog.Attr) {
	if n, ok := c.due(kind); ok {
		attrs = append(attrs, slog.Int64(event.KeyCount, n))
		_ = c.sink.Emit(ctx, name, attrs...) // an operational logger never refuses
	}
}

func (c *coalescer) exceeded(r *http.Request, req *Request, d Decision) {
	if n, ok := c.due("policy:" + d.Policy); ok {
		_ = c.sink.Emit(r.Context(), event.ExcessRateLimitExceeded,
			slog.String("policy", d.Policy),
			slog.String(event.KeyClient, addrText(req.Addr)),
			slog.String(event.KeyActor, req.User),
			slog.String(event.KeyActorOrg, req.Org),
			slog.String(event.KeyRequestID, hardening.ClientOf(r).RequestID),
			slog.Bool("report_only", d.ReportOnly),
			slog.Int64(event.KeyCount, n))
	}
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func (c *coalescer) identifyFailed(r *http.Request, a netip.Addr, err error) {
	c.emit(r.Context(), event.StoreDegraded, "identify",
		slog.String(event.KeyReason, "the sender could not be identified; only address limits hold"),
		slog.String(event.KeyClient, addrText(a)), slog.String(event.KeyError, err.Error()))
}

func (c *coalescer) unknownTier(r *http.Request, id Identity) {
	c.emit(r.Context(), event.InputValidationFail, "tier",
		slog.String(event.KeyReason, "unknown tier, the lowest one holds"),
		slog.String(event.KeyActor, id.User), slog.String("tier", clip(id.Tier)))
}

func (c *coalescer) storeFailed(r *http.Request, err error) {
	c.emit(r.Context(), event.StoreDegraded, "store",
		slog.String(event.KeyReason, "limits could not be checked; requests are refused"),
		slog.String(event.KeyError, err.Error()))
}

func clip(s string) string {
	if len(s) > 64 {
		return s[:64]
	}
	return s
}
