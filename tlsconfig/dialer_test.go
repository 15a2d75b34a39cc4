package tlsconfig_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/tlsconfig"
)

func publicDialer(t testing.TB, cfg tlsconfig.PublicDialerConfig) *tlsconfig.Dialer {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = silent
	}
	d, err := tlsconfig.PublicDialer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A target inside the network, which counts who gets through to it.
func inside(t testing.TB, host string) (port uint16, hits *atomic.Int64) {
	t.Helper()
	hits = new(atomic.Int64)
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Skipf("this machine has no address %s: %v", host, err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		hits.Add(1)
		io.WriteString(w, "inside")
	}))
	srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	return netip.MustParseAddrPort(l.Addr().String()).Port(), hits
}

// hostileHosts are what attackers write into a URL, and the reason in the log.
var hostileHosts = []struct{ host, reason string }{
	// loopback and what connects to it
	{"127.0.0.1", "loopback address"},
	{"127.255.255.254", "loopback address"},
	{"::1", "loopback address"},
	{"0.0.0.0", "this network address"},
	{"0.1.2.3", "this network address"},
	{"::", "this network address"},
	{"::ffff:127.0.0.1", "loopback address"},
	{"::ffff:7f00:1", "loopback address"},
	{"0:0:0:0:0:ffff:0a00:0001", "private address"},
	{"::127.0.0.1", "reserved address"}, // IPv4-compatible
	{"::ffff:0:127.0.0.1", "reserved address"},
	{"2002:7f00:1::1", "tunnel address"},
	{"2002:a00:1::", "tunnel address"},
	{"2001:0:53aa:64c:0:fbff:80ff:fffe", "tunnel address"}, // Teredo of 127.0.0.1
	{"64:ff9b::127.0.0.1", "loopback address"},
	{"64:ff9b::a00:1", "private address"},
	{"64:ff9b::169.254.169.254", "metadata address"},
	{"64:ff9b:1::10.0.0.1", "translated address"},
	{"64:ff9b:1:a00:0:100:808:808", "translated address"},      // 10.0.0.1 to a /48 translator that ignores the suffix
	{"64:ff9b:1:a00:0:100::", "translated address"},            // 10.0.0.1 as in a /48
	{"64:ff9b:1:a:0:0:100:0", "translated address"},            // and in a /56
	{"64:ff9b:1:808:a:5::", "translated address"},              // 8.8.10.5 in a /48, 10.0.5.0 in a /64
	{"64:ff9b:1:0:ff08:808:800::", "translated address"},       // no reading is well formed
	{"64:ff9b:1:ffff:ffff:ffff:8.8.8.8", "translated address"}, // nor here
	{"64:ff9b:2::8.8.8.8", "reserved address"},                 // of no translator
	{"::ffff:169.254.169.254", "metadata address"},
	// private, shared, link-local, metadata
	{"10.0.0.1", "private address"},
	{"10.255.255.255", "private address"},
	{"172.16.0.1", "private address"},
	{"172.31.255.255", "private address"},
	{"192.168.1.1", "private address"},
	{"100.64.0.1", "shared address"},
	{"100.127.255.255", "shared address"},
	{"100.100.100.200", "metadata address"},
	{"169.254.0.1", "link-local address"},
	{"169.254.169.254", "metadata address"},
	{"169.254.170.2", "metadata address"},
	{"168.63.129.16", "metadata address"},
	{"192.0.0.192", "metadata address"},
	{"fd00:ec2::254", "metadata address"},
	{"fd20:ce::254", "metadata address"},
	{"fd12:3456:789a::1", "private address"},
	{"fc00::1", "private address"},
	{"fe80::1", "link-local address"},
	{"fe80::1%lo", "zoned address"},
	{"::1%lo", "zoned address"},
	{"2606:4700::1111%lo", "zoned address"},
	{"fec0::1", "reserved address"}, // site-local
	// the rest of the registries, multicast and what is not allocated
	{"192.0.0.9", "protocol address"},
	{"192.0.2.1", "documentation address"},
	{"192.31.196.1", "protocol address"},
	{"192.52.193.1", "protocol address"},
	{"192.88.99.1", "protocol address"},
	{"192.175.48.1", "protocol address"},
	{"198.18.0.1", "benchmarking address"},
	{"198.19.255.255", "benchmarking address"},
	{"198.51.100.7", "documentation address"},
	{"203.0.113.7", "documentation address"},
	{"224.0.0.1", "multicast address"},
	{"239.255.255.250", "multicast address"},
	{"240.0.0.1", "reserved address"},
	{"255.255.255.255", "reserved address"},
	{"100::1", "reserved address"},
	{"100:0:0:1::1", "reserved address"},
	{"2001:2::1", "protocol address"},
	{"2001:3::1", "protocol address"},
	{"2001:4:112::1", "protocol address"},
	{"2001:10::1", "protocol address"},
	{"2001:20::1", "protocol address"},
	{"2001:30::1", "protocol address"},
	{"2001:db8::1", "documentation address"},
	{"2620:4f:8000::1", "protocol address"},
	{"3fff::1", "documentation address"},
	{"5f00::1", "reserved address"},
	{"4000::1", "reserved address"},
	{"ff02::1", "multicast address"},
	// numbers that URL parsers and some resolvers read as 127.0.0.1
	{"2130706433", "numeric name"},
	{"0x7f000001", "numeric name"},
	{"0X7F000001", "numeric name"},
	{"017700000001", "numeric name"},
	{"0177.0.0.1", "numeric name"},
	{"0x7f.0.0.1", "numeric name"},
	{"127.1", "numeric name"},
	{"127.0.1", "numeric name"},
	{"127.000.000.001", "numeric name"},
	{"127.0.0.0x1", "numeric name"},
	{"127.0.0.1.", "numeric name"},
	{"0", "numeric name"},
	{"0x", "numeric name"},
	{"4294967297", "numeric name"},
	{"169.254.43518", "numeric name"},
	{"::ffff:0x7f.1", "numeric name"},
	// names of this machine and this network
	{"localhost", "local name"},
	{"LOCALHOST.", "local name"},
	{"admin.localhost", "local name"},
	{"kubernetes", "local name"},
	{"metadata.google.internal", "local name"},
	{"printer.local", "local name"},
	{"router.home.arpa", "local name"},
	{"", "name"},
	{".", "name"},
	// public names that lead inside
	{"loopback4.attacker.example", "loopback address"},
	{"loopback6.attacker.example", "loopback address"},
	{"metadata.attacker.example.", "metadata address"},
	{"mapped.attacker.example", "loopback address"},
	{"private.attacker.example", "private address"},
	{"127.0.0.1.attacker.example", "loopback address"},
}

