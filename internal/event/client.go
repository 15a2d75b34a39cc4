package event

import (
	"log/slog"
	"net/netip"
)

// AppendClient appends what is known about the sender of a request: its
// address, request id and trace parent. What is not known is left out, so that
// no record claims an empty or "invalid IP" client. Pass the fields of
// hardening.ClientOf.
func AppendClient(attrs []slog.Attr, addr netip.Addr, requestID, traceParent string) []slog.Attr {
	if addr.IsValid() {
		attrs = append(attrs, slog.String(KeyClient, addr.String()))
	}
	if requestID != "" {
		attrs = append(attrs, slog.String(KeyRequestID, requestID))
	}
	if traceParent != "" {
		attrs = append(attrs, slog.String(KeyTraceParent, traceParent))
	}
	return attrs
}
