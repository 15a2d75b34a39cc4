package hardening_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening"
)

func newEdge(t testing.TB, cfg hardening.EdgeConfig) *hardening.Edge {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	e, err := hardening.NewEdge(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// seen runs one request through e and returns what a handler is told.
func seen(e *hardening.Edge, r *http.Request) (c hardening.Client, responseID string) {
	w := httptest.NewRecorder()
	e.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { c = hardening.ClientOf(r) })).ServeHTTP(w, r)
	return c, w.Header().Get("X-Request-Id")
}

func request(remote string, lines ...string) *http.Request {
	r := httptest.NewRequest("GET", "http://Portal.Example/x", nil)
	r.RemoteAddr = remote
	for i := 0; i < len(lines); i += 2 {
		r.Header.Add(lines[i], lines[i+1])
	}
	return r
}

var proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}

func TestClientAddress(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-15.3.4")
	for _, tt := range []struct {
		name   string
		remote string
		lines  []string
		want   string // "" is the invalid address
	}{
		{"a direct client is its own address", "192.0.2.7:1234", nil, "192.0.2.7"},
		{"an untrusted peer cannot claim an address by X-Forwarded-For", "192.0.2.7:1", []string{"X-Forwarded-For", "6.6.6.6"}, "192.0.2.7"},
		{"an untrusted peer cannot claim an address by Forwarded", "192.0.2.7:1", []string{"Forwarded", "for=6.6.6.6"}, "192.0.2.7"},
		{"a trusted proxy names its client", "10.0.0.1:1", []string{"X-Forwarded-For", "192.0.2.7"}, "192.0.2.7"},
		{"what stands left of the first untrusted hop is hearsay", "10.0.0.1:1", []string{"X-Forwarded-For", "6.6.6.6, 192.0.2.7"}, "192.0.2.7"},
		{"trusted hops are passed over", "10.0.0.1:1", []string{"X-Forwarded-For", "6.6.6.6, 192.0.2.7, 10.9.9.9,fd00::1"}, "192.0.2.7"},
		{"several header lines are one list", "10.0.0.1:1", []string{"X-Forwarded-For", "6.6.6.6", "X-Forwarded-For", "192.0.2.7", "X-Forwarded-For", "10.2.2.2"}, "192.0.2.7"},
		{"a hop that does not parse stops at the last trusted one", "10.0.0.1:1", []string{"X-Forwarded-For", "192.0.2.7, garbage, 10.2.2.2"}, "10.2.2.2"},
		{"an empty list item stops the walk", "10.0.0.1:1", []string{"X-Forwarded-For", "192.0.2.7,"}, "10.0.0.1"},
		{"only trusted hops give the left-most", "10.0.0.1:1", []string{"X-Forwarded-For", "10.3.3.3, 10.2.2.2"}, "10.3.3.3"},
		{"ports are dropped", "10.0.0.1:1", []string{"X-Forwarded-For", "192.0.2.7:5678"}, "192.0.2.7"},
		{"a bracketed IPv6 hop with port", "10.0.0.1:1", []string{"X-Forwarded-For", "[2001:db8::1]:443"}, "2001:db8::1"},
		{"a bracketed IPv6 hop without port", "10.0.0.1:1", []string{"X-Forwarded-For", "[2001:db8::1]"}, "2001:db8::1"},
		{"IPv4-mapped peers are unmapped before trust is asked", "[::ffff:10.0.0.1]:1", []string{"X-Forwarded-For", "::ffff:192.0.2.7"}, "192.0.2.7"},
		{"zones are dropped", "[fe80::1%eth0]:1", nil, "fe80::1"},
		{"zones in hops are dropped", "10.0.0.1:1", []string{"X-Forwarded-For", "fe80::1%eth0"}, "fe80::1"},
		{"a unix socket has no address", "@", []string{"X-Forwarded-For", "6.6.6.6"}, ""},
		{"an empty peer has no address", "", nil, ""},
		{"Forwarded is walked like X-Forwarded-For", "10.0.0.1:1", []string{"Forwarded", `for=6.6.6.6;proto=http, For="192.0.2.7:99" ; by=10.0.0.9, for="[fd00::2]"`}, "192.0.2.7"},
		{"Forwarded over several lines", "10.0.0.1:1", []string{"Forwarded", "for=6.6.6.6", "Forwarded", "for=192.0.2.7"}, "192.0.2.7"},
		{"an obfuscated node stops the walk", "10.0.0.1:1", []string{"Forwarded", "for=6.6.6.6, for=_hidden, for=10.4.4.4"}, "10.4.4.4"},
		{"an element without for= stops the walk", "10.0.0.1:1", []string{"Forwarded", "for=6.6.6.6, proto=https"}, "10.0.0.1"},
		{"an open quote cannot swallow the proxy's element", "10.0.0.1:1", []string{"Forwarded", `for="6.6.6.6`, "Forwarded", "for=192.0.2.7"}, ""},
		{"a doubled parameter is not believed", "10.0.0.1:1", []string{"Forwarded", "for=6.6.6.6;for=192.0.2.7"}, ""},
		{"both headers in agreement", "10.0.0.1:1", []string{"X-Forwarded-For", "192.0.2.7", "Forwarded", "for=192.0.2.7"}, "192.0.2.7"},
		{"a smuggled Forwarded beside the proxy's X-Forwarded-For", "10.0.0.1:1", []string{"X-Forwarded-For", "192.0.2.7", "Forwarded", "for=6.6.6.6"}, ""},
		{"a smuggled X-Forwarded-For beside the proxy's Forwarded", "10.0.0.1:1", []string{"X-Forwarded-For", "6.6.6.6", "Forwarded", "for=192.0.2.7"}, ""},
		{"a broken Forwarded sent through an X-Forwarded-For proxy does not make the client the proxy", "10.0.0.1:1", []string{"X-Forwarded-For", "192.0.2.7", "Forwarded", "x"}, ""},
		{"a header of many megabytes is walked from the right only", "10.0.0.1:1", []string{"X-Forwarded-For", strings.Repeat("6.6.6.6,", 100000) + "192.0.2.7"}, "192.0.2.7"},
		{"a hop of absurd length is not an address", "10.0.0.1:1", []string{"X-Forwarded-For", strings.Repeat("1", 1<<16)}, "10.0.0.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEdge(t, hardening.EdgeConfig{TrustedProxies: proxies})
			c, _ := seen(e, request(tt.remote, tt.lines...))
			got := ""
			if c.Addr.IsValid() {
				got = c.Addr.String()
			}
			if got != tt.want {
				t.Errorf("client address %q, want %q", got, tt.want)
			}
		})
	}
}