func TestPublicDialerRefusesEveryWayInside(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-1.3.6")
	t.Attr("control", "OWASP A10:2021")
	port, hits := inside(t, "127.0.0.1")
	resolver := fakeDNS(t, func(name string, _ int) netip.Addr {
		switch label, _, _ := strings.Cut(name, "."); label {
		case "loopback6":
			return netip.MustParseAddr("::1")
		case "metadata":
			return netip.MustParseAddr("169.254.169.254")
		case "mapped":
			return netip.MustParseAddr("::ffff:127.0.0.1")
		case "private":
			return netip.MustParseAddr("10.1.2.3")
		}
		return netip.MustParseAddr("127.0.0.1")
	})
	if len(hostileHosts) < 40 {
		t.Fatalf("only %d hosts", len(hostileHosts))
	}
	d := publicDialer(t, tlsconfig.PublicDialerConfig{Ports: []uint16{port}, Resolver: resolver, Timeout: 5 * time.Second})
	for _, tt := range hostileHosts {
		t.Run(tt.host, func(t *testing.T) {
			conn, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort(tt.host, fmt.Sprint(port)))
			if err == nil {
				conn.Close()
				t.Fatal("connected")
			}
			var de *tlsconfig.DialError
			if !errors.As(err, &de) || !de.Refused || de.Reason != tt.reason || de.Timeout() || de.Unwrap() != nil {
				t.Errorf("%#v, want it refused as %s", err, tt.reason)
			}
			if err.Error() != "tlsconfig: no connection to this destination" {
				t.Errorf("the text tells more than that: %v", err)
			}
			if a, err := netip.ParseAddr(tt.host); err == nil && d.Allows(netip.AddrPortFrom(a, port)) == nil {
				t.Error("Allows it nevertheless")
			}
		})
	}
	if hits.Load() != 0 {
		t.Errorf("%d requests came through", hits.Load())
	}
}

