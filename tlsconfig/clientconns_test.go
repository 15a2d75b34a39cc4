package tlsconfig_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/tlsconfig"
)

// piped serves h in the bubble and counts the connections that dial opened.
func piped(t *testing.T, ca *authority, h http.Handler) (dial func(context.Context, string, string) (net.Conn, error), opened *int) {
	t.Helper()
	server := newServer(t, 0, ca.good("a.test"))
	srv := server.HTTPServer(h)
	srv.WriteTimeout = -1
	l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	go srv.ServeTLS(l, "", "")
	t.Cleanup(func() {
		closeQuiet(srv)
		time.Sleep(time.Minute) // closing TLS over a pipe that nobody reads takes 5 s
	})
	opened = new(int)
	return func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		l.conns <- far
		*opened++
		return near, nil
	}, opened
}

// A connection that is never idle is not among those that CloseIdleConnections
// closes: with HTTP/2 a removed root would be trusted for ever.
func TestABusyConnectionEndsAfterItsRootIsRemoved(t *testing.T) {
	for name, use := range map[string]func(*tlsconfig.Client) *http.Client{
		"HTTPClient": (*tlsconfig.Client).HTTPClient,
		"Transport":  func(c *tlsconfig.Client) *http.Client { return &http.Client{Transport: c.Transport()} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				old, next := newAuthorityNamed(t, "Old"), newAuthorityNamed(t, "Next")
				file := caFile(t, old)
				dial, opened := piped(t, old, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path != "/stream" {
						return
					}
					http.NewResponseController(w).Flush()
					<-r.Context().Done()
				}))
				c, err := tlsconfig.NewClient(tlsconfig.ClientConfig{Roots: tlsconfig.CAFile(file), DialContext: dial, Timeout: time.Hour, Logger: silent, PollInterval: time.Hour})
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				hc := use(c)
				stream, err := hc.Get("https://a.test/stream")
				if err != nil {
					t.Fatal(err)
				}
				defer stream.Body.Close()
				if stream.ProtoMajor != 2 {
					t.Fatal("not HTTP/2, so the test shows little")
				}

				putCAs(t, file, old, next) // adding a CA ends nothing
				if err := c.Reload(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				if res, err := get(t, hc, "https://a.test/"); err != nil {
					t.Fatalf("after adding a CA: %v", err)
				} else {
					res.Body.Close()
				}

				putCAs(t, file, next)
				if err := c.Reload(t.Context()); err != nil {
					t.Fatal(err)
				}
				if name == "HTTPClient" {
					if _, err := get(t, hc, "https://a.test/"); err == nil {
						t.Error("a call reached a server whose root was removed")
					}
				}
				changed, before := time.Now(), *opened
				if _, err := io.ReadAll(stream.Body); err == nil {
					t.Error("the stream ended in order, so nobody cut it")
				} else if name == "HTTPClient" && !isCallError(err) {
					t.Errorf("the body's error is %T", err)
				}
				if d := time.Since(changed); d > 30*time.Second {
					t.Errorf("the connection lasted %v", d)
				}
				if _, err := get(t, hc, "https://a.test/"); err == nil || *opened == before {
					t.Errorf("after the bound: %v", err)
				}
			})
		})
	}
}

func isCallError(err error) bool {
	_, ok := errors.AsType[*tlsconfig.CallError](err)
	return ok
}

