package tlsconfig_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/inovy/hardening/tlsconfig"
)

func strict(cs tls.ConnectionState) error {
	if len(cs.VerifiedChains) == 0 {
		return errors.New("not verified")
	}
	return nil
}

// That a hook is set says nothing: one that only counts lets in everybody.
func TestAVerifyConnectionThatChecksNothingDoesNotCount(t *testing.T) {
	ca := newAuthority(t)
	none := func(tls.ConnectionState) error { return nil }
	for _, tt := range []struct {
		name   string
		hook   func(tls.ConnectionState) error
		passed bool
	}{
		{"none", nil, false},
		{"accepts all", none, false},
		{"refuses strangers", strict, true},
		{"panics", func(tls.ConnectionState) error { panic("x") }, true},
	} {
		cfg := soundServer(ca.server(nil, "a.test"))
		cfg.ClientAuth, cfg.VerifyConnection = tls.RequireAnyClientCert, tt.hook
		if f := find(t, tlsconfig.Audit(cfg, tlsconfig.AuditOptions{}), "HDN-TLS-009"); f.Passed != tt.passed {
			t.Errorf("%s: %v", tt.name, f)
		}
		cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, ca.pool()
		cfg.SessionTicketsDisabled = false
		cfg.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { return nil }
		if f := find(t, tlsconfig.Audit(cfg, tlsconfig.AuditOptions{}), "HDN-TLS-010"); f.Passed != tt.passed {
			t.Errorf("%s: %v", tt.name, f)
		}
	}
}

func TestThePublicCAsAsClientCAsAreAFinding(t *testing.T) {
	const env = "TLSCONFIG_TEST_SYSTEM_CAS"
	ca := newAuthority(t)
	if os.Getenv(env) == "" { // the system's roots are read once in a process
		var roots []*x509.Certificate
		for range 12 {
			roots = append(roots, newAuthorityNamed(t, "Public CA "+string(rune('A'+len(roots)))).cert)
		}
		file := filepath.Join(t.TempDir(), "public.pem")
		if err := os.WriteFile(file, chainPEM(roots...), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), env+"=1", "SSL_CERT_FILE="+file, "SSL_CERT_DIR="+t.TempDir())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	system, err := x509.SystemCertPool()
	if err != nil {
		t.Fatal(err)
	}
	both := system.Clone()
	both.AddCert(ca.cert)
	for _, tt := range []struct {
		name   string
		pool   *x509.CertPool
		passed bool
	}{{"the system's", system, false}, {"the system's and an own one", both, false}, {"an own one", ca.pool(), true}} {
		cfg := soundServer(ca.server(nil, "a.test"))
		cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, tt.pool
		if f := find(t, tlsconfig.Audit(cfg, tlsconfig.AuditOptions{}), "HDN-TLS-009"); f.Passed != tt.passed {
			t.Errorf("%s: %v", tt.name, f)
		}
	}
	m := newMutual(t, func(c *tlsconfig.ServerConfig) { c.ClientAuth.CAs = tlsconfig.CAFile(os.Getenv("SSL_CERT_FILE")) }, tlsconfig.DNS("a.test"))
	if f := find(t, m.Check(), "HDN-TLS-067"); f.Passed {
		t.Errorf("a server that took the file of the public CAs: %v", f)
	}
}

func TestAuditJudgesCertificatesOfTheOldField(t *testing.T) {
	ca := newAuthority(t)
	wrong := ca.client(dns("b.test")) // a client's, which no browser accepts from a server
	cfg := soundServer(ca.server(nil, "a.test"))
	cfg.NameToCertificate = map[string]*tls.Certificate{"b.test": &wrong, "nil.test": nil} //nolint:staticcheck // SA1019: that is the point
	if f := find(t, tlsconfig.Audit(cfg, tlsconfig.AuditOptions{}), "HDN-TLS-060"); f.Passed {
		t.Errorf("%v", f)
	}
}

func TestAnHTTP1ServerOfOursIsNoFinding(t *testing.T) {
	m := newMutual(t, nil, tlsconfig.DNS("svc.test"))
	srv := m.HTTPServer(http.NotFoundHandler())
	srv.Protocols = new(http.Protocols)
	srv.Protocols.SetHTTP1(true)
	if f := find(t, tlsconfig.Audit(srv.TLSConfig, tlsconfig.AuditOptions{}), "HDN-TLS-057"); !f.Passed {
		t.Errorf("%v", f)
	}
}

func TestAuditAsksAClientForItsCertificate(t *testing.T) {
	ca := newAuthority(t)
	good, server := ca.client(dns("svc.test")), ca.server(nil, "a.test")
	for _, tt := range []struct {
		name   string
		hook   func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
		failed []string
	}{
		{"a client's certificate", func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) { return &good, r.Context().Err() }, nil},
		{"none", func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return new(tls.Certificate), nil }, nil},
		{"a server's certificate", func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &server, nil }, []string{"HDN-TLS-060"}},
		{"an error", func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return nil, errors.New("canary") }, []string{"HDN-TLS-014"}},
		{"a panic", func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { panic("canary") }, []string{"HDN-TLS-014"}},
	} {
		cfg := &tls.Config{MinVersion: tls.VersionTLS13, GetClientCertificate: tt.hook}
		if got := failed(tlsconfig.Audit(cfg, tlsconfig.AuditOptions{Role: tlsconfig.RoleClient})); !slices.Equal(got, tt.failed) {
			t.Errorf("%s: failed %v, want %v", tt.name, got, tt.failed)
		}
	}
}