func TestClientScheme(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cfg    hardening.EdgeConfig
		remote string
		tls    bool
		lines  []string
		want   string
	}{
		{"plain", hardening.EdgeConfig{}, "192.0.2.7:1", false, nil, "http"},
		{"TLS", hardening.EdgeConfig{}, "192.0.2.7:1", true, nil, "https"},
		{"an untrusted claim is ignored", hardening.EdgeConfig{}, "192.0.2.7:1", false, []string{"X-Forwarded-Proto", "https"}, "http"},
		{"a trusted claim counts", hardening.EdgeConfig{TrustedProxies: proxies}, "10.0.0.1:1", false, []string{"X-Forwarded-Proto", "https"}, "https"},
		{"a trusted http behind re-encryption counts", hardening.EdgeConfig{TrustedProxies: proxies}, "10.0.0.1:1", true, []string{"X-Forwarded-Proto", "http"}, "http"},
		{"the nearest proxy wrote the last item", hardening.EdgeConfig{TrustedProxies: proxies}, "10.0.0.1:1", false, []string{"X-Forwarded-Proto", "https, http"}, "http"},
		{"Forwarded proto", hardening.EdgeConfig{TrustedProxies: proxies}, "10.0.0.1:1", false, []string{"Forwarded", "for=192.0.2.7;proto=HTTPS"}, "https"},
		{"a disagreement is http", hardening.EdgeConfig{TrustedProxies: proxies}, "10.0.0.1:1", false, []string{"Forwarded", "proto=https", "X-Forwarded-Proto", "http"}, "http"},
		{"nonsense is http", hardening.EdgeConfig{TrustedProxies: proxies}, "10.0.0.1:1", false, []string{"X-Forwarded-Proto", "gopher"}, "http"},
		{"AssumeTLS", hardening.EdgeConfig{AssumeTLS: true}, "192.0.2.7:1", false, nil, "https"},
		{"AssumeTLS believes a trusted http", hardening.EdgeConfig{AssumeTLS: true, TrustedProxies: proxies}, "10.0.0.1:1", false, []string{"X-Forwarded-Proto", "http"}, "http"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request(tt.remote, tt.lines...)
			if tt.tls {
				r.TLS = &tls.ConnectionState{}
			}
			newEdge(t, tt.cfg).Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if c, s := hardening.ClientOf(r), hardening.SchemeOf(r); c.Scheme != tt.want || s != tt.want {
					t.Errorf("scheme %q, SchemeOf %q, want %q", c.Scheme, s, tt.want)
				}
			})).ServeHTTP(httptest.NewRecorder(), r)
		})
	}
}

