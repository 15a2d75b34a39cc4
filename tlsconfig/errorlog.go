package tlsconfig

import (
	"context"
	"log"
	"log/slog"
	"net/netip"
	"strings"

	"github.com/inovy/hardening/internal/event"
)

// errorLog turns the lines of http.Server.ErrorLog into slog records. The
// lines hold panic values, header values and bytes a peer chose; only their
// fixed words, source locations and stacks get through.
type errorLog struct {
	logger     *slog.Logger // nil = slog.Default() at the moment of the event
	name       string
	handshakes *tally
}

func newErrorLog(logger *slog.Logger, name string) *log.Logger {
	e := &errorLog{logger: logger, name: name}
	e.handshakes = newTally(func(reason string, n int, last string) {
		e.emit(slog.LevelWarn, event.TLSHandshakeFailed, slog.String(event.KeyReason, reason), slog.Int(event.KeyCount, n), slog.String(event.KeyLastClientAddr, last))
	})
	return log.New(e, "", 0)
}

// Write gets one message of the server, stack included, per call.
func (e *errorLog) Write(b []byte) (int, error) {
	line := strings.TrimSpace(string(b))
	switch {
	case strings.HasPrefix(line, "http: TLS handshake error from "):
		detail := strings.TrimPrefix(line, "http: TLS handshake error from ")
		e.handshakes.add(handshakeReason(detail), peerOf(detail))
	case strings.HasPrefix(line, "http: panic serving "), strings.HasPrefix(line, "http2: panic serving "):
		_, rest, _ := strings.Cut(line, "panic serving ")
		e.emit(slog.LevelError, event.HTTPHandlerPanic, slog.String(event.KeyClient, peerOf(rest)), slog.String(event.KeyStack, stackOf(line)))
	case strings.HasPrefix(line, "http: superfluous response.WriteHeader call from "),
		strings.HasPrefix(line, "http: response.WriteHeader on hijacked connection from "),
		strings.HasPrefix(line, "http: response.Write on hijacked connection from "),
		strings.HasPrefix(line, "http: Accept error: "):
		e.emit(slog.LevelWarn, event.HTTPServerError, slog.String(event.KeyError, firstLine(line))) // code locations and errors of the kernel
	default:
		e.emit(slog.LevelWarn, event.HTTPServerError, slog.String(event.KeyError, fixedWords(line)))
	}
	return len(b), nil
}

func (e *errorLog) emit(level slog.Level, msg string, attrs ...slog.Attr) {
	l := e.logger
	if l == nil {
		l = slog.Default()
	}
	attrs = append([]slog.Attr{slog.String(event.KeyRoom, room), slog.String(event.KeyInstance, e.name)}, attrs...)
	l.LogAttrs(context.Background(), level, msg, attrs...)
}

// handshakeReason sorts crypto/tls's texts into a few fixed words, since some
// of the texts quote the peer.
func handshakeReason(detail string) string {
	for _, c := range [...]struct{ text, reason string }{
		{"unsupported versions", "protocol version"},
		{"protocol version", "protocol version"},
		{"no cipher suite", "cipher suite"},
		{"no mutually supported", "key agreement"},
		{"no ECDHE curve", "key agreement"},
		{"unsupported curve", "key agreement"},
		{"HTTP request to an HTTPS server", "plain HTTP"},
		{"first record does not look like", "not TLS"},
		{refusedAllowList.Error(), "client not on the allow-list"},
		{refusedPin.Error(), "client key not pinned"},
		{refusedKey.Error(), "client key too weak"},
		{refusedChain.Error(), "client certificate of an unknown authority, or expired"},
		{"signed by unknown authority", "client certificate of an unknown authority"},
		{"unknown certificate authority", "our certificate refused: unknown authority"},
		{"didn't provide a certificate", "no client certificate"},
		{refusedNone.Error(), "no client certificate"},
		{"bad certificate", "certificate refused"},
		{"unknown certificate", "certificate refused"},
		{"certificate", "certificate"},
		{"timeout", "timeout"},
		{"EOF", "closed"},
		{"reset by peer", "closed"},
	} {
		if strings.Contains(detail, c.text) {
			return c.reason
		}
	}
	return "other"
}

// peerOf reads "address:port: ..." and answers the address, or nothing.
func peerOf(s string) string {
	addr, _, _ := strings.Cut(s, ": ")
	if ap, err := netip.ParseAddrPort(addr); err == nil {
		return ap.Addr().Unmap().WithZone("").String()
	}
	return ""
}

// stackOf cuts off the panic value, which stands before the stack and can hold
// anything. The last goroutine header counts: an earlier one is the value's.
func stackOf(s string) string {
	if i := strings.LastIndex(s, "\ngoroutine "); i >= 0 {
		return s[i+1:]
	}
	return ""
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// fixedWords keeps the start of a message of net/http up to the first thing
// that is not plain words, since there the formatted values begin.
func fixedWords(s string) string {
	head, rest, ok := strings.Cut(firstLine(s), ": ")
	if !ok || head != "http" && head != "http2" {
		return "withheld: not a message of net/http"
	}
	end := strings.IndexFunc(rest, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r == ' ' || r == '-')
	})
	if end >= 0 {
		rest = rest[:end]
	}
	return head + ": " + strings.TrimSpace(rest)
}
