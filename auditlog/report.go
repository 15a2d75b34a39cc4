package auditlog

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// reporter is how the room speaks about itself: to ErrorLog, never to the
// log it reports on.
type reporter struct {
	log  *slog.Logger
	name string

	mu     sync.Mutex // guards the fields below
	last   time.Time
	silent int // lines not written since
}

// stopped says once that the log takes no more records.
func (r *reporter) stopped(cause error) {
	r.log.LogAttrs(context.Background(), slog.LevelError, "auditlog: the log has stopped; nothing is recorded until it is opened again",
		slog.String("instance", r.name), slog.String("error", cause.Error()))
}

// lost says that an event could not be recorded, at most once a second.
func (r *reporter) lost(ctx context.Context, what string, err error) {
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
	r.log.LogAttrs(ctx, slog.LevelError, "auditlog: an event was not recorded",
		slog.String("instance", r.name), slog.String("event", what), slog.String("error", err.Error()), slog.Int("others_since_last_line", n))
}