func TestClientHost(t *testing.T) {
	smuggled := []string{"X-Forwarded-Host", "evil.example"}
	trusting := hardening.EdgeConfig{TrustedProxies: proxies, ForwardedHost: true}
	for _, tt := range []struct {
		name   string
		cfg    hardening.EdgeConfig
		remote string
		lines  []string
		want   string
	}{
		{"lower case", hardening.EdgeConfig{}, "192.0.2.7:1", nil, "portal.example"},
		{"a forwarded host is ignored by default, even from a proxy", hardening.EdgeConfig{TrustedProxies: proxies}, "10.0.0.1:1", smuggled, "portal.example"},
		{"from an untrusted peer it is always ignored", trusting, "192.0.2.7:1", smuggled, "portal.example"},
		{"asked for, it counts", trusting, "10.0.0.1:1", []string{"X-Forwarded-Host", "Care.Example:8443"}, "care.example:8443"},
		{"two that disagree do not", trusting, "10.0.0.1:1", []string{"X-Forwarded-Host", "a.example", "Forwarded", "host=b.example"}, "portal.example"},
		{"one that is no host does not", trusting, "10.0.0.1:1", []string{"X-Forwarded-Host", "a.example/@evil"}, "portal.example"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if c, _ := seen(newEdge(t, tt.cfg), request(tt.remote, tt.lines...)); c.Host != tt.want {
				t.Errorf("host %q, want %q", c.Host, tt.want)
			}
		})
	}
}

func TestRequestID(t *testing.T) {
	e := newEdge(t, hardening.EdgeConfig{TrustedProxies: proxies})
	fromProxy, header := seen(e, request("10.0.0.1:1", "X-Request-Id", "abc-123_x.y"))
	if fromProxy.RequestID != "abc-123_x.y" || header != fromProxy.RequestID {
		t.Errorf("a trusted proxy's id must be kept and answered: %q, header %q", fromProxy.RequestID, header)
	}
	for _, tt := range []struct{ name, remote, id string }{
		{"from an untrusted peer", "192.0.2.7:1", "abc"},
		{"with a line break", "10.0.0.1:1", "abc\r\nforged: 1"},
		{"of 129 bytes", "10.0.0.1:1", strings.Repeat("a", 129)},
		{"empty", "10.0.0.1:1", ""},
	} {
		c, header := seen(e, request(tt.remote, "X-Request-Id", tt.id))
		if c.RequestID == tt.id || len(c.RequestID) < 20 || header != c.RequestID {
			t.Errorf("an id %s must be replaced by one of our own: got %q, header %q", tt.name, c.RequestID, header)
		}
	}
	a, _ := seen(e, request("192.0.2.7:1"))
	b, _ := seen(e, request("192.0.2.7:1"))
	if a.RequestID == b.RequestID {
		t.Error("two requests have one id")
	}
}

