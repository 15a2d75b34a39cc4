package tlsconfig_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/inovy/hardening/tlsconfig"
)

var discardLog = log.New(io.Discard, "", 0)

func chmod(t testing.TB, name string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}

func TestOnlyHTTPSWithoutCredentialsIsCalled(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-12.3.1")
	ca := newAuthority(t)
	addr := web(t, ca.server(nil, "127.0.0.1"), hello)
	c := newClient(t, tlsconfig.ClientConfig{Roots: tlsconfig.CAFile(caFile(t, ca))})
	cloned := c.Transport().Clone()
	defer cloned.CloseIdleConnections()
	for name, client := range map[string]*http.Client{"HTTPClient": c.HTTPClient(), "Transport": {Transport: c.Transport()}, "a clone of Transport": {Transport: cloned}} {
		for u, want := range map[string]error{
			"http://" + addr:               tlsconfig.ErrPlainHTTP,
			"HTTP://" + addr + "/x":        tlsconfig.ErrPlainHTTP,
			"https://user:pass@" + addr:    tlsconfig.ErrURLCredentials,
			"https://token@" + addr + "/x": tlsconfig.ErrURLCredentials,
			"http://user:pass@" + addr:     tlsconfig.ErrPlainHTTP,
		} {
			client.CloseIdleConnections() // Transport looks at URLs that need a connection
			if _, err := get(t, client, u); !errors.Is(err, want) {
				t.Errorf("%s, %s: %v, want %v", name, u, err, want)
			}
		}
		if res, err := get(t, client, "https://"+addr); err != nil || res.Proto != "HTTP/2.0" {
			t.Errorf("%s: %v %v", name, res, err)
		}
	}
	// With an HTTP/2 connection open, http.Transport asks nobody any more.
	if _, err := get(t, c.HTTPClient(), "https://user:pass@"+addr); !errors.Is(err, tlsconfig.ErrURLCredentials) {
		t.Errorf("over an open connection: %v", err)
	}
	transport, client := c.Transport(), c.HTTPClient()
	if transport != c.Transport() || client == c.HTTPClient() {
		t.Error("Transport is to be one, HTTPClient a copy each time")
	}
}

func TestTheTransportHasLimits(t *testing.T) {
	c := newClient(t, tlsconfig.ClientConfig{})
	tr := c.Transport()
	for name, d := range map[string]time.Duration{"TLSHandshakeTimeout": tr.TLSHandshakeTimeout, "ResponseHeaderTimeout": tr.ResponseHeaderTimeout, "IdleConnTimeout": tr.IdleConnTimeout, "Timeout": c.HTTPClient().Timeout} {
		if d <= 0 || d > 90*time.Second {
			t.Errorf("%s is %v", name, d)
		}
	}
	if tr.MaxResponseHeaderBytes != 1<<20 || !tr.ForceAttemptHTTP2 {
		t.Errorf("%d bytes of header, HTTP/2 %t", tr.MaxResponseHeaderBytes, tr.ForceAttemptHTTP2)
	}
	ca := newAuthority(t)
	big := web(t, ca.server(nil, "127.0.0.1"), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for i := range 32 {
			w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("a", 64<<10))
		}
	}))
	limited := newClient(t, tlsconfig.ClientConfig{Roots: tlsconfig.CAFile(caFile(t, ca))})
	if _, err := get(t, limited.HTTPClient(), "https://"+big); err == nil {
		t.Error("2 MiB of headers were read")
	}
	stop := make(chan struct{})
	slow := web(t, ca.server(nil, "127.0.0.1"), http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stop }))
	defer close(stop)
	hasty := newClient(t, tlsconfig.ClientConfig{Roots: tlsconfig.CAFile(caFile(t, ca)), Timeout: 50 * time.Millisecond})
	_, err := get(t, hasty.HTTPClient(), "https://"+slow)
	if ue := new(url.Error); !errors.As(tlsconfig.SafeError(err), &ue) || !ue.Timeout() || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// elsewhere is a second host: the same machine under another name.
