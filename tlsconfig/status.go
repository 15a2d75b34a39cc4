package tlsconfig

import (
	"fmt"
	"time"
)

// Expiry says how urgent the renewal of a certificate is. It is relative to
// the certificate's own lifetime, so that it fits certificates of 6, 47 and
// 366 days alike.
type Expiry uint8

// The states, in the order a certificate goes through them. Renewal belongs in
// ExpiryDue; ExpiryUrgent means that it failed.
const (
	ExpiryFresh  Expiry = iota // more than 1/3 of the lifetime is left
	ExpiryDue                  // 1/3 or less is left
	ExpiryUrgent               // 1/6 or less is left
	Expired                    // nothing is left
)

// String returns "fresh", "due", "urgent" or "expired".
func (e Expiry) String() string {
	switch e {
	case ExpiryFresh:
		return "fresh"
	case ExpiryDue:
		return "due"
	case ExpiryUrgent:
		return "urgent"
	case Expired:
		return "expired"
	}
	return fmt.Sprintf("expiry(%d)", uint8(e))
}

// CertStatus describes a certificate in use.
type CertStatus struct {
	Source      string    // where it came from: the certificate's path
	Fingerprint string    // hex SHA-256 of the leaf
	Issuer      string    // distinguished name of the issuer
	DNSNames    []string  // as in the certificate
	IPs         []string  // textual form
	NotBefore   time.Time // UTC
	NotAfter    time.Time // UTC
	Key         string    // "ECDSA P-256", "RSA-3072"
	Level       Level     // NCSC-NL's verdict on the weakest key and signature of the chain
	Expiry      Expiry    // at the moment of the call
}

// Status describes every certificate in use, in the order of
// [ServerConfig].Certs. It is safe for concurrent use.
func (s *Server) Status() []CertStatus {
	now := time.Now()
	pairs := s.snap.Load().pairs
	out := make([]CertStatus, len(pairs))
	for i, p := range pairs {
		out[i] = p.status(now)
	}
	return out
}

func (p *pair) status(now time.Time) CertStatus {
	leaf := p.leaf()
	name, _ := keyLevel(leaf.PublicKey)
	st := CertStatus{
		Source: p.source, Fingerprint: p.fingerprint, Issuer: leaf.Issuer.String(),
		DNSNames:  append([]string(nil), leaf.DNSNames...),
		NotBefore: leaf.NotBefore.UTC(), NotAfter: leaf.NotAfter.UTC(),
		Key: name, Level: chainLevel(p.chain), Expiry: expiryOf(leaf.NotBefore, leaf.NotAfter, now),
	}
	for _, ip := range leaf.IPAddresses {
		st.IPs = append(st.IPs, ip.String())
	}
	return st
}

func expiryOf(notBefore, notAfter, now time.Time) Expiry {
	left, life := notAfter.Sub(now), notAfter.Sub(notBefore)
	switch {
	case left < 0:
		return Expired
	case left <= life/6:
		return ExpiryUrgent
	case left <= life/3:
		return ExpiryDue
	}
	return ExpiryFresh
}