func TestTraceParent(t *testing.T) {
	const valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, tt := range []struct{ name, in, want string }{
		{"version 00", valid, valid},
		{"a future version is cut to what is known", "01" + valid[2:] + "-more", "01" + valid[2:]},
		{"version 00 must not be longer", valid + "-more", ""},
		{"version ff is forbidden", "ff" + valid[2:], ""},
		{"upper case is not allowed", strings.ToUpper(valid), ""},
		{"a zero trace id", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", ""},
		{"a zero parent id", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", ""},
		{"too short", valid[:54], ""},
		{"nothing", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := hardening.ClientOf(request("192.0.2.7:1", "Traceparent", tt.in)).TraceParent; got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if got := hardening.ClientOf(request("192.0.2.7:1", "Traceparent", valid, "Traceparent", valid)).TraceParent; got != "" {
		t.Errorf("two headers must give none, got %q", got)
	}
}

func TestClientOfWithoutWrap(t *testing.T) {
	r := request("10.0.0.1:1", "X-Forwarded-For", "6.6.6.6", "X-Forwarded-Proto", "https", "X-Request-Id", "x")
	c := hardening.ClientOf(r)
	if c.Addr.String() != "10.0.0.1" || c.Scheme != "http" || c.RequestID != "" {
		t.Errorf("without Wrap no header is believed: %+v", c)
	}
}

func TestEdgeConfigFaults(t *testing.T) {
	_, err := hardening.NewEdge(hardening.EdgeConfig{TrustedProxies: []netip.Prefix{
		{}, netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0"),
		netip.MustParsePrefix("10.1.2.3/8"), netip.MustParsePrefix("::ffff:10.0.0.0/104"),
		netip.MustParsePrefix("128.0.0.0/1"), netip.MustParsePrefix("2000::/3"),
	}})
	n := 0
	for f := range hardening.Faults(err) {
		n++
		if f.Room == "" || f.Field == "" || f.Reason == "" || f.Fix == "" {
			t.Errorf("incomplete fault %+v", f)
		}
	}
	if n != 7 {
		t.Errorf("%d faults, want all 7: %v", n, err)
	}
	if _, err := hardening.NewEdge(hardening.EdgeConfig{TrustedProxies: []netip.Prefix{}}); err == nil {
		t.Error("an empty non-nil list must be a fault")
	}
}

func TestEdgeKeepsNoReferenceToTheConfig(t *testing.T) {
	mine := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	e := newEdge(t, hardening.EdgeConfig{TrustedProxies: mine})
	mine[0] = netip.MustParsePrefix("192.0.2.0/24")
	if c, _ := seen(e, request("192.0.2.7:1", "X-Forwarded-For", "6.6.6.6")); c.Addr.String() != "192.0.2.7" {
		t.Errorf("changing the slice after NewEdge changed the edge: %v", c.Addr)
	}
}

func TestEdgeCheck(t *testing.T) {
	state := func(cfg hardening.EdgeConfig) map[string]bool {
		m := map[string]bool{}
		for _, f := range newEdge(t, cfg).Check() {
			m[f.ID] = f.Passed
			if f.Title == "" || f.Observed == "" || f.Expected == "" || f.Remedy == "" || len(f.Controls) == 0 {
				t.Errorf("incomplete finding %v", f)
			}
		}
		return m
	}
	for id, ok := range state(hardening.EdgeConfig{}) {
		if !ok {
			t.Errorf("%s fails for the default", id)
		}
	}
	for id, cfg := range map[string]hardening.EdgeConfig{
		"HDN-EDGE-001": {TrustedProxies: []netip.Prefix{netip.MustParsePrefix("96.0.0.0/6")}},
		"HDN-EDGE-002": {AssumeTLS: true},
		"HDN-EDGE-003": {ForwardedHost: true},
	} {
		got := state(cfg)
		for other, ok := range got {
			if ok == (other == id) {
				t.Errorf("%s: %s passed=%t", id, other, ok)
			}
		}
	}
}

func TestIgnoredForwardingIsWarnedOfOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		e := newEdge(t, hardening.EdgeConfig{Logger: slog.New(slog.NewTextHandler(&out, nil))})
		for range 100 {
			seen(e, request("192.0.2.7:1", "X-Forwarded-Proto", "https"))
		}
		if n := strings.Count(out.String(), "forwarded_header_ignored"); n != 1 {
			t.Fatalf("%d warnings, want 1:\n%s", n, &out)
		}
		time.Sleep(time.Minute) // virtual: the bubble's clock
		synctest.Wait()
		seen(e, request("192.0.2.7:1", "X-Forwarded-Proto", "https"))
		if n := strings.Count(out.String(), "forwarded_header_ignored"); n != 2 || !strings.Contains(out.String(), "count=100") {
			t.Fatalf("the second warning must count what the first left out:\n%s", &out)
		}
		if !strings.Contains(out.String(), "TrustedProxies") {
			t.Error("the warning must name the setting")
		}
	})
}

func TestEdgeConcurrently(t *testing.T) {
	e := newEdge(t, hardening.EdgeConfig{TrustedProxies: proxies})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				seen(e, request("192.0.2.7:1", "X-Forwarded-For", "6.6.6.6"))
				seen(e, request("10.0.0.1:1", "X-Forwarded-For", "192.0.2.7"))
			}
		})
	}
	wg.Wait()
}

