package tlsconfig_test

import (
	"context"
	"crypto/elliptic"
	"crypto/fips140"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/tlsconfig"
)

var _ hardening.Checker = (*tlsconfig.Client)(nil)

func newClient(t testing.TB, cfg tlsconfig.ClientConfig) *tlsconfig.Client {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = silent
	}
	if cfg.PollInterval == 0 {
		cfg.PollInterval = time.Hour
	}
	c, err := tlsconfig.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// to dials addr whatever is asked for.
func to(addr string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
}

// web serves HTTPS with a certificate.
func web(t testing.TB, cert tls.Certificate, h http.Handler) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, ErrorLog: discardLog}
	go srv.ServeTLS(l, "", "")
	t.Cleanup(func() { srv.Close() })
	return l.Addr().String()
}

func (a *authority) server(change func(*x509.Certificate), hosts ...string) tls.Certificate {
	a.t.Helper()
	key := ecKey(a.t, elliptic.P256())
	c := leaf(hosts...)
	if change != nil {
		change(c)
	}
	return tls.Certificate{Certificate: [][]byte{a.issue(c, key).Raw}, PrivateKey: key}
}

var hello = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) })

func get(t testing.TB, c *http.Client, url string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(req)
	if err == nil {
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	return res, err
}

// Every way to connect refuses every bad certificate and takes the good one.
func TestServersAreVerifiedByEveryWayToConnect(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	t.Attr("control", "ASVS v5.0.0-12.3.2")
	ca, stranger := newAuthority(t), newAuthority(t)
	weak := rsaKey(t, 2048)
	if !fips140.Enabled() {
		weak = rsaKey(t, 1024)
	}
	weakCert := leaf("a.test", "127.0.0.1")
	if fips140.Enabled() {
		weakCert.NotAfter = time.Now().Add(-time.Minute) // no weak key to be had; let it fail otherwise
	}
	sha1 := leaf("a.test", "127.0.0.1")
	if sha1.SignatureAlgorithm = x509.SHA1WithRSA; fips140.Enforced() { // no such signature to be had
		sha1.SignatureAlgorithm, sha1.NotAfter = x509.SHA256WithRSA, time.Now().Add(-time.Minute)
	}
	old := &authority{t, nil, rsaKey(t, 2048)}
	oldCA := leaf()
	oldCA.Subject.CommonName, oldCA.IsCA, oldCA.BasicConstraintsValid, oldCA.KeyUsage = "Old CA", true, true, x509.KeyUsageCertSign
	oldCA.ExtKeyUsage = nil
	old.cert = sign(t, oldCA, oldCA, old.key.Public(), old.key)
	oldKey := ecKey(t, elliptic.P256())
	cases := []struct {
		name string
		cert tls.Certificate
		want bool
	}{
		{"good", ca.server(nil, "a.test", "127.0.0.1"), true},
		{"another host", ca.server(nil, "b.test", "127.0.0.2"), false},
		{"a name as common name", ca.server(func(c *x509.Certificate) { c.Subject.CommonName = "a.test" }), false},
		{"an unknown CA", stranger.server(nil, "a.test", "127.0.0.1"), false},
		{"expired", ca.server(func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
		}, "a.test", "127.0.0.1"), false},
		{"a client's certificate", ca.server(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, "a.test", "127.0.0.1"), false},
		{"RSA of 1024 bits", tls.Certificate{Certificate: [][]byte{ca.issue(weakCert, weak).Raw}, PrivateKey: weak}, false},
		{"a SHA-1 signature", tls.Certificate{Certificate: [][]byte{old.issue(sha1, oldKey).Raw}, PrivateKey: oldKey}, false},
		{"SHA-256 of the same CA", old.server(nil, "a.test", "127.0.0.1"), true},
	}
	roots := tlsconfig.CAFile(caFile(t, ca, old))
	for _, tt := range cases {
		addr := web(t, tt.cert, hello)
		_, port, _ := net.SplitHostPort(addr)
		byName := newClient(t, tlsconfig.ClientConfig{Roots: roots, DialContext: to(addr)})
		byIP := newClient(t, tlsconfig.ClientConfig{Roots: roots})
		fixed := newClient(t, tlsconfig.ClientConfig{Roots: roots, ServerName: "A.test."})
		fixedIP := newClient(t, tlsconfig.ClientConfig{Roots: roots, ServerName: "127.0.0.1"})
		for way, connect := range map[string]func() error{
			"HTTPClient by name": func() error { _, err := get(t, byName.HTTPClient(), "https://a.test"); return err },
			"HTTPClient by IP":   func() error { _, err := get(t, byIP.HTTPClient(), "https://"+addr); return err },
			"Transport by name": func() error {
				_, err := get(t, &http.Client{Transport: byName.Transport()}, "https://a.test")
				return err
			},
			"DialTLSContext by IP": func() error {
				conn, err := byIP.DialTLSContext(t.Context(), "tcp", addr)
				if err == nil {
					conn.Close()
				}
				return err
			},
			"TLS by name": func() error {
				cfg := byName.TLS()
				cfg.ServerName = "a.test"
				_, err := handshake(t, addr, cfg)
				return err
			},
			"TLS by ServerName":        func() error { _, err := handshake(t, addr, fixed.TLS()); return err },
			"TLS by ServerName, an IP": func() error { _, err := handshake(t, addr, fixedIP.TLS()); return err },
			"HTTPClient by ServerName": func() error { _, err := get(t, fixed.HTTPClient(), "https://127.0.0.1:"+port); return err },
			"http.Transport with TLS()": func() error {
				_, err := get(t, &http.Client{Transport: &http.Transport{TLSClientConfig: byName.TLS(), DialContext: to(addr)}}, "https://a.test")
				return err
			},
		} {
			t.Run(tt.name+"/"+way, func(t *testing.T) {
				if err := connect(); (err == nil) != tt.want {
					t.Errorf("%v, want accepted %t", err, tt.want)
				}
			})
		}
	}
}

