package cors

import (
	"fmt"
	"slices"

	"github.com/inovy/hardening"
)

var controls = []hardening.Control{
	{Framework: hardening.ASVS, ID: "v5.0.0-3.4.2", Relation: hardening.Implements},
	{Framework: hardening.ASVS, ID: "v5.0.0-3.5.2", Relation: hardening.Supports},
	{Framework: hardening.ISO27002, ID: "8.26", Relation: hardening.Supports},
	{Framework: hardening.OWASP, ID: "A01:2021", Relation: hardening.Supports},
	{Framework: hardening.NIS2, ID: "e", Relation: hardening.Supports},
	{Framework: hardening.GDPR, ID: "25(2)", Relation: hardening.Supports},
}

// Check reports who may read answers and where that was weakened.
func (c *CORS) Check() []hardening.Finding {
	insecure := slices.ContainsFunc(c.patterns, func(p pattern) bool { return p.scheme == "http" })
	wildcard := slices.ContainsFunc(c.patterns, func(p pattern) bool { return p.anySub })
	list := fmt.Sprint(c.cfg.Origins)
	return []hardening.Finding{
		c.finding("HDN-CORS-001", hardening.Medium, !c.any,
			"Only named sites read answers", list, "named origins",
			"name the origins, or record that everything here is public"),
		c.finding("HDN-CORS-002", hardening.High, !insecure,
			"Sites that read answers are encrypted", list, "https origins only",
			"serve those sites over https; keep origins on this machine out of production"),
		c.finding("HDN-CORS-003", hardening.High, !c.cfg.DangerouslyAllowPublicSuffixes,
			"No stranger can register a name that is allowed", fmt.Sprintf("%s, public suffixes allowed: %t", list, c.cfg.DangerouslyAllowPublicSuffixes), "public suffixes allowed: false",
			"name the origins and drop DangerouslyAllowPublicSuffixes"),
		c.finding("HDN-CORS-004", hardening.Medium, !(c.cfg.Credentials && wildcard),
			"With credentials, every origin is named in full", fmt.Sprintf("%s, credentials: %t", list, c.cfg.Credentials), "no wildcard beside credentials",
			"name the subdomains: whoever takes over a forgotten one acts as the user"),
		c.finding("HDN-CORS-005", hardening.High, !c.cfg.DangerouslyReportOnly,
			"Other sites are refused", fmt.Sprintf("report only: %t", c.cfg.DangerouslyReportOnly), "report only: false",
			"drop DangerouslyReportOnly when the log shows no honest site"),
		c.finding("HDN-CORS-006", hardening.Low, !c.cfg.DangerouslyDebug,
			"Refusals say nothing", fmt.Sprintf("debug: %t", c.cfg.DangerouslyDebug), "debug: false",
			"drop DangerouslyDebug"),
		c.finding("HDN-CORS-007", hardening.Low, !c.allMeth && !c.allHead,
			"Methods and headers are named", fmt.Sprintf("methods %v, headers %v", c.cfg.Methods, c.cfg.RequestHeaders), "no wildcard",
			"name what the sites use"),
	}
}

func (c *CORS) finding(id string, severity hardening.Severity, passed bool, title, observed, expected, remedy string) hardening.Finding {
	return hardening.Finding{
		ID: id, Component: c.cfg.Name, Severity: severity, Passed: passed,
		Title: title, Observed: observed, Expected: expected, Remedy: remedy, Controls: slices.Clone(controls),
	}
}
