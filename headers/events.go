package headers

import (
	"log/slog"
	"net/http"

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