func TestOptionsThatMeanNothingAreAFinding(t *testing.T) {
	cfg := soundServer(newAuthority(t).server(nil, "a.test"))
	for name, opts := range map[string]tlsconfig.AuditOptions{
		"role":        {Role: 7},
		"profile":     {Profile: 99},
		"environment": {Environment: 42},
		"server name": {ServerName: "https://a.test/"},
		"deviation":   {DangerouslySkipVerify: tlsconfig.DangerouslySkipVerify{Deviation: "later"}},
	} {
		if got := failed(tlsconfig.Audit(cfg, opts)); !slices.Equal(got, []string{"HDN-TLS-066"}) {
			t.Errorf("%s: failed %v", name, got)
		}
	}
}

// crypto/tls has no eyes for a Clone of what TLS returned, since its hook
// answers with a copy of the original: that is said by Audit.
func TestTrap_ChangesOnACloneAreDropped(t *testing.T) {
	m := newMutual(t, nil, tlsconfig.DNS("svc.test"))
	cfg := m.TLS()
	old := m.with(m.clients.client(dns("svc.test")))
	old.MaxVersion = tls.VersionTLS12
	for field, change := range map[string]func(*tls.Config){
		"MinVersion":             func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 },
		"MaxVersion":             func(c *tls.Config) { c.MaxVersion = tls.VersionTLS13 },
		"CipherSuites":           func(c *tls.Config) { c.CipherSuites = c.CipherSuites[:2] },
		"CurvePreferences":       func(c *tls.Config) { c.CurvePreferences = c.CurvePreferences[:4] },
		"SessionTicketsDisabled": func(c *tls.Config) { c.SessionTicketsDisabled = false },
		"GetCertificate": func(c *tls.Config) {
			get := c.GetCertificate
			c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return get(hello) }
		},
		"VerifyConnection": func(c *tls.Config) { c.VerifyConnection = strict },
	} {
		clone, inPlace := cfg.Clone(), m.TLS()
		change(clone)
		if f := find(t, tlsconfig.Audit(clone, tlsconfig.AuditOptions{}), "HDN-TLS-069"); f.Passed || !strings.HasSuffix(f.Observed, "its "+field) {
			t.Errorf("%s on a Clone: %v", field, f)
		}
		change(inPlace)
		if f := find(t, tlsconfig.Audit(inPlace, tlsconfig.AuditOptions{}), "HDN-TLS-069"); !f.Passed {
			t.Errorf("%s in place: %v", field, f)
		}
	}
	if ids := failed(tlsconfig.Audit(cfg.Clone(), tlsconfig.AuditOptions{})); len(ids) > 0 {
		t.Errorf("a Clone without changes fails %v", ids)
	}
	clone := cfg.Clone()
	clone.MinVersion = tls.VersionTLS13
	if cs, err := dial(t, echo(t, clone), old); err != nil || cs.Version != tls.VersionTLS12 {
		t.Errorf("a clone's change counts now (%v): say so in TLS", err)
	}
	stranger := m.with(m.clients.client(dns("other.test")))
	if _, err := dial(t, echo(t, clone), stranger); err == nil {
		t.Error("a clone lets in who is not listed")
	}
	cfg.MinVersion = tls.VersionTLS13
	if _, err := dial(t, echo(t, cfg), old); err == nil {
		t.Error("a change in place is dropped")
	}
}

// The server of HTTPServer looks at what its TLSConfig has become.
func TestAChangedCloneInAnHTTPServerCounts(t *testing.T) {
	m := newMutual(t, nil, tlsconfig.DNS("svc.test"))
	srv := m.HTTPServer(http.NotFoundHandler())
	srv.TLSConfig = srv.TLSConfig.Clone()
	srv.TLSConfig.MinVersion = tls.VersionTLS13
	asked := make(chan tls.ConnectionState, 9)
	srv.TLSConfig.VerifyConnection = func(cs tls.ConnectionState) error {
		asked <- cs
		return nil
	}
	addr := serve(t, srv, serveTLS)
	old := m.with(m.clients.client(dns("svc.test")))
	old.MaxVersion = tls.VersionTLS12
	if conn, err := tls.Dial("tcp", addr, old); err == nil {
		conn.Close()
		t.Error("TLS 1.2 is spoken")
	}
	for name, want := range map[string]int{"svc.test": 1, "other.test": 0} {
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: m.with(m.clients.client(dns(name)))}}
		res, err := c.Get("https://" + addr)
		if err == nil {
			res.Body.Close()
		}
		c.CloseIdleConnections()
		if (err == nil) != (want == 1) || len(asked) != want {
			t.Errorf("%s: %v, and the added check ran %d times", name, err, len(asked))
		}
		for len(asked) > 0 {
			<-asked
		}
	}
}
