package benchmarks

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/tlsconfig"
)

// tlsRig is a certificate for localhost, our configuration that serves it,
// and the same certificate in a configuration of crypto/tls with the same
// versions, suites, groups and tickets and nothing else.
type tlsRig struct {
	server          *tlsconfig.Server
	hardening, bare *tls.Config
	roots           *x509.CertPool
}

func newTLSRig(tb testing.TB) tlsRig { return newTLSRigFor(tb, nil) }

// newTLSRigFor also asks clients for a certificate of the authority, if there
// is one: ours by name and chain, the bare one by chain.
func newTLSRigFor(tb testing.TB, clients *clientAuthority) tlsRig {
	tb.Helper()
	dir := tb.TempDir()
	ca := must(tlsconfig.NewDevCA(dir, tlsconfig.DevCAConfig{Environment: hardening.Development}))(tb)
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	if err := ca.Issue(cert, key, "localhost", "127.0.0.1"); err != nil {
		tb.Fatal(err)
	}
	cfg := tlsconfig.ServerConfig{
		Certs:       []tlsconfig.CertSource{tlsconfig.Files(cert, key)},
		Environment: hardening.Development,
		Logger:      slog.New(slog.DiscardHandler),
	}
	if clients != nil {
		cfg.ClientAuth = &tlsconfig.ClientAuth{CAs: tlsconfig.CAFile(clients.file), Allow: []tlsconfig.SAN{tlsconfig.DNS("client.test")}}
	}
	server := must(tlsconfig.NewServer(cfg))(tb)
	tb.Cleanup(func() { _ = server.Close() })
	ours := server.TLS()
	rig := tlsRig{
		server:    server,
		hardening: ours,
		bare: &tls.Config{
			Certificates:           []tls.Certificate{must(tls.LoadX509KeyPair(cert, key))(tb)},
			MinVersion:             ours.MinVersion,
			MaxVersion:             ours.MaxVersion,
			CipherSuites:           ours.CipherSuites,
			CurvePreferences:       ours.CurvePreferences,
			NextProtos:             ours.NextProtos,
			SessionTicketsDisabled: ours.SessionTicketsDisabled,
		},
		roots: ca.Pool(),
	}
	if clients != nil {
		rig.bare.ClientAuth, rig.bare.ClientCAs = tls.RequireAndVerifyClientCert, clients.pool
	}
	return rig
}

// clientAuthority issues one certificate, for client.test.
type clientAuthority struct {
	file string
	pool *x509.CertPool
	cert tls.Certificate
}

func newClientAuthority(tb testing.TB) *clientAuthority {
	tb.Helper()
	caKey, key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(tb), must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(tb)
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Clients"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(90 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER := must(x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey))(tb)
	der := must(x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{"client.test"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(90 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, ca, key.Public(), caKey))(tb)
	a := &clientAuthority{file: filepath.Join(tb.TempDir(), "clients.crt"), pool: x509.NewCertPool(), cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), 0o600); err != nil {
		tb.Fatal(err)
	}
	a.pool.AddCert(must(x509.ParseCertificate(caDER))(tb))
	return a
}

// serveTLS answers every connection with one byte, until the test ends.
func serveTLS(tb testing.TB, cfg *tls.Config) (addr string) {
	tb.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))(tb)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conn := tls.Server(c, cfg)
			_, _ = conn.Write([]byte{1}) // the client notices what goes wrong here
			_ = conn.Close()
		}
	}()
	tb.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// connect makes one handshake, reads to the end, session tickets included, and
// returns what was agreed.
func connect(addr string, client *tls.Config) (tls.ConnectionState, error) {
	conn, err := tls.Dial("tcp", addr, client)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	b, err := io.ReadAll(conn)
	if err == nil && len(b) != 1 {
		err = errors.New("the server did not answer")
	}
	return conn.ConnectionState(), err
}