// The same dialler reaches the target when it may, so the refusals above are
// not for want of a route.
func TestPublicDialerReachesWhatIsAllowed(t *testing.T) {
	port, hits := inside(t, "127.0.0.1")
	resolver := fakeDNS(t, func(string, int) netip.Addr { return netip.MustParseAddr("127.0.0.1") })
	d := publicDialer(t, tlsconfig.PublicDialerConfig{Ports: []uint16{port}, Resolver: resolver, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	client := &http.Client{Transport: &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true}, Timeout: 10 * time.Second}
	for _, host := range []string{"127.0.0.1", "[::ffff:127.0.0.1]", "printer.local", "kubernetes", "loopback.attacker.example"} {
		res, err := client.Get(fmt.Sprintf("http://%s:%d/", host, port))
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		res.Body.Close()
	}
	if hits.Load() != 5 {
		t.Errorf("%d requests came through, want 5", hits.Load())
	}
}

func TestPublicDialerAllowsPublicAddresses(t *testing.T) {
	d := publicDialer(t, tlsconfig.PublicDialerConfig{})
	for _, a := range []string{
		"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0",
		"172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
		"2606:4700:4700::1111", "2a00:1450:400e::1", "2001:200::1", "2003::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8",
	} {
		if err := d.Allows(netip.AddrPortFrom(netip.MustParseAddr(a), 443)); err != nil {
			t.Errorf("%s is refused: %v", a, err)
		}
		if err := d.Allows(netip.AddrPortFrom(netip.MustParseAddr(a), 80)); err == nil {
			t.Errorf("%s is allowed on port 80", a)
		}
	}
}

func TestPublicDialerAllowAndDeny(t *testing.T) {
	d := publicDialer(t, tlsconfig.PublicDialerConfig{
		Allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("fd00::/8")},
		Deny:  []netip.Prefix{netip.MustParsePrefix("10.1.9.0/24"), netip.MustParsePrefix("145.0.0.0/8"), netip.MustParsePrefix("2a00::/16")},
	})
	for a, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "64:ff9b::10.1.2.3": true, "fd00::1": true, "8.8.8.8": true, "169.254.1.1": false,
		"10.2.0.1": false, "10.1.9.1": false, "145.7.7.7": false, "::ffff:145.7.7.7": false, "64:ff9b::145.7.7.7": false, "2a00::1": false,
		"169.254.169.254": false, "fd00:ec2::254": false, // metadata services stay closed
	} {
		if err := d.Allows(netip.AddrPortFrom(netip.MustParseAddr(a), 443)); (err == nil) != want {
			t.Errorf("%s: %v, want allowed %t", a, err, want)
		}
	}
}