// handshake is dial for servers that do not echo.
func handshake(t testing.TB, addr string, cfg *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := (&tls.Dialer{Config: cfg}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState(), nil
}

// With InsecureSkipVerify and a VerifyConnection that looks at cs.ServerName, as
// most reload recipes have it, the check of the name vanishes for connections
// by IP address: cs.ServerName is then empty, and x509 checks no empty name.
func TestTrap_HostnameCheckVanishesForIPAddresses(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-12.3.2")
	ca := newAuthority(t)
	addr := web(t, ca.server(nil, "other.test"), hello) // trusted CA, wrong host
	recipe := &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(cs tls.ConnectionState) error {
		_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: ca.pool(), DNSName: cs.ServerName})
		return err
	}}
	if _, err := handshake(t, addr, recipe); err != nil {
		t.Fatalf("the trap is gone: %v", err)
	}
	c := newClient(t, tlsconfig.ClientConfig{Roots: tlsconfig.CAFile(caFile(t, ca))})
	if _, err := handshake(t, addr, c.TLS()); !errors.Is(err, tlsconfig.ErrNoServerName) {
		t.Errorf("%v, want ErrNoServerName", err)
	}
	withName := c.TLS()
	withName.ServerName = "127.0.0.1"
	if _, err := handshake(t, addr, withName); !errors.Is(err, tlsconfig.ErrNoServerName) {
		t.Errorf("%v, want ErrNoServerName", err)
	}
	if _, err := get(t, c.HTTPClient(), "https://"+addr); err == nil || !strings.Contains(err.Error(), "for another name") {
		t.Errorf("%v", err)
	}
}

