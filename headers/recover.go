package headers

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/respw"
	"github.com/inovy/hardening/internal/text"
)

// Recover turns a panic of next into a 500 problem (RFC 9457) that tells the
// client nothing about its cause (ASVS v5.0.0-16.5.1). The event sys_crash
// with the panic's value and stack goes to Config.Logger.
//
// What the handler had put into the header is removed first, cookies
// included, and the policy's own headers are set again; X-Request-Id stays. If
// the response was already on its way, the connection is cut, so that nobody
// takes half an answer for a whole one. http.ErrAbortHandler is passed on
// unchanged. It belongs directly inside Wrap.
func (m *Middleware) Recover(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rw := respw.New(w, func(status int) bool {
			closeTooLarge(w.Header(), r, status)
			return true
		})
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v == http.ErrAbortHandler { //nolint:errorlint // net/http compares so, and a panic value need not be an error
				panic(v)
			}
			m.logPanic(r, v, debug.Stack())
			if rw.Committed() {
				panic(http.ErrAbortHandler)
			}
			h := w.Header()
			id, hasID := h["X-Request-Id"]
			clear(h)
			if hasID {
				h["X-Request-Id"] = id
			}
			m.apply(h, r)
			m.deny(w, r, &hardening.Problem{
				Status: http.StatusInternalServerError,
				Detail: "The server could not complete the request.",
				Err:    fmt.Errorf("panic: %v", v),
			})
		}()
		next.ServeHTTP(rw, r)
	})
}

func (m *Middleware) logPanic(r *http.Request, v any, stack []byte) {
	emit(m.cfg.Logger, m.cfg.Name, event.SysCrash, r,
		slog.String(event.KeyReason, "panic in a handler"),
		slog.String(event.KeyObjectType, "route"), slog.String(event.KeyObject, r.Pattern), // a path may name a patient
		slog.String(event.KeyError, text.Clip(fmt.Sprint(v), 4096)), slog.String("stack", string(stack)))
}

func (m *Middleware) deny(w http.ResponseWriter, r *http.Request, p *hardening.Problem) {
	if m.cfg.OnDeny != nil {
		m.cfg.OnDeny(w, r, p)
		return
	}
	hardening.WriteProblem(w, r, p)
}
