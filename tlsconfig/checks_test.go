package tlsconfig_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/fips140"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
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

var _ hardening.Checker = (*tlsconfig.Server)(nil)

func TestEveryProfilePassesItsOwnChecks(t *testing.T) {
	ca := newAuthority(t)
	for _, profile := range profiles {
		s := newServer(t, profile, ca.good("localhost"))
		for _, fs := range [][]hardening.Finding{s.Check(), tlsconfig.Audit(s.TLS(), tlsconfig.AuditOptions{})} {
			if len(fs) < 15 {
				t.Errorf("%v: only %d findings", profile, len(fs))
			}
			seen := map[string]bool{}
			for _, f := range fs {
				if !f.Passed {
					t.Errorf("%v: %v", profile, f)
				}
				if !strings.HasPrefix(f.ID, "HDN-TLS-") || seen[f.ID] || f.Component != "tlsconfig" || f.Title == "" || f.Observed == "" || f.Expected == "" || f.Remedy == "" || len(f.Controls) == 0 {
					t.Errorf("%v: incomplete or doubled %+v", profile, f)
				}
				seen[f.ID] = true
			}
		}
	}
}

// Each way to weaken a server configuration gives its finding and no other.
func TestAuditNamesEveryWeakness(t *testing.T) {
	ca := newAuthority(t)
	server := newServer(t, 0, ca.good("localhost"))
	for _, tt := range []struct {
		name   string
		role   tlsconfig.Role
		weaken func(*tls.Config)
		want   []string
	}{
		{"Go's defaults", 0, func(c *tls.Config) { *c = tls.Config{GetCertificate: c.GetCertificate} }, []string{"HDN-TLS-002"}},
		{"TLS 1.1", 0, func(c *tls.Config) { c.MinVersion = tls.VersionTLS11 }, []string{"HDN-TLS-001"}},
		{"a CBC suite", 0, func(c *tls.Config) {
			c.CipherSuites = append(c.CipherSuites, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA)
		}, []string{"HDN-TLS-002"}},
		{"RSA key exchange", 0, func(c *tls.Config) { c.CipherSuites = append(c.CipherSuites, tls.TLS_RSA_WITH_AES_128_GCM_SHA256) }, []string{"HDN-TLS-002"}},
		{"classical groups only", 0, func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256} }, []string{"HDN-TLS-003"}},
		{"no TLS 1.3", 0, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, []string{"HDN-TLS-003", "HDN-TLS-004"}},
		{"one ticket key for ever", 0, func(c *tls.Config) { c.SessionTicketKey[0] = 1 }, []string{"HDN-TLS-005"}},
		{"a key log", 0, func(c *tls.Config) { c.KeyLogWriter = io.Discard }, []string{"HDN-TLS-006"}},
		{"unverified client certificates", 0, func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }, []string{"HDN-TLS-009"}},
		{"client certificates of any public CA", 0, func(c *tls.Config) { c.ClientAuth = tls.RequireAndVerifyClientCert }, []string{"HDN-TLS-009"}},
		{"client certificates of an empty pool", 0, func(c *tls.Config) {
			c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		}, []string{"HDN-TLS-009"}},
		{"an allow-list that resumption skips", 0, func(c *tls.Config) {
			c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, ca.pool()
			c.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { return nil }
		}, []string{"HDN-TLS-010"}},
		{"own randomness", 0, func(c *tls.Config) { c.Rand = bytes.NewReader(nil) }, []string{"HDN-TLS-011"}},
		{"HTTP/2 without its suite", 0, func(c *tls.Config) { c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384} }, []string{"HDN-TLS-013"}},
		{"a weak config behind GetConfigForClient", 0, func(c *tls.Config) {
			weak := c.Clone()
			weak.MinVersion = tls.VersionTLS10
			c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return weak, nil }
		}, []string{"HDN-TLS-001"}},
		{"a hook that fails", 0, func(c *tls.Config) {
			c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("canary") }
		}, []string{"HDN-TLS-014"}},
		{"a hook that panics", 0, func(c *tls.Config) {
			c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { panic("canary") }
		}, []string{"HDN-TLS-014"}},
		{"no certificate", 0, func(c *tls.Config) { c.GetCertificate = nil }, []string{"HDN-TLS-014"}},
		{"a client that skips verification", tlsconfig.RoleClient, func(c *tls.Config) { c.InsecureSkipVerify = true }, []string{"HDN-TLS-007"}},
		{"a client that renegotiates", tlsconfig.RoleClient, func(c *tls.Config) { c.Renegotiation = tls.RenegotiateFreelyAsClient }, []string{"HDN-TLS-008"}},
		{"a client whose check resumption skips", tlsconfig.RoleClient, func(c *tls.Config) {
			c.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			c.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { return nil }
		}, []string{"HDN-TLS-010"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := server.TLS()
			if ids := failed(tlsconfig.Audit(cfg, tlsconfig.AuditOptions{Role: tt.role})); len(ids) > 0 {
				t.Fatalf("before: %v", ids)
			}
			if fips140.Enabled() && (tt.want[0] == "HDN-TLS-001" || tt.want[0] == "HDN-TLS-002") {
				t.Skip("FIPS 140-3 mode leaves no such version or suite")
			}
			tt.weaken(cfg)
			fs := tlsconfig.Audit(cfg, tlsconfig.AuditOptions{Role: tt.role})
			if got := failed(fs); !slices.Equal(got, tt.want) {
				t.Errorf("failed %v, want %v", got, tt.want)
			}
			for _, f := range fs {
				if strings.Contains(f.String(), "canary") {
					t.Errorf("quotes a hook's error: %v", f)
				}
			}
		})
	}
}

