package tlsconfig_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/fips140"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/tlsconfig"
)

// pairOf is a certificate in memory, as services that do not use NewServer
// hold it.
func pairOf(key crypto.Signer, chain ...*x509.Certificate) tls.Certificate {
	c := tls.Certificate{PrivateKey: key}
	for _, x := range chain {
		c.Certificate = append(c.Certificate, x.Raw)
	}
	return c
}

// soundServer passes every check: what a weakness is then added to.
func soundServer(certs ...tls.Certificate) *tls.Config {
	return &tls.Config{
		Certificates: certs, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384},
	}
}

type weakConfig struct {
	name   string
	opts   tlsconfig.AuditOptions
	weaken func(*tls.Config)
	want   string // ids, in the order of the findings
	says   string // in the first one's Observed
}

func TestAuditOfWeakConfigurations(t *testing.T) {
	if fips140.Enabled() {
		t.Skip("FIPS 140-3 mode leaves fewer ways to be weak")
	}
	t.Attr("control", "NCSC-TLS 3.3.1")
	t.Attr("control", "BIO2 8.24.04")
	ca := newAuthority(t)
	key := ecKey(t, elliptic.P256())
	good := pairOf(key, ca.issue(leaf("portal.test"), key))
	with := func(key crypto.Signer, change func(*x509.Certificate)) tls.Certificate {
		c := leaf("portal.test")
		change(c)
		return pairOf(key, ca.issue(c, key))
	}
	same := func(*x509.Certificate) {}
	var rsa1024 crypto.Signer
	t.Run("a key of 1024 bits", func(t *testing.T) {
		t.Setenv("GODEBUG", "rsa1024min=0")
		rsa1024 = rsaKey(t, 1024)
	})
	rsaCA := &authority{t, ca.cert, rsaKey(t, 3072)}
	rsaCA.cert = sign(t, &x509.Certificate{Subject: ca.cert.Subject, NotBefore: ca.cert.NotBefore, NotAfter: ca.cert.NotAfter, IsCA: true, BasicConstraintsValid: true}, ca.cert, rsaCA.key.Public(), ca.key)
	stranger := newAuthority(t)
	staple := func(tmpl ocsp.Response, by *authority) tls.Certificate {
		c := good
		c.Certificate = append(slices.Clone(c.Certificate), ca.cert.Raw)
		x, err := x509.ParseCertificate(good.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		if tmpl.SerialNumber == nil {
			tmpl.SerialNumber = x.SerialNumber
		}
		if c.OCSPStaple, err = ocsp.CreateResponse(by.cert, by.cert, tmpl, by.key); err != nil {
			t.Fatal(err)
		}
		return c
	}
	now := time.Now()
	serve := func(c tls.Certificate) func(*tls.Config) { return func(cfg *tls.Config) { cfg.Certificates[0] = c } }
	// forOne makes GetConfigForClient return a changed copy.
	forOne := func(change func(*tls.Config)) func(*tls.Config) {
		return func(cfg *tls.Config) {
			inner := cfg.Clone()
			change(inner)
			cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return inner, nil }
		}
	}
	suite := func(ids ...uint16) func(*tls.Config) {
		return func(c *tls.Config) { c.CipherSuites = append(slices.Clone(c.CipherSuites), ids...) }
	}
	portal := tlsconfig.AuditOptions{ServerName: "portal.test"}

	servers := []weakConfig{
		{"the defaults of Go", portal, func(c *tls.Config) { c.CipherSuites, c.MinVersion = nil, 0 }, "002", "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA (insufficient)"},
		{"SSL 3.0", portal, func(c *tls.Config) { c.MinVersion = tls.VersionSSL30 }, "001", "(insufficient)"}, //nolint:staticcheck // a version that Go no longer speaks can still be asked for
		{"TLS 1.0", portal, func(c *tls.Config) { c.MinVersion = tls.VersionTLS10 }, "001", "from TLS 1.0 (insufficient)"},
		{"TLS 1.1", portal, func(c *tls.Config) { c.MinVersion = tls.VersionTLS11 }, "001", "from TLS 1.1 (insufficient)"},
		{"no TLS 1.3", portal, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, "003 004", "up to TLS 1.2"},
		{"a profile that is not kept: versions", tlsconfig.AuditOptions{ServerName: "portal.test", Profile: tlsconfig.Modern}, func(*tls.Config) {}, "054", "TLS 1.2 (sufficient)"},
		{"a profile that is not kept: groups", tlsconfig.AuditOptions{ServerName: "portal.test", Profile: tlsconfig.NCSCStrict}, func(c *tls.Config) { c.MinVersion, c.SessionTicketsDisabled = tls.VersionTLS13, true }, "054", "X25519 (sufficient)"},
		{"a profile that is not kept: tickets", tlsconfig.AuditOptions{ServerName: "portal.test", Profile: tlsconfig.NCSC}, func(c *tls.Config) {
			c.MinVersion, c.CurvePreferences = tls.VersionTLS13, []tls.CurveID{tls.X25519MLKEM768, tls.X25519}
		}, "054", "session tickets"},
		{"CBC with SHA-1, ECDSA", portal, suite(tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA), "002", "(insufficient)"},
		{"CBC with SHA-1, RSA", portal, suite(tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA), "002", "(insufficient)"},
		{"CBC with SHA-256", portal, suite(tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256), "002", "(phase out)"},
		{"RSA key exchange with GCM", portal, suite(tls.TLS_RSA_WITH_AES_128_GCM_SHA256), "002", "(insufficient)"},
		{"RSA key exchange with CBC", portal, suite(tls.TLS_RSA_WITH_AES_256_CBC_SHA), "002", "(insufficient)"},
		{"triple DES", portal, suite(tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA), "002", "(insufficient)"},
		{"RC4", portal, suite(tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA), "002", "(insufficient)"},
		{"classical groups only", portal, func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256} }, "003", "X25519"},
		{"hybrid groups only, with TLS 1.2", portal, func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768} }, "062", "from TLS 1.2"},
		{"one ticket key for ever", portal, func(c *tls.Config) { c.SessionTicketKey[31] = 1 }, "005", "fixed"},
		{"a key log", portal, func(c *tls.Config) { c.KeyLogWriter = io.Discard }, "006", "true"},
		{"client certificates that nobody verifies", portal, func(c *tls.Config) { c.ClientAuth = tls.RequestClientCert }, "009", "RequestClientCert"},
		{"client certificates of any kind", portal, func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }, "009", "RequireAnyClientCert"},
		{"client certificates of any public CA", portal, func(c *tls.Config) { c.ClientAuth = tls.RequireAndVerifyClientCert }, "009", "any public CA"},
		{"client certificates of nobody", portal, func(c *tls.Config) {
			c.ClientAuth, c.ClientCAs = tls.VerifyClientCertIfGiven, x509.NewCertPool()
		}, "009", "empty pool"},
		{"a check of clients that resumption skips", portal, func(c *tls.Config) {
			c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, ca.pool()
			c.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { return nil }
		}, "010", "resumption true"},
		{"randomness of its own", portal, func(c *tls.Config) { c.Rand = bytes.NewReader(make([]byte, 1<<20)) }, "011", "true"},
		{"a clock of its own", portal, func(c *tls.Config) { c.Time = func() time.Time { return now } }, "055", "true"},
		{"HTTP/2 without its suite", portal, func(c *tls.Config) { c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384} }, "013", "h2"},
		{"GetConfigForClient: TLS 1.0", portal, forOne(func(c *tls.Config) { c.MinVersion = tls.VersionTLS10 }), "001", "GetConfigForClient: from TLS 1.0"},
		{"GetConfigForClient: suites that were left out", portal, forOne(func(c *tls.Config) { c.CipherSuites = nil }), "002", "GetConfigForClient: "},
		{"GetConfigForClient: groups that were left out", portal, forOne(func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP384} }), "003", "GetConfigForClient: "},
		{"GetConfigForClient: protocols that were left out", portal, forOne(func(c *tls.Config) { c.NextProtos = nil }), "057", "lacks [h2 http/1.1]"},
		{"GetConfigForClient: another trust domain, the same tickets", portal, forOne(func(c *tls.Config) {
			c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, ca.pool()
		}), "058", "same ticket keys"},
		{"GetConfigForClient: another trust domain, the same hooks for tickets", portal, func(c *tls.Config) {
			keys := &tls.Config{}
			keys.SetSessionTicketKeys([][32]byte{{1}})
			c.WrapSession, c.UnwrapSession = keys.EncryptTicket, keys.DecryptTicket
			forOne(func(c *tls.Config) { c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, ca.pool() })(c)
		}, "058", "opens the tickets"},
		{"GetConfigForClient: other CAs, the same tickets", portal, func(c *tls.Config) {
			c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, ca.pool()
			forOne(func(c *tls.Config) { c.ClientCAs = stranger.pool() })(c)
		}, "058", "same ticket keys"},
		{"GetConfigForClient: weak for clients of TLS 1.2 only", portal, func(c *tls.Config) {
			inner := c.Clone()
			inner.CipherSuites = []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
			c.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
				if slices.Contains(h.SupportedVersions, tls.VersionTLS13) {
					return nil, nil
				}
				return inner, nil
			}
		}, "002", "GetConfigForClient: TLS_RSA_WITH_AES_128_CBC_SHA (insufficient)"},
		{"GetConfigForClient: a way back for clients of TLS 1.1", portal, func(c *tls.Config) {
			inner := c.Clone()
			inner.MinVersion = tls.VersionTLS11
			c.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
				if slices.Max(h.SupportedVersions) <= tls.VersionTLS11 {
					return inner, nil
				}
				return nil, nil
			}
		}, "001", "GetConfigForClient: from TLS 1.1"},
		{"GetConfigForClient fails", portal, func(c *tls.Config) {
			c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("canary") }
		}, "014", "failed"},
		{"GetCertificate: an RSA certificate of 2048 bits for old clients", portal, func(c *tls.Config) {
			old := with(rsaKey(t, 2048), same)
			c.Certificates, c.GetCertificate = nil, func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
				if h.SupportsCertificate(&good) == nil {
					return &good, nil
				}
				return &old, nil
			}
		}, "020", "GetCertificate: certificate 1 has a key of RSA-2048 (phase out)"},
		{"GetCertificate: a certificate for another name", portal, func(c *tls.Config) {
			other := pairOf(key, ca.issue(leaf("other.test"), key))
			c.Certificates, c.GetCertificate = nil, func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &other, nil }
		}, "059", "another name"},
		{"GetCertificate panics", portal, func(c *tls.Config) {
			c.Certificates, c.GetCertificate = nil, func(*tls.ClientHelloInfo) (*tls.Certificate, error) { panic("canary") }
		}, "014", "panicked"},
		{"no certificate", portal, func(c *tls.Config) { c.Certificates = nil }, "014", "no certificate"},
		{"a certificate that does not parse", portal, func(c *tls.Config) { c.Certificates[0].Certificate = [][]byte{[]byte("canary")} }, "014", "does not parse"},
		{"RSA of 2048 bits", portal, serve(with(rsaKey(t, 2048), same)), "020", "RSA-2048 (phase out)"},
		{"RSA of 1024 bits", portal, serve(with(rsa1024, same)), "020", "RSA-1024 (insufficient)"},
		{"a signature with SHA-1", portal, func(c *tls.Config) {
			tmpl := leaf("portal.test")
			tmpl.SignatureAlgorithm = x509.SHA1WithRSA
			c.Certificates[0] = pairOf(key, rsaCA.issue(tmpl, key))
		}, "020", "SHA1-RSA (insufficient)"},
		{"an expired certificate", portal, serve(with(key, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) })), "021", "expired"},
		{"a certificate about to expire", portal, serve(with(key, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = now.Add(-80*24*time.Hour), now.Add(10*24*time.Hour)
		})), "021", "urgent"},
		{"a certificate of tomorrow", portal, serve(with(key, func(c *x509.Certificate) { c.NotBefore = now.Add(24 * time.Hour) })), "060", "not valid before"},
		{"a certificate for two years", portal, serve(with(key, func(c *x509.Certificate) { c.NotAfter = now.Add(730 * 24 * time.Hour) })), "022", "days"},
		{"a certificate that nobody vouches for", portal, func(c *tls.Config) {
			tmpl := leaf("portal.test")
			c.Certificates[0] = pairOf(key, sign(t, tmpl, tmpl, key.Public(), key))
		}, "023", "self-signed"},
		{"a certificate for clients", portal, serve(with(key, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })), "060", "lacks serverAuth"},
		{"a certificate that may not sign", portal, serve(with(key, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment })), "060", "lacks digitalSignature"},
		{"a certificate without a name", tlsconfig.AuditOptions{}, serve(with(key, func(c *x509.Certificate) { c.DNSNames = nil })), "060", "names no host"},
		{"a certificate for another name", portal, serve(with(key, func(c *x509.Certificate) { c.DNSNames = []string{"other.test"} })), "059", "no certificate for this name"},
		{"a chain in the wrong order", portal, func(c *tls.Config) {
			c.Certificates[0].Certificate = append(slices.Clone(c.Certificates[0].Certificate), stranger.cert.Raw)
		}, "060", "chain that breaks"},
		{"the key of another certificate", portal, func(c *tls.Config) { c.Certificates[0].PrivateKey = ecKey(t, elliptic.P256()) }, "060", "private key of another"},
		{"no private key", portal, func(c *tls.Config) { c.Certificates[0].PrivateKey = nil }, "060", "no private key"},
		{"an OCSP answer that has ended", portal, serve(staple(ocsp.Response{Status: ocsp.Good, ThisUpdate: now.Add(-48 * time.Hour), NextUpdate: now.Add(-time.Hour)}, ca)), "061", "ended on"},
		{"an OCSP answer that says revoked", portal, serve(staple(ocsp.Response{Status: ocsp.Revoked, RevokedAt: now, ThisUpdate: now, NextUpdate: now.Add(time.Hour)}, ca)), "061", "not good"},
		{"an OCSP answer of another CA", portal, serve(staple(ocsp.Response{Status: ocsp.Good, ThisUpdate: now, NextUpdate: now.Add(time.Hour)}, stranger)), "061", "cannot verify"},
		{"OCSP rubbish", portal, func(c *tls.Config) { c.Certificates[0].OCSPStaple = []byte("canary") }, "061", "cannot verify"},
	}

	client := tlsconfig.AuditOptions{Role: tlsconfig.RoleClient}
	clientCert := with(key, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	clients := []weakConfig{
		{"a client of TLS 1.0", client, func(c *tls.Config) { c.MinVersion = tls.VersionTLS10 }, "001", "(insufficient)"},
		{"a client without TLS 1.3", client, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, "003 004", "TLS 1.2"},
		{"a client with the default suites", client, func(c *tls.Config) { c.CipherSuites = nil }, "002", "(insufficient)"},
		{"a client that skips verification", client, func(c *tls.Config) { c.InsecureSkipVerify = true }, "007", "InsecureSkipVerify true"},
		{"a client that verifies in code of its own", client, func(c *tls.Config) {
			c.InsecureSkipVerify, c.VerifyConnection = true, func(tls.ConnectionState) error { return errors.New("canary") }
		}, "007", "cannot be seen"},
		{"a client that skips verification under a deviation", tlsconfig.AuditOptions{Role: tlsconfig.RoleClient, DangerouslySkipVerify: tlsconfig.DangerouslySkipVerify{Deviation: "DEV-2026-001"}},
			func(c *tls.Config) { c.InsecureSkipVerify = true }, "063", "DEV-2026-001"},
		{"a client that skips verification under no real deviation", tlsconfig.AuditOptions{Role: tlsconfig.RoleClient, DangerouslySkipVerify: tlsconfig.DangerouslySkipVerify{Deviation: "ask Bob"}},
			func(c *tls.Config) { c.InsecureSkipVerify = true }, "007", "InsecureSkipVerify true"},
		{"a client that renegotiates once", client, func(c *tls.Config) { c.Renegotiation = tls.RenegotiateOnceAsClient }, "008", "1"},
		{"a client that renegotiates freely", client, func(c *tls.Config) { c.Renegotiation = tls.RenegotiateFreelyAsClient }, "008", "2"},
		{"a client that trusts nobody", client, func(c *tls.Config) { c.RootCAs = x509.NewCertPool() }, "056", "empty pool"},
		{"a client whose check resumption skips", client, func(c *tls.Config) {
			c.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			c.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { return nil }
		}, "010", "resumption true"},
		{"a client with a server's certificate", client, func(c *tls.Config) { c.Certificates = []tls.Certificate{good} }, "060", "lacks clientAuth"},
		{"a client with RSA of 2048 bits", client, func(c *tls.Config) {
			c.Certificates = []tls.Certificate{with(rsaKey(t, 2048), func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })}
		}, "020", "RSA-2048 (phase out)"},
	}
	if n := len(servers) + len(clients); n < 40 {
		t.Fatalf("only %d configurations", n)
	}

	check := func(t *testing.T, sound *tls.Config, tt weakConfig) {
		plain := tlsconfig.AuditOptions{Role: tt.opts.Role, ServerName: tt.opts.ServerName}
		if tt.opts.ServerName == "" {
			plain.ServerName = "portal.test"
		}
		if ids := failed(tlsconfig.Audit(sound, plain)); len(ids) > 0 {
			t.Fatalf("before: %v", ids)
		}
		tt.weaken(sound)
		fs := tlsconfig.Audit(sound, tt.opts)
		got := strings.ReplaceAll(strings.Join(failed(fs), " "), "HDN-TLS-", "")
		if got != tt.want {
			t.Fatalf("failed %s, want %s: %v", got, tt.want, slices.DeleteFunc(fs, func(f hardening.Finding) bool { return f.Passed }))
		}
		first, _, _ := strings.Cut(tt.want, " ")
		f := find(t, fs, "HDN-TLS-"+first)
		if !strings.Contains(f.Observed, tt.says) {
			t.Errorf("%s does not say %q: %s", f.ID, tt.says, f.Observed)
		}
		for _, f := range fs {
			if strings.Contains(f.String(), "canary") {
				t.Errorf("quotes what it judges: %v", f)
			}
			if f.Title == "" || f.Observed == "" || f.Expected == "" || f.Remedy == "" || len(f.Controls) == 0 {
				t.Errorf("incomplete %+v", f)
			}
		}
	}
	for _, tt := range servers {
		t.Run(tt.name, func(t *testing.T) { check(t, soundServer(good), tt) })
	}
	for _, tt := range clients {
		t.Run(tt.name, func(t *testing.T) {
			c := soundServer(clientCert)
			c.RootCAs = ca.pool()
			check(t, c, tt)
		})
	}
}