type elsewhere struct {
	client     *tlsconfig.Client
	rec        *recorder
	mu         sync.Mutex
	seen       []http.Header
	bodies     []string
	redirectTo string
	code       int
}

func newElsewhere(t *testing.T) *elsewhere {
	e := &elsewhere{rec: &recorder{}, code: http.StatusFound}
	ca := newAuthority(t)
	addr := web(t, ca.server(nil, "home.test", "sub.home.test", "away.test"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		e.mu.Lock()
		defer e.mu.Unlock()
		h := r.Header.Clone()
		h.Set("Host", r.Host)
		e.seen, e.bodies = append(e.seen, h), append(e.bodies, string(b))
		if e.redirectTo != "" && r.URL.Path != "/end" {
			w.Header().Set("Location", e.redirectTo)
			w.WriteHeader(e.code)
		}
	}))
	e.client = newClient(t, tlsconfig.ClientConfig{Roots: tlsconfig.CAFile(caFile(t, ca)), DialContext: to(addr), Logger: slog.New(e.rec)})
	return e
}

func (e *elsewhere) send(t *testing.T, method, location string, code int) (*http.Response, error) {
	t.Helper()
	e.mu.Lock()
	e.seen, e.bodies, e.redirectTo, e.code = nil, nil, location, code
	e.mu.Unlock()
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader("canary-body")
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "https://home.test/start?token=canary-query", body)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Authorization", "Cookie", "X-Api-Key", "Proxy-Authorization", "X-Trace"} {
		req.Header.Set(name, "canary-"+name)
	}
	req.Header.Set("Accept", "text/plain")
	res, err := e.client.Do(req)
	if err == nil {
		res.Body.Close()
	}
	return res, err
}

func TestRedirectsCarryNoSecretToAnotherHost(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-14.2.1")
	e := newElsewhere(t)
	for _, away := range []string{"https://away.test/end", "https://sub.home.test/end", "//away.test/end", "https://home.test:8443/end"} {
		if _, err := e.send(t, http.MethodGet, away, http.StatusFound); err != nil {
			t.Fatal(err)
		}
		if len(e.seen) != 2 {
			t.Fatalf("%d requests", len(e.seen))
		}
		if text := fmt.Sprint(e.seen[1]); strings.Contains(text, "canary") || e.seen[1].Get("Accept") != "text/plain" {
			t.Errorf("to %s went %s", away, text)
		}
	}
	if _, err := e.send(t, http.MethodGet, "/end", http.StatusFound); err != nil {
		t.Fatal(err)
	}
	if h := e.seen[1]; h.Get("X-Api-Key") == "" || h.Get("Authorization") == "" || h.Get("Referer") != "" {
		t.Errorf("to the same host went %v", h)
	}
	for _, code := range []int{307, 308} {
		if _, err := e.send(t, http.MethodPost, "https://away.test/end", code); err == nil || len(e.seen) != 1 {
			t.Errorf("%d: %v, bodies %v", code, err, e.bodies)
		}
		if _, err := e.send(t, http.MethodPost, "/end", code); err != nil || len(e.bodies) != 2 || e.bodies[1] != "canary-body" {
			t.Errorf("%d within the host: %v, bodies %v", code, err, e.bodies)
		}
	}
	if _, err := e.send(t, http.MethodPost, "https://away.test/end", http.StatusSeeOther); err != nil || e.bodies[1] != "" {
		t.Errorf("303: %v, bodies %v", err, e.bodies)
	}
	for location, want := range map[string]error{
		"http://home.test/end":           tlsconfig.ErrPlainHTTP,
		"https://user:canary@home.test/": tlsconfig.ErrURLCredentials,
		"ftp://home.test/":               tlsconfig.ErrPlainHTTP,
		"javascript:alert(1)":            tlsconfig.ErrPlainHTTP,
		"https://home.test/%zz?canary=1": nil,
		"/again?canary":                  nil, // for ever
		"https://[canary/":               nil,
	} {
		res, err := e.send(t, http.MethodGet, location, http.StatusFound)
		if err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v %v", location, res, err)
			continue
		}
		if strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", location, err)
		}
	}
	if n := len(e.seen); n > 12 {
		t.Errorf("%d requests", n)
	}
	if strings.Contains(e.rec.String(), "canary") {
		t.Errorf("%s", e.rec)
	}
}