// An Allow list for the own network often covers what the cloud put into it.
func TestMetadataServicesStayClosedWithinAllow(t *testing.T) {
	all := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/1"), netip.MustParsePrefix("128.0.0.0/1"), netip.MustParsePrefix("::/1"), netip.MustParsePrefix("8000::/1")}
	d := publicDialer(t, tlsconfig.PublicDialerConfig{Allow: all})
	open := publicDialer(t, tlsconfig.PublicDialerConfig{Allow: all, DangerouslyAllowMetadata: true})
	one := publicDialer(t, tlsconfig.PublicDialerConfig{Allow: []netip.Prefix{netip.MustParsePrefix("169.254.42.42/32")}, DangerouslyAllowMetadata: true})
	for _, a := range []string{
		"169.254.169.254", "169.254.170.2", "169.254.170.23", "169.254.42.42", "169.254.0.23", "168.63.129.16", "100.100.100.200", "192.0.0.192",
		"fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:42::42", "fd00:c1::a9fe:a9fe", "fd00:a9fe:a9fe::1", "fe80::a9fe:a9fe",
		"::ffff:169.254.42.42", "64:ff9b::169.254.0.23", "::ffff:100.100.100.200",
	} {
		ap := netip.AddrPortFrom(netip.MustParseAddr(a), 443)
		if refusal, ok := errors.AsType[*tlsconfig.DialError](d.Allows(ap)); !ok || refusal.Reason != "metadata address" {
			t.Errorf("%s: %v", a, refusal)
		}
		if err := open.Allows(ap); err != nil {
			t.Errorf("%s stays closed although that was lifted", a)
		}
		if err := one.Allows(ap); (err == nil) != strings.HasSuffix(a, "169.254.42.42") {
			t.Errorf("%s: %v, where 169.254.42.42 alone is open", a, err)
		}
	}
	_, err := tlsconfig.PublicDialer(tlsconfig.PublicDialerConfig{DangerouslyAllowMetadata: true})
	if fs := slices.Collect(hardening.Faults(err)); len(fs) != 1 || fs[0].Field != "PublicDialerConfig.DangerouslyAllowMetadata" {
		t.Errorf("%v", err)
	}
}

// The usual check before the request asks the resolver once; the dialler then
// asks again, and a hostile resolver answers with another address.
func TestTrap_RebindingResolver(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-1.3.6")
	port, hits := inside(t, "127.0.0.1")
	resolver := fakeDNS(t, func(_ string, asked int) netip.Addr {
		if asked == 0 {
			return netip.MustParseAddr("93.184.215.14")
		}
		return netip.MustParseAddr("127.0.0.1")
	})
	d := publicDialer(t, tlsconfig.PublicDialerConfig{Ports: []uint16{port}, Resolver: resolver})
	bare := &net.Dialer{Resolver: resolver}
	for name, dial := range map[string]func(context.Context, string, string) (net.Conn, error){"net": bare.DialContext, "tlsconfig": d.DialContext} {
		host := name + ".rebind.example"
		addrs, err := resolver.LookupNetIP(t.Context(), "ip4", host)
		if err != nil || len(addrs) != 1 || d.Allows(netip.AddrPortFrom(addrs[0].Unmap(), port)) != nil {
			t.Fatalf("the check before the request: %v, %v", addrs, err)
		}
		before := hits.Load()
		client := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: 10 * time.Second}
		res, err := client.Get(fmt.Sprintf("http://%s:%d/", host, port))
		if err == nil {
			res.Body.Close()
		}
		if got, want := hits.Load()-before, map[string]int64{"net": 1, "tlsconfig": 0}[name]; got != want {
			t.Errorf("%s: %d requests came through (%v), want %d", name, got, err, want)
		}
	}
}

func TestPublicDialerRefusesRedirectsInside(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs a second loopback address: run it on Linux")
	}
	insidePort, hits := inside(t, "127.0.0.1")
	var target atomic.Value
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	outside := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, target.Load().(string), http.StatusTemporaryRedirect)
	})}
	go outside.Serve(l)
	t.Cleanup(func() { outside.Close() })
	outsidePort := netip.MustParseAddrPort(l.Addr().String()).Port()

	// 127.0.0.2 stands for a public address.
	d := publicDialer(t, tlsconfig.PublicDialerConfig{Ports: []uint16{insidePort, outsidePort}, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}})
	guarded := &http.Client{Transport: &http.Transport{DialContext: d.DialContext}, Timeout: 10 * time.Second}
	bare := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	for _, host := range []string{"127.0.0.1", "[::ffff:127.0.0.1]", "user@127.0.0.1", "127.1", "2130706433", "①②⑦.⓪.⓪.①"} {
		target.Store(fmt.Sprintf("http://%s:%d/secret", host, insidePort))
		if res, err := guarded.Get("http://" + l.Addr().String()); err == nil {
			res.Body.Close()
			t.Errorf("the redirect to %s was followed to %v", host, res.Request.URL)
		} else if _, ok := errors.AsType[*tlsconfig.DialError](err); !ok {
			t.Errorf("the redirect to %s failed for another reason: %v", host, err)
		}
	}
	if hits.Load() != 0 {
		t.Fatalf("%d requests came through", hits.Load())
	}
	target.Store(fmt.Sprintf("http://127.0.0.1:%d/secret", insidePort))
	if res, err := bare.Get("http://" + l.Addr().String()); err != nil || hits.Load() != 1 {
		t.Errorf("a bare client does not follow it either: %v", err)
	} else {
		res.Body.Close()
	}
}

