package tlsconfig_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/elliptic"
	"crypto/fips140"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/tlsconfig"
)

// client issues a client certificate.
func (a *authority) client(change func(*x509.Certificate)) tls.Certificate {
	a.t.Helper()
	return a.clientWith(ecKey(a.t, elliptic.P256()), change)
}

func (a *authority) clientWith(key crypto.Signer, change func(*x509.Certificate)) tls.Certificate {
	a.t.Helper()
	c := leaf()
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	change(c)
	return tls.Certificate{Certificate: [][]byte{a.issue(c, key).Raw}, PrivateKey: key}
}

func dns(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.DNSNames = names }
}

func uris(list ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		for _, s := range list {
			u, err := url.Parse(s)
			if err != nil {
				panic(err)
			}
			c.URIs = append(c.URIs, u)
		}
	}
}

func caFile(t testing.TB, cas ...*authority) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ca.crt")
	putCAs(t, name, cas...)
	return name
}

func putCAs(t testing.TB, name string, cas ...*authority) {
	t.Helper()
	var data []byte
	for _, a := range cas {
		data = append(data, chainPEM(a.cert)...)
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// mutual is a server that asks for client certificates, and its parts.
type mutual struct {
	*tlsconfig.Server
	site    *site
	clients *authority
	caFile  string
	rec     *recorder
}

func newMutual(t testing.TB, change func(*tlsconfig.ServerConfig), allow ...tlsconfig.SAN) *mutual {
	t.Helper()
	m := &mutual{site: newSite(t, "localhost", "127.0.0.1"), clients: newAuthorityNamed(t, "Clients"), rec: &recorder{}}
	m.caFile = caFile(t, m.clients)
	cfg := tlsconfig.ServerConfig{Certs: certs(m.site.source()), Audit: m.rec, ClientAuth: &tlsconfig.ClientAuth{CAs: tlsconfig.CAFile(m.caFile), Allow: allow}}
	if change != nil {
		change(&cfg)
	}
	m.Server = started(t, cfg)
	return m
}

// with is the configuration of a client with a certificate.
func (m *mutual) with(certs ...tls.Certificate) *tls.Config {
	return &tls.Config{ServerName: "localhost", RootCAs: m.site.ca.pool(), Certificates: certs, ClientSessionCache: tls.NewLRUClientSessionCache(4)}
}

// Authorization in VerifyPeerCertificate is skipped when a session is resumed:
// go-spiffe, exporter-toolkit and others let delisted clients in. Tickets are
// off here by default; this test switches them on to show that the checks do
// not depend on that.
func TestTrap_ResumptionSkipsAuthorization(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-12.1.3")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			m := newMutual(t, nil, tlsconfig.DNS("alice.internal"), tlsconfig.DNS("bob.internal"))
			cfg := m.TLS()
			cfg.SessionTicketsDisabled = false
			addr := echo(t, cfg)
			alice := m.with(m.clients.client(dns("alice.internal")))
			alice.MaxVersion = version
			connect := func(what string, want bool) tls.ConnectionState {
				t.Helper()
				cs, err := dial(t, addr, alice)
				if (err == nil) != want {
					t.Errorf("%s: %v", what, err)
				}
				return cs
			}
			for range 10 {
				connect("listed", true)
				if cs := connect("listed, again", true); !cs.DidResume {
					t.Fatal("not resumed, so the test shows nothing")
				}
				refused := len(m.rec.events(t, "authz_fail"))
				if err := m.SetAllow(t.Context(), tlsconfig.DNS("bob.internal")); err != nil {
					t.Fatal(err)
				}
				connect("delisted", false)
				if ev := m.rec.events(t, "authz_fail"); len(ev) != refused+1 || ev[refused]["resumed"] != true || ev[refused]["client_addr"] != "127.0.0.1" || ev[refused]["reason"] != "it is not on the allow-list" {
					t.Errorf("no record of a refusal on a resumed connection: %v", ev[refused:])
				}
				connect("delisted, again", false)
				if err := m.SetAllow(t.Context(), tlsconfig.DNS("alice.internal")); err != nil {
					t.Fatal(err)
				}
			}
			stranger := newAuthorityNamed(t, "Other clients")
			for range 10 {
				connect("of a known CA", true)
				if cs := connect("of a known CA, again", true); !cs.DidResume {
					t.Fatal("not resumed, so the test shows nothing")
				}
				putCAs(t, m.caFile, stranger)
				if err := m.Reload(t.Context()); err != nil {
					t.Fatal(err)
				}
				connect("orphaned", false)
				putCAs(t, m.caFile, stranger, m.clients)
				if err := m.Reload(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestMutualTLSHasNoTickets(t *testing.T) {
	m := newMutual(t, nil, tlsconfig.DNS("alice.internal"))
	addr, alice := echo(t, m.TLS()), m.with(m.clients.client(dns("alice.internal")))
	for range 3 {
		if cs, err := dial(t, addr, alice); err != nil || cs.DidResume {
			t.Errorf("resumed %t, %v", cs.DidResume, err)
		}
	}
}

func TestWhichClientsAreLetIn(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-12.1.3")
	t.Attr("control", "ASVS v5.0.0-12.3.5")
	m := newMutual(t, nil, tlsconfig.DNS("alice.internal"), tlsconfig.DNS("*.pods.internal"), tlsconfig.Email("Ops@Example.org"),
		tlsconfig.URI("https://example.org/agent"), tlsconfig.SPIFFE("spiffe://inovy/ns/portal"), tlsconfig.SPIFFE("spiffe://inovy/jobs/*"))
	addr, stranger := echo(t, m.TLS()), newAuthorityNamed(t, "Clients")
	for _, tt := range []struct {
		name string
		cert tls.Certificate
		want bool
	}{
		{"a listed DNS name", m.clients.client(dns("ALICE.internal")), true},
		{"a listed name beside another", m.clients.client(dns("x.test", "alice.internal")), true},
		{"another DNS name", m.clients.client(dns("mallory.internal")), false},
		{"a name that begins alike", m.clients.client(dns("alice.internal.evil.test")), false},
		{"a label for the star", m.clients.client(dns("p1.pods.internal")), true},
		{"two labels for the star", m.clients.client(dns("a.p1.pods.internal")), false},
		{"a wildcard certificate", m.clients.client(dns("*.internal")), false},
		{"the name as common name", m.clients.client(func(c *x509.Certificate) { c.Subject.CommonName = "alice.internal" }), false},
		{"a listed address", m.clients.client(func(c *x509.Certificate) { c.EmailAddresses = []string{"Ops@EXAMPLE.org"} }), true},
		{"an address of other case before the @", m.clients.client(func(c *x509.Certificate) { c.EmailAddresses = []string{"ops@example.org"} }), false},
		{"a listed URI", m.clients.client(uris("https://example.org/agent")), true},
		{"a URI below it", m.clients.client(uris("https://example.org/agent/x")), false},
		{"a listed SPIFFE ID", m.clients.client(uris("spiffe://inovy/ns/portal")), true},
		{"a SPIFFE ID below it", m.clients.client(uris("spiffe://inovy/ns/portal/x")), false},
		{"a SPIFFE ID below a star", m.clients.client(uris("spiffe://inovy/jobs/a/b")), true},
		{"the path before the star itself", m.clients.client(uris("spiffe://inovy/jobs")), false},
		{"a SPIFFE ID that begins alike", m.clients.client(uris("spiffe://inovy/jobsX/a")), false},
		{"another trust domain", m.clients.client(uris("spiffe://evil/ns/portal")), false},
		{"a SPIFFE ID with dots", m.clients.client(uris("spiffe://inovy/jobs/../ns/admin")), false},
		{"a listed SPIFFE ID beside another URI", m.clients.client(uris("spiffe://inovy/ns/portal", "spiffe://inovy/ns/other")), false},
		{"a CA of the same name", stranger.client(dns("alice.internal")), false},
		{"expired", m.clients.client(func(c *x509.Certificate) {
			c.DNSNames, c.NotBefore, c.NotAfter = []string{"alice.internal"}, time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
		}), false},
		{"a server's certificate", m.clients.client(func(c *x509.Certificate) {
			c.DNSNames, c.ExtKeyUsage = []string{"alice.internal"}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}), false},
		{"self-signed", selfSigned(t, dns("alice.internal")), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := dial(t, addr, m.with(tt.cert))
			if (err == nil) != tt.want {
				t.Errorf("%v, want accepted %t", err, tt.want)
			}
		})
	}
	if _, err := dial(t, addr, m.with()); err == nil {
		t.Error("a client without a certificate was let in")
	}
}

func selfSigned(t testing.TB, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key := ecKey(t, elliptic.P256())
	c := leaf()
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	change(c)
	return tls.Certificate{Certificate: [][]byte{sign(t, c, c, key.Public(), key).Raw}, PrivateKey: key}
}

func TestWeakClientKeysAreRefused(t *testing.T) {
	if fips140.Enabled() {
		t.Skip("FIPS 140-3 mode signs with no such key")
	}
	t.Setenv("GODEBUG", "rsa1024min=0")
	modern := newMutual(t, nil, tlsconfig.DNS("alice.internal"))
	ncsc := newMutual(t, func(c *tlsconfig.ServerConfig) { c.Profile = tlsconfig.NCSC }, tlsconfig.DNS("alice.internal"))
	for _, tt := range []struct {
		m    *mutual
		bits int
		want bool
	}{{modern, 1024, false}, {modern, 2048, true}, {ncsc, 2048, false}, {ncsc, 3072, true}} {
		_, err := dial(t, echo(t, tt.m.TLS()), tt.m.with(tt.m.clients.clientWith(rsaKey(t, tt.bits), dns("alice.internal"))))
		if (err == nil) != tt.want {
			t.Errorf("RSA-%d: %v, want accepted %t", tt.bits, err, tt.want)
		}
	}
}

// exporter-toolkit reads rawCerts[0] of a client that sent none.
func TestTrap_NoCertificateMakesNoPanic(t *testing.T) {
	m := newMutual(t, func(c *tlsconfig.ServerConfig) { c.ClientAuth.Optional = true }, tlsconfig.DNS("alice.internal"))
	addr := echo(t, m.TLS())
	if _, err := dial(t, addr, m.with()); err != nil {
		t.Errorf("without a certificate: %v", err)
	}
	if cs, err := dial(t, addr, m.with(m.clients.client(dns("alice.internal")))); err != nil {
		t.Errorf("with a listed one: %v %v", cs, err)
	}
	if _, err := dial(t, addr, m.with(m.clients.client(dns("mallory.internal")))); err == nil {
		t.Error("with another one: let in")
	}
	if err := m.VerifyClient(tls.ConnectionState{}); err != nil {
		t.Errorf("%v", err)
	}
	strict := newMutual(t, nil, tlsconfig.DNS("alice.internal"))
	if err := strict.VerifyClient(tls.ConnectionState{}); !errors.Is(err, tlsconfig.ErrClientRefused) {
		t.Errorf("%v", err)
	}
	if err := strict.TLS().VerifyConnection(tls.ConnectionState{}); !errors.Is(err, tlsconfig.ErrClientRefused) {
		t.Errorf("%v", err)
	}
}

func TestPinsOfClients(t *testing.T) {
	key := ecKey(t, elliptic.P256())
	clients := newAuthorityNamed(t, "Clients")
	pinned := clients.clientWith(key, dns("alice.internal"))
	x, err := x509.ParseCertificate(pinned.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	m := newMutual(t, func(c *tlsconfig.ServerConfig) {
		c.ClientAuth.CAs = tlsconfig.CAFile(caFile(t, clients))
		c.ClientAuth.Pins = []string{tlsconfig.PinOf(x), "sha256/" + strings.Repeat("A", 43) + "="}
	}, tlsconfig.DNS("alice.internal"))
	addr := echo(t, m.TLS())
	if _, err := dial(t, addr, m.with(pinned)); err != nil {
		t.Errorf("a pinned key: %v", err)
	}
	if _, err := dial(t, addr, m.with(clients.clientWith(key, dns("alice.internal", "renewed.internal")))); err != nil {
		t.Errorf("a renewed certificate of the pinned key: %v", err)
	}
	if _, err := dial(t, addr, m.with(clients.client(dns("alice.internal")))); err == nil {
		t.Error("another key was let in")
	}
}

// A client's request fails on the connection that it holds, once it is delisted.
func TestAnOpenConnectionMeetsTheNewRules(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-12.1.3")
	for _, http2 := range []bool{false, true} {
		for what, change := range map[string]func(*testing.T, *mutual){
			"delisted": func(t *testing.T, m *mutual) {
				if err := m.SetAllow(t.Context(), tlsconfig.DNS("bob.internal")); err != nil {
					t.Fatal(err)
				}
			},
			"orphaned": func(t *testing.T, m *mutual) {
				putCAs(t, m.caFile, newAuthorityNamed(t, "Other"))
				if err := m.Reload(t.Context()); err != nil {
					t.Fatal(err)
				}
			},
		} {
			t.Run(what, func(t *testing.T) {
				m := newMutual(t, nil, tlsconfig.DNS("alice.internal"))
				served := 0
				srv := m.HTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					served++
					io.WriteString(w, r.Proto)
				}))
				addr := serve(t, srv, serveTLS)
				dials := 0
				tr := &http.Transport{TLSClientConfig: m.with(m.clients.client(dns("alice.internal"))), ForceAttemptHTTP2: http2,
					DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
						dials++
						return new(net.Dialer).DialContext(ctx, network, addr)
					}}
				defer tr.CloseIdleConnections()
				get := func() (int, string) {
					t.Helper()
					req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addr, nil)
					res, err := tr.RoundTrip(req)
					if err != nil {
						t.Fatal(err)
					}
					defer res.Body.Close()
					b, err := io.ReadAll(res.Body)
					if err != nil {
						t.Fatal(err)
					}
					return res.StatusCode, string(b)
				}
				for range 3 {
					if code, proto := get(); code != 200 || (proto == "HTTP/2.0") != http2 {
						t.Fatalf("%d %s", code, proto)
					}
				}
				change(t, m)
				code, body := get()
				if code != http.StatusForbidden || dials != 1 || served != 3 {
					t.Errorf("%d %s after %d connections, %d requests served", code, body, dials, served)
				}
				if ev := m.rec.events(t, "authz_fail"); len(ev) != 1 {
					t.Errorf("%v", ev)
				}
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addr, nil)
				if res, err := tr.RoundTrip(req); err == nil {
					res.Body.Close()
					t.Errorf("a new connection was let in: %s", res.Status)
				}
			})
		}
	}
}

