package tlsconfig

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
)

// snapshot is the set of certificates to use. It is immutable: a reload
// publishes another one.
type snapshot struct {
	// sole is set if there is nothing to choose.
	sole *tls.Certificate

	// tiers hold the certificates in use, the reserves, and those that expired
	// or were revoked. A tier answers only for names that none before it has.
	tiers [3]tier
}

// tier indexes certificates by name, in the order of Certs.
type tier struct {
	all      []*tls.Certificate
	exact    map[string][]*tls.Certificate // "www.example.org"
	wildcard map[string][]*tls.Certificate // "example.org" for "*.example.org"
	addr     map[netip.Addr][]*tls.Certificate
}

// tier numbers.
const (
	tierUse = iota
	tierStandby
	tierSpent
)

// newSnapshot takes the certificates of each tier.
func newSnapshot(certs [3][]*tls.Certificate) *snapshot {
	s := new(snapshot)
	n := 0
	for i, list := range certs {
		s.tiers[i] = newTier(list)
		for _, c := range list {
			s.sole = c
			n++
		}
	}
	if n > 1 {
		s.sole = nil
	}
	return s
}

func newTier(certs []*tls.Certificate) tier {
	t := tier{all: certs}
	if len(certs) == 0 {
		return t
	}
	t.exact, t.wildcard, t.addr = map[string][]*tls.Certificate{}, map[string][]*tls.Certificate{}, map[netip.Addr][]*tls.Certificate{}
	for _, c := range certs {
		for _, name := range c.Leaf.DNSNames {
			name = strings.ToLower(name)
			if parent, ok := strings.CutPrefix(name, "*."); ok {
				t.wildcard[parent] = append(t.wildcard[parent], c)
			} else {
				t.exact[name] = append(t.exact[name], c)
			}
		}
		for _, ip := range c.Leaf.IPAddresses {
			if a, ok := netip.AddrFromSlice(ip); ok {
				t.addr[a.Unmap()] = append(t.addr[a.Unmap()], c)
			}
		}
	}
	return t
}

var errNoCertificate = errors.New("tlsconfig: no certificate")

// pick answers a ClientHello. A name that no certificate covers gets the first
// one, as crypto/tls does: the client's own check refuses it with a message
// that names the cause, which an aborted handshake would not.
func (s *snapshot) pick(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if s.sole != nil {
		return s.sole, nil
	}
	for i := range s.tiers {
		candidates := s.tiers[i].candidates(hello)
		if len(candidates) == 0 {
			continue
		}
		if len(candidates) > 1 { // the check costs microseconds; one candidate needs none
			for _, c := range candidates {
				if hello.SupportsCertificate(c) == nil {
					return c, nil
				}
			}
		}
		return candidates[0], nil
	}
	for i := range s.tiers {
		if len(s.tiers[i].all) > 0 {
			return s.tiers[i].all[0], nil
		}
	}
	return nil, errNoCertificate
}

// candidates are the certificates for the name asked for or, without one, for
// the address that the client connected to: clients send no address as a name
// (RFC 6066 section 3).
func (t *tier) candidates(hello *tls.ClientHelloInfo) []*tls.Certificate {
	if len(t.all) == 0 {
		return nil
	}
	if hello.ServerName == "" {
		if hello.Conn == nil {
			return nil
		}
		tcp, ok := hello.Conn.LocalAddr().(*net.TCPAddr)
		if !ok {
			return nil
		}
		return t.addr[tcp.AddrPort().Addr().Unmap().WithZone("")]
	}
	name := strings.TrimSuffix(strings.ToLower(hello.ServerName), ".")
	if c := t.exact[name]; len(c) > 0 {
		return c
	}
	if _, parent, ok := strings.Cut(name, "."); ok {
		return t.wildcard[parent]
	}
	return nil
}

// present answers a server's request for a client certificate: the first that
// it supports, or none, and the server decides what that means.
func (s *snapshot) present(req *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	for i := range s.tiers {
		for _, c := range s.tiers[i].all {
			if req.SupportsCertificate(c) == nil {
				return c, nil
			}
		}
	}
	return new(tls.Certificate), nil
}
