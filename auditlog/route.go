package auditlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	slogmulti "github.com/samber/slog-multi"

	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/faults"
)

// ErrNotWritten means that a record reached no handler: none of them takes its
// level, or all of them failed.
var ErrNotWritten = errors.New("auditlog: the record was written nowhere")

// RouteConfig says where records go behind the redactor. All is mandatory.
type RouteConfig struct {
	_ [0]func()

	// Redactor is what every record passes first. Default: one that redacts all
	// that the room knows.
	Redactor *Redactor

	// All get every record that they are enabled for. At least one: a record
	// that no other route takes must arrive somewhere.
	All []slog.Handler

	// Errors gets the records at Error and above besides, as a stream of its
	// own. Default: none.
	Errors slog.Handler

	// Alert is called for the records at the vocabulary's highest level,
	// critical (slog level 12) and above, one after the other, on a goroutine
	// that Close stops. It never holds up a log call: while 64 wait, further
	// ones are dropped and counted, and the next call is told how many.
	// Default: none.
	Alert func(rec slog.Record, dropped int)

	// AlertInterval is how long a call of Alert begins after the one before at
	// the soonest, so that a flood of records is no flood of pages. Close does
	// not wait for it. Default: 0, as fast as Alert returns.
	AlertInterval time.Duration

	// OnError is told when a handler fails or panics, because slog.Logger drops
	// errors. It must not log through the route; a panic of its own is dropped.
	// Default: a line on standard error, as [slog.TextHandler] writes it.
	OnError func(ctx context.Context, err error)
}

// Route sends records to several handlers. It is safe for concurrent use.
type Route struct {
	handler slog.Handler
	alerts  *alerts
}

// NewRoute returns a Route, or every fault of cfg at once. The handlers stand
// behind one redactor, each guarded: a panic becomes an error, and errors are
// told to OnError and returned.
func NewRoute(cfg RouteConfig) (*Route, error) {
	f := faults.For(room)
	if len(cfg.All) == 0 {
		f.Missing("All", "names no handler", "name at least one, or records that nothing else takes are lost")
	}
	for i, h := range cfg.All {
		if h == nil || isNilPointer(h) || isDefaultHandler(h) {
			f.Missing(fmt.Sprintf("All[%d]", i), "is nil or slog's built-in default handler", "pass slog.NewJSONHandler or slog.NewTextHandler")
		}
	}
	if cfg.Errors != nil && (isNilPointer(cfg.Errors) || isDefaultHandler(cfg.Errors)) {
		f.Missing("Errors", "holds a nil pointer or slog's built-in default handler", "leave it nil, or pass slog.NewJSONHandler")
	}
	if cfg.AlertInterval < 0 {
		f.Add("AlertInterval", cfg.AlertInterval, "is negative", "leave it zero, or set how far apart alerts shall be")
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	r := cfg.Redactor
	if r == nil {
		var err error
		if r, err = NewRedactor(RedactorConfig{}); err != nil {
			return nil, err
		}
	}
	onError := cfg.OnError
	if onError == nil {
		fallback := slog.New(r.Handler(slog.NewTextHandler(os.Stderr, nil)))
		onError = func(ctx context.Context, err error) {
			fallback.ErrorContext(ctx, "auditlog: a log handler failed", "error", err)
		}
	}
	told := onError
	onError = func(ctx context.Context, err error) {
		defer func() { _ = recover() }() // it would end the caller's log call, or the process
		told(ctx, err)
	}
	guard := func(h slog.Handler) slog.Handler { return &guarded{next: h, onError: onError} }
	router := slogmulti.Router()
	for _, h := range cfg.All {
		router = router.Add(guard(h)) // without a condition: the catch-all
	}
	if cfg.Errors != nil {
		router = router.Add(guard(cfg.Errors), atLeast(slog.LevelError))
	}
	route := &Route{}
	if cfg.Alert != nil {
		route.alerts = startAlerts(cfg.Alert, cfg.AlertInterval, onError)
		router = router.Add(route.alerts, atLeast(event.LevelCritical))
	}
	route.handler = r.Handler(router.Handler()) // outermost, and only once made: nothing is behind it unredacted
	return route, nil
}

func atLeast(level slog.Level) func(context.Context, slog.Record) bool {
	return func(_ context.Context, rec slog.Record) bool { return rec.Level >= level }
}

// Handler returns the entrance of the route.
func (r *Route) Handler() slog.Handler { return r.handler }

// Close waits until the alerts under way are told, and stops their goroutine.
// Later ones are dropped; all other records still go where they should.
func (r *Route) Close() error {
	if r.alerts != nil {
		r.alerts.close()
	}
	return nil
}

// Failover returns a handler that gives each record to the first of handlers
// that takes it, and returns an error that holds [ErrNotWritten] if none does:
// handlers that are not enabled for its level count as failed, as do those that
// panic. Put it behind a redactor.
func Failover(handlers ...slog.Handler) (slog.Handler, error) {
	f := faults.For(room)
	if len(handlers) == 0 {
		f.Missing("handlers", "are none", "name at least one")
	}
	all := make([]slog.Handler, len(handlers))
	for i, h := range handlers {
		if h == nil || isNilPointer(h) || isDefaultHandler(h) {
			f.Missing(fmt.Sprintf("handlers[%d]", i), "is nil or slog's built-in default handler", "pass slog.NewJSONHandler or slog.NewTextHandler")
			continue
		}
		all[i] = &guarded{next: h, must: true}
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	return &failover{slogmulti.Failover()(all...)}, nil
}

// failover says [ErrNotWritten] where all handlers failed.
type failover struct{ next slog.Handler }

func (h *failover) Enabled(context.Context, slog.Level) bool { return true }
func (h *failover) Handle(ctx context.Context, rec slog.Record) error {
	if err := h.next.Handle(ctx, rec); err != nil {
		return fmt.Errorf("%w: %w", ErrNotWritten, err)
	}
	return nil
}
func (h *failover) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &failover{h.next.WithAttrs(attrs)}
}
func (h *failover) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &failover{h.next.WithGroup(name)}
}