// A configuration from GetConfigForClient without h2 loses HTTP/2 without a
// word, and one with h2 breaks a server that has switched it off.
func TestTrap_GetConfigForClientDecidesTheProtocol(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*http.Server)
		want   string
	}{
		"as it comes":        {func(*http.Server) {}, "h2"},
		"Protocols HTTP/1.1": {func(s *http.Server) { s.Protocols = new(http.Protocols); s.Protocols.SetHTTP1(true) }, "http/1.1"},
		"an empty TLSNextProto": {func(s *http.Server) {
			s.Protocols, s.TLSNextProto = nil, map[string]func(*http.Server, *tls.Conn, http.Handler){}
		}, "http/1.1"},
		"NextProtos changed": {func(s *http.Server) { s.TLSConfig.NextProtos = []string{"http/1.1"} }, "http/1.1"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMutual(t, nil, tlsconfig.DNS("alice.internal"))
			srv := m.HTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if len(r.TLS.VerifiedChains) == 0 {
					t.Error("no verified chains for the handler")
				}
			}))
			tt.change(srv)
			addr := serve(t, srv, serveTLS)
			tr := &http.Transport{TLSClientConfig: m.with(m.clients.client(dns("alice.internal"))), ForceAttemptHTTP2: true}
			defer tr.CloseIdleConnections()
			res, err := (&http.Client{Transport: tr}).Get("https://" + addr)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if got := res.TLS.NegotiatedProtocol; got != tt.want || res.StatusCode != 200 {
				t.Errorf("%s %s, want %s", got, res.Status, tt.want)
			}
		})
	}
}

