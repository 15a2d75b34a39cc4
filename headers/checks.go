package headers

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/inovy/hardening"
)

// Check reports what m's policy does and where it was weakened, then the same
// for every policy derived from it by [Middleware.With].
func (m *Middleware) Check() []hardening.Finding {
	m.tree.mu.Lock()
	defer m.tree.mu.Unlock()
	return m.findings()
}

// findings runs under tree.mu.
func (m *Middleware) findings() []hardening.Finding {
	fs := m.cfg.check()
	for _, child := range m.children {
		fs = append(fs, child.findings()...)
	}
	return fs
}

func (c *Config) check() []hardening.Finding {
	checks := []func(*Config) hardening.Finding{
		checkHSTS, checkScripts, checkLeastCSP, checkUnsafeSources, checkFraming, checkSniffing,
		checkReferrer, checkPermissions, checkOpener, checkResource, checkCache, checkIsolated,
	}
	fs := make([]hardening.Finding, len(checks))
	for i, check := range checks {
		fs[i] = check(c)
		fs[i].Component = c.Name
	}
	return fs
}

func implements(fw hardening.Framework, id string) hardening.Control {
	return hardening.Control{Framework: fw, ID: id, Relation: hardening.Implements}
}

func supports(fw hardening.Framework, id string) hardening.Control {
	return hardening.Control{Framework: fw, ID: id, Relation: hardening.Supports}
}

func checkHSTS(c *Config) hardening.Finding {
	return hardening.Finding{
		ID: "HDN-HEADERS-001", Severity: hardening.High,
		Title:    "Browsers insist on HTTPS for a year, subdomains included",
		Passed:   c.HSTS.MaxAge >= year && c.HSTS.IncludeSubDomains,
		Observed: c.HSTS.String(),
		Expected: "max-age of at least 31536000; includeSubDomains",
		Remedy:   "leave Config.HSTS zero, or drop DangerouslyShort when the rollout is done",
		Controls: []hardening.Control{
			implements(hardening.ASVS, "v5.0.0-3.4.1"), implements(hardening.RFC, "6797-7.2"), supports(hardening.BIO2, "5.14.01"),
			supports(hardening.BIO, "13.2.1"), supports(hardening.ISO27002, "8.24"), supports(hardening.NIS2, "h"), supports(hardening.OWASP, "A05:2021"), supports(hardening.GDPR, "32(1)(a)"),
		},
	}
}

func checkScripts(c *Config) hardening.Finding {
	passed := true
	for _, list := range c.CSP.scripts() {
		for _, s := range list {
			switch {
			case s == NonceSource, s == StrictDynamic, s == None, s == ReportSample, isHash(s):
			default:
				passed = false
			}
		}
	}
	return hardening.Finding{
		ID: "HDN-HEADERS-002", Severity: hardening.High,
		Title:    "Scripts run only by nonce or hash",
		Passed:   passed,
		Observed: fmt.Sprint(c.CSP.scripts()),
		Expected: "nonces, hashes or 'none' in every script directive",
		Remedy:   "put headers.NonceSource into CSP.ScriptSrc and headers.NonceAttr into the templates",
		Controls: []hardening.Control{
			implements(hardening.ASVS, "v5.0.0-3.4.3"), supports(hardening.ISO27002, "8.28"), supports(hardening.BIO2, "8.27.01"),
			supports(hardening.OWASP, "A03:2021"), supports(hardening.NIS2, "e"), supports(hardening.CRA, "I.1.2(j)"), supports(hardening.CWE, "79"),
		},
	}
}

func checkLeastCSP(c *Config) hardening.Finding {
	none := func(list []Source) bool { return slices.Equal(list, []Source{None}) }
	return hardening.Finding{
		ID: "HDN-HEADERS-003", Severity: hardening.Medium,
		Title:    "Plug-ins are off, the base URL is fixed, and forms go to this origin only",
		Passed:   none(c.CSP.ObjectSrc) && none(c.CSP.BaseURI) && (none(c.CSP.FormAction) || slices.Equal(c.CSP.FormAction, []Source{Self})),
		Observed: fmt.Sprintf("object-src %v base-uri %v form-action %v", c.CSP.ObjectSrc, c.CSP.BaseURI, c.CSP.FormAction),
		Expected: "object-src 'none', base-uri 'none', form-action 'self' or 'none'",
		Remedy:   "narrow CSP.ObjectSrc, CSP.BaseURI and CSP.FormAction",
		Controls: []hardening.Control{implements(hardening.ASVS, "v5.0.0-3.4.3"), supports(hardening.ISO27002, "8.26"), supports(hardening.OWASP, "A05:2021")},
	}
}

