package headers_test

import (
	"regexp"
	"testing"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/headers"
)

func TestPresetsPassEveryCheck(t *testing.T) {
	for name, cfg := range map[string]headers.Config{"Config{}": {}, "Web": headers.Web(), "Strict": headers.Strict()} {
		for _, f := range must(headers.New(cfg)).Check() {
			if !f.Passed {
				t.Errorf("%s: %v", name, f)
			}
		}
	}
	cfg := headers.API()
	cfg.Name = "api"
	for _, f := range must(headers.New(cfg)).Check() {
		if !f.Passed || f.Component != "api" {
			t.Errorf("API: %v", f)
		}
	}
}

// weakenings has, for every check, one change of the default that fails it and
// no other.
var weakenings = map[string]struct {
	change func(*headers.Config)
}{
	"HDN-HEADERS-001": {change: func(c *headers.Config) { c.HSTS.IncludeSubDomains = false }},
	"HDN-HEADERS-002": {change: func(c *headers.Config) { c.CSP.ScriptSrc = []headers.Source{headers.Self} }},
	"HDN-HEADERS-003": {change: func(c *headers.Config) { c.CSP.FormAction = []headers.Source{"https://pay.example"} }},
	"HDN-HEADERS-004": {change: func(c *headers.Config) {
		c.CSP.StyleSrc = []headers.Source{headers.Self, "'unsafe-inline'"}
		c.CSP.DangerouslyAllow = map[string][]headers.Source{"style-src": {"'unsafe-inline'"}}
	}},
	"HDN-HEADERS-005": {change: func(c *headers.Config) { c.FrameOptions, c.DangerouslyOmitFrameOptions = "", true }},
	"HDN-HEADERS-006": {change: func(c *headers.Config) { c.DangerouslyAllowSniffing = true }},
	"HDN-HEADERS-007": {change: func(c *headers.Config) { c.ReferrerPolicy, c.DangerouslyLeakReferrer = "unsafe-url", true }},
	"HDN-HEADERS-008": {change: func(c *headers.Config) { c.Permissions[2].Allow = []string{"self"} }},
	"HDN-HEADERS-009": {change: func(c *headers.Config) { c.COOP = headers.COOPUnsafeNone }},
	"HDN-HEADERS-010": {change: func(c *headers.Config) { c.CORP = headers.CORPCrossOrigin }},
	"HDN-HEADERS-011": {change: func(c *headers.Config) {
		c.CSP, c.CacheControl = headers.API().CSP, "public, max-age=60"
	}},
	"HDN-HEADERS-012": {change: func(c *headers.Config) {
		c.COEP, c.COOP = headers.COEPRequireCORP, headers.COOPSameOriginAllowPopups
	}},
}

func TestEveryCheckFailsForItsOwnWeakening(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range must(headers.New(headers.Config{})).Check() {
		seen[f.ID] = true
		w, ok := weakenings[f.ID]
		if !ok {
			t.Errorf("%s has no weakening here", f.ID)
			continue
		}
		cfg := headers.Web()
		w.change(&cfg)
		for _, got := range must(headers.New(cfg)).Check() {
			if got.Passed == (got.ID == f.ID) {
				t.Errorf("after the weakening of %s: %v", f.ID, got)
			}
			if got.ID == f.ID && got.Observed == f.Observed {
				t.Errorf("%s observes %q both times", f.ID, got.Observed)
			}
		}
	}
	if len(seen) != len(weakenings) {
		t.Errorf("%d checks, %d weakenings", len(seen), len(weakenings))
	}
}