// A configuration made per client that is rebuilt by hand forgets fields: OTel's
// loses cipher suites and groups. Ours keeps what the profile and the caller set.
func TestTrap_ConfigPerClientKeepsEverything(t *testing.T) {
	m := newMutual(t, nil, tlsconfig.DNS("alice.internal"))
	cfg := m.TLS()
	cfg.CurvePreferences = []tls.CurveID{tls.CurveP384}
	called := 0
	cfg.VerifyConnection = func(tls.ConnectionState) error { called++; return nil }
	addr := echo(t, cfg)
	alice := m.with(m.clients.client(dns("alice.internal")))
	if cs, err := dial(t, addr, alice); err != nil || cs.CurveID != tls.CurveP384 {
		t.Errorf("%v, %v", cs.CurveID, err)
	}
	if called != 1 {
		t.Errorf("the caller's check ran %d times", called)
	}
	if _, err := dial(t, addr, m.with(m.clients.client(dns("mallory.internal")))); err == nil {
		t.Error("the caller's VerifyConnection replaced the allow-list")
	}
	alice.MaxVersion, alice.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
	if _, err := dial(t, addr, alice); err == nil {
		t.Error("a CBC suite was negotiated")
	}
}

func TestANewClientCAReachesConfigsThatWereHandedOut(t *testing.T) {
	m := newMutual(t, nil, tlsconfig.DNS("alice.internal"))
	addr, next := echo(t, m.TLS()), newAuthorityNamed(t, "Next CA")
	alice := m.with(next.client(dns("alice.internal")))
	if _, err := dial(t, addr, alice); err == nil {
		t.Fatal("let in before")
	}
	putCAs(t, m.caFile, m.clients, next)
	if err := m.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := dial(t, addr, alice); err != nil {
		t.Errorf("after: %v", err)
	}
	if _, err := dial(t, addr, m.with(m.clients.client(dns("alice.internal")))); err != nil {
		t.Errorf("the old CA's client: %v", err)
	}
	if st := m.Status(); len(st) != 3 || st[1].Use != "trust anchor" || st[2].Issuer != "CN=Next CA" {
		t.Errorf("%+v", st)
	}
}

