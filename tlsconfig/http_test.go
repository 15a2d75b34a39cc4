package tlsconfig_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/tlsconfig"
)

// serve runs srv on loopback with one of the ways a user may start it.
func serve(t *testing.T, srv *http.Server, start func(*http.Server, net.Listener) error) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done, listening := make(chan error, 1), make(chan net.Addr, 1)
	srv.BaseContext = func(l net.Listener) context.Context {
		listening <- l.Addr()
		return context.Background()
	}
	go func() { done <- start(srv, l) }()
	t.Cleanup(func() {
		srv.Close()
		l.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the server ended with %v", err)
		}
	})
	select {
	case a := <-listening:
		return a.String()
	case err := <-done:
		done <- err
		t.Fatal(err)
		return ""
	}
}

func serveTLS(srv *http.Server, l net.Listener) error { return srv.ServeTLS(l, "", "") }

func client(t *testing.T, ca *authority, protocols ...string) *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.pool(), ServerName: "localhost", NextProtos: protocols}, ForceAttemptHTTP2: len(protocols) == 0}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

func TestHTTPServerSpeaksHTTP2HoweverItIsStarted(t *testing.T) {
	ca := newAuthority(t)
	for _, profile := range profiles {
		server := newServer(t, profile, ca.good("localhost"))
		for name, start := range map[string]func(*http.Server, net.Listener) error{
			"ServeTLS": serveTLS,
			"Serve on a TLS listener": func(srv *http.Server, l net.Listener) error {
				return srv.Serve(tls.NewListener(l, server.TLS()))
			},
			"ListenAndServeTLS": func(srv *http.Server, l net.Listener) error {
				srv.Addr = "127.0.0.1:0"
				return srv.ListenAndServeTLS("", "")
			},
		} {
			t.Run(fmt.Sprint(profile, "/", name), func(t *testing.T) {
				addr := serve(t, server.HTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) })), start)
				for proto, c := range map[string]*http.Client{"HTTP/2.0": client(t, ca), "HTTP/1.1": client(t, ca, "http/1.1")} {
					res, err := c.Get("https://" + addr)
					if err != nil {
						t.Fatal(err)
					}
					body, _ := io.ReadAll(res.Body)
					res.Body.Close()
					if string(body) != proto {
						t.Errorf("the server saw %s, want %s", body, proto)
					}
				}
			})
		}
	}
}

// raw sends bytes over a TLS connection that speaks HTTP/1.1 and reads the
// first line of the answer.
func raw(t *testing.T, addr string, ca *authority, request string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: ca.pool(), ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	go io.WriteString(conn, request) // the server may answer before it has read all
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(line)
}

