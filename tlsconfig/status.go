package tlsconfig

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
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

// CertStatus describes a certificate in use, or a trusted one.
type CertStatus struct {
	Use         string    // "served", "presented" to servers, "standby" or "trust anchor"
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
	Refused     string    // why the files as they are now are not in use; "" = they are
	OCSP        string    // "none" if no responder is named, else "good", "revoked" or why there is no answer
	SCTs        int       // signed certificate timestamps embedded (RFC 6962); public CAs embed two or more
}

// Status describes every certificate in use, in the order of
// [ServerConfig].Certs, and the CAs of [ClientAuth] after them. It is safe for
// concurrent use.
func (s *Server) Status() []CertStatus { return s.keep.status(time.Now()) }

func (k *keeper) status(now time.Time) []CertStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []CertStatus
	for i := range k.certs {
		c := &k.certs[i]
		st := certStatus(c.pair.chain, now)
		st.Source, st.Refused, st.OCSP = c.pair.source, c.refused, k.ocspStatus(c, now)
		switch {
		case c.isStandby():
			st.Use = "standby"
		case k.role == RoleServer:
			st.Use = "served"
		default:
			st.Use = "presented"
		}
		out = append(out, st)
	}
	if k.cas != nil {
		for _, ca := range k.cas.set.certs {
			st := certStatus([]*x509.Certificate{ca}, now)
			st.Use, st.Source, st.Refused, st.OCSP = "trust anchor", k.cas.set.source, k.cas.refused, "none"
			out = append(out, st)
		}
	}
	return out
}

func (k *keeper) ocspStatus(c *certState, now time.Time) string {
	switch {
	case k.role != RoleServer || c.pair.responder() == "":
		return "none"
	case c.staple.revoked:
		return "revoked"
	case c.staple.der != nil && now.Before(c.staple.nextUpdate):
		return "good"
	case c.staple.problem != "":
		return c.staple.problem
	}
	return "not asked yet"
}

func certStatus(chain []*x509.Certificate, now time.Time) CertStatus {
	leaf := chain[0]
	name, _ := keyLevel(leaf.PublicKey)
	sum := sha256.Sum256(leaf.Raw)
	st := CertStatus{
		Fingerprint: hex.EncodeToString(sum[:]), Issuer: leaf.Issuer.String(),
		DNSNames:  append([]string(nil), leaf.DNSNames...),
		NotBefore: leaf.NotBefore.UTC(), NotAfter: leaf.NotAfter.UTC(),
		Key: name, Level: chainLevel(chain), Expiry: expiryOf(leaf.NotBefore, leaf.NotAfter, now),
		SCTs: countSCTs(leaf),
	}
	for _, ip := range leaf.IPAddresses {
		st.IPs = append(st.IPs, ip.String())
	}
	return st
}

// countSCTs counts the timestamps in the certificate's list (RFC 6962 section
// 3.3): an octet string of a list of opaque entries. It proves no signature.
func countSCTs(c *x509.Certificate) int {
	for _, ext := range c.Extensions {
		if !ext.Id.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}) {
			continue
		}
		var list []byte
		if rest, err := asn1.Unmarshal(ext.Value, &list); err != nil || len(rest) > 0 || len(list) < 2 {
			return 0
		}
		size, list := int(binary.BigEndian.Uint16(list)), list[2:]
		if size != len(list) {
			return 0
		}
		n := 0
		for len(list) >= 2 {
			size := int(binary.BigEndian.Uint16(list))
			if size == 0 || len(list) < 2+size {
				return 0
			}
			list = list[2+size:]
			n++
		}
		if len(list) > 0 {
			return 0
		}
		return n
	}
	return 0
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