// Every way in which a CA file can be bad: a fault at the start, and the last
// good one kept at a reload.
func TestBadCAFiles(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	ca, key := newAuthority(t), ecKey(t, elliptic.P256())
	old := leaf()
	old.IsCA, old.BasicConstraintsValid, old.NotBefore, old.NotAfter = true, true, time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour)
	weakKey := rsaKey(t, 1024)
	weak := leaf()
	weak.IsCA, weak.BasicConstraintsValid = true, true
	secret := keyPEM(t, key)
	for _, tt := range []struct {
		name, reason string
		data         []byte
	}{
		{"empty", "is empty", nil},
		{"no certificate", "holds no PEM certificate", []byte("# to be filled in\n")},
		{"half-written", "half-written", chainPEM(ca.cert)[:200]},
		{"a half-written second CA", "half-written", append(chainPEM(ca.cert), chainPEM(ca.cert)[:100]...)},
		{"a leaf", "that is no CA's", chainPEM(ca.issue(leaf("a.test"), key))},
		{"a private key", "holds a private key", append(chainPEM(ca.cert), secret...)},
		{"expired CAs only", "have expired", chainPEM(sign(t, old, old, key.Public(), key))},
		{"RSA of 1024 bits", "RSA-1024", chainPEM(sign(t, weak, weak, weakKey.Public(), weakKey))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "ca.crt")
			if err := os.WriteFile(name, tt.data, 0o600); err != nil {
				t.Fatal(err)
			}
			site := newSite(t, "localhost")
			_, err := tlsconfig.NewServer(tlsconfig.ServerConfig{Certs: certs(site.source()), ClientAuth: &tlsconfig.ClientAuth{CAs: tlsconfig.CAFile(name), Allow: []tlsconfig.SAN{tlsconfig.DNS("a.test")}}})
			if err == nil || !strings.Contains(err.Error(), tt.reason) || !strings.Contains(err.Error(), "ClientAuth.CAs") {
				t.Errorf("%v, want %q", err, tt.reason)
			}
			noKeyBytes(t, strings.ReplaceAll(err.Error(), name, ""), tt.data)

			m := newMutual(t, nil, tlsconfig.DNS("alice.internal"))
			if err := os.WriteFile(m.caFile, tt.data, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := m.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("%v", err)
			}
			if _, err := dial(t, echo(t, m.TLS()), m.with(m.clients.client(dns("alice.internal")))); err != nil {
				t.Errorf("the last good CAs are gone: %v", err)
			}
			if f := find(t, m.Check(), "HDN-TLS-030"); f.Passed {
				t.Errorf("%v", f)
			}
			if ev := m.rec.events(t, "certificate_rejected"); len(ev) != 1 || ev[0]["object_type"] != "trust_anchors" {
				t.Errorf("%v", ev)
			}
		})
	}
}