// Ticket keys of one's own, or none, keep trust domains apart; a good OCSP
// answer is none to complain about.
func TestAuditKnowsWhatIsInOrder(t *testing.T) {
	ca := newAuthority(t)
	key := ecKey(t, elliptic.P256())
	x := ca.issue(leaf("portal.test"), key)
	stapled := pairOf(key, x, ca.cert)
	var err error
	stapled.OCSPStaple, err = ocsp.CreateResponse(ca.cert, ca.cert, ocsp.Response{Status: ocsp.Good, SerialNumber: x.SerialNumber, ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(outer, inner *tls.Config){
		"tickets off in one":  func(_, inner *tls.Config) { inner.SessionTicketsDisabled = true },
		"tickets off outside": func(outer, _ *tls.Config) { outer.SessionTicketsDisabled = true },
		"tickets of its own": func(outer, inner *tls.Config) {
			for i, c := range []*tls.Config{outer, inner} {
				keys := &tls.Config{}
				keys.SetSessionTicketKeys([][32]byte{{byte(i)}})
				c.WrapSession, c.UnwrapSession = keys.EncryptTicket, keys.DecryptTicket
			}
		},
		"hooks that panic": func(outer, inner *tls.Config) {
			outer.WrapSession = func(tls.ConnectionState, *tls.SessionState) ([]byte, error) { panic("not now") }
			inner.UnwrapSession = func([]byte, tls.ConnectionState) (*tls.SessionState, error) { panic("not now") }
		},
	} {
		outer := soundServer(stapled)
		inner := outer.Clone()
		inner.ClientAuth, inner.ClientCAs = tls.RequireAndVerifyClientCert, ca.pool()
		change(outer, inner)
		outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return inner, nil }
		if ids := failed(tlsconfig.Audit(outer, tlsconfig.AuditOptions{ServerName: "portal.test"})); len(ids) > 0 {
			t.Errorf("%s: failed %v", name, ids)
		}
	}
}

// Nothing that this package makes is found weak, by its own profile or plainly.
func TestAuditFindsNothingInOurProfiles(t *testing.T) {
	ca := newAuthority(t)
	for _, profile := range profiles {
		s := newServer(t, profile, ca.good("portal.test"))
		for _, opts := range []tlsconfig.AuditOptions{{}, {ServerName: "portal.test"}, {ServerName: "portal.test", Profile: profile}} {
			for _, cfg := range []*tls.Config{s.TLS(), s.HTTPServer(nil).TLSConfig} {
				if ids := failed(tlsconfig.Audit(cfg, opts)); len(ids) > 0 {
					t.Errorf("%v: %v", profile, ids)
				}
			}
		}
	}
}

// A //go:debug line changes the defaults of a program without a trace in its
// tls.Config. The audit reads it from the build.
func TestTrap_BuildSettingsWeakenTLS(t *testing.T) {
	program := filepath.Join(t.TempDir(), "buildsettings")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./testdata/buildsettings")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := func(godebug string) string {
		cmd := exec.CommandContext(t.Context(), program)
		cmd.Env = append(slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "GODEBUG=") }), "GODEBUG="+godebug)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	byBuild := run("")
	for _, want := range []string{"FAIL HDN-TLS-001", "from TLS 1.0 (insufficient)", "FAIL HDN-TLS-003", "FAIL HDN-TLS-012", "tls10server=1 (build)", "tlsmlkem=0 (build)"} {
		if !strings.Contains(byBuild, want) {
			t.Errorf("the audit of the build does not say %q:\n%s", want, byBuild)
		}
	}
	// The environment outranks the build.
	mended := run("tls10server=0,tlsmlkem=1,tls3des=1")
	for _, no := range []string{"HDN-TLS-001", "HDN-TLS-003", "tls10server", "tlsmlkem"} {
		if strings.Contains(mended, no) {
			t.Errorf("the environment does not outrank the build: %s in\n%s", no, mended)
		}
	}
	if !strings.Contains(mended, "tls3des=1 (environment)") {
		t.Errorf("the setting of the environment is missing:\n%s", mended)
	}
}