// The open proposal golang/go#64796: roots that are replaced in a file reach
// every configuration that was handed out, and the name is still checked.
func TestRootsAreReloaded(t *testing.T) {
	old, next := newAuthorityNamed(t, "Old"), newAuthorityNamed(t, "Next")
	file := caFile(t, old)
	rec := &recorder{}
	c := newClient(t, tlsconfig.ClientConfig{Roots: tlsconfig.CAFile(file), Audit: rec})
	cfg := c.TLS()
	cfg.ServerName = "a.test"
	oldAddr, nextAddr := web(t, old.server(nil, "a.test", "127.0.0.1"), hello), web(t, next.server(nil, "a.test", "127.0.0.1"), hello)
	wrong := web(t, next.server(nil, "b.test"), hello)
	expect := func(what string, trustsOld, trustsNext bool) {
		t.Helper()
		for addr, want := range map[string]bool{oldAddr: trustsOld, nextAddr: trustsNext, wrong: false} {
			if _, err := handshake(t, addr, cfg); (err == nil) != want {
				t.Errorf("%s: TLS: %v, want %t", what, err, want)
			}
			if _, err := get(t, c.HTTPClient(), "https://"+addr); (err == nil) != want {
				t.Errorf("%s: HTTPClient: %v, want %t", what, err, want)
			}
		}
	}
	expect("before", true, false)
	for what, cas := range map[string][]*authority{"both": {old, next}} {
		putCAs(t, file, cas...)
		if err := c.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		expect(what, true, true)
	}
	putCAs(t, file, next)
	rec.refuse(errFull)
	if err := c.Reload(t.Context()); !errors.Is(err, errFull) {
		t.Errorf("%v", err)
	}
	expect("refused by the audit handler", true, true)
	rec.refuse(nil)
	if err := c.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("after", false, true) // the idle connection to the old server is gone too
	putCAs(t, file)
	if err := c.Reload(t.Context()); err == nil {
		t.Error("an empty file was accepted")
	}
	expect("with an empty file", false, true)
	if ev := rec.events(t, "certificate_reloaded"); len(ev) != 3 || ev[2]["object_type"] != "trust_anchors" || ev[2]["count"] != 1.0 {
		t.Errorf("%v", ev)
	}
}