func TestFaultsOfClientAuth(t *testing.T) {
	site := newSite(t, "localhost")
	ca := tlsconfig.CAFile(caFile(t, newAuthority(t)))
	pin := "sha256/" + strings.Repeat("A", 43) + "="
	rule := []tlsconfig.SAN{tlsconfig.DNS("a.test")}
	for _, tt := range []struct {
		name   string
		auth   tlsconfig.ClientAuth
		fields []string
	}{
		{"nothing", tlsconfig.ClientAuth{}, []string{"ClientAuth.CAs", "ClientAuth.Allow"}},
		{"the system's CAs", tlsconfig.ClientAuth{CAs: tlsconfig.SystemCAs(), Allow: rule}, []string{"ClientAuth.CAs"}},
		{"no such file", tlsconfig.ClientAuth{CAs: tlsconfig.CAFile("missing"), Allow: rule}, []string{"ClientAuth.CAs"}},
		{"no file name", tlsconfig.ClientAuth{CAs: tlsconfig.CAFile(""), Allow: rule}, []string{"ClientAuth.CAs"}},
		{"an empty list", tlsconfig.ClientAuth{CAs: ca, Allow: []tlsconfig.SAN{}}, []string{"ClientAuth.Allow"}},
		{"all and some", tlsconfig.ClientAuth{CAs: ca, Allow: rule, DangerouslyAllowAll: true}, []string{"ClientAuth.DangerouslyAllowAll"}},
		{"one pin", tlsconfig.ClientAuth{CAs: ca, Allow: rule, Pins: []string{pin}}, []string{"ClientAuth.Pins"}},
		{"one pin twice", tlsconfig.ClientAuth{CAs: ca, Allow: rule, Pins: []string{pin, pin}}, []string{"ClientAuth.Pins"}},
		{"no pins", tlsconfig.ClientAuth{CAs: ca, Allow: rule, Pins: []string{}}, []string{"ClientAuth.Pins"}},
		{"bad pins", tlsconfig.ClientAuth{CAs: ca, Allow: rule, Pins: []string{pin[7:], "sha256/AAAA"}}, []string{"ClientAuth.Pins[0]", "ClientAuth.Pins[1]"}},
		{"bad rules", tlsconfig.ClientAuth{CAs: ca, Allow: []tlsconfig.SAN{
			{}, tlsconfig.DNS(""), tlsconfig.DNS("https://a"), tlsconfig.DNS("a.*.b"), tlsconfig.DNS("*"), tlsconfig.Email("ops"), tlsconfig.Email("*@a.test"),
			tlsconfig.URI("a"), tlsconfig.URI("spiffe://a/b"), tlsconfig.SPIFFE("spiffe://A/b"), tlsconfig.SPIFFE("spiffe://a/b/"), tlsconfig.SPIFFE("spiffe://*"), tlsconfig.SPIFFE("https://a/b"), tlsconfig.SPIFFE("spiffe://a/*/b"),
		}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tlsconfig.NewServer(tlsconfig.ServerConfig{Certs: certs(site.source()), ClientAuth: &tt.auth})
			var fields []string
			for f := range hardening.Faults(err) {
				fields = append(fields, f.Field)
				if f.Reason == "" || f.Fix == "" {
					t.Errorf("incomplete %+v", f)
				}
			}
			if tt.fields == nil {
				if len(fields) != len(tt.auth.Allow) {
					t.Errorf("%d faults of %d rules: %v", len(fields), len(tt.auth.Allow), err)
				}
				return
			}
			if !slices.Equal(fields, tt.fields) {
				t.Errorf("faults of %v, want %v\n%v", fields, tt.fields, err)
			}
		})
	}
}

