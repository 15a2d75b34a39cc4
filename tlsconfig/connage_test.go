package tlsconfig_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/tlsconfig"
)

// Within half an hour a client asks every 30 seconds. It must be told to
// connect again in time, and lose no request over it.
func TestTrap_LongLivedConnectionsOutliveChanges(t *testing.T) {
	for _, tt := range []struct {
		name     string
		endless  bool
		protocol string
	}{
		{"HTTP/1.1 with the limit", false, "http/1.1"},
		{"HTTP/2 with the limit", false, "h2"},
		{"HTTP/1.1 without", true, "http/1.1"},
		{"HTTP/2 without", true, "h2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca := newAuthority(t)
				server, err := tlsconfig.NewServer(tlsconfig.ServerConfig{Certs: []tlsconfig.CertSource{ca.good("localhost")}, DangerouslyEndlessConns: tt.endless, Logger: silent})
				if err != nil {
					t.Fatal(err)
				}
				defer server.Close()
				srv := server.HTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }))
				l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
				go srv.ServeTLS(l, "", "")
				defer closeQuiet(srv)

				var opened []time.Time
				tr := &http.Transport{
					Protocols:       new(http.Protocols),
					TLSClientConfig: &tls.Config{RootCAs: ca.pool(), ServerName: "localhost", NextProtos: []string{tt.protocol}},
					DialContext: func(context.Context, string, string) (net.Conn, error) {
						near, far := net.Pipe()
						l.conns <- far
						opened = append(opened, time.Now())
						return near, nil
					},
				}
				tr.Protocols.SetHTTP1(tt.protocol == "http/1.1")
				tr.Protocols.SetHTTP2(tt.protocol == "h2")
				defer tr.CloseIdleConnections()
				client := &http.Client{Transport: tr}
				for range 60 {
					res, err := client.Post("https://localhost/", "text/plain", strings.NewReader("not idempotent"))
					if err != nil {
						t.Fatal(err)
					}
					body, _ := io.ReadAll(res.Body)
					res.Body.Close()
					if want := map[string]string{"h2": "HTTP/2.0", "http/1.1": "HTTP/1.1"}[tt.protocol]; string(body) != want {
						t.Fatalf("spoke %s", body)
					}
					time.Sleep(30 * time.Second) // the bubble's clock
				}
				if tt.endless {
					if len(opened) != 1 {
						t.Errorf("%d connections without a limit, want 1", len(opened))
					}
					return
				}
				if len(opened) < 3 || len(opened) > 4 {
					t.Errorf("%d connections, want 3 or 4", len(opened))
				}
				for i := range opened[1:] {
					if age := opened[i+1].Sub(opened[i]); age < 9*time.Minute || age > 10*time.Minute+30*time.Second {
						t.Errorf("connection %d was used for %v", i, age)
					}
				}
			})
		})
	}
}

func TestARunningResponseIsNotCutOffByTheAgeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newAuthority(t)
		server, err := tlsconfig.NewServer(tlsconfig.ServerConfig{Certs: []tlsconfig.CertSource{ca.good("localhost")}, MaxConnAge: time.Minute, Logger: silent})
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		srv := server.HTTPServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			c := http.NewResponseController(w)
			c.SetWriteDeadline(time.Time{})
			for range 10 {
				io.WriteString(w, "x")
				c.Flush()
				time.Sleep(time.Minute)
			}
		}))
		l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
		go srv.ServeTLS(l, "", "")
		defer closeQuiet(srv)
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.pool(), ServerName: "localhost"}, DialContext: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			l.conns <- far
			return near, nil
		}}
		defer tr.CloseIdleConnections()
		res, err := (&http.Client{Transport: tr}).Get("https://localhost/")
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(res.Body); err != nil || len(body) != 10 {
			t.Errorf("read %d bytes, %v", len(body), err)
		}
	})
}

// closeQuiet closes a server in a bubble, once its connections are gone: Close
// holds the server's mutex while it says goodbye over a pipe that nobody reads,
// and who waits for that mutex keeps the bubble's clock from moving.
func closeQuiet(srv *http.Server) {
	time.Sleep(5 * time.Minute)
	srv.Close()
}

// cutConn is a connection that notes when it is closed.
type cutConn struct {
	net.Conn
	closed time.Time
}

func (c *cutConn) Close() error {
	c.closed = time.Now()
	return nil
}