func TestOtherWaysToWeakenFailToo(t *testing.T) {
	for name, c := range map[string]struct {
		id     string
		change func(*headers.Config)
	}{
		"a short max-age": {"HDN-HEADERS-001", func(c *headers.Config) { c.HSTS = headers.HSTS{IncludeSubDomains: true, DangerouslyShort: true} }},
		"a host in default-src": {"HDN-HEADERS-002", func(c *headers.Config) {
			c.CSP.ScriptSrc, c.CSP.DefaultSrc = nil, []headers.Source{"https://cdn.example"}
		}},
		"inline event handlers": {"HDN-HEADERS-002", func(c *headers.Config) { c.CSP.ScriptSrcAttr = []headers.Source{headers.Self} }},
		"hosts for script tags": {"HDN-HEADERS-002", func(c *headers.Config) { c.CSP.ScriptSrcElem = []headers.Source{"https://cdn.example"} }},
		"a base URL of our own": {"HDN-HEADERS-003", func(c *headers.Config) { c.CSP.BaseURI = []headers.Source{headers.Self} }},
		"plug-ins of our own":   {"HDN-HEADERS-003", func(c *headers.Config) { c.CSP.ObjectSrc = []headers.Source{headers.Self} }},
		"an isolated site that all embed": {"HDN-HEADERS-012", func(c *headers.Config) {
			c.COEP, c.CORP = headers.COEPRequireCORP, headers.CORPCrossOrigin
		}},
		"a feature left out": {"HDN-HEADERS-008", func(c *headers.Config) { c.Permissions = headers.Deny("geolocation", "camera") }},
		"other sites that frame": {"HDN-HEADERS-005", func(c *headers.Config) {
			c.FrameOptions, c.DangerouslyOmitFrameOptions = "", true
			c.CSP.FrameAncestors = []headers.Source{"https://portal.example"}
		}},
	} {
		cfg := headers.Web()
		c.change(&cfg)
		for _, f := range must(headers.New(cfg)).Check() {
			if f.ID == c.id && f.Passed {
				t.Errorf("%s: %v", name, f)
			}
		}
	}
}

func TestIsolationChecksFlip(t *testing.T) {
	for id, weak := range map[string]headers.IsolationConfig{
		"HDN-HEADERS-020": {DangerouslyReportOnly: true},
		"HDN-HEADERS-021": {TrustedOrigins: []string{"https://other.example"}},
		"HDN-HEADERS-022": {DangerouslyAllowResources: true},
	} {
		strong, weakened := must(headers.NewIsolation(headers.IsolationConfig{})).Check(), must(headers.NewIsolation(weak)).Check()
		if len(strong) != 3 || len(weakened) != 3 {
			t.Fatalf("%d and %d findings", len(strong), len(weakened))
		}
		for i := range strong {
			if !strong[i].Passed || weakened[i].Passed == (weakened[i].ID == id) {
				t.Errorf("%s: %v, %v", id, strong[i], weakened[i])
			}
		}
	}
}

func TestDerivedPoliciesAreInTheParentsCheck(t *testing.T) {
	root := must(headers.New(headers.Config{}))
	child := must(root.With("public", func(c *headers.Config) { c.CORP = headers.CORPCrossOrigin }))
	must(child.With("public/fonts", func(c *headers.Config) { c.COOP = headers.COOPUnsafeNone }))
	failed := map[string]int{}
	for _, f := range root.Check() {
		if !f.Passed {
			failed[f.Component+" "+f.ID]++
		}
	}
	want := map[string]int{"public HDN-HEADERS-010": 1, "public/fonts HDN-HEADERS-010": 1, "public/fonts HDN-HEADERS-009": 1}
	if len(failed) != len(want) {
		t.Errorf("failed %v, want %v", failed, want)
	}
	for k := range want {
		if failed[k] != 1 {
			t.Errorf("%s: %d", k, failed[k])
		}
	}
	if n := len(child.Check()); n != 24 {
		t.Errorf("the child reports %d findings", n)
	}
}

func TestFindingsAreComplete(t *testing.T) {
	id := regexp.MustCompile(`^HDN-HEADERS-\d{3}$`)
	all := append(must(headers.New(headers.Config{})).Check(), must(headers.NewIsolation(headers.IsolationConfig{})).Check()...)
	all = append(all, must(headers.NewHostCheck(headers.HostCheckConfig{Hosts: []string{"app.example"}})).Check()...)
	seen := map[string]bool{}
	for _, f := range all {
		if !id.MatchString(f.ID) || seen[f.ID] || f.Component == "" || f.Title == "" || f.Observed == "" || f.Expected == "" || f.Remedy == "" || len(f.Controls) == 0 {
			t.Errorf("incomplete or repeated: %+v", f)
		}
		seen[f.ID] = true
	}
	var _ hardening.Checker = (*headers.Middleware)(nil)
	var _ hardening.Checker = (*headers.Isolation)(nil)
}