func TestSetAllowIsRecordedFirstAndCanBeRefused(t *testing.T) {
	m := newMutual(t, nil, tlsconfig.DNS("alice.internal"))
	addr := echo(t, m.TLS())
	if err := m.SetAllow(t.Context(), tlsconfig.DNS("bob.internal"), tlsconfig.SPIFFE("spiffe://x/y")); err != nil {
		t.Fatal(err)
	}
	ev := m.rec.events(t, "config_changed")
	if len(ev) != 1 || ev[0]["field"] != "ClientAuth.Allow" || ev[0]["count"] != 2.0 || ev[0]["before"] == ev[0]["after"] || strings.Contains(m.rec.String(), "bob.internal") {
		t.Errorf("%v", ev)
	}
	m.rec.refuse(errFull)
	if err := m.SetAllow(t.Context(), tlsconfig.DNS("alice.internal")); !errors.Is(err, errFull) {
		t.Errorf("%v", err)
	}
	if _, err := dial(t, addr, m.with(m.clients.client(dns("alice.internal")))); err == nil {
		t.Error("the change that was refused took effect")
	}
	if err := m.SetAllow(t.Context()); err == nil {
		t.Error("an empty list was accepted")
	}
	if err := started(t, tlsconfig.ServerConfig{Certs: certs(m.site.source())}).SetAllow(t.Context(), tlsconfig.DNS("a.test")); err == nil || !strings.Contains(err.Error(), "ClientAuth is not set") {
		t.Errorf("%v", err)
	}
}

