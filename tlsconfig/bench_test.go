package tlsconfig_test

import (
	"crypto/tls"
	"net"
	"testing"

	"github.com/inovy/hardening/tlsconfig"
)

// BenchmarkHandshake compares full handshakes over loopback with a bare
// crypto/tls configuration of the same groups. The budget is a ratio of 1.05.
func BenchmarkHandshake(b *testing.B) {
	ca := newAuthority(b)
	server := newServer(b, tlsconfig.Intermediate, ca.good("localhost"))
	chosen, err := server.TLS().GetCertificate(&tls.ClientHelloInfo{})
	if err != nil {
		b.Fatal(err)
	}
	bare := &tls.Config{Certificates: []tls.Certificate{*chosen}, CurvePreferences: server.TLS().CurvePreferences}
	for name, cfg := range map[string]*tls.Config{"ours": server.TLS(), "bare": bare} {
		for version, most := range map[string]uint16{"1.3": tls.VersionTLS13, "1.2": tls.VersionTLS12} {
			b.Run(version+"/"+name, func(b *testing.B) {
				addr := echo(b, cfg)
				client := &tls.Config{ServerName: "localhost", RootCAs: ca.pool(), MaxVersion: most}
				for b.Loop() {
					if _, err := dial(b, addr, client); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkPick is what several certificates add to a handshake.
func BenchmarkPick(b *testing.B) {
	ca := newAuthority(b)
	get := newServer(b, 0, ca.good("a.test"), ca.good("b.test"), ca.good("*.c.test")).TLS().GetCertificate
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	for _, name := range []string{"b.test", "x.c.test", "unknown.test", ""} {
		hello := &tls.ClientHelloInfo{ServerName: name, Conn: near}
		b.Run("name="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := get(hello); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