// A session that is resumed was verified with the roots of its time.
func TestTrap_ResumptionWithRootsThatAreGone(t *testing.T) {
	old, next := newAuthorityNamed(t, "Old"), newAuthorityNamed(t, "Next")
	addr := echo(t, &tls.Config{Certificates: []tls.Certificate{old.server(nil, "a.test", "127.0.0.1")}})
	file := caFile(t, old)
	c := newClient(t, tlsconfig.ClientConfig{Roots: tlsconfig.CAFile(file)})
	cfg := c.TLS()
	cfg.ServerName = "a.test"
	own := tls.NewLRUClientSessionCache(4) // one that the client cannot empty
	cfg.ClientSessionCache = own
	for range 10 {
		for range 2 {
			if _, err := dial(t, addr, cfg); err != nil {
				t.Fatal(err)
			}
		}
		if cs, err := dial(t, addr, cfg); err != nil || !cs.DidResume {
			t.Fatalf("not resumed, so the test shows nothing: %v", err)
		}
		putCAs(t, file, next)
		if err := c.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := dial(t, addr, cfg); err == nil {
			t.Error("a server of a CA that is not trusted any more was accepted")
		}
		putCAs(t, file, old, next)
		if err := c.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestClientsResumeWithinTheirTrustOnly(t *testing.T) {
	ca := newAuthority(t)
	addr := echo(t, &tls.Config{Certificates: []tls.Certificate{ca.server(nil, "a.test")}})
	roots := tlsconfig.CAFile(caFile(t, ca))
	one, two := newClient(t, tlsconfig.ClientConfig{Roots: roots, ServerName: "a.test"}), newClient(t, tlsconfig.ClientConfig{Roots: roots, ServerName: "a.test"})
	ncsc := newClient(t, tlsconfig.ClientConfig{Roots: roots, ServerName: "a.test", Profile: tlsconfig.NCSC})
	own := newClient(t, tlsconfig.ClientConfig{Roots: roots, ServerName: "a.test", Certs: certs(clientPair(t, ca))})
	for name, c := range map[string]*tlsconfig.Client{"the same client": one, "NCSC": ncsc, "a client with a certificate": own} {
		var last tls.ConnectionState
		for range 2 {
			var err error
			if last, err = dial(t, addr, c.TLS()); err != nil {
				t.Fatal(err)
			}
		}
		if want := c == one; last.DidResume != want {
			t.Errorf("%s: resumed %t", name, last.DidResume)
		}
	}
	if cs, err := dial(t, addr, two.TLS()); err != nil || cs.DidResume {
		t.Errorf("another client resumed %t, %v", cs.DidResume, err)
	}
}

// clientPair writes a client's certificate.
func clientPair(t testing.TB, ca *authority) tlsconfig.CertSource {
	t.Helper()
	key := ecKey(t, elliptic.P256())
	c := leaf()
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	c.DNSNames = []string{"alice.internal"}
	return tlsconfig.Files(write(t, chainPEM(ca.issue(c, key)), keyPEM(t, key)))
}

func TestAClientPresentsItsRenewedCertificate(t *testing.T) {
	m := newMutual(t, nil, tlsconfig.DNS("alice.internal"))
	var serials []string
	var mu sync.Mutex
	srv := m.HTTPServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		serials = append(serials, r.TLS.PeerCertificates[0].SerialNumber.String())
	}))
	addr := serve(t, srv, serveTLS)
	own := &site{t: t, ca: m.clients}
	asClient := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }
	own.cert, own.key = write(t, nil, nil)
	own.put(asClient, "alice.internal")
	c := newClient(t, tlsconfig.ClientConfig{Roots: tlsconfig.CAFile(caFile(t, m.site.ca)), Certs: certs(own.source())})
	call := func() {
		t.Helper()
		if res, err := get(t, c.HTTPClient(), "https://"+addr); err != nil || res.StatusCode != 200 {
			t.Fatalf("%v %v", res, err)
		}
	}
	call()
	call()
	own.put(asClient, "alice.internal")
	if err := c.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	call()
	if len(serials) != 3 || serials[0] != serials[1] || serials[1] == serials[2] {
		t.Errorf("%v", serials)
	}
	if st := c.Status(); len(st) != 2 || st[0].Use != "presented" || st[1].Use != "trust anchor" {
		t.Errorf("%+v", st)
	}
	if ids := failed(c.Check()); len(ids) > 0 {
		t.Errorf("%v", ids)
	}
	own.put(nil, "alice.internal") // for servers
	if err := c.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "lacks clientAuth") {
		t.Errorf("%v", err)
	}
	call()
}

func TestPinsOfServers(t *testing.T) {
	ca := newAuthority(t)
	good := ca.server(nil, "a.test", "127.0.0.1")
	addr, other := web(t, good, hello), web(t, ca.server(nil, "a.test", "127.0.0.1"), hello)
	x, err := x509.ParseCertificate(good.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	backup := "sha256/" + strings.Repeat("A", 43) + "="
	roots := tlsconfig.CAFile(caFile(t, ca))
	for name, tt := range map[string]struct {
		cfg       tlsconfig.ClientConfig
		wantOther bool
	}{
		"the leaf's key":   {tlsconfig.ClientConfig{Roots: roots, Pins: []string{tlsconfig.PinOf(x), backup}}, false},
		"the CA's key":     {tlsconfig.ClientConfig{Roots: roots, Pins: []string{backup, tlsconfig.PinOf(ca.cert)}}, true},
		"the deviation's":  {tlsconfig.ClientConfig{Pins: []string{tlsconfig.PinOf(x), backup}, DangerouslySkipVerify: tlsconfig.DangerouslySkipVerify{Deviation: "DEV-2026-001"}}, false},
		"skipped, no pins": {tlsconfig.ClientConfig{DangerouslySkipVerify: tlsconfig.DangerouslySkipVerify{Deviation: "DEV-2026-001"}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, tt.cfg)
			fixed := tt.cfg
			fixed.ServerName = "a.test"
			f := newClient(t, fixed)
			for _, at := range []struct {
				addr string
				want bool
			}{{addr, true}, {other, tt.wantOther}} {
				_, err := get(t, c.HTTPClient(), "https://"+at.addr)
				_, err2 := handshake(t, at.addr, f.TLS())
				for _, err := range []error{err, err2} {
					if (err == nil) != at.want || err != nil && !errors.Is(err, tlsconfig.ErrPin) {
						t.Errorf("%v, want accepted %t", err, at.want)
					}
				}
			}
		})
	}
}

