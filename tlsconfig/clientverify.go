package tlsconfig

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"sync/atomic"
	"time"
)

// Errors about servers. Match them with errors.Is.
var (
	// ErrNoServerName: a connection by IP address whose address nobody told.
	ErrNoServerName = errors.New("tlsconfig: it is not known which name the server must have; set ClientConfig.ServerName, or dial by name")
	// ErrPin: no key in the server's chain is pinned.
	ErrPin = errors.New("tlsconfig: no key in the server's chain is pinned")
	// ErrWeakKey: a key or signature in the server's chain is too weak for the profile.
	ErrWeakKey = errors.New("tlsconfig: a key in the server's chain is too weak for the profile")

	errNoServerCert = errors.New("tlsconfig: the server has no certificate")
)

// verifyConnection is the hook of TLS. cs.ServerName is what crypto/tls sent to
// the server: nothing, if the name is an IP address. Not to check the name then
// would let any certificate of a trusted CA pass.
func (c *Client) verifyConnection(cs tls.ConnectionState) error {
	name := c.serverName
	if name == "" {
		name = cs.ServerName
	}
	return c.verify(&cs, name, false)
}

// verify checks chain, name, strength and pins. fresh: crypto/tls has just
// verified chain and name with the roots of this moment.
func (c *Client) verify(cs *tls.ConnectionState, name string, fresh bool) error {
	switch {
	case len(cs.PeerCertificates) == 0:
		return errNoServerCert
	case name == "":
		return ErrNoServerName
	}
	chains := cs.VerifiedChains
	if !fresh || len(chains) == 0 {
		opts := x509.VerifyOptions{Roots: c.roots.Load().pool(), DNSName: name, Intermediates: x509.NewCertPool(), CurrentTime: time.Now()}
		for _, ca := range cs.PeerCertificates[1:] {
			opts.Intermediates.AddCert(ca)
		}
		var err error
		if chains, err = cs.PeerCertificates[0].Verify(opts); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: err}
		}
	}
	if chains = strong(chains, c.profile.worstKey()); len(chains) == 0 {
		return ErrWeakKey
	}
	if c.pins != nil && !c.pins.match(chains) {
		return ErrPin
	}
	return nil
}

// unverified is the hook under a deviation. Without a verified chain, only the
// key that the server has proven to hold can be pinned.
func (c *Client) unverified(cs tls.ConnectionState) error {
	switch {
	case len(cs.PeerCertificates) == 0:
		return errNoServerCert
	case c.pins != nil && !c.pins.match([][]*x509.Certificate{cs.PeerCertificates[:1]}):
		return ErrPin
	}
	return nil
}

// sessionCache is a cache of sessions that can be emptied. A nil one is empty.
type sessionCache struct {
	lru atomic.Pointer[tls.ClientSessionCache]
}

func newSessionCache() *sessionCache {
	s := new(sessionCache)
	s.clear()
	return s
}

func (s *sessionCache) clear() {
	if s != nil {
		lru := tls.NewLRUClientSessionCache(64)
		s.lru.Store(&lru)
	}
}

// Get implements tls.ClientSessionCache.
func (s *sessionCache) Get(key string) (*tls.ClientSessionState, bool) {
	return (*s.lru.Load()).Get(key)
}

// Put implements tls.ClientSessionCache.
func (s *sessionCache) Put(key string, cs *tls.ClientSessionState) { (*s.lru.Load()).Put(key, cs) }