func TestDialErrorsOfTheNetworkDoNotLeak(t *testing.T) {
	port, _ := inside(t, "127.0.0.1")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := netip.MustParseAddrPort(l.Addr().String()).Port()
	l.Close()
	resolver := fakeDNS(t, func(name string, _ int) netip.Addr {
		if strings.HasPrefix(name, "missing") {
			return netip.Addr{}
		}
		return netip.MustParseAddr("127.0.0.1")
	})
	d := publicDialer(t, tlsconfig.PublicDialerConfig{Ports: []uint16{port, closed}, Resolver: resolver, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for name, tt := range map[string]struct {
		ctx     context.Context
		address string
		reason  string
		is      error
		timeout bool
	}{
		"nobody listens":   {t.Context(), fmt.Sprintf("127.0.0.1:%d", closed), "connection refused", nil, false},
		"no such host":     {t.Context(), fmt.Sprintf("missing.canary.example:%d", port), "no such host", nil, false},
		"the caller left":  {canceled, fmt.Sprintf("127.0.0.1:%d", port), "canceled", context.Canceled, false},
		"time has run out": {late, fmt.Sprintf("127.0.0.1:%d", port), "timeout", nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := d.DialContext(tt.ctx, "tcp", tt.address)
			de, ok := errors.AsType[*tlsconfig.DialError](err)
			if !ok || de.Refused || de.Reason != tt.reason || de.Timeout() != tt.timeout || tt.is != nil && !errors.Is(err, tt.is) {
				t.Fatalf("%#v, want %s", err, tt.reason)
			}
			if s := err.Error(); strings.Contains(s, "127.0.0.1") || strings.Contains(s, "canary") {
				t.Errorf("names the destination: %s", s)
			}
			var ne net.Error
			if !errors.As(err, &ne) {
				t.Error("is no net.Error")
			}
		})
	}
	for _, tt := range []struct{ network, address, reason string }{
		{"unix", "/var/run/docker.sock", "network"},
		{"udp", fmt.Sprintf("127.0.0.1:%d", port), "network"},
		{"tcp", "127.0.0.1", "invalid address"},
		{"tcp", "127.0.0.1:ssh", "port"},
		{"tcp", "127.0.0.1:22", "port"},
		{"tcp", "127.0.0.1:65979", "port"}, // 443 modulo 2^16
	} {
		_, err := d.DialContext(t.Context(), tt.network, tt.address)
		if de, ok := errors.AsType[*tlsconfig.DialError](err); !ok || !de.Refused || de.Reason != tt.reason {
			t.Errorf("%s %s: %#v, want %s", tt.network, tt.address, err, tt.reason)
		}
	}
}

func TestRefusedDialsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var buf bytes.Buffer
		d := publicDialer(t, tlsconfig.PublicDialerConfig{Name: "webhooks", Logger: slog.New(slog.NewJSONHandler(&buf, nil))})
		for range 100 {
			d.DialContext(t.Context(), "tcp", "10.0.0.1:443")
			d.DialContext(t.Context(), "tcp", "canary.internal:443")
		}
		time.Sleep(61 * time.Second) // the bubble's clock
		d.DialContext(t.Context(), "tcp", "10.0.0.2:443")
		if strings.Contains(buf.String(), "canary") {
			t.Errorf("quotes a name that somebody chose: %s", &buf)
		}
		counts := map[string]int{}
		for dec := json.NewDecoder(&buf); dec.More(); {
			var rec struct {
				Msg, Reason, Instance string
				Count                 int
			}
			if err := dec.Decode(&rec); err != nil {
				t.Fatal(err)
			}
			if rec.Msg != "input_validation_fail" || rec.Instance != "webhooks" {
				t.Errorf("%+v", rec)
			}
			counts[rec.Reason] += rec.Count
		}
		if len(counts) != 2 || counts["private address"] != 101 || counts["local name"] != 100 {
			t.Errorf("%v", counts)
		}
	})
}