func TestAuditOfNilJudgesGosDefaults(t *testing.T) {
	if fips140.Enabled() {
		t.Skip("Go's defaults are others in FIPS 140-3 mode")
	}
	if got := failed(tlsconfig.Audit(nil, tlsconfig.AuditOptions{})); !slices.Equal(got, []string{"HDN-TLS-002", "HDN-TLS-014"}) {
		t.Errorf("%v", got)
	}
}

func TestAuditEndsWhenAHookHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		cfg := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			<-stop
			return nil, errors.New("stopped")
		}}
		start := time.Now()
		f := find(t, tlsconfig.Audit(cfg, tlsconfig.AuditOptions{}), "HDN-TLS-014")
		if f.Passed || time.Since(start) > 10*time.Second {
			t.Errorf("after %v: %v", time.Since(start), f)
		}
		close(stop)
	})
}

func TestAuditHooksSeeARealHello(t *testing.T) {
	ca := newAuthority(t)
	server := newServer(t, 0, ca.good("localhost"))
	cfg := server.TLS()
	asked := ""
	cfg.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		asked = h.ServerName
		if h.Context().Err() != nil || h.Conn.RemoteAddr() == nil || len(h.SupportedVersions) == 0 {
			t.Error("the hello lacks what a hook may use")
		}
		return nil, nil
	}
	if ids := failed(tlsconfig.Audit(cfg, tlsconfig.AuditOptions{ServerName: "localhost"})); len(ids) > 0 || asked != "localhost" {
		t.Errorf("failed %v, asked for %q", ids, asked)
	}
}

