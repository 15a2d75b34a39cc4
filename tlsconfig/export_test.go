package tlsconfig

import (
	"crypto/x509"

	"github.com/inovy/hardening/internal/faults"
)

// What tests of the package need beyond its API.

func SANFault(s SAN) string { reason, _ := s.fault(); return reason }

func SANMatches(s SAN, c *x509.Certificate) bool { return s.matches(c) }

// NewTickets returns what every handshake does to find the keys.
func NewTickets(keys KeySource) func() {
	t := newTickets(faults.For(room), keys, "test")
	return func() { _, _ = t.current() }
}
