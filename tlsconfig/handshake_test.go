package tlsconfig_test

import (
	"crypto/elliptic"
	"crypto/fips140"
	"crypto/tls"
	"testing"

	"github.com/inovy/hardening/tlsconfig"
)

var profiles = []tlsconfig.Profile{tlsconfig.Intermediate, tlsconfig.Modern, tlsconfig.NCSC, tlsconfig.NCSCStrict}

// NCSC-NL 2025-05 calls CBC with SHA-1 insufficient. If Go ever drops it from
// its defaults, the first half fails and the documentation must change.
func TestTrap_GoDefaultAcceptsCBCSHA(t *testing.T) {
	if fips140.Enabled() {
		t.Skip("FIPS 140-3 mode has no CBC")
	}
	t.Attr("control", "ASVS v5.0.0-12.1.2")
	t.Attr("control", "NCSC-TLS 3.3.2")
	ca := newAuthority(t)
	server := newServer(t, 0, ca.good("localhost"))
	goDefault := &tls.Config{GetCertificate: server.TLS().GetCertificate}
	plain, ours := echo(t, goDefault), echo(t, server.TLS())
	for _, suite := range []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA} {
		client := &tls.Config{ServerName: "localhost", RootCAs: ca.pool(), MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite}}
		if cs, err := dial(t, plain, client); err != nil || cs.CipherSuite != suite {
			t.Errorf("Go's default refuses %s: %v", tls.CipherSuiteName(suite), err)
		}
		if _, err := dial(t, ours, client); err == nil {
			t.Errorf("the default profile accepts %s", tls.CipherSuiteName(suite))
		}
	}
}

func TestEveryTLS12SuiteThatIsNotAEADWithForwardSecrecyIsRefused(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-12.1.2")
	ca := newAuthority(t)
	rsaPair := func() tlsconfig.CertSource {
		key := rsaKey(t, 3072)
		return tlsconfig.Files(write(t, chainPEM(ca.issue(leaf("rsa.test"), key)), keyPEM(t, key)))
	}
	addr := echo(t, newServer(t, tlsconfig.Intermediate, ca.good("ec.test"), rsaPair()).TLS())
	accepted := 0
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if len(s.SupportedVersions) == 1 && s.SupportedVersions[0] == tls.VersionTLS13 {
			continue
		}
		for _, name := range []string{"ec.test", "rsa.test"} {
			cs, err := dial(t, addr, &tls.Config{ServerName: name, RootCAs: ca.pool(), MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{s.ID}})
			if err != nil {
				continue
			}
			accepted++
			switch cs.CipherSuite {
			case tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
				tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
				tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256:
			default:
				t.Errorf("%s was accepted", s.Name)
			}
		}
	}
	want := 6
	if fips140.Enabled() {
		want = 4 // no ChaCha20-Poly1305
	}
	if accepted != want {
		t.Errorf("%d suites accepted, want %d", accepted, want)
	}
}

func TestVersionsByProfile(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-12.1.1")
	t.Attr("control", "NCSC-TLS 3.3.1")
	ca := newAuthority(t)
	for _, profile := range profiles {
		addr := echo(t, newServer(t, profile, ca.good("localhost")).TLS())
		for version, want := range map[uint16]bool{
			tls.VersionTLS10: false, tls.VersionTLS11: false,
			tls.VersionTLS12: profile == tlsconfig.Intermediate, tls.VersionTLS13: true,
		} {
			cs, err := dial(t, addr, &tls.Config{ServerName: "localhost", RootCAs: ca.pool(), MinVersion: version, MaxVersion: version})
			if got := err == nil && cs.Version == version; got != want {
				t.Errorf("%v with a peer of %s: accepted %t (%v), want %t", profile, tls.VersionName(version), got, err, want)
			}
		}
	}
}

func TestGroupsByProfile(t *testing.T) {
	t.Attr("control", "NCSC-TLS 3.3.3")
	ca := newAuthority(t)
	for _, profile := range profiles {
		addr := echo(t, newServer(t, profile, ca.good("localhost")).TLS())
		client := func(groups ...tls.CurveID) *tls.Config {
			return &tls.Config{ServerName: "localhost", RootCAs: ca.pool(), CurvePreferences: groups}
		}
		if cs, err := dial(t, addr, client()); err != nil || cs.CurveID != tls.X25519MLKEM768 {
			t.Errorf("%v with Go's client: %v, %v; want X25519MLKEM768", profile, cs.CurveID, err)
		}
		if cs, err := dial(t, addr, client(tls.X25519, tls.SecP256r1MLKEM768)); err != nil || cs.CurveID != tls.SecP256r1MLKEM768 {
			t.Errorf("%v with a client that also has a classical group: %v, %v; want the hybrid", profile, cs.CurveID, err)
		}
		for _, g := range []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384} {
			_, err := dial(t, addr, client(g))
			if got, want := err == nil, profile != tlsconfig.NCSCStrict && !(g == tls.X25519 && fips140.Enabled()); got != want {
				t.Errorf("%v with a client that has %v only: accepted %t (%v), want %t", profile, g, got, err, want)
			}
		}
		if _, err := dial(t, addr, client(tls.CurveP521)); err == nil {
			t.Errorf("%v accepts P-521, which is not in the profile", profile)
		}
	}
}