// A connection that is in use, or that a handler took over, ends with its
// grace; one that ended before is not held until then.
func TestTrap_WebSocketsOutliveTheAgeOfTheirConnection(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-12.1.3")
	mutual := func(c *tlsconfig.ServerConfig) {
		c.ClientAuth = &tlsconfig.ClientAuth{CAs: tlsconfig.CAFile(caFile(t, newAuthority(t))), Allow: []tlsconfig.SAN{tlsconfig.DNS("a.test")}}
	}
	for _, tt := range []struct {
		name   string
		change func(*tlsconfig.ServerConfig)
		state  http.ConnState
		least  time.Duration // 0 = never
		most   time.Duration
	}{
		{"in use", func(c *tlsconfig.ServerConfig) { c.ConnGrace = 2 * time.Minute }, http.StateActive, 11 * time.Minute, 12 * time.Minute},
		{"taken over", func(c *tlsconfig.ServerConfig) { c.ConnGrace = 2 * time.Minute }, http.StateHijacked, 11 * time.Minute, 12 * time.Minute},
		{"closed before", func(c *tlsconfig.ServerConfig) { c.ConnGrace = 2 * time.Minute }, http.StateClosed, 0, 0},
		{"taken over, mutual TLS", mutual, http.StateHijacked, 69 * time.Minute, 70 * time.Minute},
		{"in use, a grace without end", func(c *tlsconfig.ServerConfig) { c.ConnGrace = math.MaxInt64 }, http.StateActive, 0, 0},
		{"mutual TLS, an age without end", func(c *tlsconfig.ServerConfig) { mutual(c); c.MaxConnAge = math.MaxInt64 }, http.StateActive, 0, 0},
		{"taken over, without grace", func(*tlsconfig.ServerConfig) {}, http.StateHijacked, 0, 0},
		{"mutual TLS without end", func(c *tlsconfig.ServerConfig) { mutual(c); c.DangerouslyEndlessConns = true }, http.StateHijacked, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			cfg := tlsconfig.ServerConfig{Certs: certs(newAuthority(t).good("localhost")), Logger: silent, PollInterval: time.Hour}
			tt.change(&cfg)
			server, err := tlsconfig.NewServer(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			srv := server.HTTPServer(nil)
			conn, begun := new(cutConn), time.Now()
			if srv.ConnContext != nil {
				srv.ConnContext(t.Context(), conn)
			}
			if srv.ConnState != nil {
				srv.ConnState(conn, http.StateActive)
				srv.ConnState(conn, tt.state)
			}
			time.Sleep(24 * time.Hour) // the bubble's clock
			synctest.Wait()
			switch age := conn.closed.Sub(begun); {
			case tt.least == 0 && !conn.closed.IsZero(), tt.least > 0 && (age < tt.least || age > tt.most):
				t.Errorf("%s: closed %v, after %v", tt.name, !conn.closed.IsZero(), age)
			}
		})
	}
}

// The same through net/http: an event stream over each protocol, and a
// connection that was taken over.
func TestARunningResponseIsCutOffAfterItsGrace(t *testing.T) {
	for _, kind := range []string{"http/1.1", "h2", "taken over"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca := newAuthority(t)
				server, err := tlsconfig.NewServer(tlsconfig.ServerConfig{Certs: certs(ca.good("localhost")), MaxConnAge: time.Minute, ConnGrace: 2 * time.Minute, Logger: silent})
				if err != nil {
					t.Fatal(err)
				}
				defer server.Close()
				ended := make(chan time.Duration, 1)
				srv := server.HTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					begun := time.Now()
					defer func() { ended <- time.Since(begun) }()
					c := http.NewResponseController(w)
					if kind == "taken over" {
						conn, _, err := c.Hijack()
						if err != nil {
							t.Error(err)
							return
						}
						io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
						io.Copy(io.Discard, conn)
						return
					}
					c.SetWriteDeadline(time.Time{})
					c.SetReadDeadline(time.Time{})
					c.Flush()
					<-r.Context().Done()
				}))
				l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
				go srv.ServeTLS(l, "", "")
				defer closeQuiet(srv)
				protocol := strings.Replace(kind, "taken over", "http/1.1", 1)
				tr := &http.Transport{
					Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{RootCAs: ca.pool(), ServerName: "localhost", NextProtos: []string{protocol}},
					DialContext: func(context.Context, string, string) (net.Conn, error) {
						near, far := net.Pipe()
						l.conns <- far
						return near, nil
					},
				}
				tr.Protocols.SetHTTP1(protocol == "http/1.1")
				tr.Protocols.SetHTTP2(protocol == "h2")
				defer tr.CloseIdleConnections()
				res, err := (&http.Client{Transport: tr}).Get("https://localhost/")
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				io.Copy(io.Discard, res.Body) // ends, with an error or without
				if d := <-ended; d < 2*time.Minute || d > 3*time.Minute+10*time.Second {
					t.Errorf("ended after %v", d)
				}
			})
		})
	}
}