func TestClosingAClientEndsConnectionsThatAreNotTrustedAnyMore(t *testing.T) {
	old, next := newAuthorityNamed(t, "Old"), newAuthorityNamed(t, "Next")
	addr := echo(t, newServer(t, 0, old.good("127.0.0.1")).TLS())
	file := caFile(t, old)
	c := newClient(t, tlsconfig.ClientConfig{Roots: tlsconfig.CAFile(file)})
	open := func() net.Conn {
		conn, err := c.DialTLSContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	gone := open()
	putCAs(t, file, next)
	if err := c.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	putCAs(t, file, next, old)
	if err := c.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	back := open()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for what, conn := range map[string]net.Conn{"trusted again": gone, "made since": back} {
		if _, err := conn.Write([]byte{1}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}

	c = newClient(t, tlsconfig.ClientConfig{Roots: tlsconfig.CAFile(file)})
	conn := open()
	putCAs(t, file, next)
	if err := c.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte{1}); err == nil {
		t.Error("nobody looks after a closed client, and the connection stays")
	}
}

func TestAProxyBesideAPublicDialerIsAFault(t *testing.T) {
	proxy := &url.URL{Scheme: "http", Host: "proxy.test:3128"}
	d := publicDialer(t, tlsconfig.PublicDialerConfig{})
	_, err := tlsconfig.NewClient(tlsconfig.ClientConfig{Proxy: proxy, DialContext: d.DialContext, Logger: silent})
	fs := slices.Collect(hardening.Faults(err))
	if len(fs) != 1 || fs[0].Field != "Proxy" {
		t.Errorf("%v", err)
	}
	wrapped := func(ctx context.Context, network, addr string) (net.Conn, error) {
		return d.DialContext(ctx, network, addr)
	}
	for _, tt := range []struct {
		cfg    tlsconfig.ClientConfig
		passed bool
	}{
		{tlsconfig.ClientConfig{Proxy: proxy}, true},
		{tlsconfig.ClientConfig{DialContext: d.DialContext}, true},
		{tlsconfig.ClientConfig{Proxy: proxy, DialContext: wrapped}, false},
	} {
		if f := find(t, newClient(t, tt.cfg).Check(), "HDN-TLS-064"); f.Passed != tt.passed {
			t.Errorf("%v", f)
		}
	}
}

// What a refused destination was is for the log: whoever chose the URL could
// map the network with it.
func TestTheLogLearnsWhyADialWasRefusedAndTheCallerDoesNot(t *testing.T) {
	d := publicDialer(t, tlsconfig.PublicDialerConfig{Logger: silent})
	var buf syncBuffer
	c := newClient(t, tlsconfig.ClientConfig{DialContext: d.DialContext, Logger: slog.New(slog.NewTextHandler(&buf, nil))})
	texts := map[string]bool{}
	for _, host := range []string{"10.0.0.1", "169.254.169.254", "127.0.0.1", "canary.internal", "0x7f.1"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+host, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Do(req)
		if err == nil {
			t.Fatalf("%s was reached", host)
		}
		texts[strings.ReplaceAll(err.Error(), host, "HOST")] = true
	}
	if len(texts) != 1 {
		t.Errorf("callers can tell destinations apart: %v", texts)
	}
	for _, want := range []string{"private address", "metadata address", "loopback address", "local name", "numeric name"} {
		if !strings.Contains(buf.String(), "refused by the dialler: "+want) {
			t.Errorf("no record says %q: %s", want, buf.String())
		}
	}
}

// The texts of crypto/x509 and net/http quote the peer, at any length.
func TestErrorsOfDialsAndBodiesQuoteNoPeer(t *testing.T) {
	const canary = "CANARY"
	ca := newAuthority(t)
	var names []string
	for range 100 {
		names = append(names, strings.Repeat(strings.ToLower(canary), 8)+".test")
	}
	addr := web(t, ca.server(nil, names...), hello)
	c := newClient(t, tlsconfig.ClientConfig{Roots: tlsconfig.CAFile(caFile(t, ca))})
	_, err := c.DialTLSContext(t.Context(), "tcp", addr)
	if err == nil || !isCallError(err) || len(err.Error()) > 300 || strings.Contains(strings.ToLower(err.Error()), "canary") {
		t.Errorf("DialTLSContext: %v", err)
	}
	tr := &http.Client{Transport: c.Transport()}
	if _, err := get(t, tr, "https://"+addr); err == nil || len(err.Error()) > 500 || strings.Contains(strings.ToLower(err.Error()), "canary") {
		t.Errorf("Transport: %v", err)
	}

	for what, response := range map[string]string{
		"a trailer without a colon": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n1\r\nx\r\n0\r\n" + canary + " no colon\r\n\r\n",
		"a chunk of no size":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + canary + "\r\n",
		"a body that ends early":    "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + canary,
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		cert := ca.server(nil, "127.0.0.1")
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s := tlsServer(conn, cert)
			defer s.Close()
			s.Read(make([]byte, 4096))
			io.WriteString(s, response)
		}()
		res, err := c.HTTPClient().Get("https://" + l.Addr().String())
		if err != nil {
			t.Fatal(what, err)
		}
		_, err = io.ReadAll(res.Body)
		res.Body.Close()
		if err == nil || !isCallError(err) || bytes.Contains([]byte(err.Error()), []byte(canary)) {
			t.Errorf("%s: %v", what, err)
		}
		if what == "a body that ends early" && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%v", err)
		}
	}
}