func TestRedirectsEndAfterTen(t *testing.T) {
	e := newElsewhere(t)
	_, err := e.send(t, http.MethodGet, "https://home.test/start", http.StatusFound)
	if err == nil || !strings.Contains(tlsconfig.SafeError(err).Error(), "more than 10 redirects") {
		t.Errorf("%v", err)
	}
	if len(e.seen) != 11 {
		t.Errorf("%d requests, want the first and 10 redirects", len(e.seen))
	}
}

func TestEachCallIsRecordedOnce(t *testing.T) {
	e := newElsewhere(t)
	if _, err := e.send(t, http.MethodGet, "", 0); err != nil {
		t.Fatal(err)
	}
	ev := e.rec.events(t, "http_client_call")
	if len(ev) != 1 {
		t.Fatalf("%d records", len(ev))
	}
	want := map[string]any{"room": "tlsconfig", "method": "GET", "host": "home.test", "status": 200.0, "protocol": "HTTP/2.0", "tls": "TLS 1.3", "group": "X25519MLKEM768", "resumed": false, "outcome": "success", "redirects": 0.0}
	for k, v := range want {
		if ev[0][k] != v {
			t.Errorf("%s is %v, want %v", k, ev[0][k], v)
		}
	}
	if _, err := e.send(t, http.MethodGet, "https://away.test/end", 302); err != nil {
		t.Fatal(err)
	}
	if ev := e.rec.events(t, "http_client_call"); len(ev) != 3 || ev[2]["host"] != "away.test" || ev[2]["redirects"] != 1.0 {
		t.Errorf("%v", ev)
	}
}

