package headers_test

import (
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/headers"
)

func reporting() headers.Config {
	cfg := headers.Web()
	cfg.ReportEndpoints = []headers.ReportEndpoint{{Name: "csp", URL: "/_reports"}, {Name: "default", URL: "https://reports.example/all"}}
	cfg.CSP.ReportTo, cfg.CSP.ReportURI = "csp", []string{"/_reports"}
	cfg.ReportOnly = headers.CSP{
		ScriptSrc: []headers.Source{headers.NonceSource}, RequireTrustedTypes: true,
		ReportTo: "csp", ReportURI: []string{"/_reports", "https://reports.example/next"},
	}
	return cfg
}

func TestAPolicyIsTriedOutBesideTheEnforcedOne(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-3.4.7")
	h := get(must(headers.New(reporting())).Wrap(nothing), "https")
	got := flat(t, h)
	want := maps.Clone(seedSix)
	maps.Copy(want, webMore)
	want["Content-Security-Policy"] += "; report-uri /_reports; report-to csp"
	want["Content-Security-Policy-Report-Only"] = "script-src 'nonce-*'; require-trusted-types-for 'script'; report-uri /_reports https://reports.example/next; report-to csp"
	want["Reporting-Endpoints"] = `csp="/_reports", default="https://reports.example/all"`
	if !maps.Equal(got, want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
	one := nonceRE.FindStringSubmatch(h.Get("Content-Security-Policy"))
	two := nonceRE.FindStringSubmatch(h.Get("Content-Security-Policy-Report-Only"))
	if one == nil || two == nil || one[1] != two[1] {
		t.Errorf("nonces %q and %q", one, two)
	}
	cfg := headers.API() // a nonce in the second policy alone
	cfg.ReportOnly = reporting().ReportOnly
	cfg.ReportOnly.ReportTo = ""
	if got := get(must(headers.New(cfg)).Wrap(nothing), "https").Get("Content-Security-Policy-Report-Only"); !nonceRE.MatchString(got) {
		t.Errorf("got %q", got)
	}
}

func TestADerivedPolicyDropsWhatItDoesNotTryOut(t *testing.T) {
	root := must(headers.New(reporting()))
	quiet := must(root.With("quiet", func(c *headers.Config) {
		c.ReportOnly, c.ReportEndpoints = headers.CSP{}, nil
		c.CSP.ReportTo = ""
	}))
	got := flat(t, get(root.Wrap(quiet.Wrap(nothing)), "https"))
	for _, k := range []string{"Content-Security-Policy-Report-Only", "Reporting-Endpoints"} {
		if v, ok := got[k]; ok {
			t.Errorf("%s: %q", k, v)
		}
	}
}

func TestReportingNamesEveryFault(t *testing.T) {
	for _, c := range []struct {
		field, fix string
		change     func(*headers.Config)
	}{
		{"CSP.ReportTo", `"csp"`, func(c *headers.Config) { c.CSP.ReportTo = "cps" }},
		{"ReportOnly.ReportTo", "list it", func(c *headers.Config) { c.ReportOnly.ReportTo = "somewhere" }},
		{"ReportOnly", "", func(c *headers.Config) { c.ReportOnly.ReportTo, c.ReportOnly.ReportURI = "", nil }},
		{"ReportOnly.Sandbox", "", func(c *headers.Config) { c.ReportOnly.Sandbox.On = true }},
		{"ReportOnly.UpgradeInsecureRequests", "", func(c *headers.Config) { c.ReportOnly.UpgradeInsecureRequests = true }},
		{"ReportOnly.ScriptSrc[0]", "", func(c *headers.Config) { c.ReportOnly.ScriptSrc = []headers.Source{"self"} }},
		{"ReportEndpoints", "", func(c *headers.Config) { c.ReportEndpoints = []headers.ReportEndpoint{} }},
		{"ReportEndpoints[0].Name", "", func(c *headers.Config) { c.ReportEndpoints[0].Name = `a="b", c` }},
		{"ReportEndpoints[1].Name", "", func(c *headers.Config) { c.ReportEndpoints[1].Name = "csp" }},
		{"ReportEndpoints[0].URL", "", func(c *headers.Config) { c.ReportEndpoints[0].URL = "http://reports.example" }},
		{"ReportEndpoints[0].URL", "", func(c *headers.Config) { c.ReportEndpoints[0].URL = "//reports.example" }},
		{"ReportEndpoints[0].URL", "", func(c *headers.Config) { c.ReportEndpoints[0].URL = "" }},
		{"ReportEndpoints[0].URL", "", func(c *headers.Config) { c.ReportEndpoints[0].URL = "/a\r\nb" }},
		{"ReportEndpoints[0].URL", "", func(c *headers.Config) { c.ReportEndpoints[0].URL = `/a", x="` }},
		{"ReportEndpoints[0].URL", "", func(c *headers.Config) { c.ReportEndpoints[0].URL = "https://user:hunter2@reports.example" }},
		{"CSP.ReportURI", "", func(c *headers.Config) { c.CSP.ReportURI = []string{} }},
		{"CSP.ReportURI[0]", "", func(c *headers.Config) { c.CSP.ReportURI = []string{"/a;script-src"} }},
		{"CSP.ReportURI[0]", "", func(c *headers.Config) { c.CSP.ReportURI = []string{"reports"} }},
	} {
		cfg := reporting()
		c.change(&cfg)
		_, err := headers.New(cfg)
		found := false
		for e := range hardening.Faults(err) {
			complete(t, e)
			found = found || e.Field == c.field && strings.Contains(e.Fix, c.fix)
		}
		if !found || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("no fault in %s that proposes %q: %v", c.field, c.fix, err)
		}
	}
}

func TestHashesAreThoseThatBrowsersCompute(t *testing.T) {
	// openssl dgst -sha384 -binary | base64, of "alert('Hello, world.');"
	const want = "sha384-H8BRh8j48O9oYatfu5AZzq6A9RINhZO5H16dQZngK7T62em8MUt1FLm52t+eX6xO"
	if got := headers.HashInline([]byte("alert('Hello, world.');")); got != "'"+want+"'" {
		t.Errorf("got %s", got)
	}
	files := fstest.MapFS{"app.js": {Data: []byte("alert('Hello, world.');")}}
	if got, err := headers.SRI(files, "app.js"); err != nil || got != want {
		t.Errorf("got %s, %v", got, err)
	}
	if _, err := headers.SRI(files, "gone.js"); err == nil {
		t.Error("a missing file has no hash")
	}
	cfg := headers.API()
	cfg.CSP.ScriptSrc = []headers.Source{headers.HashInline([]byte("x")), headers.StrictDynamic}
	if _, err := headers.New(cfg); err != nil {
		t.Error(err)
	}
}
