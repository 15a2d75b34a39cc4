package tlsconfig_test

import (
	"context"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/tlsconfig"
)

func asked(host string, local net.Addr) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "https://localhost/", nil)
	r.Host = host
	if local != nil {
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local))
	}
	return r
}

func TestOnlyHostsOfTheCertificatesReachTheHandler(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-4.1.3")
	ca := newAuthority(t)
	server := started(t, tlsconfig.ServerConfig{
		Certs: certs(ca.good("App.example", "*.apps.example", "192.0.2.7", "2001:db8::7"), ca.good("second.example")),
		Hosts: []string{"public.example", "*.public.example", "198.51.100.4"},
	})
	v4, v6 := &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 443}, &net.TCPAddr{IP: net.ParseIP("2001:db8::9"), Port: 443, Zone: "eth0"}
	for _, tt := range []struct {
		host   string
		local  net.Addr
		served bool
	}{
		{"app.example", nil, true},
		{"APP.example", nil, true},
		{"app.example.", nil, true},
		{"app.example:8443", nil, true},
		{"app.example:", nil, true},
		{"app.example.:443", nil, true},
		{"second.example", nil, true}, // of another certificate
		{"x.apps.example", nil, true},
		{"public.example", nil, true},
		{"x.public.example", nil, true},
		{"192.0.2.7", nil, true},
		{"192.0.2.7:443", nil, true},
		{"[2001:db8::7]", nil, true},
		{"[2001:0db8:0:0::7]:443", nil, true},
		{"198.51.100.4", nil, true},
		{"10.1.2.3:443", v4, true}, // a health check
		{"[2001:db8::9]:443", v6, true},
		{"", nil, true}, // HTTP/1.0

		{"evil.example", nil, false},
		{"app.example.evil.test", nil, false},
		{"evil.test.app.example", nil, false},
		{"apps.example", nil, false}, // a wildcard is one label
		{"a.b.apps.example", nil, false},
		{".apps.example", nil, false},
		{"*.apps.example", nil, false},
		{"x_y\".apps.example", nil, false},
		{"app.example..", nil, false},
		{"app.example:443:443", nil, false},
		{"app.example:443/evil", nil, false},
		{"app.example:\"onload", nil, false},
		{"app.example:999999", nil, false},
		{"app.example:-1", nil, false},
		{"[app.example]", nil, false},
		{"[192.0.2.7]", nil, false},
		{"[2001:db8::7", nil, false},
		{"2001:db8::7", nil, false},
		{"[2001:db8::9%25eth0]", v6, false},
		{"[]", nil, false},
		{":443", nil, false},
		{".", nil, false},
		{"10.1.2.4", v4, false},
		{"10.1.2.3", nil, false},
		{"10.1.2.3", &net.UnixAddr{Name: "10.1.2.3"}, false},
		{"167838211", v4, false},
		{"127.0.0.1", nil, false},
		{"localhost", nil, false},
	} {
		reached := false
		srv := server.HTTPServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
		w, r := httptest.NewRecorder(), asked(tt.host, tt.local)
		srv.Handler.ServeHTTP(w, r.WithContext(srv.ConnContext(r.Context(), nil)))
		if reached != tt.served || !reached && w.Code != http.StatusMisdirectedRequest {
			t.Errorf("%q: reached %t, status %d", tt.host, reached, w.Code)
		}
	}
}

func TestAForeignHostIsAnswered421OverEachProtocol(t *testing.T) {
	ca := newAuthority(t)
	var buf syncBuffer
	server := started(t, tlsconfig.ServerConfig{Certs: certs(ca.good("localhost")), Logger: slog.New(slog.NewTextHandler(&buf, nil))})
	addr := serve(t, server.HTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) })), serveTLS)
	for _, protocols := range [][]string{{"http/1.1"}, nil} {
		for host, status := range map[string]int{"localhost": 200, addr: 200, "evil-canary.test": 421} {
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addr+"/", nil)
			r.Host = host
			res, err := client(t, ca, protocols...).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode != status || status == 200 && string(body) != host || res.ProtoMajor != map[bool]int{true: 1, false: 2}[protocols != nil] {
				t.Errorf("%s %q: %d %s", res.Proto, host, res.StatusCode, body)
			}
		}
	}
	if log := buf.String(); strings.Count(log, "input_validation_fail") != 1 || !strings.Contains(log, "reason=host") || !strings.Contains(log, "127.0.0.1") || strings.Contains(log, "canary") {
		t.Errorf("%s", log)
	}
}

func TestHostsFollowTheCertificates(t *testing.T) {
	s := newSite(t, "localhost")
	server := started(t, tlsconfig.ServerConfig{Certs: certs(s.source())})
	h := server.HTTPServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).Handler
	status := func() int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, asked("new.test", nil))
		return w.Code
	}
	if got := status(); got != http.StatusMisdirectedRequest {
		t.Errorf("%d before", got)
	}
	s.put(nil, "localhost", "new.test")
	if err := server.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := status(); got != http.StatusOK {
		t.Errorf("%d after", got)
	}
}