func TestPublicDialerNamesEveryFault(t *testing.T) {
	_, err := tlsconfig.PublicDialer(tlsconfig.PublicDialerConfig{
		Ports: []uint16{443, 0}, Timeout: -1,
		Allow: []netip.Prefix{{}, netip.MustParsePrefix("::ffff:10.0.0.0/104"), netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("10.1.2.3/8")},
		Deny:  []netip.Prefix{},
	})
	var fields []string
	for f := range hardening.Faults(err) {
		fields = append(fields, f.Field)
		if f.Reason == "" || f.Fix == "" {
			t.Errorf("%+v", f)
		}
	}
	want := []string{"PublicDialerConfig.Ports[1]", "PublicDialerConfig.Allow[0]", "PublicDialerConfig.Allow[1]", "PublicDialerConfig.Allow[2]", "PublicDialerConfig.Allow[3]", "PublicDialerConfig.Deny", "PublicDialerConfig.Timeout"}
	if !slices.Equal(fields, want) {
		t.Errorf("faults at %v, want %v", fields, want)
	}
}

func TestDialerFindingsFlip(t *testing.T) {
	if ids := failed(publicDialer(t, tlsconfig.PublicDialerConfig{}).Check()); len(ids) > 0 {
		t.Fatalf("the defaults fail %v", ids)
	}
	for id, cfg := range map[string]tlsconfig.PublicDialerConfig{
		"HDN-TLS-050": {Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		"HDN-TLS-051": {Ports: []uint16{443, 80}},
		"HDN-TLS-052": {Timeout: time.Minute},
		"HDN-TLS-065": {Allow: []netip.Prefix{netip.MustParsePrefix("169.254.0.23/32")}, DangerouslyAllowMetadata: true},
	} {
		fs := publicDialer(t, cfg).Check()
		want := []string{id}
		if id == "HDN-TLS-065" {
			want = []string{"HDN-TLS-050", id} // it needs Allow
		}
		if ids := failed(fs); !slices.Equal(ids, want) {
			t.Errorf("%s: failed %v", id, ids)
		}
		for _, f := range fs {
			if f.Component != "tlsconfig" || f.Observed == "" || f.Expected == "" || f.Remedy == "" || len(f.Controls) == 0 {
				t.Errorf("incomplete %+v", f)
			}
		}
	}
}

// Whatever net/netip itself knows to be special is refused, in every spelling.
func FuzzPublicDialerAgreesWithNetip(f *testing.F) {
	for _, h := range hostileHosts {
		if a, err := netip.ParseAddr(h.host); err == nil {
			b := a.As16()
			f.Add(b[:])
		}
	}
	d, err := tlsconfig.PublicDialer(tlsconfig.PublicDialerConfig{Logger: silent})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		err := d.Allows(netip.AddrPortFrom(a, 443))
		plain := a.Unmap()
		if err == nil && (!plain.IsGlobalUnicast() || plain.IsPrivate() || plain.IsLoopback() || plain.IsLinkLocalUnicast()) {
			t.Errorf("%s is allowed", a)
		}
		if (err == nil) != (d.Allows(netip.AddrPortFrom(plain, 443)) == nil) {
			t.Errorf("%s and %s are judged differently", a, plain)
		}
		if plain.Is4() {
			wrapped := [16]byte{0, 0x64, 0xff, 0x9b}
			copy(wrapped[12:], plain.AsSlice())
			if (err == nil) != (d.Allows(netip.AddrPortFrom(netip.AddrFrom16(wrapped), 443)) == nil) {
				t.Errorf("%s is judged differently behind NAT64", a)
			}
		}
	})
}
