package tlsconfig

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
)

// snapshot is the set of certificates in use. It is immutable: a reload
// publishes another one.
type snapshot struct {
	pairs []*pair // in the order of ServerConfig.Certs

	exact    map[string][]*tls.Certificate // "www.example.org"
	wildcard map[string][]*tls.Certificate // "example.org" for "*.example.org"
	addr     map[netip.Addr][]*tls.Certificate
}

func newSnapshot(pairs []*pair) *snapshot {
	s := &snapshot{
		pairs:    pairs,
		exact:    map[string][]*tls.Certificate{},
		wildcard: map[string][]*tls.Certificate{},
		addr:     map[netip.Addr][]*tls.Certificate{},
	}
	for _, p := range pairs {
		for _, name := range p.leaf().DNSNames {
			name = strings.ToLower(name)
			if parent, ok := strings.CutPrefix(name, "*."); ok {
				s.wildcard[parent] = append(s.wildcard[parent], &p.cert)
			} else {
				s.exact[name] = append(s.exact[name], &p.cert)
			}
		}
		for _, ip := range p.leaf().IPAddresses {
			if a, ok := netip.AddrFromSlice(ip); ok {
				s.addr[a.Unmap()] = append(s.addr[a.Unmap()], &p.cert)
			}
		}
	}
	return s
}

var errNoCertificate = errors.New("tlsconfig: no certificate")

// pick answers a ClientHello. A name that no certificate covers gets the first
// one, as crypto/tls does: the client's own check refuses it with a message
// that names the cause, which an aborted handshake would not.
func (s *snapshot) pick(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if len(s.pairs) == 0 {
		return nil, errNoCertificate
	}
	if len(s.pairs) == 1 {
		return &s.pairs[0].cert, nil
	}
	candidates := s.candidates(hello)
	if len(candidates) == 0 {
		return &s.pairs[0].cert, nil
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

// candidates are the certificates for the name asked for or, without one, for
// the address that the client connected to: clients send no address as a name
// (RFC 6066 section 3).
func (s *snapshot) candidates(hello *tls.ClientHelloInfo) []*tls.Certificate {
	if hello.ServerName == "" {
		if hello.Conn == nil {
			return nil
		}
		tcp, ok := hello.Conn.LocalAddr().(*net.TCPAddr)
		if !ok {
			return nil
		}
		return s.addr[tcp.AddrPort().Addr().Unmap().WithZone("")]
	}
	name := strings.TrimSuffix(strings.ToLower(hello.ServerName), ".")
	if c := s.exact[name]; len(c) > 0 {
		return c
	}
	if _, parent, ok := strings.Cut(name, "."); ok {
		return s.wildcard[parent]
	}
	return nil
}