func TestFaultsAndFindingOfHosts(t *testing.T) {
	ca := newAuthority(t)
	own := certs(ca.good("localhost"))
	for _, tt := range []struct {
		cfg    tlsconfig.ServerConfig
		fields []string
	}{
		{tlsconfig.ServerConfig{Hosts: []string{}}, []string{"Hosts"}},
		{tlsconfig.ServerConfig{Hosts: []string{"a.test"}, DangerouslyAnyHost: true}, []string{"DangerouslyAnyHost"}},
		{tlsconfig.ServerConfig{Hosts: []string{"", "https://a.test", "a.test:443", "*", "*.test", "a.*.test", "[::1]", "::1", "*.b.test"}},
			[]string{"Hosts[0]", "Hosts[1]", "Hosts[2]", "Hosts[3]", "Hosts[4]", "Hosts[5]", "Hosts[6]"}},
	} {
		tt.cfg.Certs = own
		_, err := tlsconfig.NewServer(tt.cfg)
		var fields []string
		for f := range hardening.Faults(err) {
			fields = append(fields, f.Field)
		}
		if !slices.Equal(fields, tt.fields) {
			t.Errorf("faults of %v, want %v", fields, tt.fields)
		}
	}
	server := started(t, tlsconfig.ServerConfig{Certs: own, DangerouslyAnyHost: true})
	if ids := failed(server.Check()); !slices.Equal(ids, []string{"HDN-TLS-068"}) {
		t.Errorf("failed %v", ids)
	}
	reached := false
	server.HTTPServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true })).Handler.ServeHTTP(httptest.NewRecorder(), asked("evil.test", nil))
	if !reached {
		t.Error("a foreign host is refused all the same")
	}
}

func TestTheHostCheckCostsARequestNoAllocation(t *testing.T) {
	ca := newAuthority(t)
	srv := newServer(t, 0, ca.good("localhost", "*.apps.example", "192.0.2.7")).HTTPServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, host := range []string{"localhost:8443", "x.apps.example", "192.0.2.7"} {
		r := asked(host, nil)
		r = r.WithContext(srv.ConnContext(r.Context(), nil))
		w := httptest.NewRecorder()
		if n := testing.AllocsPerRun(100, func() { srv.Handler.ServeHTTP(w, r) }); n != 0 && !raceEnabled {
			t.Errorf("%s: %v allocations", host, n)
		}
	}
}

// FuzzHosts: what is served is a name of the certificate, with a port at most.
func FuzzHosts(f *testing.F) {
	for _, s := range []string{"localhost", "x.apps.example:1", "[2001:db8::7]:443", "192.0.2.7", "[::", "x..apps.example", ""} {
		f.Add(s)
	}
	ca := newAuthority(f)
	leaf := ca.issue(leaf("localhost", "*.apps.example", "192.0.2.7", "2001:db8::7"), ecKey(f, elliptic.P256()))
	srv := newServer(f, 0, ca.good("localhost", "*.apps.example", "192.0.2.7", "2001:db8::7")).HTTPServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	f.Fuzz(func(t *testing.T, host string) {
		w := httptest.NewRecorder()
		srv.Handler.ServeHTTP(w, asked(host, nil))
		if w.Code == http.StatusMisdirectedRequest || host == "" {
			return
		}
		name := host
		if h, _, err := net.SplitHostPort(host); err == nil {
			name = h
		}
		name = strings.TrimSuffix(strings.Trim(name, "[]"), ".")
		if err := leaf.VerifyHostname(name); err != nil {
			t.Errorf("%q is served: %v", host, err)
		}
	})
}

// A CA file that was copied from the system makes a client of anyone with a
// domain.
func TestTrap_ThePublicBundleAsClientCAs(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-12.1.3")
	key := ecKey(t, elliptic.P256())
	bundle := func(n int) string {
		var cas []*x509.Certificate
		for i := range n {
			c := leaf()
			c.IsCA, c.BasicConstraintsValid, c.SerialNumber, c.Subject.CommonName = true, true, big.NewInt(int64(i+1)), fmt.Sprintf("Root %d", i)
			cas = append(cas, sign(t, c, c, key.Public(), key))
		}
		name := filepath.Join(t.TempDir(), "bundle.pem")
		if err := os.WriteFile(name, chainPEM(cas...), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for n, want := range map[int][]string{49: nil, 50: {"HDN-TLS-067"}} {
		m := newMutual(t, func(c *tlsconfig.ServerConfig) { c.ClientAuth.CAs = tlsconfig.CAFile(bundle(n)) }, tlsconfig.DNS("a.test"))
		got := slices.DeleteFunc(failed(m.Check()), func(id string) bool { return id == "HDN-TLS-038" }) // the lifetimes
		if !slices.Equal(got, want) {
			t.Errorf("%d CAs: failed %v, want %v", n, got, want)
		}
		if _, err := dial(t, echo(t, m.TLS()), &tls.Config{ServerName: "localhost", RootCAs: m.site.ca.pool()}); err == nil {
			t.Error("a client without a certificate is let in")
		}
	}
}
