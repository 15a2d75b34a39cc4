package tlsconfig

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/inovy/hardening"
)

// finding is a Finding whose bad parts are listed: none means passed.
func finding(id, component, title string, sev hardening.Severity, good string, bad []string, expected, remedy string, controls ...hardening.Control) hardening.Finding {
	f := hardening.Finding{
		ID: id, Component: component, Title: title, Passed: len(bad) == 0, Severity: sev,
		Observed: good, Expected: expected, Remedy: remedy, Controls: controls,
	}
	if len(bad) > 0 {
		f.Observed = strings.Join(bad, "; ")
	}
	return f
}

// findings judge what changes while the process runs.
func (k *keeper) findings(component string, now time.Time) []hardening.Finding {
	k.mu.Lock()
	defer k.mu.Unlock()
	supports := func(fw hardening.Framework, id string) hardening.Control {
		return hardening.Control{Framework: fw, ID: id, Relation: hardening.Supports}
	}

	var refused, unstapled, revoked, together, weak []string
	responders, standbys := 0, 0
	for i := range k.certs {
		c := &k.certs[i]
		if c.refused != "" {
			refused = append(refused, c.pair.source+": "+c.refused)
		}
		if c.staple.revoked {
			revoked = append(revoked, c.pair.source)
		}
		if status := k.ocspStatus(c, now); status != "none" {
			responders++
			if status != "good" && status != "revoked" {
				unstapled = append(unstapled, c.pair.source+": "+status)
			}
		}
		if !c.isStandby() {
			continue
		}
		standbys++
		for j := range k.certs {
			if o := &k.certs[j]; !o.isStandby() && bytes.Equal(o.pair.leaf().RawIssuer, c.pair.leaf().RawIssuer) {
				together = append(together, c.pair.source+": same issuer as "+o.pair.source)
			}
		}
	}
	anchors := "no trust anchors of our own"
	if k.cas != nil {
		set := k.cas.set
		anchors = fmt.Sprintf("%d in %s", len(set.certs), set.source)
		if k.cas.refused != "" {
			refused = append(refused, set.source+": "+k.cas.refused)
		}
		if e, ends := set.expiry(now); e != ExpiryFresh {
			weak = append(weak, fmt.Sprintf("%s: %s, the last until %s", set.source, e, day(ends)))
		}
		for i, c := range set.certs {
			if name, l := keyLevel(c.PublicKey); l > LevelSufficient {
				weak = append(weak, fmt.Sprintf("%s: certificate %d has a key of %s (%s)", set.source, i+1, name, l))
			}
		}
	}

	out := []hardening.Finding{
		finding("HDN-TLS-030", component, "The files as they are now are those in use", hardening.High,
			fmt.Sprintf("%d sources, all of them so", len(k.pollers)), refused,
			"every certificate and CA file accepted when it was last read", "install what the reason asks for; Reload looks again at once",
			supports(hardening.ASVS, "v5.0.0-12.1.4"), supports(hardening.ISO27002, "8.24"), supports(hardening.ISO27002, "8.9")),
		finding("HDN-TLS-036", component, "Standby certificates come from another issuer", hardening.Low,
			fmt.Sprintf("%d standby certificates", standbys), together,
			"no standby with the issuer of a certificate in use", "obtain the reserve from another supplier",
			hardening.Control{Framework: hardening.BIO2, ID: "8.24.05", Relation: hardening.Implements}),
		finding("HDN-TLS-038", component, "Trust anchors are strong and last", hardening.Medium,
			anchors, weak, "keys that NCSC-NL 2025-05 calls sufficient, and more than a third of the lifetime left",
			"add the successor of the CA to the file, then remove the old one", transportControls()...),
	}
	if k.role == RoleServer {
		out = append(out,
			finding("HDN-TLS-034", component, "Certificates that name an OCSP responder are served with its answer", hardening.Low,
				fmt.Sprintf("%d certificates name one", responders), unstapled,
				"a valid answer, or no responder", "let this process reach the responder, and put the issuer into the chain file",
				hardening.Control{Framework: hardening.NCSCTLS, ID: "3.4.5", Relation: hardening.Implements}, supports(hardening.ASVS, "v5.0.0-12.1.4")),
			finding("HDN-TLS-035", component, "No certificate in use is revoked", hardening.High,
				fmt.Sprintf("%d certificates name a responder, none is revoked", responders), revoked,
				"none", "replace the certificate and its key, and find out why it was revoked",
				supports(hardening.ASVS, "v5.0.0-12.1.4"), hardening.Control{Framework: hardening.CWE, ID: "299", Relation: hardening.Supports}))
	}
	return out
}
