package headers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/inovy/hardening/internal/faults"
)

// ParseCSP reads the text of an existing policy, so that it can be moved into
// a Config. It reports every unknown, obsolete or repeated directive at once
// as hardening.ConfigErrors, naming the nearest directive that exists. Whether
// the sources are safe is for [New] to say. A policy's own nonce must be
// written 'nonce-{}'; New refuses any other, because a nonce that does not
// change is none.
func ParseCSP(text string) (CSP, error) {
	var c CSP
	f := faults.For("headers")
	lists := c.directives()
	seen := map[string]bool{}
	for part := range strings.SplitSeq(text, ";") {
		words := strings.FieldsFunc(part, asciiSpace)
		if len(words) == 0 {
			continue
		}
		name, words := strings.ToLower(words[0]), words[1:]
		if seen[name] {
			f.Add("CSP", name, "stands twice in the policy, and browsers ignore the second", "join the two lists")
			continue
		}
		seen[name] = true
		if i := slices.IndexFunc(lists, func(d directive) bool { return d.name == name }); i >= 0 {
			list := make([]Source, len(words))
			for j, w := range words {
				list[j] = Source(w)
			}
			if len(list) == 0 { // an empty list means 'none' (CSP section 6.7.2.5)
				list = []Source{None}
			}
			*lists[i].list = list
			continue
		}
		switch name {
		case "sandbox":
			c.Sandbox = Sandbox{On: true}
			if len(words) > 0 {
				c.Sandbox.Allow = words
			}
		case "require-trusted-types-for":
			c.RequireTrustedTypes = true
			if !slices.Equal(words, []string{"'script'"}) {
				f.Add("CSP", part, "require-trusted-types-for has one value only", "write require-trusted-types-for 'script'")
			}
		case "trusted-types":
			c.TrustedTypes = words
			if len(words) == 0 {
				c.TrustedTypes = []string{"'none'"}
			}
		case upgradeInsecure:
			c.UpgradeInsecureRequests = true
			if len(words) > 0 {
				f.Add("CSP", part, "upgrade-insecure-requests takes no value", "write the name alone")
			}
		case "block-all-mixed-content", "plugin-types", "referrer", "reflected-xss", "navigate-to", "prefetch-src", "require-sri-for":
			f.Add("CSP", name, "is obsolete and ignored by browsers", "drop it")
		case "report-uri":
			if c.ReportURI = words; len(words) == 0 {
				f.Add("CSP", name, "reports to nobody", "write a path or URL, or drop it")
			}
		case "report-to":
			if len(words) != 1 {
				f.Add("CSP", part, "needs one endpoint", "write the name of one, which Config.ReportEndpoints lists")
				continue
			}
			c.ReportTo = words[0]
		default:
			fix := "drop it, or see CSP Level 3 for the directives there are"
			if n := nearest(name, directiveNames()); n != "" {
				fix = fmt.Sprintf("write %q", n)
			}
			f.Add("CSP", name, "is not a directive", fix)
		}
	}
	if err := f.Err(); err != nil {
		return CSP{}, err
	}
	return c, nil
}

func asciiSpace(r rune) bool { return r == ' ' || r == '\t' || r == '\n' || r == '\f' || r == '\r' }

func directiveNames() []string {
	names := []string{"sandbox", "require-trusted-types-for", "trusted-types", upgradeInsecure, "report-uri", "report-to"}
	for _, d := range (&CSP{}).directives() {
		names = append(names, d.name)
	}
	return names
}