func TestFindingsOfClientAuthFlip(t *testing.T) {
	good := newMutual(t, nil, tlsconfig.DNS("alice.internal"))
	if ids := failed(good.Check()); len(ids) > 0 {
		t.Errorf("%v", ids)
	}
	if ids := failed(tlsconfig.Audit(good.TLS(), tlsconfig.AuditOptions{})); len(ids) > 0 {
		t.Errorf("Audit: %v", ids)
	}
	for id, change := range map[string]func(*tlsconfig.ServerConfig){
		"HDN-TLS-031": func(c *tlsconfig.ServerConfig) { c.ClientAuth.Allow, c.ClientAuth.DangerouslyAllowAll = nil, true },
		"HDN-TLS-032": func(c *tlsconfig.ServerConfig) { c.ClientAuth.Optional = true },
		"HDN-TLS-038": func(c *tlsconfig.ServerConfig) {
			key := rsaKey(t, 2048)
			tmpl := leaf()
			tmpl.IsCA, tmpl.BasicConstraintsValid = true, true
			c.ClientAuth.CAs = tlsconfig.CAFile(caFile(t, &authority{t, sign(t, tmpl, tmpl, key.Public(), key), key}))
		},
	} {
		m := newMutual(t, change, tlsconfig.DNS("alice.internal"))
		if ids := failed(m.Check()); !slices.Equal(ids, []string{id}) {
			t.Errorf("%s: failed %v", id, ids)
		}
	}
	soon := leaf()
	soon.IsCA, soon.BasicConstraintsValid, soon.NotBefore = true, true, time.Now().Add(-300*24*time.Hour)
	key := ecKey(t, elliptic.P256())
	m := newMutual(t, func(c *tlsconfig.ServerConfig) {
		c.ClientAuth.CAs = tlsconfig.CAFile(caFile(t, &authority{t, sign(t, soon, soon, key.Public(), key), key}))
	}, tlsconfig.DNS("a.test"))
	if f := find(t, m.Check(), "HDN-TLS-038"); f.Passed || !strings.Contains(f.Observed, "due") {
		t.Errorf("%v", f)
	}
}