// A secret in the URL, a header, the body, the peer's answer or a key shows up
// neither in the error nor in the records, whatever fails.
func TestCanaryIsInNoErrorAndNoRecord(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.2.5")
	const canary = "c4n4ry"
	ca, stranger := newAuthority(t), newAuthority(t)
	good := ca.server(nil, "127.0.0.1")
	raw := func(answer string) string { // says anything once TLS stands
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					s := tlsServer(c, good)
					if _, err := http.ReadRequest(bufio.NewReader(s)); err == nil {
						io.WriteString(s, answer)
					}
					s.Close()
				}()
			}
		}()
		return l.Addr().String()
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	go func() {
		for {
			c, err := plain.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, "HTTP/1.1 400 "+canary+"\r\n\r\n")
			c.Close()
		}
	}()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	stop := make(chan struct{})
	defer close(stop)
	mtls := newMutual(t, nil, tlsconfig.DNS("alice.internal"))
	const path = "/" + canary + "?token=" + canary + "#" + canary

	failures := map[string]struct {
		url    string
		change func(*tlsconfig.ClientConfig)
		header string
	}{
		"an unknown CA":          {"https://" + web(t, stranger.server(nil, "127.0.0.1"), hello) + path, nil, ""},
		"another name":           {"https://" + web(t, ca.server(nil, canary+".test"), hello) + path, nil, ""},
		"connection refused":     {"https://" + gone.Addr().String() + path, nil, ""},
		"a name that is none":    {"https://no-such-host.invalid" + path, func(c *tlsconfig.ClientConfig) { c.DialContext = nxdomain }, ""},
		"no TLS":                 {"https://" + plain.Addr().String() + path, nil, ""},
		"a malformed answer":     {"https://" + raw(canary+" "+canary+"\r\n\r\n") + path, nil, ""},
		"a malformed status":     {"https://" + raw("HTTP/1.1 "+canary+"\r\n\r\n") + path, nil, ""},
		"a malformed header":     {"https://" + raw("HTTP/1.1 200 OK\r\n"+canary+"\r\n\r\n") + path, nil, ""},
		"a malformed length":     {"https://" + raw("HTTP/1.1 200 OK\r\nContent-Length: "+canary+"\r\n\r\n") + path, nil, ""},
		"a redirect to http":     {"https://" + raw("HTTP/1.1 302 Found\r\nLocation: http://"+canary+"/\r\n\r\n") + path, nil, ""},
		"a redirect to rubbish":  {"https://" + raw("HTTP/1.1 302 Found\r\nLocation: https://["+canary+"\r\n\r\n") + path, nil, ""},
		"plain HTTP":             {"http://127.0.0.1" + path, nil, ""},
		"credentials in the URL": {"https://" + canary + ":" + canary + "@127.0.0.1" + path, nil, ""},
		"a bad header value":     {"https://127.0.0.1" + path, nil, canary + "\n"},
		"a timeout": {"https://" + web(t, good, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stop })) + path,
			func(c *tlsconfig.ClientConfig) { c.Timeout = 50 * time.Millisecond }, ""},
		"a server that wants our certificate": {"https://" + echo(t, mtls.TLS()) + path, func(c *tlsconfig.ClientConfig) { c.Roots = tlsconfig.CAFile(caFile(t, mtls.site.ca)) }, ""},
		"a pin": {"https://" + web(t, good, hello) + path, func(c *tlsconfig.ClientConfig) {
			c.Pins = []string{"sha256/" + strings.Repeat("A", 43) + "=", "sha256/" + strings.Repeat("B", 42) + "A="}
		}, ""},
		"a proxy that is not there": {"https://127.0.0.1" + path, func(c *tlsconfig.ClientConfig) {
			c.Proxy = &url.URL{Scheme: "http", Host: gone.Addr().String(), User: url.UserPassword(canary, canary)}
		}, ""},
		"an address that is not public": {"https://127.0.0.1" + path, func(c *tlsconfig.ClientConfig) {
			d, err := tlsconfig.PublicDialer(tlsconfig.PublicDialerConfig{Logger: silent})
			if err != nil {
				t.Fatal(err)
			}
			c.DialContext = d.DialContext
		}, ""},
	}
	if len(failures) < 12 {
		t.Fatalf("only %d kinds", len(failures))
	}
	for _, name := range slices.Sorted(maps.Keys(failures)) {
		tt := failures[name]
		t.Run(name, func(t *testing.T) {
			rec := &recorder{}
			cfg := tlsconfig.ClientConfig{Roots: tlsconfig.CAFile(caFile(t, ca)), Logger: slog.New(rec)}
			if tt.change != nil {
				tt.change(&cfg)
			}
			c := newClient(t, cfg)
			request := func() *http.Request {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, tt.url, strings.NewReader(canary))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Authorization", "Bearer "+canary)
				req.Header.Set("X-Api-Key", canary+tt.header)
				return req
			}
			_, viaDo := c.Do(request())
			_, viaClient := c.HTTPClient().Do(request())
			for _, err := range []error{viaDo, tlsconfig.SafeError(viaClient)} {
				if err == nil {
					t.Fatal("no failure")
				}
				for _, text := range []string{err.Error(), fmt.Sprintf("%v %+v %s %q", err, err, err, err)} {
					if strings.Contains(text, canary) || text == "" {
						t.Errorf("error %s", text)
					}
				}
				call := new(tlsconfig.CallError)
				if !errors.As(err, &call) || call.Reason == "" {
					t.Errorf("no CallError in %v", err)
				}
				if ue := new(url.Error); !errors.As(err, &ue) || strings.Contains(ue.URL, canary) {
					t.Errorf("no clean url.Error in %v", err)
				}
				slog.New(rec).Error("as a service would log it", "err", err)
			}
			if !strings.Contains(rec.String(), "http_client_call") || strings.Contains(rec.String(), canary) {
				t.Errorf("records %s", rec)
			}
		})
	}
	if err := tlsconfig.SafeError(func(bad string) error { _, err := url.Parse(bad); return err }("https://x/%zz" + canary)); strings.Contains(err.Error(), canary) {
		t.Errorf("%v", err)
	}
	if tlsconfig.SafeError(nil) != nil {
		t.Error("an error for nil")
	}
}

