package auditlog

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// reporter is how the room speaks about itself: to ErrorLog, never to the
// log it reports on.
type reporter struct {
	log     *slog.Logger // use say
	voice   *guest       // log
	name    string
	onError func(error)

	calls   chan struct{} // of one: holds what runs onError
	waiting atomic.Int32  // calls of onError that have not ended

	mu     sync.Mutex // guards the fields below
	last   time.Time
	silent int // lines not written since
}

func newReporter(cfg *Config, redactor *Redactor) *reporter {
	h := cfg.ErrorLog.Handler()
	return &reporter{log: slog.New(redactor.Handler(h)), voice: newGuest(h), name: cfg.Name, onError: cfg.OnError, calls: make(chan struct{}, 1)}
}

const (
	hookPatience = time.Second
	maxHooks     = 64
)

// say writes a line to ErrorLog and waits for it, but no longer than a second.
// Its handler is the user's: one that panics ends neither the process nor the
// log, and while one hangs, as a full pipe does, lines are dropped.
func (r *reporter) say(ctx context.Context, level slog.Level, what string, attrs ...slog.Attr) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), hookPatience)
	defer cancel()
	_ = r.voice.call(ctx, func(ctx context.Context) error {
		r.log.LogAttrs(ctx, level, "auditlog: "+what, append([]slog.Attr{slog.String("instance", r.name)}, attrs...)...)
		return nil
	})
}

// tell calls OnError, one call at a time, and waits for it, but no longer than a
// second: one that hangs, or that waits for what waits for it, holds up neither
// the log nor its callers. Beyond 64 calls that wait for it, ErrorLog alone is
// told.
func (r *reporter) tell(err error) {
	if r.onError == nil {
		return
	}
	if r.waiting.Add(1) > maxHooks {
		r.waiting.Add(-1)
		return
	}
	done := make(chan struct{})
	go func() { // ends with the hook
		defer close(done)
		defer r.waiting.Add(-1)
		r.calls <- struct{}{}
		defer func() { <-r.calls }()
		r.guard(func() { r.onError(err) })
	}()
	patience := time.NewTimer(hookPatience)
	defer patience.Stop()
	select {
	case <-done:
	case <-patience.C:
	}
}

// guard runs a hook of the user. Some run on goroutines of the log, where a
// panic would end the process; its value may hold anything and is not written.
func (r *reporter) guard(hook func()) {
	defer func() {
		if p := recover(); p != nil {
			r.say(context.Background(), slog.LevelError, "OnError panicked", slog.String("panic", fmt.Sprintf("%T", p)))
		}
	}()
	hook()
}

// stopped says once that the log takes no more records.
func (r *reporter) stopped(cause error) {
	defer r.tell(fmt.Errorf("%w: %w", ErrFailed, cause))
	r.say(context.Background(), slog.LevelError, "the log has stopped; nothing is recorded until it is opened again", slog.String("error", cause.Error()))
}

// lost says that an event could not be recorded, at most once a second.
func (r *reporter) lost(ctx context.Context, what string, err error) {
	defer r.tell(fmt.Errorf("auditlog: %s was not recorded: %w", what, err))
	r.mu.Lock()
	now := time.Now()
	if now.Sub(r.last) < time.Second {
		r.silent++
		r.mu.Unlock()
		return
	}
	n := r.silent
	r.last, r.silent = now, 0
	r.mu.Unlock()
	r.say(ctx, slog.LevelError, "an event was not recorded",
		slog.String("event", what), slog.String("error", err.Error()), slog.Int("others_since_last_line", n))
}

// minded says what somebody should look into, and does not stop the log.
func (r *reporter) minded(ctx context.Context, what string, err error) {
	r.say(ctx, slog.LevelWarn, what, slog.String("error", err.Error()))
}