func TestALostConnContextIsReportedOnce(t *testing.T) {
	ca := newAuthority(t)
	var buf syncBuffer
	server, err := tlsconfig.NewServer(tlsconfig.ServerConfig{Certs: []tlsconfig.CertSource{ca.good("localhost")}, Logger: slog.New(slog.NewTextHandler(&buf, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	srv := server.HTTPServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	srv.ConnContext = nil
	addr := serve(t, srv, serveTLS)
	c := client(t, ca)
	for range 3 {
		res, err := c.Get("https://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	if n := bytes.Count([]byte(buf.String()), []byte("MaxConnAge")); n != 1 {
		t.Errorf("%d warnings, want 1: %s", n, buf.String())
	}
}

func TestConnAgeFaultsAndFinding(t *testing.T) {
	ca := newAuthority(t)
	certs := []tlsconfig.CertSource{ca.good("localhost")}
	for field, cfg := range map[string]tlsconfig.ServerConfig{
		"MaxConnAge":              {MaxConnAge: -time.Second},
		"ConnGrace":               {ConnGrace: -time.Second},
		"DangerouslyEndlessConns": {MaxConnAge: time.Hour, DangerouslyEndlessConns: true},
	} {
		cfg.Certs = certs
		_, err := tlsconfig.NewServer(cfg)
		var fields []string
		for f := range hardening.Faults(err) {
			fields = append(fields, f.Field)
		}
		if !slices.Equal(fields, []string{field}) {
			t.Errorf("faults %v, want %s", fields, field)
		}
	}
	if _, err := tlsconfig.NewServer(tlsconfig.ServerConfig{Certs: certs, MaxConnAge: time.Millisecond}); err == nil {
		t.Error("a millisecond is accepted")
	}
	for _, cfg := range []tlsconfig.ServerConfig{{ConnGrace: time.Millisecond}, {ConnGrace: time.Hour, DangerouslyEndlessConns: true}} {
		cfg.Certs = certs
		if _, err := tlsconfig.NewServer(cfg); err == nil || !strings.Contains(err.Error(), "ConnGrace") {
			t.Errorf("ConnGrace %v, endless %t: %v", cfg.ConnGrace, cfg.DangerouslyEndlessConns, err)
		}
	}
	for _, tt := range []struct {
		cfg  tlsconfig.ServerConfig
		want []string
	}{
		{tlsconfig.ServerConfig{}, nil},
		{tlsconfig.ServerConfig{MaxConnAge: 24 * time.Hour}, nil},
		{tlsconfig.ServerConfig{MaxConnAge: 25 * time.Hour}, []string{"HDN-TLS-053"}},
		{tlsconfig.ServerConfig{DangerouslyEndlessConns: true}, []string{"HDN-TLS-053"}},
	} {
		tt.cfg.Certs, tt.cfg.Logger = certs, silent
		s, err := tlsconfig.NewServer(tt.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got := failed(s.Check()); !slices.Equal(got, tt.want) {
			t.Errorf("failed %v, want %v", got, tt.want)
		}
		s.Close()
	}
}

func TestTheAgeLimitCostsARequestNoAllocation(t *testing.T) {
	ca := newAuthority(t)
	srv := newServer(t, 0, ca.good("localhost")).HTTPServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r := httptest.NewRequest(http.MethodGet, "https://localhost/", nil)
	r = r.WithContext(srv.ConnContext(r.Context(), nil))
	w := httptest.NewRecorder()
	if n := testing.AllocsPerRun(100, func() { srv.Handler.ServeHTTP(w, r) }); n != 0 && !raceEnabled {
		t.Errorf("%v allocations", n)
	}
	if w.Header().Get("Connection") != "" {
		t.Error("a young connection is closed")
	}
}
