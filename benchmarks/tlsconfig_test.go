package benchmarks

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"testing"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/tlsconfig"
)

// tlsRig is a certificate for localhost, our configuration that serves it,
// and the same certificate in a configuration of crypto/tls with the same
// versions, suites and groups and nothing else.
type tlsRig struct {
	server          *tlsconfig.Server
	hardening, bare *tls.Config
	roots           *x509.CertPool
}

func newTLSRig(tb testing.TB) tlsRig {
	tb.Helper()
	dir := tb.TempDir()
	ca := must(tlsconfig.NewDevCA(dir, tlsconfig.DevCAConfig{Environment: hardening.Development}))(tb)
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	if err := ca.Issue(cert, key, "localhost", "127.0.0.1"); err != nil {
		tb.Fatal(err)
	}
	server := must(tlsconfig.NewServer(tlsconfig.ServerConfig{
		Certs:       []tlsconfig.CertSource{tlsconfig.Files(cert, key)},
		Environment: hardening.Development,
		Logger:      slog.New(slog.DiscardHandler),
	}))(tb)
	tb.Cleanup(func() { _ = server.Close() })
	ours := server.TLS()
	return tlsRig{
		server:    server,
		hardening: ours,
		bare: &tls.Config{
			Certificates:     []tls.Certificate{must(tls.LoadX509KeyPair(cert, key))(tb)},
			MinVersion:       ours.MinVersion,
			MaxVersion:       ours.MaxVersion,
			CipherSuites:     ours.CipherSuites,
			CurvePreferences: ours.CurvePreferences,
			NextProtos:       ours.NextProtos,
		},
		roots: ca.Pool(),
	}
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

// connect makes one full handshake, with session tickets received but never
// used, and returns what was agreed.
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

// A full handshake over loopback TCP, client and server in this process: TLS
// 1.3, the hybrid group, an ECDSA P-256 certificate.
func BenchmarkTLSConfig(b *testing.B) {
	handshake := func(b *testing.B, rig tlsRig, server *tls.Config) {
		addr := serveTLS(b, server)
		client := &tls.Config{RootCAs: rig.roots, ServerName: "localhost", MinVersion: tls.VersionTLS13}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := connect(addr, client); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("handshake", func(b *testing.B) {
		b.Run("hardening", func(b *testing.B) { rig := newTLSRig(b); handshake(b, rig, rig.hardening) })
		b.Run("cryptotls", func(b *testing.B) { rig := newTLSRig(b); handshake(b, rig, rig.bare) })
	})
}

// Both sides must agree on the same things, else one of them has less to do.
func TestTLSRigsAgree(t *testing.T) {
	rig := newTLSRig(t)
	agreed := func(server *tls.Config) tls.ConnectionState {
		s, err := connect(serveTLS(t, server), &tls.Config{RootCAs: rig.roots, ServerName: "localhost", MinVersion: tls.VersionTLS13})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	ours, bare := agreed(rig.hardening), agreed(rig.bare)
	if ours.Version != bare.Version || ours.CipherSuite != bare.CipherSuite || ours.CurveID != bare.CurveID {
		t.Errorf("hardening agreed on %x %x %v, crypto/tls on %x %x %v",
			ours.Version, ours.CipherSuite, ours.CurveID, bare.Version, bare.CipherSuite, bare.CurveID)
	}
	if ours.CurveID != tls.X25519MLKEM768 {
		t.Errorf("the group is %v, not the hybrid one", ours.CurveID)
	}
}
