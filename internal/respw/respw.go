// Package respw is the house's one http.ResponseWriter wrapper: it runs a hook
// once, just before the first final status is sent, and lets the hook replace
// the response.
package respw

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// Writer wraps a ResponseWriter. Use [New]. Like every ResponseWriter it
// belongs to one request and is not safe for concurrent use.
type Writer struct {
	under http.ResponseWriter
	hook  func(status int) bool

	status    int // first final status, 0 before
	discard   bool
	hijacked  bool
	committed bool
}

// New wraps w. Before the first final header is sent (1xx responses pass
// through), hook is called with its status. If it returns false it has
// answered the request itself through the wrapped writer, and everything that
// the handler writes from then on is discarded. A nil hook only records the
// status.
func New(w http.ResponseWriter, hook func(status int) bool) *Writer {
	return &Writer{under: w, hook: hook}
}

// Status is the status that the handler chose, or 0 if it has sent none yet.
func (w *Writer) Status() int { return w.status }

// Committed reports whether a final header was sent or the connection taken over.
func (w *Writer) Committed() bool { return w.committed }

// Hijacked reports whether the handler took over the connection.
func (w *Writer) Hijacked() bool { return w.hijacked }

// Discarded reports whether the hook replaced the response.
func (w *Writer) Discarded() bool { return w.discard }

// Finish commits a response that the handler left empty, as net/http would.
func (w *Writer) Finish() {
	if !w.committed {
		w.WriteHeader(http.StatusOK)
	}
}

// Header returns the header map of the wrapped writer.
func (w *Writer) Header() http.Header { return w.under.Header() }

// commit runs the hook once and reports whether the handler's response goes on.
func (w *Writer) commit(status int) bool {
	if w.committed {
		return !w.discard
	}
	w.committed = true
	w.status = status
	if w.hook != nil && !w.hook(status) {
		w.discard = true
	}
	return !w.discard
}

// WriteHeader sends the status. 101 is final, other 1xx are not.
func (w *Writer) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		if !w.committed {
			w.under.WriteHeader(status)
		}
		return
	}
	if w.committed {
		if !w.discard {
			w.under.WriteHeader(status) // net/http logs the superfluous call
		}
		return
	}
	if w.commit(status) {
		w.under.WriteHeader(status)
	}
}

// Write sends the header first, if that was not done, with status 200.
func (w *Writer) Write(b []byte) (int, error) {
	if !w.committed {
		w.WriteHeader(http.StatusOK)
	}
	if w.discard {
		return len(b), nil
	}
	return w.under.Write(b)
}

// ReadFrom keeps sendfile working where the wrapped writer offers it.
func (w *Writer) ReadFrom(src io.Reader) (int64, error) {
	if !w.committed {
		w.WriteHeader(http.StatusOK)
	}
	if w.discard {
		return io.Copy(io.Discard, src)
	}
	if rf, ok := w.under.(io.ReaderFrom); ok {
		return rf.ReadFrom(src)
	}
	return io.Copy(struct{ io.Writer }{w.under}, src)
}

// Flush is FlushError for callers that only know http.Flusher.
func (w *Writer) Flush() { _ = w.FlushError() }

// FlushError sends the header, if that was not done, and what is buffered.
func (w *Writer) FlushError() error {
	if !w.committed {
		w.WriteHeader(http.StatusOK)
	}
	if w.discard {
		return nil
	}
	return http.NewResponseController(w.under).Flush()
}

// Hijack runs the hook with 101, because what follows is not HTTP any more.
func (w *Writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !w.commit(http.StatusSwitchingProtocols) {
		return nil, nil, http.ErrHijacked
	}
	c, rw, err := http.NewResponseController(w.under).Hijack()
	w.hijacked = err == nil
	return c, rw, err
}

// Unwrap lets http.ResponseController reach deadlines and full duplex.
func (w *Writer) Unwrap() http.ResponseWriter { return w.under }
