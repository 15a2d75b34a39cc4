package tlsconfig_test

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/tlsconfig"
)

// frame builds an HTTP/2 frame (RFC 9113 section 4.1).
func frame(kind, flags byte, stream uint32, payload string) string {
	n := len(payload)
	b := []byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}
	return string(binary.BigEndian.AppendUint32(b, stream)) + payload
}

const (
	frameData, frameHeaders, frameReset, frameGoAway, frameContinuation = 0, 1, 3, 7, 9

	endStream, endHeaders = 1, 4

	h2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
)

// hpack encodes fields as literals that are not indexed (RFC 7541 section
// 6.2.2), without Huffman coding.
func hpack(fields ...string) string {
	var b strings.Builder
	for i, f := range fields {
		if i%2 == 0 {
			b.WriteByte(0)
		}
		n := len(f)
		if n < 127 {
			b.WriteByte(byte(n))
		} else {
			b.WriteByte(127)
			for n -= 127; n >= 128; n >>= 7 {
				b.WriteByte(byte(n) | 128)
			}
			b.WriteByte(byte(n))
		}
		b.WriteString(f)
	}
	return b.String()
}

// awaitH2 reads frames until one concerns stream 1 or ends the connection.
func awaitH2(r io.Reader) (kind byte, err error) {
	for {
		var h [9]byte
		if _, err := io.ReadFull(r, h[:]); err != nil {
			return 0, err
		}
		if _, err := io.CopyN(io.Discard, r, int64(h[0])<<16|int64(h[1])<<8|int64(h[2])); err != nil {
			return 0, err
		}
		if h[3] == frameGoAway || binary.BigEndian.Uint32(h[5:]) == 1 {
			return h[3], nil
		}
	}
}

// seen is a handler that keeps the hosts it was asked for.
type seen struct {
	mu    sync.Mutex
	hosts []string
}

func (s *seen) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hosts = append(s.hosts, r.Host)
	if r.Header.Get("Host") != "" {
		s.hosts = append(s.hosts, "header "+r.Header.Get("Host"))
	}
}

func (s *seen) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := strings.Join(s.hosts, "|")
	s.hosts = nil
	return h
}