// Findings about certificates: each passes with a good one and fails with one
// that NewServer accepts but an auditor asks about.
func TestCertificateFindingsFlip(t *testing.T) {
	ca := newAuthority(t)
	devDir := filepath.Join(t.TempDir(), "ca")
	devCert, devKey := filepath.Join(devDir, "tls.crt"), filepath.Join(devDir, "tls.key")
	if err := newDevCA(t, devDir).Issue(devCert, devKey, "localhost"); err != nil {
		t.Fatal(err)
	}
	with := func(key crypto.Signer, change func(*x509.Certificate)) (certFile, keyFile string) {
		c := leaf("localhost")
		change(c)
		return write(t, chainPEM(ca.issue(c, key)), keyPEM(t, key))
	}
	ec := ecKey(t, elliptic.P256())
	selfSigned := leaf("localhost")
	openCert, openKey := with(ec, func(*x509.Certificate) {})
	if err := os.Chmod(openKey, 0o604); err != nil {
		t.Fatal(err)
	}
	pairOf := func(certFile, keyFile string) [2]string { return [2]string{certFile, keyFile} }
	for _, tt := range []struct {
		id   string
		pair [2]string
	}{
		{"HDN-TLS-020", pairOf(with(rsaKey(t, 2048), func(*x509.Certificate) {}))},
		{"HDN-TLS-021", pairOf(with(ec, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(-200 * 24 * time.Hour) }))},
		{"HDN-TLS-022", pairOf(with(ec, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(400 * 24 * time.Hour) }))},
		{"HDN-TLS-023", pairOf(write(t, chainPEM(sign(t, selfSigned, selfSigned, ec.Public(), ec)), keyPEM(t, ec)))},
		{"HDN-TLS-023", pairOf(devCert, devKey)},
		{"HDN-TLS-023", pairOf(with(ec, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }))},
		{"HDN-TLS-024", pairOf(openCert, openKey)},
	} {
		s := newServer(t, 0, ca.good("other.test"), tlsconfig.Files(tt.pair[0], tt.pair[1]))
		if got := failed(s.Check()); !slices.Equal(got, []string{tt.id}) {
			t.Errorf("%s: Check failed %v", tt.id, got)
		}
		if f := find(t, s.Check(), tt.id); !strings.Contains(f.Observed, tt.pair[0]) {
			t.Errorf("%s does not name the certificate: %s", tt.id, f.Observed)
		}
		if tt.id == "HDN-TLS-024" {
			continue // Audit sees no files
		}
		if got := failed(tlsconfig.Audit(s.TLS(), tlsconfig.AuditOptions{ServerName: "localhost"})); !slices.Equal(got, []string{tt.id}) {
			t.Errorf("%s: Audit failed %v", tt.id, got)
		}
	}
	s, err := tlsconfig.NewServer(tlsconfig.ServerConfig{Environment: hardening.Development, Certs: []tlsconfig.CertSource{tlsconfig.Files(devCert, devKey)}, Logger: silent})
	if err != nil {
		t.Fatal(err)
	}
	if got := failed(s.Check()); len(got) > 0 {
		t.Errorf("in Development: %v", got)
	}
	if got := failed(tlsconfig.Audit(s.TLS(), tlsconfig.AuditOptions{Environment: hardening.Development})); len(got) > 0 {
		t.Errorf("in Development: %v", got)
	}
}

func TestEveryWeakeningGODEBUGIsAFinding(t *testing.T) {
	ca := newAuthority(t)
	s := newServer(t, 0, ca.good("localhost"))
	for _, setting := range []string{"tls10server=1", "tlsrsakex=1", "tls3des=1", "tlssha1=1", "tlsmlkem=0", "tlssecpmlkem=0", "tlsunsafeekm=1", "rsa1024min=0", "tlsmaxrsasize=16384", "x509negativeserial=1"} {
		t.Run(setting, func(t *testing.T) {
			if f := find(t, s.Check(), "HDN-TLS-012"); !f.Passed {
				t.Fatalf("before: %v", f)
			}
			t.Setenv("GODEBUG", "x="+setting+","+setting)
			if f := find(t, s.Check(), "HDN-TLS-012"); f.Passed || f.Observed != setting+" (environment)" {
				t.Errorf("%v", f)
			}
		})
	}
	t.Setenv("GODEBUG", "tlssha1=1,tlssha1=0")
	if f := find(t, s.Check(), "HDN-TLS-012"); !f.Passed {
		t.Errorf("the last setting counts: %v", f)
	}
}

func TestStatusWarnsByTheShareOfLifetimeLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newAuthority(t)
		const day = 24 * time.Hour
		tmpl := leaf("localhost", "127.0.0.1")
		tmpl.NotBefore, tmpl.NotAfter = time.Now(), time.Now().Add(60*day)
		key := ecKey(t, elliptic.P256())
		s := newServer(t, 0, tlsconfig.Files(write(t, chainPEM(ca.issue(tmpl, key)), keyPEM(t, key))))
		at := func(d time.Duration, want tlsconfig.Expiry) {
			t.Helper()
			time.Sleep(d)
			if st := s.Status()[0]; st.Expiry != want {
				t.Errorf("with %v left: %v, want %v", time.Until(st.NotAfter), st.Expiry, want)
			}
			if f := find(t, s.Check(), "HDN-TLS-021"); f.Passed != (want == tlsconfig.ExpiryFresh) {
				t.Errorf("%v", f)
			}
		}
		at(40*day-time.Second, tlsconfig.ExpiryFresh)
		at(time.Second, tlsconfig.ExpiryDue)
		at(10*day-time.Second, tlsconfig.ExpiryDue)
		at(time.Second, tlsconfig.ExpiryUrgent)
		at(10*day, tlsconfig.ExpiryUrgent)
		at(time.Second, tlsconfig.Expired)
		st := s.Status()[0]
		if st.Key != "ECDSA P-256" || st.Level != tlsconfig.LevelSufficient || st.Issuer != "CN=Test CA" || st.DNSNames[0] != "localhost" || st.IPs[0] != "127.0.0.1" || len(st.Fingerprint) != 64 || !strings.HasSuffix(st.Source, "tls.crt") {
			t.Errorf("%+v", st)
		}
	})
}