func TestProfilesOfClients(t *testing.T) {
	t.Attr("control", "NCSC-TLS 3.3.1")
	ca := newAuthority(t)
	cert := ca.server(nil, "a.test")
	roots := tlsconfig.CAFile(caFile(t, ca))
	old := echo(t, &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: tls.VersionTLS12})
	cbc := echo(t, &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}})
	tls11 := echo(t, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	classical := echo(t, &tls.Config{Certificates: []tls.Certificate{cert}, CurvePreferences: []tls.CurveID{tls.CurveP256}})
	current := echo(t, &tls.Config{Certificates: []tls.Certificate{cert}})
	for _, tt := range []struct {
		profile tlsconfig.Profile
		reach   map[string]bool
	}{
		{0, map[string]bool{old: false, cbc: false, tls11: false, classical: true, current: true}},
		{tlsconfig.Intermediate, map[string]bool{old: true, cbc: false, tls11: false, classical: true, current: true}},
		{tlsconfig.NCSC, map[string]bool{old: false, cbc: false, tls11: false, classical: true, current: true}},
		{tlsconfig.NCSCStrict, map[string]bool{old: false, cbc: false, tls11: false, classical: false, current: true}},
	} {
		c := newClient(t, tlsconfig.ClientConfig{Roots: roots, ServerName: "a.test", Profile: tt.profile})
		for addr, want := range tt.reach {
			cs, err := dial(t, addr, c.TLS())
			if (err == nil) != want {
				t.Errorf("%v: %v, want %t", tt.profile, err, want)
			}
			if addr == current && err == nil && cs.CurveID != tls.X25519MLKEM768 {
				t.Errorf("%v: %v", tt.profile, cs.CurveID)
			}
		}
		for _, fs := range [][]hardening.Finding{c.Check(), tlsconfig.Audit(c.TLS(), tlsconfig.AuditOptions{Role: tlsconfig.RoleClient})} {
			if ids := failed(fs); len(ids) > 0 || len(fs) < 8 {
				t.Errorf("%v: failed %v of %d", tt.profile, ids, len(fs))
			}
		}
	}
	c := newClient(t, tlsconfig.ClientConfig{Roots: roots, ServerName: "a.test", ClassicalKexOnly: "the firewall in Utrecht drops 1.3 KiB hellos"})
	want := tls.X25519
	if fips140.Enabled() {
		want = tls.CurveP256
	}
	if cs, err := dial(t, current, c.TLS()); err != nil || cs.CurveID != want {
		t.Errorf("%v %v", cs.CurveID, err)
	}
}