// guarded turns panics of a handler into errors.
type guarded struct {
	next    slog.Handler
	onError func(context.Context, error) // nil = only return errors
	must    bool                         // a record that the handler is not enabled for is an error
	with    []step                       // what next could not be derived for, and all since
}

func (g *guarded) Enabled(ctx context.Context, level slog.Level) (on bool) {
	if g.must {
		return true
	}
	defer func() {
		if recover() != nil {
			on = true // Handle will panic too, and tell
		}
	}()
	return g.next.Enabled(ctx, level)
}

func (g *guarded) Handle(ctx context.Context, rec slog.Record) (err error) {
	defer func() {
		if p := recover(); p != nil { // its value may hold what the record held
			err = fmt.Errorf("auditlog: handler %T panicked with a %T", g.next, p)
		}
		if err != nil && g.onError != nil {
			g.onError(ctx, err)
		}
	}()
	if g.must && !g.next.Enabled(ctx, rec.Level) {
		return fmt.Errorf("auditlog: handler %T is not enabled for level %v", g.next, rec.Level)
	}
	if len(g.with) > 0 {
		rec = nested(g.with, rec)
	}
	return g.next.Handle(ctx, rec)
}

func (g *guarded) WithAttrs(attrs []slog.Attr) slog.Handler {
	own := slices.Clone(attrs) // some handlers write into what they get, and others get it too
	return g.derive(step{attrs: attrs}, func() slog.Handler { return g.next.WithAttrs(own) })
}

func (g *guarded) WithGroup(name string) slog.Handler {
	if name == "" {
		return g
	}
	return g.derive(step{group: name}, func() slog.Handler { return g.next.WithGroup(name) })
}

// derive keeps what a handler panics at or answers with nil, to put it into each
// record instead: attributes that lost their group would stand where others mean
// something else.
func (g *guarded) derive(s step, next func() slog.Handler) slog.Handler {
	out := *g
	if len(g.with) == 0 {
		if out.next = g.derived(next); out.next != nil {
			return &out
		}
		out.next = g.next
	}
	s.attrs = slices.Clone(s.attrs)
	out.with = append(slices.Clip(g.with), s)
	return &out
}

func (g *guarded) derived(next func() slog.Handler) (h slog.Handler) {
	defer func() {
		if p := recover(); p != nil {
			h = nil
			if g.onError != nil {
				g.onError(context.Background(), fmt.Errorf("auditlog: handler %T panicked with a %T", g.next, p))
			}
		}
	}()
	return next()
}

// alerts calls a hook for each record, on a goroutine of its own.
type alerts struct {
	*alertQueue
	with []step
}

// alertQueue is what all handlers of one hook share.
type alertQueue struct {
	dropped atomic.Int64
	done    chan struct{}

	mu      sync.RWMutex // held to put a record into the queue, and to close it
	closing bool
	closed  chan struct{}
	queue   chan slog.Record
}

const maxAlerts = 64

func startAlerts(hook func(slog.Record, int), interval time.Duration, onError func(context.Context, error)) *alerts {
	q := &alertQueue{queue: make(chan slog.Record, maxAlerts), closed: make(chan struct{}), done: make(chan struct{})}
	call := func(rec slog.Record) {
		defer func() {
			if p := recover(); p != nil {
				onError(context.Background(), fmt.Errorf("auditlog: the alert hook panicked with a %T", p))
			}
		}()
		hook(rec, int(q.dropped.Swap(0)))
	}
	go func() {
		defer close(q.done)
		for rec := range q.queue {
			next := time.NewTimer(interval)
			call(rec)
			select {
			case <-next.C:
			case <-q.closed: // what is left is told without a pause
				next.Stop()
			}
		}
	}()
	return &alerts{alertQueue: q}
}

// close returns when every alert that Handle took is told.
func (q *alertQueue) close() {
	q.mu.Lock()
	if !q.closing {
		q.closing = true
		close(q.closed)
		close(q.queue)
	}
	q.mu.Unlock()
	<-q.done
}

func (a *alerts) Enabled(_ context.Context, level slog.Level) bool {
	return level >= event.LevelCritical
}

func (a *alerts) Handle(_ context.Context, rec slog.Record) error {
	out := nested(a.with, rec)
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.closing { // nobody would hear of it
		return errors.New("auditlog: the route is closed: the alert hook is not called any more")
	}
	select {
	case a.queue <- out:
	default:
		a.dropped.Add(1)
	}
	return nil
}

// nested returns rec as if it had been logged without With and WithGroup.
func nested(with []step, rec slog.Record) slog.Record {
	out := slog.NewRecord(rec.Time, rec.Level, rec.Message, rec.PC)
	var own []slog.Attr
	rec.Attrs(func(at slog.Attr) bool {
		own = append(own, at)
		return true
	})
	out.AddAttrs(nest(with, own)...)
	return out
}

func (a *alerts) WithAttrs(attrs []slog.Attr) slog.Handler {
	out := *a
	out.with = append(append([]step(nil), a.with...), step{attrs: append([]slog.Attr(nil), attrs...)})
	return &out
}

func (a *alerts) WithGroup(name string) slog.Handler {
	if name == "" {
		return a
	}
	out := *a
	out.with = append(append([]step(nil), a.with...), step{group: name})
	return &out
}
