package auditlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	neturl "net/url"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/faults"
)

// WriterSink writes each record as a line of JSON, {"seq":...,"record":{...}},
// to w, such as os.Stdout. Where a write failed within a line, the next one
// begins a new line, so that what is sent again can be read.
func WriterSink(w io.Writer) Sink { return &writerSink{w: w} }

type writerSink struct {
	w io.Writer

	mu   sync.Mutex // guards the field below
	torn bool       // w ends within a line
}

func (s *writerSink) Send(_ context.Context, lines []Line) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b []byte
	if s.torn {
		b = append(b, '\n')
	}
	b = appendLines(b, lines)
	n, err := s.w.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if n > 0 && n <= len(b) {
		s.torn = b[n-1] != '\n'
	}
	return err
}

// appendLines writes newline-delimited JSON.
func appendLines(b []byte, lines []Line) []byte {
	for _, l := range lines {
		b = append(b, `{"seq":`...)
		b = strconv.AppendInt(b, l.Seq, 10)
		b = append(b, `,"record":`...)
		b = append(b, l.JSON...)
		b = append(b, '}', '\n')
	}
	return b
}

// HTTPSink posts records as newline-delimited JSON (application/x-ndjson) to
// url: https, or http to this machine. Any answer but 2xx is an error, and they
// are sent again; a redirect is not followed, because it would send the records
// elsewhere or turn the POST into a GET that carries none. The header
// Idempotency-Key names the first and last of them. client is what sends; give
// it a timeout and verified TLS. Its CheckRedirect is not used.
func HTTPSink(client *http.Client, url string) (Sink, error) {
	f := faults.For(room)
	if client == nil {
		f.Missing("client", "is nil", "pass an http.Client with a Timeout")
	}
	switch u, err := neturl.Parse(url); {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		f.Missing("url", "is not a URL of a server", "pass an https URL")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		f.Missing("url", "sends records over the network in the clear", "pass an https URL; http is for a collector on this machine, by 127.0.0.1, ::1 or localhost")
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	own := *client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return httpSink{&own, url}, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() || host == "localhost"
}

type httpSink struct {
	client *http.Client
	url    string
}

func (s httpSink) Send(ctx context.Context, lines []Line) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(appendLines(nil, lines)))
	if err != nil {
		return errors.New("the request can not be made")
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.Header.Set("Idempotency-Key", fmt.Sprintf("%d-%d", lines[0].Seq, lines[len(lines)-1].Seq))
	res, err := s.client.Do(req)
	if err != nil {
		return fmt.Errorf("post: %T", errors.Unwrap(err)) // the text quotes the URL
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("the receiver answered %d", res.StatusCode)
	}
	return nil
}

// SyslogSink sends records by RFC 5424, each counted by octets (RFC 6587
// section 3.4.1), facility 13 (log audit), over the connections that dial
// makes: use TLS (RFC 5425), as the DialContext of a [tls.Dialer] does. dial and
// each write have 10 seconds. A connection that the receiver has closed is
// noticed before records are written to it. What was sent just before a
// connection breaks may be lost all the same, because syslog has no answer; a
// gap in seq at the receiver shows that. A message is as long as its record;
// RFC 5425 asks receivers to take 8192 bytes, so set theirs to the largest event.
func SyslogSink(dial func(context.Context) (net.Conn, error), app string) (Sink, error) {
	f := faults.For(room)
	if dial == nil {
		f.Missing("dial", "is nil", "pass a function that dials with TLS")
	}
	if app == "" || len(app) > 48 || !validOrigin(app) {
		f.Add("app", app, "can not be an APP-NAME", "use at most 48 printable ASCII characters without space")
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil || host == "" || len(host) > 255 || !validOrigin(host[:min(len(host), 100)]) {
		host = "-"
	}
	return &syslogSink{dial: dial, app: app, host: host}, nil
}

type syslogSink struct {
	dial      func(context.Context) (net.Conn, error)
	app, host string

	mu   sync.Mutex // guards the field below
	conn net.Conn
}

const syslogTimeout = 10 * time.Second

func (s *syslogSink) Send(ctx context.Context, lines []Line) error {
	ctx, cancel := context.WithTimeout(ctx, syslogTimeout)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil && closed(s.conn) {
		s.drop()
	}
	if s.conn == nil {
		conn, err := s.dial(ctx)
		if err != nil {
			return fmt.Errorf("dial: %T", err)
		}
		if conn == nil {
			return errors.New("dial gave no connection and no error")
		}
		s.conn = conn
	}
	var b []byte
	for _, l := range lines {
		m := s.message(l)
		b = strconv.AppendInt(b, int64(len(m)), 10)
		b = append(append(b, ' '), m...)
	}
	if err := write(ctx, s.conn, b); err != nil {
		s.drop()
		return fmt.Errorf("write: %T", err)
	}
	return nil
}

// write returns when b is written, or with an error once ctx has ended. The
// connection is of no use after an error.
func write(ctx context.Context, conn net.Conn, b []byte) error {
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		_ = conn.SetWriteDeadline(time.Unix(1, 0))
	})
	_, err := conn.Write(b)
	if !stop() { // it must not come late, to the next write
		<-ended
		if err == nil {
			err = ctx.Err()
		}
	}
	return err
}

// closed reports whether the receiver has closed the connection. A receiver of
// syslog sends nothing.
func closed(conn net.Conn) bool {
	if conn.SetReadDeadline(time.Now().Add(time.Millisecond)) != nil {
		return true
	}
	_, err := conn.Read(make([]byte, 1))
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

func (s *syslogSink) drop() {
	_ = s.conn.Close()
	s.conn = nil
}

// message writes a record; its JSON has no line breaks and no control characters.
func (s *syslogSink) message(l Line) []byte {
	const logAudit = 13
	severity := 6 // informational
	switch {
	case l.Level >= event.LevelCritical:
		severity = 2
	case l.Level >= slog.LevelError:
		severity = 3
	case l.Level >= slog.LevelWarn:
		severity = 4
	}
	id := l.Type
	if len(id) > 32 {
		id = id[:32]
	}
	b := fmt.Appendf(nil, "<%d>1 %s %s %s %d %s [meta sequenceId=\"%d\"] ", logAudit*8+severity, l.Time.UTC().Format("2006-01-02T15:04:05.000000Z07:00"), s.host, s.app, os.Getpid(), id, l.Seq%2147483647+1)
	return append(b, bytes.TrimSuffix(appendLines(nil, []Line{l}), []byte{'\n'})...)
}
