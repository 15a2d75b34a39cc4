package tlsconfig

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/inovy/hardening/internal/text"
)

// policy returns everything about a pair that peers would refuse or that the
// profile rules out. It decides what is used, at New and before each swap.
func policy(p *pair, role Role, profile Profile, now time.Time) []flaw {
	var flaws []flaw
	addKind := func(kind flawKind, reason, fix string) {
		flaws = append(flaws, flaw{p.source, reason, fix, kind})
	}
	add := func(reason, fix string) { addKind(flawed, reason, fix) }
	leaf := p.leaf()

	switch {
	case now.After(leaf.NotAfter):
		addKind(expired, "expired on "+day(leaf.NotAfter), "install a renewed certificate")
	case now.Before(leaf.NotBefore):
		addKind(tooEarly, "is not valid before "+leaf.NotBefore.UTC().Format(time.RFC3339), "check the clock of this machine, or install a certificate that is valid now")
	}
	if role == RoleServer && !allows(leaf, x509.ExtKeyUsageServerAuth) {
		add("may not be used by servers: its extended key usage lacks serverAuth", "request a certificate for server authentication")
	}
	if role == RoleClient && !allows(leaf, x509.ExtKeyUsageClientAuth) {
		// Public CAs stopped issuing these in 2026: the root programmes want
		// separate hierarchies.
		add("may not be used by clients: its extended key usage lacks clientAuth", "request a certificate for client authentication from a private CA; public CAs no longer issue them")
	}
	if leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		// RFC 8446 section 4.4.2.2; the ECDHE suites of TLS 1.2 sign too.
		add("may not sign handshakes: its key usage lacks digitalSignature", "request a certificate with key usage digitalSignature")
	}
	if role == RoleServer && len(leaf.DNSNames) == 0 && len(leaf.IPAddresses) == 0 {
		// RFC 9525 section 2: the common name does not count.
		add("names no host: it has neither a DNS name nor an IP address among its subject alternative names", "request a certificate with the host names as subject alternative names")
	}
	for i, c := range p.chain {
		who := "has"
		if i > 0 {
			who = fmt.Sprintf("holds a chain whose certificate %d has", i+1)
		}
		if name, l := keyLevel(c.PublicKey); l > profile.worstKey() {
			addKind(tooWeak, fmt.Sprintf("%s a key of %s, which NCSC-NL 2025-05 calls %s", who, name, l), "use ECDSA P-256, or RSA of 3072 bits or more")
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
			addKind(tooWeak, fmt.Sprintf("%s a signature by %v, which NCSC-NL 2025-05 calls %s", who, c.SignatureAlgorithm, l), "have it issued again with SHA-256")
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
	_, insecure := errors.AsType[x509.InsecureAlgorithmError](err)
	return err == nil || insecure
}

// allows: no extended key usage at all means any (RFC 5280 section 4.2.1.12).
func allows(c *x509.Certificate, usage x509.ExtKeyUsage) bool {
	if len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 {
		return true
	}
	return slices.Contains(c.ExtKeyUsage, usage) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// succession returns why p may not replace old by itself: it would take names
// away or end earlier, as a wrong or an old file does. Whoever means it forces
// it.
func succession(p, old *pair) []flaw {
	var flaws []flaw
	add := func(reason, fix string) { flaws = append(flaws, flaw{file: p.source, reason: reason, fix: fix}) }
	if lost := uncovered(old.leaf(), p.leaf()); len(lost) > 0 {
		if n := len(lost); n > 3 {
			lost = append(lost[:3:3], fmt.Sprintf("%d more", n-3))
		}
		add("lacks names of the certificate in use: "+strings.Join(lost, ", "), "have it issued for all names, or call ForceReload if the names are gone")
	}
	if c := lostIssuer(p, old); c != nil {
		add("lacks the intermediate certificate "+text.Clip(c.Subject.CommonName, 64)+" that the chain in use has, so that clients could not verify it", "install the whole chain that the CA publishes, or call ForceReload if clients trust that intermediate themselves")
	}
	if p.leaf().NotAfter.Before(old.leaf().NotAfter) {
		add(fmt.Sprintf("ends on %s, before the certificate in use (%s)", p.leaf().NotAfter.UTC().Format(time.RFC3339), old.leaf().NotAfter.UTC().Format(time.RFC3339)),
			"install the newest certificate, or call ForceReload if the older one is meant")
	}
	return flaws
}

// lostIssuer is the intermediate of the old chain that the new one would need
// and does not have: a file that was cut between two PEM blocks looks whole. A
// root at the end may go, since clients have it.
func lostIssuer(p, old *pair) *x509.Certificate {
	last := p.chain[len(p.chain)-1]
	for _, c := range old.chain[1:] {
		if !isSelfSigned(last) && !isSelfSigned(c) && bytes.Equal(last.RawIssuer, c.RawSubject) && signedBy(last, c) {
			return c
		}
	}
	return nil
}

// uncovered are the names of c that none of by covers. A wildcard covers the
// names below it, and only a wildcard covers a wildcard.
func uncovered(c *x509.Certificate, by ...*x509.Certificate) (names []string) {
	covered := func(name string) bool {
		return slices.ContainsFunc(by, func(b *x509.Certificate) bool {
			has := func(n string) bool { return strings.EqualFold(n, name) }
			return slices.ContainsFunc(b.DNSNames, has) || !strings.HasPrefix(name, "*.") && b.VerifyHostname(name) == nil
		})
	}
	for _, name := range c.DNSNames {
		if !covered(name) {
			names = append(names, name)
		}
	}
	for _, ip := range c.IPAddresses {
		if !covered(ip.String()) {
			names = append(names, ip.String())
		}
	}
	for _, u := range c.URIs { // a client's identity
		if !slices.ContainsFunc(by, func(b *x509.Certificate) bool {
			return slices.ContainsFunc(b.URIs, func(v *url.URL) bool { return v.String() == u.String() })
		}) {
			names = append(names, u.String())
		}
	}
	for _, e := range c.EmailAddresses {
		if !slices.ContainsFunc(by, func(b *x509.Certificate) bool { return slices.Contains(b.EmailAddresses, e) }) {
			names = append(names, e)
		}
	}
	return names
}

// isSelfSigned compares names and keys, not the signature: the question is
// whether anybody else vouches for the certificate.
func isSelfSigned(c *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, c.RawSubject) &&
		(len(c.AuthorityKeyId) == 0 || bytes.Equal(c.AuthorityKeyId, c.SubjectKeyId))
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
