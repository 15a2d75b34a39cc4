package tlsconfig

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/inovy/hardening"
)

// served is a chain as a peer gets it, and where it comes from.
type served struct {
	source string
	chain  []*x509.Certificate
}

// maxLifetime is what Mozilla server-side TLS 6.0 allows.
const maxLifetime = 366 * 24 * time.Hour

// certFindings judges certificates. Every finding names only those at fault.
func certFindings(certs []served, env hardening.Environment, component string, now time.Time) []hardening.Finding {
	find := func(id, title string, sev hardening.Severity, expected, remedy string, controls []hardening.Control, judge func(served) string) hardening.Finding {
		var bad []string
		for _, c := range certs {
			if what := judge(c); what != "" {
				bad = append(bad, c.source+": "+what)
			}
		}
		f := hardening.Finding{
			ID: id, Component: component, Title: title, Passed: len(bad) == 0, Severity: sev,
			Observed: fmt.Sprintf("%d certificates, all of them so", len(certs)), Expected: expected, Remedy: remedy, Controls: controls,
		}
		if len(bad) > 0 {
			f.Observed = strings.Join(bad, "; ")
		}
		return f
	}
	renewal := []hardening.Control{{Framework: hardening.ISO27002, ID: "8.24", Relation: hardening.Supports}, {Framework: hardening.BIO2, ID: "8.24.05", Relation: hardening.Supports}, {Framework: hardening.Mozilla, ID: "intermediate", Relation: hardening.Supports}}
	return []hardening.Finding{
		find("HDN-TLS-020", "Certificate keys and signatures are sufficient", hardening.Medium,
			"ECDSA P-256 or better, Ed25519, or RSA of 3072 bits or more; SHA-256 or better", "issue the certificate with an ECDSA P-256 key",
			transportControls(hardening.Control{Framework: hardening.NCSCTLS, ID: "3.3.2", Relation: hardening.Implements}, hardening.Control{Framework: hardening.NCSCTLS, ID: "3.3.5", Relation: hardening.Implements}),
			func(c served) string {
				if l := chainLevel(c.chain); l > LevelSufficient {
					return fmt.Sprintf("%s (%s)", weakest(c.chain), l)
				}
				return ""
			}),
		find("HDN-TLS-021", "Certificates are renewed in time", hardening.High,
			"more than a third of the lifetime left", "renew the certificate, and find out why that did not happen by itself", renewal,
			func(c served) string {
				leaf := c.chain[0]
				if e := expiryOf(leaf.NotBefore, leaf.NotAfter, now); e != ExpiryFresh {
					return fmt.Sprintf("%s, until %s", e, day(leaf.NotAfter))
				}
				return ""
			}),
		find("HDN-TLS-022", "Certificates live a year at most", hardening.Low,
			"366 days or less", "issue certificates for 90 days or less and renew them automatically", renewal,
			func(c served) string {
				if life := c.chain[0].NotAfter.Sub(c.chain[0].NotBefore); life > maxLifetime {
					return fmt.Sprintf("%d days", int(life/(24*time.Hour)))
				}
				return ""
			}),
		find("HDN-TLS-023", "A certificate authority vouches for every certificate", hardening.High,
			"issued by a CA that is not for development (any, in Development)", "have a CA that your clients trust issue it, or set Environment to Development",
			[]hardening.Control{{Framework: hardening.ASVS, ID: "v5.0.0-12.2.2", Relation: hardening.Supports}, {Framework: hardening.BIO2, ID: "5.14.02", Relation: hardening.Supports}},
			func(c served) string {
				leaf := c.chain[0]
				switch {
				case env == hardening.Development:
				case isSelfSigned(leaf):
					return "self-signed"
				case leaf.IsCA:
					return "a CA certificate"
				case slices.Contains(leaf.Issuer.Organization, devCAOrganization):
					return "issued by a development CA"
				}
				return ""
			}),
	}
}

// keyFileFinding reports the permissions seen when the keys were loaded.
func keyFileFinding(pairs []*pair, component string) hardening.Finding {
	var open []string
	for _, p := range pairs {
		if p.keyMode&0o007 != 0 {
			open = append(open, fmt.Sprintf("key of %s: %v", p.source, p.keyMode))
		}
	}
	f := hardening.Finding{
		ID: "HDN-TLS-024", Component: component, Title: "Private keys are closed to other users of the machine", Passed: len(open) == 0, Severity: hardening.Medium,
		Observed: fmt.Sprintf("%d key files, all of them so", len(pairs)), Expected: "no permission for others", Remedy: "chmod o= the key file; in Kubernetes set defaultMode: 0440 on the secret's volume",
		Controls: []hardening.Control{{Framework: hardening.ISO27002, ID: "8.24", Relation: hardening.Supports}, {Framework: hardening.ASVS, ID: "v5.0.0-13.3.2", Relation: hardening.Supports}},
	}
	if len(open) > 0 {
		f.Observed = strings.Join(open, "; ")
	}
	return f
}

// chainLevel is the worst level among the keys of a chain and the signatures
// that are verified: that of a root on itself is not.
func chainLevel(chain []*x509.Certificate) Level {
	worst := LevelGood
	for i, c := range chain {
		_, l := keyLevel(c.PublicKey)
		worst = max(worst, l)
		if i == 0 || !isSelfSigned(c) {
			worst = max(worst, signatureLevel(c.SignatureAlgorithm))
		}
	}
	return worst
}

// weakest names what makes a chain's level.
func weakest(chain []*x509.Certificate) string {
	worst := chainLevel(chain)
	for i, c := range chain {
		if name, l := keyLevel(c.PublicKey); l == worst {
			return fmt.Sprintf("certificate %d has a key of %s", i+1, name)
		}
		if signatureLevel(c.SignatureAlgorithm) == worst {
			return fmt.Sprintf("certificate %d is signed with %v", i+1, c.SignatureAlgorithm)
		}
	}
	return ""
}