func checkUnsafeSources(c *Config) hardening.Finding {
	observed := "none"
	if len(c.CSP.DangerouslyAllow) > 0 {
		var b strings.Builder
		for i, name := range slices.Sorted(maps.Keys(c.CSP.DangerouslyAllow)) {
			if i > 0 {
				b.WriteString("; ")
			}
			fmt.Fprintf(&b, "%s %v", name, c.CSP.DangerouslyAllow[name])
		}
		observed = b.String()
	}
	return hardening.Finding{
		ID: "HDN-HEADERS-004", Severity: hardening.High,
		Title:    "The content security policy has no unsafe source",
		Passed:   len(c.CSP.DangerouslyAllow) == 0,
		Observed: observed,
		Expected: "none",
		Remedy:   "change the pages that need CSP.DangerouslyAllow, or allow it on their routes only with Middleware.With",
		Controls: []hardening.Control{supports(hardening.ASVS, "v5.0.0-3.4.3"), supports(hardening.ISO27002, "8.28"), supports(hardening.CWE, "79")},
	}
}

func checkFraming(c *Config) hardening.Finding {
	own := slices.Equal(c.CSP.FrameAncestors, []Source{None}) || slices.Equal(c.CSP.FrameAncestors, []Source{Self})
	frameOptions := string(c.FrameOptions)
	if frameOptions == "" {
		frameOptions = "not sent"
	}
	return hardening.Finding{
		ID: "HDN-HEADERS-005", Severity: hardening.Medium,
		Title:    "No other site may frame a page",
		Passed:   own && !c.DangerouslyOmitFrameOptions,
		Observed: fmt.Sprintf("frame-ancestors %v, X-Frame-Options %s", c.CSP.FrameAncestors, frameOptions),
		Expected: "frame-ancestors 'none' or 'self', and X-Frame-Options that agrees",
		Remedy:   "leave CSP.FrameAncestors at 'none' and DangerouslyOmitFrameOptions unset",
		Controls: []hardening.Control{implements(hardening.ASVS, "v5.0.0-3.4.6"), supports(hardening.ISO27002, "8.26"), supports(hardening.CWE, "1021")},
	}
}

func checkSniffing(c *Config) hardening.Finding {
	observed := "nosniff"
	if c.DangerouslyAllowSniffing {
		observed = "not sent"
	}
	return hardening.Finding{
		ID: "HDN-HEADERS-006", Severity: hardening.Medium,
		Title:    "Browsers do not guess content types",
		Passed:   !c.DangerouslyAllowSniffing,
		Observed: observed,
		Expected: "nosniff",
		Remedy:   "drop DangerouslyAllowSniffing",
		Controls: []hardening.Control{implements(hardening.ASVS, "v5.0.0-3.4.4"), supports(hardening.ISO27002, "8.26"), supports(hardening.BIO, "14.1.2")},
	}
}

func checkReferrer(c *Config) hardening.Finding {
	return hardening.Finding{
		ID: "HDN-HEADERS-007", Severity: hardening.Low,
		Title:    "Other sites do not learn the paths of pages",
		Passed:   !slices.Contains(leaky, string(c.ReferrerPolicy)),
		Observed: string(c.ReferrerPolicy),
		Expected: "strict-origin-when-cross-origin or stricter",
		Remedy:   "leave ReferrerPolicy empty and drop DangerouslyLeakReferrer",
		Controls: []hardening.Control{implements(hardening.ASVS, "v5.0.0-3.4.5"), supports(hardening.ISO27002, "8.12"), supports(hardening.GDPR, "25(2)")},
	}
}

func checkPermissions(c *Config) hardening.Finding {
	passed := true
	for _, want := range []Feature{"geolocation", "microphone", "camera"} {
		passed = passed && slices.ContainsFunc(c.Permissions, func(p Permission) bool { return p.Feature == want && p.Allow == nil })
	}
	return hardening.Finding{
		ID: "HDN-HEADERS-008", Severity: hardening.Low,
		Title:    "Geolocation, microphone and camera are off",
		Passed:   passed,
		Observed: permissionsPolicy(c.Permissions),
		Expected: "geolocation=(), microphone=(), camera=() among others",
		Remedy:   "deny all three, and allow one on its own route with Middleware.With",
		Controls: []hardening.Control{supports(hardening.ISO27002, "8.26"), supports(hardening.GDPR, "25(2)"), supports(hardening.CRA, "I.1.2(b)")},
	}
}

func checkOpener(c *Config) hardening.Finding {
	return hardening.Finding{
		ID: "HDN-HEADERS-009", Severity: hardening.Low,
		Title:    "A page that another site opened shares no window with it",
		Passed:   c.COOP != COOPUnsafeNone,
		Observed: string(c.COOP),
		Expected: "same-origin, or one that allows popups",
		Remedy:   "leave COOP empty",
		Controls: []hardening.Control{implements(hardening.ASVS, "v5.0.0-3.4.8"), supports(hardening.ISO27002, "8.26")},
	}
}

func checkResource(c *Config) hardening.Finding {
	return hardening.Finding{
		ID: "HDN-HEADERS-010", Severity: hardening.Low,
		Title:    "Other sites cannot embed responses",
		Passed:   c.CORP != CORPCrossOrigin,
		Observed: string(c.CORP),
		Expected: "same-origin or same-site",
		Remedy:   "leave CORP empty, and open public assets only with Middleware.With",
		Controls: []hardening.Control{implements(hardening.ASVS, "v5.0.0-3.5.8"), supports(hardening.ISO27002, "8.26")},
	}
}