// The findings speak of effective values; real handshakes must agree with them.
func TestAuditAgreesWithHandshakes(t *testing.T) {
	ca := newAuthority(t)
	get := newServer(t, 0, ca.good("localhost")).TLS().GetCertificate
	rsaCert := func() tls.Certificate {
		k := rsaKey(t, 2048)
		return tls.Certificate{Certificate: [][]byte{ca.issue(leaf("localhost"), k).Raw}, PrivateKey: k}
	}()
	for _, debug := range []string{"", "tlsrsakex=1", "tls3des=1", "tls10server=1", "tlsmlkem=0", "tlssecpmlkem=0"} {
		t.Run(debug, func(t *testing.T) {
			t.Setenv("GODEBUG", debug)
			cfg := &tls.Config{GetCertificate: get}
			fs := tlsconfig.Audit(cfg, tlsconfig.AuditOptions{})
			oldest, suites, hybrid := uint16(tls.VersionTLS13), []string{}, false
			for _, c := range []*tls.Config{cfg, {Certificates: []tls.Certificate{rsaCert}}} {
				addr := echo(t, c)
				for v := uint16(tls.VersionTLS10); v <= tls.VersionTLS13; v++ {
					if _, err := dial(t, addr, &tls.Config{ServerName: "localhost", RootCAs: ca.pool(), MinVersion: v, MaxVersion: v}); err == nil {
						oldest = min(oldest, v)
					}
				}
				for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
					cs, err := dial(t, addr, &tls.Config{ServerName: "localhost", RootCAs: ca.pool(), MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{s.ID}})
					if err == nil && cs.CipherSuite == s.ID {
						suites = append(suites, s.Name)
					}
				}
				cs, err := dial(t, addr, &tls.Config{ServerName: "localhost", RootCAs: ca.pool()})
				hybrid = hybrid || err == nil && cs.CurveID == tls.X25519MLKEM768
			}
			if f := find(t, fs, "HDN-TLS-001"); !strings.HasPrefix(f.Observed, "from "+tls.VersionName(oldest)+" (") {
				t.Errorf("the oldest version accepted is %s; %v", tls.VersionName(oldest), f)
			}
			weak := find(t, fs, "HDN-TLS-002").Observed
			for _, name := range suites {
				aead := strings.HasPrefix(name, "TLS_ECDHE_") && (strings.Contains(name, "GCM") || strings.Contains(name, "CHACHA"))
				if strings.Contains(weak, name+" ") == aead {
					t.Errorf("%s is accepted; the finding says %s", name, weak)
				}
			}
			if n := strings.Count(weak, "TLS_"); n != countWeak(suites) {
				t.Errorf("%d weak suites found by audit, %d by handshake: %s against %v", n, countWeak(suites), weak, suites)
			}
			if f := find(t, fs, "HDN-TLS-003"); f.Passed != hybrid {
				t.Errorf("hybrid negotiated %t; %v", hybrid, f)
			}
		})
	}
}

func countWeak(names []string) (n int) {
	for _, name := range names {
		if !strings.HasPrefix(name, "TLS_ECDHE_") || !strings.Contains(name, "GCM") && !strings.Contains(name, "CHACHA") {
			n++
		}
	}
	return n
}

// A list in which a reused config's private ticket state is not mistaken for a
// fixed key: crypto/tls writes into SessionTicketKey itself.
func TestAConfigInUseHasNoFixedTicketKey(t *testing.T) {
	ca := newAuthority(t)
	cfg := newServer(t, 0, ca.good("localhost")).TLS()
	if _, err := dial(t, echo(t, cfg), &tls.Config{ServerName: "localhost", RootCAs: ca.pool()}); err != nil {
		t.Fatal(err)
	}
	if f := find(t, tlsconfig.Audit(cfg, tlsconfig.AuditOptions{}), "HDN-TLS-005"); !f.Passed {
		t.Errorf("%v", f)
	}
}