func TestHostAttacks(t *testing.T) {
	ca := newAuthority(t)
	h := new(seen)
	addr := serve(t, newServer(t, 0, ca.good("localhost")).HTTPServer(h), serveTLS)
	const refused = "refused"
	for name, tt := range map[string]struct{ request, want string }{
		"an ordinary host":             {"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "localhost"},
		"no host":                      {"GET / HTTP/1.1\r\n\r\n", refused},
		"two hosts":                    {"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.test\r\n\r\n", refused},
		"two equal hosts":              {"GET / HTTP/1.1\r\nHost: localhost\r\nhost: localhost\r\n\r\n", refused},
		"a host on a folded line":      {"GET / HTTP/1.1\r\nHost: localhost\r\n evil.test\r\n\r\n", refused},
		"a space in the host":          {"GET / HTTP/1.1\r\nHost: localhost evil.test\r\n\r\n", refused},
		"a path in the host":           {"GET / HTTP/1.1\r\nHost: localhost/evil\r\n\r\n", refused},
		"a backslash in the host":      {"GET / HTTP/1.1\r\nHost: localhost\\evil\r\n\r\n", refused},
		"a user in the host":           {"GET / HTTP/1.1\r\nHost: localhost@evil.test\r\n\r\n", refused},
		"a fragment in the host":       {"GET / HTTP/1.1\r\nHost: evil.test#localhost\r\n\r\n", refused},
		"a query in the host":          {"GET / HTTP/1.1\r\nHost: evil.test?localhost\r\n\r\n", refused},
		"markup in the host":           {"GET / HTTP/1.1\r\nHost: \"><script>\r\n\r\n", refused},
		"a zero byte in the host":      {"GET / HTTP/1.1\r\nHost: localhost\x00evil\r\n\r\n", refused},
		"a bare CR in the host":        {"GET / HTTP/1.1\r\nHost: localhost\revil\r\n\r\n", refused},
		"bytes beyond ASCII":           {"GET / HTTP/1.1\r\nHost: löcalhost\r\n\r\n", refused},
		"a space before the colon":     {"GET / HTTP/1.1\r\nHost : evil.test\r\nHost: localhost\r\n\r\n", refused},
		"a target that outranks Host":  {"GET http://target.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n", refused},
		"a target of ours":             {"GET http://localhost/ HTTP/1.1\r\nHost: evil.test\r\n\r\n", "localhost"}, // RFC 9112 section 3.2.2
		"another's host":               {"GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n", refused},
		"an old client without a host": {"GET / HTTP/1.0\r\n\r\n", ""},
		"X-Forwarded-Host":             {"GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Host: evil.test\r\nForwarded: host=evil.test\r\n\r\n", "localhost"},
	} {
		line := raw(t, addr, ca, tt.request)
		got := h.take()
		if strings.HasPrefix(line, "HTTP/1.1 4") || strings.HasPrefix(line, "HTTP/1.0 4") {
			got = refused + got
		}
		if got != tt.want {
			t.Errorf("%s: the handler saw %q (%s), want %q", name, got, line, tt.want)
		}
	}

	for name, tt := range map[string]struct {
		fields []string
		want   string
	}{
		"an ordinary authority":     {[]string{":authority", "localhost"}, "localhost"},
		"Host beside the authority": {[]string{":authority", "localhost", "host", "evil.test"}, "localhost"},
		"two authorities":           {[]string{":authority", "localhost", ":authority", "evil.test"}, refused},
		"an authority after fields": {[]string{"accept", "*/*", ":authority", "localhost"}, refused},
		"a user in the authority":   {[]string{":authority", "localhost@evil.test"}, refused},
		"a line break":              {[]string{":authority", "localhost\r\nx: y"}, refused},
		"a header called Host":      {[]string{":authority", "localhost", "Host", "evil.test"}, refused},
	} {
		conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: ca.pool(), ServerName: "localhost", NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(conn, h2Preface+frame(frameHeaders, endHeaders|endStream, 1, hpack(append([]string{":method", "GET", ":scheme", "https", ":path", "/"}, tt.fields...)...)))
		kind, err := awaitH2(bufio.NewReader(conn))
		conn.Close()
		got := h.take()
		if err != nil || kind != frameHeaders || got == "" {
			got = refused + got
		}
		got = strings.TrimSuffix(got, "|header evil.test") // a field like any other
		if got != tt.want {
			t.Errorf("HTTP/2, %s: the handler saw %q (frame %d, %v), want %q", name, got, kind, err, tt.want)
		}
	}
}

// A server asked for a name that no certificate covers answers with one that
// the client then refuses: no vhost of another is reached by mistake.
func TestAClientThatAsksForAForeignNameIsNotFooled(t *testing.T) {
	ca := newAuthority(t)
	addr := echo(t, newServer(t, 0, ca.good("a.test"), ca.good("b.test")).TLS())
	if _, err := dial(t, addr, &tls.Config{RootCAs: ca.pool(), ServerName: "c.test"}); err == nil {
		t.Error("a client of c.test accepts a certificate for another name")
	}
}

// Real sockets: while hundreds of connections send half a request, others are
// served, and all the slow ones are hung up on.
func TestSlowLorisOnRealSockets(t *testing.T) {
	ca := newAuthority(t)
	srv := newServer(t, 0, ca.good("localhost")).HTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			io.WriteString(w, "served")
		}
	}))
	srv.ReadHeaderTimeout, srv.ReadTimeout, srv.IdleTimeout = 2*time.Second, 3*time.Second, 2*time.Second
	addr := serve(t, srv, serveTLS)
	var wg sync.WaitGroup
	var mu sync.Mutex
	longest := time.Duration(0)
	for i := range 60 {
		wg.Go(func() {
			start := time.Now()
			var conn net.Conn
			var err error
			switch i % 3 {
			case 0: // never a handshake
				conn, err = net.Dial("tcp", addr)
			default:
				conn, err = tls.Dial("tcp", addr, &tls.Config{RootCAs: ca.pool(), ServerName: "localhost", NextProtos: []string{"http/1.1"}})
			}
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			conn.SetDeadline(start.Add(30 * time.Second))
			switch i % 3 {
			case 1:
				io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nX-")
			case 2:
				io.WriteString(conn, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nab")
			}
			io.Copy(io.Discard, conn) // until it is hung up on
			mu.Lock()
			defer mu.Unlock()
			longest = max(longest, time.Since(start))
		})
	}
	for range 10 {
		res, err := client(t, ca).Get("https://" + addr)
		if err != nil {
			t.Fatalf("others are not served meanwhile: %v", err)
		}
		res.Body.Close()
	}
	wg.Wait()
	if longest > 25*time.Second {
		t.Errorf("a slow client was kept for %v", longest)
	}
}