// tlsCase is one kind of handshake.
type tlsCase struct {
	name    string
	version uint16
	resumed bool
	mutual  bool
}

var tlsCases = []tlsCase{
	{"handshake", tls.VersionTLS13, false, false}, // the hybrid group
	{"handshake12", tls.VersionTLS12, false, false},
	{"resumed", tls.VersionTLS13, true, false},
	{"resumed12", tls.VersionTLS12, true, false},
	{"mtls", tls.VersionTLS13, false, true},
}

// rig returns both servers and the client of a case.
func (c tlsCase) rig(tb testing.TB) (tlsRig, *tls.Config) {
	tb.Helper()
	var clients *clientAuthority
	if c.mutual {
		clients = newClientAuthority(tb)
	}
	rig := newTLSRigFor(tb, clients)
	client := &tls.Config{RootCAs: rig.roots, ServerName: "localhost", MinVersion: c.version, MaxVersion: c.version}
	if c.resumed {
		client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	}
	if c.mutual {
		client.Certificates = []tls.Certificate{clients.cert}
	}
	return rig, client
}

// Handshakes over loopback TCP, client and server in this process, with an
// ECDSA P-256 certificate: what our certificate lookup, ticket keys and client
// rules cost beside crypto/tls alone.
func BenchmarkTLSConfig(b *testing.B) {
	for _, c := range tlsCases {
		run := func(pick func(tlsRig) *tls.Config) func(b *testing.B) {
			return func(b *testing.B) {
				rig, client := c.rig(b)
				addr := serveTLS(b, pick(rig))
				if _, err := connect(addr, client); err != nil { // the first fills the session cache
					b.Fatal(err)
				}
				b.ReportAllocs()
				for b.Loop() {
					cs, err := connect(addr, client)
					if err != nil || cs.DidResume != c.resumed {
						b.Fatalf("resumed %t, %v", cs.DidResume, err)
					}
				}
			}
		}
		b.Run(c.name, func(b *testing.B) {
			b.Run("hardening", run(func(r tlsRig) *tls.Config { return r.hardening }))
			b.Run("cryptotls", run(func(r tlsRig) *tls.Config { return r.bare }))
		})
	}
}

// Both sides must agree on the same things, else one of them has less to do.
func TestTLSRigsAgree(t *testing.T) {
	for _, c := range tlsCases {
		rig, client := c.rig(t)
		agreed := func(server *tls.Config) tls.ConnectionState {
			cfg := client.Clone()
			if c.resumed {
				cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			}
			addr := serveTLS(t, server)
			if _, err := connect(addr, cfg); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			s, err := connect(addr, cfg)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			return s
		}
		ours, bare := agreed(rig.hardening), agreed(rig.bare)
		if ours.Version != bare.Version || ours.CipherSuite != bare.CipherSuite || ours.CurveID != bare.CurveID || ours.DidResume != bare.DidResume {
			t.Errorf("%s: hardening agreed on %x %x %v %t, crypto/tls on %x %x %v %t", c.name,
				ours.Version, ours.CipherSuite, ours.CurveID, ours.DidResume, bare.Version, bare.CipherSuite, bare.CurveID, bare.DidResume)
		}
		if ours.Version != c.version || ours.DidResume != c.resumed {
			t.Errorf("%s: version %x, resumed %t", c.name, ours.Version, ours.DidResume)
		}
		if c.version == tls.VersionTLS13 && ours.CurveID != tls.X25519MLKEM768 {
			t.Errorf("%s: the group is %v, not the hybrid one", c.name, ours.CurveID)
		}
	}
	// The client's certificate is asked for, on both sides.
	rig, client := tlsCases[len(tlsCases)-1].rig(t)
	client.Certificates = nil
	for name, server := range map[string]*tls.Config{"hardening": rig.hardening, "cryptotls": rig.bare} {
		if _, err := connect(serveTLS(t, server), client); err == nil {
			t.Errorf("%s lets in a client without a certificate", name)
		}
	}
}