func TestAnAuditedConfigurationIsNotChanged(t *testing.T) {
	ca := newAuthority(t)
	key := ecKey(t, elliptic.P256())
	cfg := soundServer(pairOf(key, ca.issue(leaf("portal.test"), key)))
	cfg.Rand = rand.Reader
	before := cfg.Clone()
	tlsconfig.Audit(cfg, tlsconfig.AuditOptions{})
	if cfg.GetConfigForClient != nil || cfg.SessionTicketKey != before.SessionTicketKey || len(cfg.NextProtos) != len(before.NextProtos) || cfg.MinVersion != before.MinVersion {
		t.Errorf("changed from %+v to %+v", before, cfg)
	}
}

func TestAuditFindsNothingInOurClients(t *testing.T) {
	ca := newAuthority(t)
	caFile, _ := write(t, chainPEM(ca.cert), nil)
	for _, profile := range profiles {
		c, err := tlsconfig.NewClient(tlsconfig.ClientConfig{Profile: profile, Roots: tlsconfig.CAFile(caFile), Logger: silent})
		if err != nil {
			t.Fatal(err)
		}
		for _, opts := range []tlsconfig.AuditOptions{{Role: tlsconfig.RoleClient}, {Role: tlsconfig.RoleClient, Profile: profile}} {
			if ids := failed(tlsconfig.Audit(c.TLS(), opts)); len(ids) > 0 {
				t.Errorf("%v: %v", profile, ids)
			}
		}
		replaced := c.TLS()
		replaced.VerifyConnection = func(tls.ConnectionState) error { return nil }
		if ids := failed(tlsconfig.Audit(replaced, tlsconfig.AuditOptions{Role: tlsconfig.RoleClient})); !slices.Equal(ids, []string{"HDN-TLS-007"}) {
			t.Errorf("%v: a check that was replaced fails %v", profile, ids)
		}
		c.Close()
	}
}