func TestClientSurvivesFurtherContexts(t *testing.T) {
	e := newEdge(t, hardening.EdgeConfig{TrustedProxies: proxies})
	type key struct{}
	var got hardening.Client
	e.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = hardening.ClientOf(r.WithContext(context.WithValue(r.Context(), key{}, 1)))
	})).ServeHTTP(httptest.NewRecorder(), request("10.0.0.1:1", "X-Forwarded-For", "192.0.2.7"))
	if got.Addr.String() != "192.0.2.7" {
		t.Errorf("lost behind another context: %+v", got)
	}
}

// Law: whatever the headers say, the client is a peer's own address, an address
// that stands in a header of a trusted peer, or nobody; and a public peer that
// is not trusted is always itself.
func FuzzClientAddr(f *testing.F) {
	f.Add("192.0.2.7", "for=6.6.6.6", "https", true)
	f.Add("a,b,,", `for="[::1]:9";host=x, for=_y`, "", false)
	f.Add("10.1.1.1, 10.2.2.2", `for="\`, "http,https", true)
	e, err := hardening.NewEdge(hardening.EdgeConfig{TrustedProxies: proxies, ForwardedHost: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, xff, fwd, proto string, trusted bool) {
		remote := "192.0.2.99:1"
		if trusted {
			remote = "10.0.0.1:1"
		}
		c, _ := seen(e, request(remote, "X-Forwarded-For", xff, "Forwarded", fwd, "X-Forwarded-Proto", proto))
		if !trusted && c.Addr.String() != "192.0.2.99" {
			t.Errorf("an untrusted peer became %v", c.Addr)
		}
		if c.Addr.Zone() != "" || c.Addr.Is4In6() {
			t.Errorf("unusable address %v", c.Addr)
		}
		if trusted && xff == "192.0.2.7" && c.Addr.IsValid() && c.Addr.String() != xff {
			t.Errorf("Forwarded %q made the client %v", fwd, c.Addr)
		}
		if c.Scheme != "http" && c.Scheme != "https" {
			t.Errorf("scheme %q", c.Scheme)
		}
	})
}

func BenchmarkEdge(b *testing.B) {
	e := newEdge(b, hardening.EdgeConfig{TrustedProxies: proxies})
	h := e.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _ = hardening.ClientOf(r) }))
	for name, r := range map[string]*http.Request{
		"direct":  request("192.0.2.7:1"),
		"proxied": request("10.0.0.1:1", "X-Forwarded-For", "6.6.6.6, 192.0.2.7", "X-Forwarded-Proto", "https"),
	} {
		b.Run(name, func(b *testing.B) {
			w := httptest.NewRecorder()
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		})
	}
}
