package session

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/event"
)

func actor(user string) slog.Attr     { return slog.String(event.KeyActor, user) }
func reason(because string) slog.Attr { return slog.String(event.KeyReason, because) }

// who says whose session a record is about, and which.
func (s *state) who(user, session string) []slog.Attr {
	return []slog.Attr{
		actor(user), slog.String(event.KeySession, session),
		slog.String(event.KeyOutcome, event.OutcomeSuccess),
	}
}

// origin says where the request came from.
func (s *state) origin() []slog.Attr {
	c := hardening.ClientOf(s.r)
	return event.AppendClient(nil, c.Addr, c.RequestID, c.TraceParent)
}

// health says when the store goes and when it is back, once each.
type health struct{ bad atomic.Bool }

// trouble records that the store failed, unless the client merely left.
func (m *core) trouble(ctx context.Context, err error) {
	if errors.Is(err, context.Canceled) || !m.health.bad.CompareAndSwap(false, true) {
		return
	}
	_ = m.log.Emit(ctx, event.StoreDegraded, slog.String(event.KeyError, oneLine(err)))
}

// fine records that the store answers again, if it did not before.
func (m *core) fine(ctx context.Context) {
	if m.health.bad.Load() && m.health.bad.CompareAndSwap(true, false) {
		_ = m.log.Emit(ctx, event.StoreRecovered)
	}
}

// oneLine keeps a store's error from forging a second line in a text log.
func oneLine(err error) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, err.Error())
}

// unavailable is the answer when sessions cannot be told.
func unavailable(err error) *hardening.Problem {
	return &hardening.Problem{Status: http.StatusServiceUnavailable, Title: "Sessions are unavailable", Detail: "Try again in a moment, and look whether what you did took effect.", Err: err}
}

// misused answers a request that the program itself serves wrongly. The client
// must not learn why, so that the log has to tell.
func (m *core) misused(w http.ResponseWriter, r *http.Request, err error) {
	if n := m.misuse.Next(); n > 0 {
		c := hardening.ClientOf(r)
		attrs := []slog.Attr{slog.String(event.KeyError, err.Error()), slog.Int64(event.KeyCount, n)}
		_ = m.log.Emit(r.Context(), event.HTTPServerError, event.AppendClient(attrs, c.Addr, c.RequestID, c.TraceParent)...)
	}
	m.deny(w, r, &hardening.Problem{Status: http.StatusInternalServerError, Err: err})
}

func (m *core) deny(w http.ResponseWriter, r *http.Request, p *hardening.Problem) {
	if m.cfg.OnDeny != nil {
		m.cfg.OnDeny(w, r, p)
		return
	}
	hardening.WriteProblem(w, r, p)
}