func checkCache(c *Config) hardening.Finding {
	return hardening.Finding{
		ID: "HDN-HEADERS-011", Severity: hardening.Low,
		Title:    "No cache keeps a response, unless a handler or a route's own policy says so",
		Passed:   cacheHas(c.CacheControl, "no-store") || c.derived,
		Observed: c.CacheControl,
		Expected: "no-store, but for routes that have a policy of their own",
		Remedy:   "leave CacheControl empty, and cache public assets only with Middleware.With",
		Controls: []hardening.Control{implements(hardening.ASVS, "v5.0.0-14.3.2"), supports(hardening.ISO27002, "8.12"), supports(hardening.CWE, "525")},
	}
}

// checkIsolated notes embedder policies that cost compatibility and isolate
// nothing: browsers isolate a page only under COOP same-origin, and a site that
// isolates itself but lets every other one embed it is still read by them
// (HTML standard, "cross-origin isolated").
func checkIsolated(c *Config) hardening.Finding {
	enforced := c.COEP == COEPRequireCORP || c.COEP == COEPCredentialless
	return hardening.Finding{
		ID: "HDN-HEADERS-012", Severity: hardening.Low,
		Title:    "A page that isolates itself is isolated both ways",
		Passed:   !enforced || c.COOP == COOPSameOrigin && (c.CORP != CORPCrossOrigin || c.derived),
		Observed: fmt.Sprintf("COEP %q, COOP %q, CORP %q", c.COEP, c.COOP, c.CORP),
		Expected: "beside an enforced COEP: COOP same-origin, and CORP cross-origin only for routes that have a policy of their own",
		Remedy:   "leave COOP and CORP empty, or COEP; open public assets only with Middleware.With",
		Controls: []hardening.Control{supports(hardening.ASVS, "v5.0.0-3.5.8"), supports(hardening.ISO27002, "8.26")},
	}
}

func cacheHas(value, name string) bool {
	for part := range strings.SplitSeq(value, ",") {
		if strings.Trim(part, " ") == name {
			return true
		}
	}
	return false
}

// Check reports what i refuses and where it was weakened.
func (i *Isolation) Check() []hardening.Finding {
	csrf := []hardening.Control{
		implements(hardening.ASVS, "v5.0.0-3.5.1"), supports(hardening.ISO27002, "8.26"), supports(hardening.BIO, "14.1.3"),
		supports(hardening.OWASP, "A01:2021"), supports(hardening.NIS2, "e"), supports(hardening.CWE, "352"), supports(hardening.GDPR, "32(1)(b)"),
	}
	return []hardening.Finding{
		{
			ID: "HDN-HEADERS-020", Component: i.cfg.Name, Severity: hardening.High,
			Title:    "State-changing requests and WebSockets of other sites are refused",
			Passed:   !i.cfg.DangerouslyReportOnly,
			Observed: fmt.Sprintf("report only: %t", i.cfg.DangerouslyReportOnly),
			Expected: "report only: false",
			Remedy:   "drop DangerouslyReportOnly when the log shows no honest request",
			Controls: csrf,
		},
		{
			ID: "HDN-HEADERS-021", Component: i.cfg.Name, Severity: hardening.Low,
			Title:    "No other origin may change state",
			Passed:   len(i.cfg.TrustedOrigins) == 0,
			Observed: fmt.Sprintf("trusted origins %v", i.cfg.TrustedOrigins),
			Expected: "trusted origins []",
			Remedy:   "serve the pages from this origin, or record why the others are trusted",
			Controls: csrf,
		},
		{
			ID: "HDN-HEADERS-022", Component: i.cfg.Name, Severity: hardening.Low,
			Title:    "Other sites load nothing but what is public",
			Passed:   !i.cfg.DangerouslyAllowResources,
			Observed: fmt.Sprintf("public %v, everything: %t", i.cfg.Public, i.cfg.DangerouslyAllowResources),
			Expected: "everything: false",
			Remedy:   "drop DangerouslyAllowResources and list the paths in Public",
			Controls: []hardening.Control{implements(hardening.ASVS, "v5.0.0-3.5.8"), supports(hardening.ISO27002, "8.26"), supports(hardening.OWASP, "A01:2021")},
		},
	}
}

// Check reports which hosts are answered and whether others are refused.
func (c *HostCheck) Check() []hardening.Finding {
	return []hardening.Finding{{
		ID: "HDN-HEADERS-030", Component: c.cfg.Name, Severity: hardening.Medium,
		Title:    "Requests for hosts that are not ours are refused",
		Passed:   !c.cfg.DangerouslyReportOnly,
		Observed: fmt.Sprintf("hosts %v, report only: %t", c.cfg.Hosts, c.cfg.DangerouslyReportOnly),
		Expected: "report only: false",
		Remedy:   "drop DangerouslyReportOnly when the log shows no honest host",
		Controls: []hardening.Control{supports(hardening.ASVS, "v5.0.0-4.1.3"), supports(hardening.ISO27002, "8.26"), supports(hardening.OWASP, "A05:2021")},
	}}
}
