package tlsconfig_test

import (
	"crypto/tls"
	"testing"
)

func TestChoosingACertificateDoesNotAllocate(t *testing.T) {
	ca := newAuthority(t)
	get := newServer(t, 0, ca.good("a.test"), ca.good("b.test"), ca.good("*.c.test")).TLS().GetCertificate
	for _, name := range []string{"b.test", "x.c.test", "unknown.test", ""} {
		hello := &tls.ClientHelloInfo{ServerName: name}
		n := testing.AllocsPerRun(100, func() { get(hello) })
		if n != 0 && !raceEnabled {
			t.Errorf("%q: %v allocations", name, n)
		}
	}
}
