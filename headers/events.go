package headers

import (
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/event"
)

// emit sends an event of this room about a request. There is no Audit road
// here, so it cannot fail.
func emit(logger *slog.Logger, instance, name string, r *http.Request, attrs ...slog.Attr) {
	c := hardening.ClientOf(r)
	sink := event.Sink{Logger: logger, Room: "headers", Name: instance}
	_ = sink.Emit(r.Context(), name, event.AppendClient(attrs, c.Addr, c.RequestID, c.TraceParent)...)
}

// seldom lets one event a minute through and counts the rest, so that a flood
// of bad requests does not become a flood of records.
type seldom struct {
	last  atomic.Int64 // unix nanoseconds of the last event; 0 before the first
	count atomic.Int64 // occurrences since
}

// next counts one occurrence. It returns how many an event now stands for, or
// 0 if none is due.
func (s *seldom) next() int64 {
	s.count.Add(1)
	now, last := time.Now().UnixNano(), s.last.Load()
	if last != 0 && now-last < int64(time.Minute) || !s.last.CompareAndSwap(last, now) {
		return 0
	}
	return s.count.Swap(0)
}