// FuzzSAN: a rule without a fault never matches a certificate that lacks it,
// and nothing panics.
func FuzzSAN(f *testing.F) {
	f.Add("alice.internal", "spiffe://inovy/*", "spiffe://inovy/a")
	f.Add("*.a", "spiffe://a/b/*", "spiffe://a/b")
	f.Add("", "spiffe://", "spiffe://a//b")
	f.Add("", "\x00@0", "")
	f.Add("0", "spiffe://0", "sPiffe://0") // RFC 3986 section 3.1: the case of a scheme does not count
	f.Fuzz(func(t *testing.T, name, rule, id string) {
		m := &x509.Certificate{DNSNames: []string{name}}
		if u, err := url.Parse(id); err == nil {
			m.URIs = []*url.URL{u}
			id = u.String()
		}
		for _, s := range []tlsconfig.SAN{tlsconfig.DNS(rule), tlsconfig.Email(rule), tlsconfig.URI(rule), tlsconfig.SPIFFE(rule)} {
			if bytes.ContainsAny([]byte(s.String()), "\x00") && tlsconfig.SANFault(s) == "" {
				t.Errorf("%q has no fault", s)
			}
			if tlsconfig.SANFault(s) == "" && tlsconfig.SANMatches(s, &x509.Certificate{}) {
				t.Errorf("%v matches a certificate without names", s)
			}
			if got := tlsconfig.SANMatches(s, m); got && strings.HasPrefix(s.String(), "SPIFFE:") {
				if prefix, star := strings.CutSuffix(rule, "/*"); !star && id != rule || star && !strings.HasPrefix(id, prefix+"/") {
					t.Errorf("%v matches %q", s, id)
				}
			}
		}
	})
}

// A CA that may issue for the trust domain must not pass as one of its
// workloads (X509-SVID, section 5.2: a leaf has no CA flag).
func TestACACertificateIsNoSVID(t *testing.T) {
	m := newMutual(t, nil, tlsconfig.SPIFFE("spiffe://inovy.test/*"))
	id := uris("spiffe://inovy.test/ns/a")
	if _, err := dial(t, echo(t, m.TLS()), m.with(m.clients.client(id))); err != nil {
		t.Fatal(err)
	}
	asCA := m.clients.client(func(c *x509.Certificate) {
		id(c)
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageDigitalSignature|x509.KeyUsageCertSign
	})
	if _, err := dial(t, echo(t, m.TLS()), m.with(asCA)); err == nil {
		t.Error("a CA's certificate is accepted as a workload's")
	}
}

// The handshake was in time; the requests after the end of the certificate are
// not, on the connection that is open, and a stream's handler can ask.
func TestAClientCertificateThatExpiresOnAnOpenConnectionIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Minute) // closing TLS over a pipe that nobody reads takes 5 s
		site, clients := newSite(t, "localhost"), newAuthorityNamed(t, "Clients")
		server, err := tlsconfig.NewServer(tlsconfig.ServerConfig{
			Certs: certs(site.source()), Logger: silent, MaxConnAge: time.Hour, PollInterval: time.Hour,
			ClientAuth: &tlsconfig.ClientAuth{CAs: tlsconfig.CAFile(caFile(t, clients)), Allow: []tlsconfig.SAN{tlsconfig.DNS("svc.test")}},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		var asked error
		srv := server.HTTPServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/stream" {
				time.Sleep(2 * time.Minute)
				asked = server.VerifyClient(*r.TLS)
			}
		}))
		srv.WriteTimeout = time.Hour
		l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
		go srv.ServeTLS(l, "", "")
		defer closeQuiet(srv)
		dials := 0
		short := clients.client(func(c *x509.Certificate) {
			dns("svc.test")(c)
			c.NotAfter = time.Now().Add(90 * time.Second)
		})
		tr := &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: site.ca.pool(), ServerName: "localhost", Certificates: []tls.Certificate{short}},
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				near, far := net.Pipe()
				l.conns <- far
				dials++
				return near, nil
			},
		}
		defer tr.CloseIdleConnections()
		c := &http.Client{Transport: tr}
		for i, tt := range []struct {
			path   string
			status int
		}{{"/", 200}, {"/stream", 200}, {"/", 403}} {
			res, err := get(t, c, "https://localhost"+tt.path)
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != tt.status || dials != 1 {
				t.Errorf("request %d: status %d over %d connections, want %d over one", i, res.StatusCode, dials, tt.status)
			}
		}
		if !errors.Is(asked, tlsconfig.ErrClientRefused) {
			t.Errorf("VerifyClient during the stream: %v", asked)
		}
	})
}