func TestSkippingVerificationTakesADeviation(t *testing.T) {
	for _, id := range []string{"yes", "DEV-2026", "DEV-26-001", "dev-2026-001", "DEV-2026-001\n", " DEV-2026-001"} {
		_, err := tlsconfig.NewClient(tlsconfig.ClientConfig{DangerouslySkipVerify: tlsconfig.DangerouslySkipVerify{Deviation: id}, Logger: silent})
		var fields []string
		for f := range hardening.Faults(err) {
			fields = append(fields, f.Field)
		}
		if !slices.Equal(fields, []string{"DangerouslySkipVerify.Deviation"}) {
			t.Errorf("%q: faults at %v", id, fields)
		}
	}
	c, err := tlsconfig.NewClient(tlsconfig.ClientConfig{DangerouslySkipVerify: tlsconfig.DangerouslySkipVerify{Deviation: "DEV-2026-001"}, Logger: silent})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if ids := failed(c.Check()); !slices.Equal(ids, []string{"HDN-TLS-063"}) {
		t.Errorf("Check fails %v", ids)
	}
	if f := find(t, c.Check(), "HDN-TLS-063"); !strings.Contains(f.Observed, "DEV-2026-001") || f.Severity >= hardening.Critical {
		t.Errorf("%v", f)
	}
	if ids := failed(tlsconfig.Audit(c.TLS(), tlsconfig.AuditOptions{Role: tlsconfig.RoleClient})); !slices.Equal(ids, []string{"HDN-TLS-007"}) {
		t.Errorf("whoever audits it without the deviation sees %v", ids)
	}
}