func TestNewClientNamesEveryFaultAtOnce(t *testing.T) {
	pin := "sha256/" + strings.Repeat("A", 43) + "="
	_, err := tlsconfig.NewClient(tlsconfig.ClientConfig{
		Profile: 99, Environment: 99, Roots: tlsconfig.CAFile("no.crt"), Certs: []tlsconfig.CertSource{nil, tlsconfig.Files("", "")},
		ServerName: "https://a.test", Pins: []string{pin}, ClassicalKexOnly: "x", DangerouslySkipVerify: tlsconfig.DangerouslySkipVerify{Deviation: "because"},
		Proxy: &url.URL{Scheme: "socks5", Host: "p", User: url.UserPassword("u", "canary-password")}, Timeout: -1, PollInterval: time.Millisecond,
	})
	got := map[string]int{}
	for f := range hardening.Faults(err) {
		got[f.Field]++
		if f.Room != "tlsconfig" || f.Reason == "" || f.Fix == "" {
			t.Errorf("incomplete %+v", f)
		}
	}
	want := map[string]int{
		"Profile": 1, "Environment": 1, "Roots": 1, "Certs[0]": 1, "Certs[1]": 2, "ServerName": 1, "Pins": 1, "ClassicalKexOnly": 1,
		"DangerouslySkipVerify.Deviation": 1, "Proxy": 1, "Timeout": 1, "PollInterval": 1,
	}
	for field, n := range want {
		if got[field] != n {
			t.Errorf("%d faults of %s, want %d", got[field], field, n)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%v, want %v", got, want)
	}
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("%v", err)
	}
	for name, cfg := range map[string]tlsconfig.ClientConfig{
		"Certs":            {Certs: []tlsconfig.CertSource{}},
		"ServerName":       {ServerName: "*.a.test"},
		"ClassicalKexOnly": {ClassicalKexOnly: "a reason that is long enough", Profile: tlsconfig.NCSCStrict},
	} {
		_, err := tlsconfig.NewClient(cfg)
		n := 0
		for f := range hardening.Faults(err) {
			if n++; f.Field != name {
				t.Errorf("%v", f)
			}
		}
		if n != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFindingsOfClientsFlip(t *testing.T) {
	ca := newAuthority(t)
	roots := tlsconfig.CAFile(caFile(t, ca))
	for id, cfg := range map[string]tlsconfig.ClientConfig{
		"HDN-TLS-037": {ClassicalKexOnly: "the firewall drops large hellos"},
		"HDN-TLS-063": {DangerouslySkipVerify: tlsconfig.DangerouslySkipVerify{Deviation: "DEV-2026-001"}},
		"HDN-TLS-024": {Roots: roots, Certs: certs(openKey(t, ca))},
		"":            {Roots: roots, Certs: certs(clientPair(t, ca))},
	} {
		c := newClient(t, cfg)
		var want []string
		if id != "" {
			want = []string{id}
		}
		if ids := failed(c.Check()); !slices.Equal(ids, want) {
			t.Errorf("%q: failed %v", id, ids)
		}
		seen := map[string]bool{}
		for _, f := range c.Check() {
			if f.Title == "" || f.Observed == "" || f.Expected == "" || f.Remedy == "" || len(f.Controls) == 0 || seen[f.ID] {
				t.Errorf("incomplete or doubled %+v", f)
			}
			seen[f.ID] = true
		}
	}
	c := newClient(t, tlsconfig.ClientConfig{ClassicalKexOnly: "the firewall drops large hellos"})
	if f := find(t, c.Check(), "HDN-TLS-037"); !strings.Contains(f.Observed, "the firewall") || f.Severity != hardening.Low {
		t.Errorf("%v", f)
	}
}

// openKey is a client's pair whose key all may read.
func openKey(t testing.TB, ca *authority) tlsconfig.CertSource {
	t.Helper()
	key := ecKey(t, elliptic.P256())
	c := leaf("alice.internal")
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	certFile, keyFile := write(t, chainPEM(ca.issue(c, key)), keyPEM(t, key))
	chmod(t, keyFile, 0o604)
	return tlsconfig.Files(certFile, keyFile)
}

func TestClosingAClientEndsItsGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := tlsconfig.NewClient(tlsconfig.ClientConfig{Roots: tlsconfig.CAFile(caFile(t, newAuthority(t))), Logger: silent})
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		c.Close()
		if err := c.Reload(t.Context()); !errors.Is(err, tlsconfig.ErrClosed) {
			t.Errorf("%v", err)
		}
	})
}
