package tlsconfig

import (
	"crypto/x509"
	"net/url"
	"slices"
	"strings"
)

// SAN is a rule about a subject alternative name of a client's certificate, for
// [ClientAuth].Allow. Make one with [DNS], [Email], [URI] or [SPIFFE]. The
// common name never counts (RFC 9525 section 2).
type SAN struct {
	kind  sanKind
	value string // as compared
}

type sanKind uint8

const (
	sanDNS sanKind = iota + 1
	sanEmail
	sanURI
	sanSPIFFE
)

// DNS allows certificates with this DNS name, without regard to case:
// "api.internal". "*.clients.internal" allows any one label in place of the
// star. A certificate for a wildcard is matched only by its like.
func DNS(name string) SAN {
	return SAN{sanDNS, strings.TrimSuffix(strings.ToLower(name), ".")}
}

// Email allows certificates with this e-mail address. The part after the @ is
// compared without regard to case (RFC 5280 section 7.5).
func Email(address string) SAN { return SAN{sanEmail, foldEmail(address)} }

// URI allows certificates with exactly this URI.
func URI(uri string) SAN { return SAN{sanURI, uri} }

// SPIFFE allows X.509-SVIDs with this SPIFFE ID: "spiffe://inovy/ns/portal". If
// it ends in "/*", any ID below that path: "spiffe://inovy/*" is the whole trust
// domain. A certificate with more than one URI is no SVID and never matches
// (SPIFFE X.509-SVID section 2).
func SPIFFE(id string) SAN { return SAN{sanSPIFFE, id} }

// String returns the rule as "DNS:api.internal".
func (s SAN) String() string {
	switch s.kind {
	case sanDNS:
		return "DNS:" + s.value
	case sanEmail:
		return "email:" + s.value
	case sanURI:
		return "URI:" + s.value
	case sanSPIFFE:
		return "SPIFFE:" + s.value
	}
	return "none"
}

func foldEmail(a string) string {
	at := strings.LastIndexByte(a, '@')
	if at < 0 {
		return a
	}
	return a[:at] + strings.ToLower(a[at:])
}

// fault says why the rule is none.
func (s SAN) fault() (reason, fix string) {
	switch s.kind {
	case sanDNS:
		if !validHost(s.value) {
			return "is not a DNS name", `write it without scheme, port and address: DNS("api.internal")`
		}
	case sanEmail:
		local, domain, ok := strings.Cut(s.value, "@")
		unprintable := strings.ContainsFunc(local, func(c rune) bool { return c <= ' ' || c > '~' || c == '@' })
		if !ok || local == "" || local == "*" || unprintable || !validHost(domain) || strings.HasPrefix(domain, "*") {
			return "is not one e-mail address", `write it in full: Email("ops@example.org")`
		}
	case sanURI:
		if u, err := url.Parse(s.value); err != nil || u.Scheme == "" || u.Host == "" && u.Opaque == "" || u.String() != s.value {
			return "is not an absolute URI in normal form", `write it as in the certificate: URI("https://example.org/a")`
		}
		if strings.HasPrefix(s.value, "spiffe:") {
			return "is a SPIFFE ID, which has rules of its own", "use SPIFFE"
		}
	case sanSPIFFE:
		id := s.value
		if prefix, ok := strings.CutSuffix(id, "/*"); ok {
			id = prefix
		}
		if !validSPIFFE(id) {
			return "is not a SPIFFE ID", `write it as SPIFFE("spiffe://domain/path") or SPIFFE("spiffe://domain/*")`
		}
	default:
		return "is empty", "use DNS, Email, URI or SPIFFE"
	}
	return "", ""
}

// matches reports whether the certificate has the name.
func (s SAN) matches(c *x509.Certificate) bool {
	switch s.kind {
	case sanDNS:
		return slices.ContainsFunc(c.DNSNames, func(n string) bool {
			n = strings.ToLower(n)
			if n == s.value {
				return true
			}
			parent, ok := strings.CutPrefix(s.value, "*.")
			if !ok {
				return false
			}
			label, rest, ok := strings.Cut(n, ".")
			return ok && rest == parent && label != "" && label != "*"
		})
	case sanEmail:
		return slices.ContainsFunc(c.EmailAddresses, func(a string) bool { return foldEmail(a) == s.value })
	case sanURI:
		return slices.ContainsFunc(c.URIs, func(u *url.URL) bool { return u.String() == s.value })
	case sanSPIFFE:
		if len(c.URIs) != 1 || c.IsCA {
			return false
		}
		id := c.URIs[0].String()
		if !validSPIFFE(id) {
			return false
		}
		if prefix, ok := strings.CutSuffix(s.value, "/*"); ok {
			return strings.HasPrefix(id, prefix+"/")
		}
		return id == s.value
	}
	return false
}

// validSPIFFE checks an ID against the SPIFFE ID standard, section 2: a trust
// domain of lower-case letters, digits, dots, dashes and underscores; then
// segments of letters, digits, dots, dashes and underscores, none of them
// empty, "." or "..".
func validSPIFFE(id string) bool {
	rest, ok := strings.CutPrefix(id, "spiffe://")
	if !ok || len(id) > 2048 {
		return false
	}
	domain, path, hasPath := strings.Cut(rest, "/")
	if domain == "" || len(domain) > 255 || strings.ContainsFunc(domain, func(r rune) bool {
		return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '.' || r == '-' || r == '_')
	}) {
		return false
	}
	if !hasPath {
		return true
	}
	for seg := range strings.SplitSeq(path, "/") {
		if seg == "" || seg == "." || seg == ".." || strings.ContainsFunc(seg, func(r rune) bool {
			return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '.' || r == '-' || r == '_')
		}) {
			return false
		}
	}
	return true
}
