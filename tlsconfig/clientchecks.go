package tlsconfig

import (
	"time"

	"github.com/inovy/hardening"
)

// Check reports what the client's configuration and certificates come to at
// this moment, passes included. It does no I/O. It is safe for concurrent use.
func (c *Client) Check() []hardening.Finding {
	var out []hardening.Finding
	cfgs := []labelled{{cfg: c.TLS()}}
	for _, check := range configChecks() {
		if check.id == "HDN-TLS-003" && c.classical != "" {
			continue // HDN-TLS-037 says it, with the reason
		}
		if f, ok := check.run(cfgs, RoleClient, c.name); ok {
			out = append(out, f)
		}
	}
	out = append(out, deviation(out, cfgs[0].cfg, AuditOptions{Name: c.name, DangerouslySkipVerify: c.skip}))
	var without []string
	if c.classical != "" {
		without = []string{"left out: " + c.classical}
	}
	out = append(out,
		finding("HDN-TLS-037", c.name, "Hybrid post-quantum key agreement is not left out for a middlebox", hardening.Low,
			"not left out", without, "ClassicalKexOnly empty", "have the middlebox repaired, then drop ClassicalKexOnly",
			hardening.Control{Framework: hardening.NCSCTLS, ID: "3.3.3", Relation: hardening.Implements},
			hardening.Control{Framework: hardening.ASVS, ID: "v5.0.0-11.2.2", Relation: hardening.Supports}))
	var judged []string
	if c.proxy != nil && c.ownDialer {
		judged = []string{"the proxy is dialled by a DialContext that never sees the destination"}
	}
	out = append(out, finding("HDN-TLS-064", c.name, "What judges destinations makes the connections itself", hardening.Medium,
		"no proxy beside a dialler of one's own", judged, "Proxy or DialContext, not both", "drop one of them: a guard against requests to the inside judges the proxy's address only",
		hardening.Control{Framework: hardening.ASVS, ID: "v5.0.0-1.3.6", Relation: hardening.Supports},
		hardening.Control{Framework: hardening.CWE, ID: "918", Relation: hardening.Supports}))
	if pairs := c.keep.pairs(); len(pairs) > 0 {
		certs := make([]served, len(pairs))
		for i, p := range pairs {
			certs[i] = served{source: p.source, chain: p.chain}
		}
		out = append(out, certFindings(certs, c.env, c.name, time.Now())...)
		out = append(out, keyFileFinding(pairs, c.name))
	}
	return append(out, c.keep.findings(c.name, time.Now())...)
}
