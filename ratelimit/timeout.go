package ratelimit

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/respw"
)

// ErrTimeout is the cause of a request's context when [Tier.Timeout] is over.
var ErrTimeout = errors.New("ratelimit: the time that the tier gives a request is over")

// serveFor serves the request with an end to its time. A handler that gives up
// because of it, with a status of 500 or above or without an answer, is answered
// with 503; an answer that has begun is left as it is.
func (l *Limiter) serveFor(w http.ResponseWriter, r *http.Request, timeout time.Duration, next http.Handler) {
	t := &timed{limiter: l, under: w, request: r}
	t.ctx.Context, t.ctx.until = r.Context(), time.Now().Add(timeout)
	t.rw.Writer, t.rw.ctx = *respw.New(w, t.mayAnswer), &t.ctx
	defer t.ctx.end()
	next.ServeHTTP(&t.rw, r.WithContext(&t.ctx))
	if !t.rw.Committed() && t.late() {
		t.refuse()
	}
}

// timed is one request, its context and its response, in one allocation.
type timed struct {
	limiter *Limiter
	under   http.ResponseWriter
	request *http.Request
	ctx     timedContext
	rw      timedWriter
}

func (t *timed) late() bool { return errors.Is(context.Cause(&t.ctx), ErrTimeout) }

func (t *timed) mayAnswer(status int) bool {
	if status < http.StatusInternalServerError || !t.late() {
		return true
	}
	t.refuse()
	return false
}

func (t *timed) refuse() {
	t.limiter.cfg.OnDeny(t.under, t.request, &hardening.Problem{Status: http.StatusServiceUnavailable, Detail: "The request took too long and was given up.", Err: ErrTimeout})
}

// timedContext is cancelled when the time is over, unless it was lifted before.
// It has no Deadline, because that could not be taken back. Most requests end
// long before, and nobody asks: the timer and the channel are made when someone
// does.
type timedContext struct {
	context.Context
	until time.Time

	mu     sync.Mutex // guards the fields below
	inner  context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	lifted bool // there is no end any more
	over   bool // the request was served
}

// asked returns the context that tells when the time is over. If nobody needs it
// yet and the time is not over, it returns nil, unless make is set.
func (c *timedContext) asked(make bool) context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner != nil && (c.lifted && !c.over || c.inner.Err() != nil) {
		return c.inner
	}
	left := time.Duration(1)
	if !c.lifted {
		left = time.Until(c.until)
	}
	if c.inner == nil && (make || left <= 0 || c.over) {
		c.inner, c.cancel = context.WithCancelCause(c.Context)
		if cancel := c.cancel; left > 0 && !c.lifted {
			c.timer = time.AfterFunc(left, func() { cancel(ErrTimeout) })
		}
	}
	switch {
	case left <= 0:
		c.cancel(ErrTimeout)
	case c.over:
		c.cancel(nil)
	}
	return c.inner
}

func (c *timedContext) Done() <-chan struct{} { return c.asked(true).Done() }

func (c *timedContext) Err() error {
	if inner := c.asked(false); inner != nil {
		return inner.Err()
	}
	return c.Context.Err()
}

func (c *timedContext) Value(key any) any {
	if inner := c.asked(false); inner != nil {
		return inner.Value(key)
	}
	return c.Context.Value(key)
}

// lift takes the end away, if it has not come.
func (c *timedContext) lift() {
	c.asked(false)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lifted = true
	if c.timer != nil {
		c.timer.Stop()
	}
}

// end cancels the context, as net/http does when a request is served, also for
// whoever kept it and asks only then.
func (c *timedContext) end() {
	c.lift()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.cancel != nil {
		c.cancel(nil)
	}
}

// timedWriter lifts the end from a response that becomes a stream.
type timedWriter struct {
	respw.Writer
	ctx *timedContext
}

func (w *timedWriter) Flush() { _ = w.FlushError() }

func (w *timedWriter) FlushError() error {
	w.ctx.lift()
	return w.Writer.FlushError()
}

func (w *timedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := w.Writer.Hijack()
	if err == nil {
		w.ctx.lift()
	}
	return c, rw, err
}
