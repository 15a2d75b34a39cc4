package tlsconfig

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// policy returns everything about a pair that clients would refuse or that the
// profile rules out. It decides what is served, at New and before each swap.
func policy(p *pair, profile Profile, now time.Time) []flaw {
	var flaws []flaw
	add := func(reason, fix string) { flaws = append(flaws, flaw{p.source, reason, fix}) }
	leaf := p.leaf()

	switch {
	case now.After(leaf.NotAfter):
		add("expired on "+day(leaf.NotAfter), "install a renewed certificate")
	case now.Before(leaf.NotBefore):
		add("is not valid before "+leaf.NotBefore.UTC().Format(time.RFC3339), "check the clock of this machine, or install a certificate that is valid now")
	}
	if !allowsServerAuth(leaf) {
		add("may not be used by servers: its extended key usage lacks serverAuth", "request a certificate for server authentication")
	}
	if leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		// RFC 8446 section 4.4.2.2; the ECDHE suites of TLS 1.2 sign too.
		add("may not sign handshakes: its key usage lacks digitalSignature", "request a certificate with key usage digitalSignature")
	}
	if len(leaf.DNSNames) == 0 && len(leaf.IPAddresses) == 0 {
		// RFC 9525 section 2: the common name does not count.
		add("names no host: it has neither a DNS name nor an IP address among its subject alternative names", "request a certificate with the host names as subject alternative names")
	}
	for i, c := range p.chain {
		who := "has"
		if i > 0 {
			who = fmt.Sprintf("holds a chain whose certificate %d has", i+1)
		}
		if name, l := keyLevel(c.PublicKey); l > profile.worstKey() {
			add(fmt.Sprintf("%s a key of %s, which NCSC-NL 2025-05 calls %s", who, name, l), "use ECDSA P-256, or RSA of 3072 bits or more")
		} else if name == "ECDSA P-224" {
			add(who+" a key of ECDSA P-224, which TLS clients do not support", "use ECDSA P-256")
		} else if k, ok := c.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() > 8192 {
			// crypto/tls and others refuse larger keys: each handshake would
			// cost the client seconds (CVE-2023-29409).
			add(fmt.Sprintf("%s a key of %s, which clients refuse as too large", who, name), "use ECDSA P-256, or RSA of 3072 bits")
		}
		selfSigned := isSelfSigned(c)
		if l := signatureLevel(c.SignatureAlgorithm); l > profile.worstKey() && !(i > 0 && selfSigned) {
			// Nobody verifies the signature of a root on itself.
			add(fmt.Sprintf("%s a signature by %v, which NCSC-NL 2025-05 calls %s", who, c.SignatureAlgorithm, l), "have it issued again with SHA-256")
		}
		if i == 0 {
			continue
		}
		if now.After(c.NotAfter) {
			add(fmt.Sprintf("holds a chain whose certificate %d (%s) expired on %s", i+1, c.Subject.CommonName, day(c.NotAfter)), "install the chain that the CA publishes now")
		}
		if child := p.chain[i-1]; !bytes.Equal(child.RawIssuer, c.RawSubject) || !signedBy(child, c) {
			add(fmt.Sprintf("holds a chain that breaks: certificate %d was not issued by certificate %d", i, i+1), "order the chain leaf first, each followed by its issuer")
			break
		}
	}
	return flaws
}

// signedBy verifies the signature alone. A hash that Go no longer verifies is
// no break in the chain: the SHA-1 flaw says what is wrong.
func signedBy(child, issuer *x509.Certificate) bool {
	err := child.CheckSignatureFrom(issuer)
	if _, insecure := err.(x509.InsecureAlgorithmError); insecure {
		return true
	}
	return err == nil
}

// allowsServerAuth: no extended key usage at all means any (RFC 5280 section
// 4.2.1.12).
func allowsServerAuth(c *x509.Certificate) bool {
	if len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 {
		return true
	}
	return slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// isSelfSigned compares names and keys, not the signature: the question is
// whether anybody else vouches for the certificate.
func isSelfSigned(c *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, c.RawSubject) &&
		(len(c.AuthorityKeyId) == 0 || bytes.Equal(c.AuthorityKeyId, c.SubjectKeyId))
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