// GODEBUG outranks an explicit CurvePreferences; the finding must say so.
func TestTrap_GODEBUGRemovesHybridGroupsFromAnExplicitList(t *testing.T) {
	ca := newAuthority(t)
	server := newServer(t, 0, ca.good("localhost"))
	t.Setenv("GODEBUG", "tlsmlkem=0")
	cs, err := dial(t, echo(t, server.TLS()), &tls.Config{ServerName: "localhost", RootCAs: ca.pool()})
	if err != nil || cs.CurveID == tls.X25519MLKEM768 {
		t.Fatalf("negotiated %v, %v; the trap is gone", cs.CurveID, err)
	}
	for _, id := range []string{"HDN-TLS-003", "HDN-TLS-012"} {
		if f := find(t, server.Check(), id); f.Passed {
			t.Errorf("passes: %v", f)
		}
	}
}

func TestTicketsByProfile(t *testing.T) {
	ca := newAuthority(t)
	for _, profile := range profiles {
		addr := echo(t, newServer(t, profile, ca.good("localhost")).TLS())
		client := &tls.Config{ServerName: "localhost", RootCAs: ca.pool(), ClientSessionCache: tls.NewLRUClientSessionCache(4)}
		var cs tls.ConnectionState
		for range 2 {
			var err error
			if cs, err = dial(t, addr, client); err != nil {
				t.Fatal(err)
			}
		}
		if want := profile == tlsconfig.Intermediate || profile == tlsconfig.Modern; cs.DidResume != want {
			t.Errorf("%v: second connection resumed %t, want %t", profile, cs.DidResume, want)
		}
	}
}

func TestTheServerNameChoosesTheCertificate(t *testing.T) {
	ca := newAuthority(t)
	rsa := rsaKey(t, 3072)
	rsaTwin := tlsconfig.Files(write(t, chainPEM(ca.issue(leaf("www.a.test"), rsa)), keyPEM(t, rsa)))
	server := newServer(t, 0, ca.good("first.test"), ca.good("www.a.test"), rsaTwin, ca.good("*.wild.test"), ca.good("127.0.0.1"))
	addr := echo(t, server.TLS())
	for _, tt := range []struct{ ask, want string }{
		{"first.test", "first.test"},
		{"www.a.test", "www.a.test"},
		{"WWW.A.TEST", "www.a.test"},
		{"x.wild.test", "*.wild.test"},
		{"127.0.0.1", ""}, // no server name: by the address connected to
	} {
		cs, err := dial(t, addr, &tls.Config{ServerName: tt.ask, RootCAs: ca.pool()})
		if err != nil {
			t.Errorf("%s: %v", tt.ask, err)
			continue
		}
		got := cs.PeerCertificates[0]
		if tt.want == "" && len(got.IPAddresses) != 1 || tt.want != "" && got.DNSNames[0] != tt.want {
			t.Errorf("%s got the certificate of %v %v", tt.ask, got.DNSNames, got.IPAddresses)
		}
	}
	for _, name := range []string{"other.test", "a.b.wild.test", "wild.test"} {
		if _, err := dial(t, addr, &tls.Config{ServerName: name, RootCAs: ca.pool()}); err == nil {
			t.Errorf("%s was answered with a certificate that covers it", name)
		}
	}
	onlyRSA := &tls.Config{ServerName: "www.a.test", RootCAs: ca.pool(), MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}
	if cs, err := dial(t, addr, onlyRSA); err != nil || !rsa.PublicKey.Equal(cs.PeerCertificates[0].PublicKey) {
		t.Errorf("a client without ECDSA did not get the RSA certificate of the same name: %v", err)
	}
}

func TestTLSReturnsACopy(t *testing.T) {
	ca := newAuthority(t)
	server := newServer(t, 0, ca.good("localhost"))
	cfg := server.TLS()
	cfg.MinVersion, cfg.KeyLogWriter = tls.VersionTLS10, t.Output()
	cfg.CipherSuites[0] = tls.TLS_RSA_WITH_RC4_128_SHA
	cfg.NextProtos[0] = "evil"
	if ids := failed(server.Check()); len(ids) > 0 {
		t.Errorf("changing the returned config changed the server: %v", ids)
	}
	if again := server.TLS(); again.NextProtos[0] != "h2" || again.CipherSuites[0] == tls.TLS_RSA_WITH_RC4_128_SHA {
		t.Error("the next config holds the change")
	}
}

func TestChainsWithIntermediatesVerify(t *testing.T) {
	root := newAuthority(t)
	interKey, key := ecKey(t, elliptic.P384()), ecKey(t, elliptic.P256())
	tmpl := leaf()
	tmpl.Subject.CommonName, tmpl.IsCA, tmpl.BasicConstraintsValid = "Intermediate", true, true
	tmpl.KeyUsage = 1 << 5 // certSign
	inter := &authority{t, root.issue(tmpl, interKey), interKey}
	src := tlsconfig.Files(write(t, chainPEM(inter.issue(leaf("localhost"), key), inter.cert), keyPEM(t, key)))
	if _, err := dial(t, echo(t, newServer(t, tlsconfig.NCSC, src).TLS()), &tls.Config{ServerName: "localhost", RootCAs: root.pool()}); err != nil {
		t.Error(err)
	}
}
