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
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/faults"
)

// WriterSink writes each record as a line of JSON, {"seq":...,"record":{...}},
// to w, such as os.Stdout.
func WriterSink(w io.Writer) Sink { return writerSink{w} }

type writerSink struct{ w io.Writer }

func (s writerSink) Send(_ context.Context, lines []Line) error {
	_, err := s.w.Write(appendLines(nil, lines))
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
// url. Any answer but 2xx is an error, and they are sent again; the header
// Idempotency-Key names the first and last of them. client is what sends; give
// it a timeout and verified TLS.
func HTTPSink(client *http.Client, url string) (Sink, error) {
	f := faults.For(room)
	if client == nil {
		f.Missing("client", "is nil", "pass an http.Client with a Timeout")
	}
	if _, err := http.NewRequest(http.MethodPost, url, nil); err != nil || url == "" {
		f.Missing("url", "is not a URL", "pass an https URL")
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	return httpSink{client, url}, nil
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
// makes: use TLS (RFC 5425). Its last message may be lost with a connection,
// because syslog has no answer; a gap in seq at the receiver shows that.
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
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		conn, err := s.dial(ctx)
		if err != nil {
			return fmt.Errorf("dial: %T", err)
		}
		s.conn = conn
	}
	var b []byte
	for _, l := range lines {
		m := s.message(l)
		b = strconv.AppendInt(b, int64(len(m)), 10)
		b = append(append(b, ' '), m...)
	}
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	err := s.conn.SetWriteDeadline(time.Now().Add(syslogTimeout))
	if err == nil {
		_, err = s.conn.Write(b)
	}
	if err != nil {
		_ = s.conn.Close()
		s.conn = nil
		return fmt.Errorf("write: %T", err)
	}
	return nil
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