func TestSlowHTTP2ClientsAreCutOff(t *testing.T) {
	request := func(flags byte, more ...string) string {
		return frame(frameHeaders, flags, 1, hpack(append([]string{":method", "POST", ":scheme", "https", ":path", "/", ":authority", "localhost"}, more...)...))
	}
	for _, tt := range []struct {
		name  string
		send  string
		limit time.Duration
	}{
		{"no frame at all", "", 10 * time.Second},
		{"the preface alone", h2Preface, 120 * time.Second},
		{"headers without an end", h2Preface + request(0), 120 * time.Second},
		{"half a body", h2Preface + request(endHeaders) + frame(frameData, 0, 1, "ab"), 30 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca := newAuthority(t)
				srv := newServer(t, 0, ca.good("localhost")).HTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
				l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
				go srv.ServeTLS(l, "", "")
				defer closeQuiet(srv)
				near, far := net.Pipe()
				defer near.Close()
				l.conns <- far
				start := time.Now()
				conn := tls.Client(near, &tls.Config{RootCAs: ca.pool(), ServerName: "localhost", NextProtos: []string{"h2"}})
				if err := conn.Handshake(); err != nil {
					t.Fatal(err)
				}
				go io.WriteString(conn, tt.send)
				// net/http answers a late body with a response, and then leaves the
				// connection to IdleTimeout.
				kind, err := awaitH2(conn)
				took := time.Since(start)
				if took < tt.limit-2*time.Second || took > tt.limit+2*time.Second {
					t.Errorf("held for %v (frame %d, %v), want %v", took, kind, err, tt.limit)
				}
				go io.Copy(io.Discard, conn)
			})
		})
	}
}

// A client that spreads its headers over many frames gets no more memory than
// one that sends them in one (CVE-2023-45288).
func TestContinuationFloodIsRefused(t *testing.T) {
	ca := newAuthority(t)
	h := new(seen)
	addr := serve(t, newServer(t, 0, ca.good("localhost")).HTTPServer(h), serveTLS)
	conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: ca.pool(), ServerName: "localhost", NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	go func() {
		io.WriteString(conn, h2Preface+frame(frameHeaders, endStream, 1, hpack(":method", "GET", ":scheme", "https", ":path", "/", ":authority", "localhost")))
		for i := range 2000 { // 16 MiB
			if _, err := io.WriteString(conn, frame(frameContinuation, 0, 1, hpack(fmt.Sprintf("x-%d", i), strings.Repeat("a", 8<<10)))); err != nil {
				return
			}
		}
		io.WriteString(conn, frame(frameContinuation, endHeaders, 1, ""))
	}()
	if kind, err := awaitH2(bufio.NewReader(conn)); err == nil && kind != frameGoAway && kind != frameReset {
		t.Errorf("answered with frame %d", kind)
	}
	if got := h.take(); got != "" {
		t.Errorf("the handler was asked for %q", got)
	}
}

func TestTLS11PeersAreToldWhyAndCounted(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-12.1.1")
	ca := newAuthority(t)
	records := make(lines, 10)
	server, err := tlsconfig.NewServer(tlsconfig.ServerConfig{Certs: []tlsconfig.CertSource{ca.good("localhost")}, Logger: slog.New(slog.NewTextHandler(records, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	addr := serve(t, server.HTTPServer(new(seen)), serveTLS)
	_, err = tls.Dial("tcp", addr, &tls.Config{RootCAs: ca.pool(), ServerName: "localhost", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("a peer of TLS 1.1 got %v, want a protocol version alert", err)
	}
	// The server writes its record after the alert; only the first of a minute
	// comes at once.
	select {
	case record := <-records:
		if !strings.Contains(record, "tls_handshake_failed") || !strings.Contains(record, `reason="protocol version"`) {
			t.Errorf("recorded as %s", record)
		}
	case <-time.After(10 * time.Second):
		t.Error("no record of it")
	}
	for name, hello := range map[string]string{
		"SSL 2.0": "\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x01\x00\x80\x02\x00\x80\x03\x00\x80\x04\x00\x80\x05\x00\x80\x06\x00\x40\x07\x00\xc0" + strings.Repeat("\x42", 16),
		"SSL 3.0": "\x16\x03\x00\x00\x2d\x01\x00\x00\x29\x03\x00" + strings.Repeat("\x42", 32) + "\x00\x00\x02\x00\x0a\x01\x00",
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(conn, hello)
		b, _ := io.ReadAll(conn)
		conn.Close()
		if len(b) > 7 || len(b) > 0 && b[0] != 21 && !strings.HasPrefix(string(b), "HTTP/1.0 400") {
			t.Errorf("a %s peer got more than an alert: %q", name, b)
		}
	}
	res, err := client(t, ca).Get("https://" + addr)
	if err != nil {
		t.Fatalf("after them, others are not served: %v", err)
	}
	res.Body.Close()
}

// lines receives each record of a text handler.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}