func TestOptionsStarReachesTheHandler(t *testing.T) {
	ca := newAuthority(t)
	srv := newServer(t, 0, ca.good("localhost")).HTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions && r.RequestURI == "*" {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	if got := raw(t, serve(t, srv, serveTLS), ca, "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n"); !strings.Contains(got, "418") {
		t.Errorf("OPTIONS * got %q: net/http answered before the handler", got)
	}
}

func TestHeadersOf100KiBAreRefused(t *testing.T) {
	ca := newAuthority(t)
	srv := newServer(t, 0, ca.good("localhost")).HTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	addr := serve(t, srv, serveTLS)
	for size, want := range map[int]string{60 << 10: "204", 100 << 10: "431"} {
		if got := raw(t, addr, ca, "GET / HTTP/1.1\r\nHost: localhost\r\nX-Big: "+strings.Repeat("a", size)+"\r\n\r\n"); !strings.Contains(got, want) {
			t.Errorf("%d bytes of header over HTTP/1.1: %q, want %s", size, got, want)
		}
		req, _ := http.NewRequest(http.MethodGet, "https://"+addr, nil)
		req.Header.Set("X-Big", strings.Repeat("a", size))
		res, err := client(t, ca).Do(req)
		if ok := err == nil && res.StatusCode == http.StatusNoContent; ok != (want == "204") {
			t.Errorf("%d bytes of header over HTTP/2: %v, %v", size, res, err)
		}
	}
}

func TestAHandlerThatIsNilDoesNotServeTheDefaultMux(t *testing.T) {
	ca := newAuthority(t)
	was := http.DefaultServeMux
	t.Cleanup(func() { http.DefaultServeMux = was })
	http.DefaultServeMux = http.NewServeMux()
	http.HandleFunc("/tlsconfig-test-debug", func(http.ResponseWriter, *http.Request) {})
	addr := serve(t, newServer(t, 0, ca.good("localhost")).HTTPServer(nil), serveTLS)
	res, err := client(t, ca).Get("https://" + addr + "/tlsconfig-test-debug")
	if err != nil || res.StatusCode != http.StatusNotFound {
		t.Errorf("%v, %v; want 404", res, err)
	}
}

func TestHardenKeepsWhatTheServiceChose(t *testing.T) {
	srv := &http.Server{ReadHeaderTimeout: 1, ReadTimeout: 2, WriteTimeout: -1, IdleTimeout: 4, MaxHeaderBytes: 5}
	tlsconfig.Harden(srv)
	if srv.ReadHeaderTimeout != 1 || srv.ReadTimeout != 2 || srv.WriteTimeout != -1 || srv.IdleTimeout != 4 || srv.MaxHeaderBytes != 5 {
		t.Errorf("changed to %+v", srv)
	}
	fresh := &http.Server{}
	tlsconfig.Harden(fresh)
	if fresh.ReadHeaderTimeout <= 0 || fresh.ReadTimeout <= 0 || fresh.WriteTimeout <= fresh.ReadTimeout || fresh.IdleTimeout <= 0 || fresh.MaxHeaderBytes != 64<<10 ||
		!fresh.DisableGeneralOptionsHandler || fresh.ErrorLog == nil || fresh.HTTP2.MaxConcurrentStreams <= 0 ||
		!fresh.Protocols.HTTP1() || !fresh.Protocols.HTTP2() || fresh.Protocols.UnencryptedHTTP2() {
		t.Errorf("left at %+v", fresh)
	}
}

// pipeListener accepts in-memory connections, so that time can be faked.
type pipeListener struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func TestSlowClientsAreCutOff(t *testing.T) {
	for _, tt := range []struct {
		name  string
		hello bool   // finish the TLS handshake
		send  string // then this, and then nothing
		limit time.Duration
	}{
		{"no handshake at all", false, "", 10 * time.Second},
		{"half a header", true, "GET / HTTP/1.1\r\nHost: localhost\r\nX-", 10 * time.Second},
		{"half a body", true, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc", 30 * time.Second},
		{"an idle connection", true, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 120 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca := newAuthority(t) // valid by the bubble's clock
				srv := newServer(t, 0, ca.good("localhost")).HTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
				l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
				go srv.ServeTLS(l, "", "")
				defer closeQuiet(srv)
				near, far := net.Pipe()
				defer near.Close()
				l.conns <- far
				var conn net.Conn = near
				start := time.Now()
				if tt.hello {
					conn = tls.Client(near, &tls.Config{RootCAs: ca.pool(), ServerName: "localhost", NextProtos: []string{"http/1.1"}})
					if _, err := io.WriteString(conn, tt.send); err != nil {
						t.Fatal(err)
					}
				}
				io.Copy(io.Discard, conn) // until the server hangs up
				if took := time.Since(start); took < tt.limit-time.Second || took > tt.limit+time.Second {
					t.Errorf("held for %v, want %v", took, tt.limit)
				}
			})
		})
	}
}

func TestErrorLogWithholdsWhatAPeerOrAPanicSays(t *testing.T) {
	const secret = "canary-5d41402abc4b"
	ca := newAuthority(t)
	var buf syncBuffer
	server, err := tlsconfig.NewServer(tlsconfig.ServerConfig{Name: "portal", Certs: []tlsconfig.CertSource{ca.good("localhost")}, Logger: slog.New(slog.NewJSONHandler(&buf, nil))})
	if err != nil {
		t.Fatal(err)
	}
	srv := server.HTTPServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic(fmt.Errorf("password %s\n\ngoroutine 1 [running]:\n%s", secret, secret))
	}))
	addr := serve(t, srv, serveTLS)
	for _, c := range []*http.Client{client(t, ca), client(t, ca, "http/1.1")} {
		if res, err := c.Get("https://" + addr); err == nil {
			t.Errorf("answered %d", res.StatusCode)
		}
	}
	if conn, err := net.Dial("tcp", addr); err == nil {
		fmt.Fprintf(conn, "GET /%s HTTP/1.1\r\n\r\n", secret)
		io.Copy(io.Discard, conn)
		conn.Close()
	}
	// net/http hangs up before it logs.
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(buf.String(), "plain HTTP") && time.Now().Before(deadline); {
		<-time.After(time.Millisecond)
	}
	for _, line := range []string{
		`http: invalid Content-Length of "` + secret + `"`,
		"http2: received GOAWAY [FrameHeader " + secret + "], starting graceful shutdown",
		"http: TLS handshake error from 192.0.2.1:99: acme/autocert: host \"" + secret + "\" not configured",
		"http: panic serving 192.0.2.1:99: " + secret,
		secret + ": something of the service",
		"ignoring invalid trailer \"" + secret + "\"",
	} {
		srv.ErrorLog.Print(line)
	}
	got := buf.String()
	if strings.Contains(got, "canary") {
		t.Errorf("leaked: %s", got)
	}
	for _, want := range []string{"http_handler_panic", "http_test.go", "tls_handshake_failed", "plain HTTP", "invalid Content-Length of", "received GOAWAY", `"instance":"portal"`, "127.0.0.1"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
	for line := range strings.Lines(got) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not one record: %q", line)
		}
	}
}

func TestFailedHandshakesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newAuthority(t)
		src := ca.good("localhost")
		var buf syncBuffer
		server, err := tlsconfig.NewServer(tlsconfig.ServerConfig{Certs: []tlsconfig.CertSource{src}, Logger: slog.New(slog.NewJSONHandler(&buf, &slog.HandlerOptions{Level: slog.LevelWarn}))})
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		l := server.HTTPServer(nil).ErrorLog
		for range 1000 {
			l.Print("http: TLS handshake error from 192.0.2.1:99: EOF")
		}
		time.Sleep(61 * time.Second) // the bubble's clock
		l.Print("http: TLS handshake error from 192.0.2.1:99: EOF")
		total := 0
		dec := json.NewDecoder(strings.NewReader(buf.String()))
		records := 0
		for dec.More() {
			var rec struct{ Count int }
			if err := dec.Decode(&rec); err != nil {
				t.Fatal(err)
			}
			records++
			total += rec.Count
		}
		if records != 2 || total != 1001 {
			t.Errorf("%d records that count %d, want 2 and 1001", records, total)
		}
	})
}

// Whoever reads the log must see that a CA is not trusted, and by which side.
func TestReasonsOfFailedHandshakes(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthorityNamed(t, "Another CA")
	for _, tt := range []struct {
		name   string
		client func(*tls.Config)
		want   string
	}{
		{"a client that does not trust our CA", func(c *tls.Config) { c.RootCAs = theirs.pool() }, "certificate refused"},
		{"a client of another CA", func(c *tls.Config) {
			stranger := theirs.client(dns("svc.test")) // sent although the server asks for another CA's
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &stranger, nil }
		}, "client certificate of an unknown authority"},
		{"a client without a certificate", func(c *tls.Config) { c.Certificates = nil }, "no client certificate"},
		{"a client that is not listed", func(c *tls.Config) { c.Certificates = []tls.Certificate{ours.client(dns("other.test"))} }, "client not on the allow-list"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var buf syncBuffer
			server, err := tlsconfig.NewServer(tlsconfig.ServerConfig{
				Certs: []tlsconfig.CertSource{ours.good("127.0.0.1")}, PollInterval: time.Hour,
				ClientAuth: &tlsconfig.ClientAuth{CAs: tlsconfig.CAFile(caFile(t, ours)), Allow: []tlsconfig.SAN{tlsconfig.DNS("svc.test")}},
				Logger:     slog.New(slog.NewTextHandler(&buf, nil)),
			})
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			srv := server.HTTPServer(nil)
			addr := serve(t, srv, serveTLS)
			cfg := &tls.Config{RootCAs: ours.pool(), Certificates: []tls.Certificate{ours.client(dns("svc.test"))}}
			tt.client(cfg)
			if _, err := dial(t, addr, cfg); err == nil {
				t.Fatal("the handshake succeeded")
			}
			srv.Shutdown(t.Context())
			for !strings.Contains(buf.String(), "tls_handshake_failed") { // the server's side ends a moment later
				runtime.Gosched()
				if t.Context().Err() != nil {
					t.Fatal("no record")
				}
			}
			if !strings.Contains(buf.String(), `reason="`+tt.want+`"`) {
				t.Errorf("want %q: %s", tt.want, buf.String())
			}
		})
	}
}

// OpenSSL tells by an alert of its own what Go's clients call a bad certificate.
func TestTheAlertOfAnUnknownAuthorityIsNamed(t *testing.T) {
	var buf syncBuffer
	server, err := tlsconfig.NewServer(tlsconfig.ServerConfig{Certs: []tlsconfig.CertSource{newAuthority(t).good("a.test")}, Logger: slog.New(slog.NewTextHandler(&buf, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	server.HTTPServer(nil).ErrorLog.Print("http: TLS handshake error from 192.0.2.1:99: remote error: tls: unknown certificate authority")
	if !strings.Contains(buf.String(), `reason="our certificate refused: unknown authority"`) {
		t.Error(buf.String())
	}
}

// syncBuffer is a bytes.Buffer that a server's goroutines may write to.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
