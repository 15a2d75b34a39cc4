package ratelimit

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/respw"
)

// ErrTimeout is the cause of a request's context when [Tier.Timeout] is over.
var ErrTimeout = errors.New("ratelimit: the time that the tier gives a request is over")

// serveFor serves the request with a deadline. A handler that gives up because
// of it, with a status of 500 or above or without an answer, is answered with
// 503; an answer that has begun is left as it is.
func (l *Limiter) serveFor(w http.ResponseWriter, r *http.Request, timeout time.Duration, next http.Handler) {
	ctx, cancel := context.WithTimeoutCause(r.Context(), timeout, ErrTimeout)
	defer cancel()
	late := func() bool { return errors.Is(context.Cause(ctx), ErrTimeout) }
	refuse := func() {
		l.cfg.OnDeny(w, r, &hardening.Problem{Status: http.StatusServiceUnavailable, Detail: "The request took too long and was given up.", Err: ErrTimeout})
	}
	rw := respw.New(w, func(status int) bool {
		if status < http.StatusInternalServerError || !late() {
			return true
		}
		refuse()
		return false
	})
	next.ServeHTTP(rw, r.WithContext(ctx))
	if !rw.Committed() && late() {
		refuse()
	}
}
