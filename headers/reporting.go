package headers

import (
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/inovy/hardening/internal/faults"
)

// ReportEndpoint is one name of Reporting-Endpoints (W3C Reporting API).
type ReportEndpoint struct {
	// Name is what CSP.ReportTo refers to: a lower-case letter, then letters,
	// digits, '_', '-' or '.'.
	Name string
	// URL gets the reports: a path of this origin ("/_reports"), or an https
	// URL. A [ReportCollector] can serve it.
	URL string
}

// reportingEndpoints renders the header as a structured-field dictionary.
func reportingEndpoints(endpoints []ReportEndpoint) string {
	var b strings.Builder
	for i, e := range endpoints {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(e.Name + `="` + e.URL + `"`)
	}
	return b.String()
}

func (c *Config) validateEndpoints(f *faults.Collector) {
	if c.ReportEndpoints != nil && len(c.ReportEndpoints) == 0 {
		f.Missing("ReportEndpoints", "is empty but not nil", "leave it nil")
	}
	var names []string
	for i, e := range c.ReportEndpoints {
		at := fmt.Sprintf("ReportEndpoints[%d].", i)
		switch {
		case !endpointName(e.Name):
			f.Add(at+"Name", e.Name, "is no name of an endpoint", `begin with a lower-case letter, as in "csp"`)
		case slices.Contains(names, e.Name):
			f.Add(at+"Name", e.Name, "is listed twice", "keep one")
		}
		names = append(names, e.Name)
		if reason := reportURLFault(e.URL); reason != "" {
			f.Add(at+"URL", e.URL, reason, `write a path as in "/_reports", or an https URL`)
		}
	}
	for _, p := range []struct{ field, to string }{{"CSP.ReportTo", c.CSP.ReportTo}, {"ReportOnly.ReportTo", c.ReportOnly.ReportTo}} {
		field, to := p.field, p.to
		if to == "" || slices.Contains(names, to) {
			continue
		}
		fix := "list it in ReportEndpoints"
		if n := nearest(to, names); n != "" {
			fix = fmt.Sprintf("write %q, or list it in ReportEndpoints", n)
		}
		f.Add(field, to, "is no endpoint of ReportEndpoints, so that reports go nowhere", fix)
	}
}

func (c *CSP) validateReporting(name string, f *faults.Collector) {
	if c.ReportURI != nil && len(c.ReportURI) == 0 {
		f.Missing(name+".ReportURI", "is empty but not nil", "leave it nil")
	}
	for i, u := range c.ReportURI {
		at := fmt.Sprintf("%s.ReportURI[%d]", name, i)
		reason := reportURLFault(u)
		if reason == "" && strings.ContainsAny(u, ";,") {
			reason = "has a character that ends the directive"
		}
		if reason != "" {
			f.Add(at, u, reason, `write a path as in "/_reports", or an https URL`)
		}
	}
}

func (c *Config) validateReportOnly(f *faults.Collector) {
	if reflect.ValueOf(c.ReportOnly).IsZero() {
		return
	}
	c.ReportOnly.validate("ReportOnly", false, f)
	if c.ReportOnly.Sandbox.On {
		f.Add("ReportOnly.Sandbox", true, "has no effect in a policy that is not enforced", "drop it")
	}
	if c.ReportOnly.UpgradeInsecureRequests {
		f.Add("ReportOnly.UpgradeInsecureRequests", true, "has no effect in a policy that is not enforced", "drop it")
	}
	if c.ReportOnly.ReportTo == "" && len(c.ReportOnly.ReportURI) == 0 {
		f.Missing("ReportOnly", "reports to nobody, and does nothing else", "set ReportTo, ReportURI or both")
	}
}

func endpointName(s string) bool {
	if s == "" || len(s) > 64 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_-.") == ""
}

// reportURLFault says what is wrong with a place to report to; "" means
// nothing is.
func reportURLFault(s string) string {
	if s == "" {
		return "is empty"
	}
	if strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || r == '"' || r == '\\' || r == '\'' || r == '{' || r == '}'
	}) {
		return "has spaces, quotes, braces, control characters or non-ASCII text"
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "is no URL"
	case u.User != nil || u.Fragment != "":
		return "has a user or fragment"
	case u.Scheme == "" && strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "//"):
		return ""
	case u.Scheme != "https" || u.Host == "" || u.Opaque != "":
		return "is neither a path of this origin nor an https URL"
	}
	return hostFaultOfURL(u)
}

func hostFaultOfURL(u *url.URL) string {
	if isIP(u.Hostname()) {
		return ""
	}
	return hostFault(u.Hostname())
}