func nxdomain(context.Context, string, string) (net.Conn, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "no-such-host.invalid", IsNotFound: true}}
}

func TestReasonsOfFailures(t *testing.T) {
	ca := newAuthority(t)
	expired := web(t, ca.server(nil, "127.0.0.1"), hello)
	c := newClient(t, tlsconfig.ClientConfig{Roots: tlsconfig.CAFile(caFile(t, newAuthority(t)))})
	_, err := get(t, c.HTTPClient(), "https://"+expired)
	if err = tlsconfig.SafeError(err); !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+expired, nil)
	if _, err := c.Do(req); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "cancelled") {
		t.Errorf("%v", err)
	}
}

// Through a proxy, http.Transport makes the connection and the name reaches the
// verification by another way.
func TestServersBehindAProxyAreVerified(t *testing.T) {
	ca := newAuthority(t)
	var connects []string
	var mu sync.Mutex
	right, wrong := web(t, ca.server(nil, "a.test"), hello), web(t, ca.server(nil, "b.test"), hello)
	tunnel := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		connects = append(connects, r.Method+" "+r.Host+" "+r.Header.Get("Proxy-Authorization"))
		mu.Unlock()
		dst := right
		if strings.HasPrefix(r.Host, "wrong") {
			dst = wrong
		}
		up, err := net.Dial("tcp", dst)
		if err != nil {
			t.Error(err)
			return
		}
		down, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(down, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { io.Copy(up, down); up.Close() }()
		go func() { io.Copy(down, up); down.Close() }()
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: tunnel}
	go srv.Serve(l)
	defer srv.Close()
	secure := web(t, ca.server(nil, "127.0.0.1"), tunnel)
	for _, proxy := range []string{"http://u:p@" + l.Addr().String(), "https://u:p@" + secure} {
		u, err := url.Parse(proxy)
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, tlsconfig.ClientConfig{Roots: tlsconfig.CAFile(caFile(t, ca)), Proxy: u})
		if res, err := get(t, c.HTTPClient(), "https://a.test/"); err != nil || res.Proto != "HTTP/2.0" {
			t.Errorf("%s: %v %v", u.Scheme, res, err)
		}
		if _, err := get(t, c.HTTPClient(), "https://wrong.test/"); err == nil {
			t.Errorf("%s: a server of another name was accepted", u.Scheme)
		}
		if _, err := get(t, c.HTTPClient(), "https://10.0.0.1/"); !errors.Is(err, tlsconfig.ErrNoServerName) {
			t.Errorf("%s: by address: %v", u.Scheme, err)
		}
		if _, err := get(t, c.HTTPClient(), "http://a.test/"); !errors.Is(err, tlsconfig.ErrPlainHTTP) {
			t.Errorf("%s: %v", u.Scheme, err)
		}
		u.Host = "changed"
	}
	for _, line := range connects {
		if !strings.HasPrefix(line, "CONNECT ") || !strings.Contains(line, "Basic ") {
			t.Errorf("%s", line)
		}
	}
	if len(connects) != 6 {
		t.Errorf("%v", connects)
	}
}

func TestThePublicDialerGuardsAClient(t *testing.T) {
	d, err := tlsconfig.PublicDialer(tlsconfig.PublicDialerConfig{Logger: silent})
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	c := newClient(t, tlsconfig.ClientConfig{DialContext: d.DialContext, Logger: slog.New(slog.NewTextHandler(&buf, nil))})
	for _, u := range []string{"https://127.0.0.1/", "https://[::1]/", "https://169.254.169.254/latest"} {
		if _, err := get(t, c.HTTPClient(), u); err == nil {
			t.Errorf("%s was called", u)
		}
	}
}

func tlsServer(c net.Conn, cert tls.Certificate) *tls.Conn {
	return tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
}
