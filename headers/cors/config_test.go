package cors_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/headers/cors"
)

func origins(o ...string) func(*cors.Config) { return func(c *cors.Config) { c.Origins = o } }

// Every configuration that has made somebody share with everyone.
func TestNewRefusesEachFault(t *testing.T) {
	for _, c := range []struct {
		name, field string
		change      func(*cors.Config)
	}{
		{"no origins", "Origins", origins()},
		{"an empty list of origins", "Origins", func(c *cors.Config) { c.Origins = []string{} }},
		{"everyone with credentials", "Origins[0]", origins("*")},
		{"everyone and others", "Origins[1]", func(c *cors.Config) { c.Origins, c.Credentials = []string{app, "*"}, false }},
		{"null", "Origins[0]", origins("null")},
		{"an empty origin", "Origins[0]", origins("")},
		{"a host without scheme", "Origins[0]", origins("app.example")},
		{"another scheme", "Origins[0]", origins("ftp://app.example")},
		{"file", "Origins[0]", origins("file://")},
		{"a scheme in capitals", "Origins[0]", origins("HTTPS://app.example")},
		{"http with credentials", "Origins[0]", origins("http://app.example")},
		{"a path", "Origins[0]", origins("https://app.example/")},
		{"a query", "Origins[0]", origins("https://app.example?x")},
		{"a fragment", "Origins[0]", origins("https://app.example#x")},
		{"a user", "Origins[0]", origins("https://user@app.example")},
		{"a password", "Origins[0]", origins("https://user:hunter2@app.example")},
		{"capitals", "Origins[0]", origins("https://App.example")},
		{"Unicode", "Origins[0]", origins("https://zorgé.example")},
		{"the default port of https", "Origins[0]", origins("https://app.example:443")},
		{"the default port of http", "Origins[0]", origins("http://localhost:80")},
		{"port zero", "Origins[0]", origins("https://app.example:0")},
		{"a port too many", "Origins[0]", origins("https://app.example:65536")},
		{"a port with a leading zero", "Origins[0]", origins("https://app.example:08443")},
		{"an empty port", "Origins[0]", origins("https://app.example:")},
		{"every port of another machine", "Origins[0]", origins("https://app.example:*")},
		{"a wildcard inside", "Origins[0]", origins("https://a.*.example")},
		{"a wildcard without a dot", "Origins[0]", origins("https://*app.example")},
		{"two wildcards", "Origins[0]", origins("https://*.*.example")},
		{"a wildcard alone", "Origins[0]", origins("https://*")},
		{"every name of a top-level domain", "Origins[0]", origins("https://*.com")},
		{"every name of a public suffix", "Origins[0]", origins("https://*.co.uk")},
		{"every name of a public suffix, without credentials", "Origins[0]", func(c *cors.Config) { c.Origins, c.Credentials = []string{"https://*.co.uk"}, false }},
		{"every customer of a host", "Origins[0]", origins("https://*.github.io")},
		{"every customer of a host, two levels down", "Origins[0]", origins("https://*.compute.amazonaws.com")},
		{"every city of a prefecture", "Origins[0]", origins("https://*.kawasaki.jp")},
		{"a trailing dot", "Origins[0]", origins("https://app.example.")},
		{"an empty label", "Origins[0]", origins("https://app..example")},
		{"a label of 64 bytes", "Origins[0]", origins("https://" + strings.Repeat("a", 64) + ".example")},
		{"a label that begins with a dash", "Origins[0]", origins("https://-a.example")},
		{"an address with a wildcard", "Origins[0]", origins("https://*.192.0.2.1")},
		{"a number that browsers read as an address", "Origins[0]", origins("https://1.2.3")},
		{"hexadecimal that browsers read as an address", "Origins[0]", origins("https://0x7f")},
		{"IPv6 without brackets", "Origins[0]", origins("https://2001:db8::1")},
		{"IPv6 in a long form", "Origins[0]", origins("https://[2001:db8:0::1]")},
		{"IPv6 in capitals", "Origins[0]", origins("https://[2001:DB8::1]")},
		{"IPv6 with a zone", "Origins[0]", origins("https://[fe80::1%eth0]")},
		{"an open bracket", "Origins[0]", origins("https://[2001:db8::1")},
		{"a line break", "Origins[0]", origins("https://app.example\r\nSet-Cookie: a=b")},
		{"NUL", "Origins[0]", origins("https://app\x00.example")},
		{"a list in one string", "Origins[0]", origins("https://a.example,https://b.example")},
		{"an origin twice", "Origins[1]", origins(app, app)},
		{"a leave for http that nothing needs", "DangerouslyAllowInsecureOrigins", func(c *cors.Config) { c.DangerouslyAllowInsecureOrigins = true }},
		{"a leave for suffixes that nothing needs", "DangerouslyAllowPublicSuffixes", func(c *cors.Config) { c.DangerouslyAllowPublicSuffixes = true }},
		{"an empty list of methods", "Methods", func(c *cors.Config) { c.Methods = []string{} }},
		{"a method in lower case", "Methods[0]", func(c *cors.Config) { c.Methods = []string{"patch"} }},
		{"TRACE", "Methods[0]", func(c *cors.Config) { c.Methods = []string{"TRACE"} }},
		{"connect", "Methods[0]", func(c *cors.Config) { c.Methods = []string{"connect"} }},
		{"a method that is no token", "Methods[0]", func(c *cors.Config) { c.Methods = []string{"PUT,DELETE"} }},
		{"an empty method", "Methods[0]", func(c *cors.Config) { c.Methods = []string{""} }},
		{"a method twice", "Methods[1]", func(c *cors.Config) { c.Methods = []string{"PUT", "PUT"} }},
		{"every method with credentials", "Methods[0]", func(c *cors.Config) { c.Methods = []string{"*"} }},
		{"every method and others", "Methods[1]", func(c *cors.Config) { c.Methods, c.Credentials = []string{"PUT", "*"}, false }},
		{"an empty list of headers", "RequestHeaders", func(c *cors.Config) { c.RequestHeaders = []string{} }},
		{"every header with credentials", "RequestHeaders[0]", func(c *cors.Config) { c.RequestHeaders = []string{"*"} }},
		{"every header and others", "RequestHeaders[0]", func(c *cors.Config) { c.RequestHeaders, c.Credentials = []string{"*", "X-A"}, false }},
		{"Cookie", "RequestHeaders[0]", func(c *cors.Config) { c.RequestHeaders = []string{"Cookie"} }},
		{"a Sec- header", "RequestHeaders[0]", func(c *cors.Config) { c.RequestHeaders = []string{"Sec-Fetch-Site"} }},
		{"a Proxy- header", "RequestHeaders[0]", func(c *cors.Config) { c.RequestHeaders = []string{"Proxy-Authorization"} }},
		{"an answer's header as a request's", "RequestHeaders[0]", func(c *cors.Config) { c.RequestHeaders = []string{"Access-Control-Allow-Origin"} }},
		{"a header that is no token", "RequestHeaders[0]", func(c *cors.Config) { c.RequestHeaders = []string{"Content Type"} }},
		{"a header twice in two cases", "RequestHeaders[1]", func(c *cors.Config) { c.RequestHeaders = []string{"X-A", "x-a"} }},
		{"Set-Cookie to be read", "ResponseHeaders[0]", func(c *cors.Config) { c.ResponseHeaders = []string{"Set-Cookie"} }},
		{"everything to be read with credentials", "ResponseHeaders[0]", func(c *cors.Config) { c.ResponseHeaders = []string{"*"} }},
		{"a header of CORS to be read", "ResponseHeaders[0]", func(c *cors.Config) { c.ResponseHeaders = []string{"Access-Control-Allow-Origin"} }},
		{"a negative age", "MaxAge", func(c *cors.Config) { c.MaxAge = -1 }},
		{"an age of two days", "MaxAge", func(c *cors.Config) { c.MaxAge = 48 * time.Hour }},
		{"half a second", "MaxAge", func(c *cors.Config) { c.MaxAge = time.Second / 2 }},
		{"a redirect as a success", "PreflightStatus", func(c *cors.Config) { c.PreflightStatus = 302 }},
		{"a name with a line break", "Name", func(c *cors.Config) { c.Name = "a\nb" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := shared()
			c.change(&cfg)
			m, err := cors.New(cfg)
			if m != nil || err == nil {
				t.Fatal("passed")
			}
			if s := err.Error(); strings.ContainsAny(s, "\r\x00") || strings.Contains(s, "hunter2") {
				t.Errorf("forgeable, or shows a password: %q", s)
			}
			for e := range hardening.Faults(err) {
				if e.Room != "cors" || e.Reason == "" || e.Fix == "" {
					t.Errorf("incomplete: %+v", e)
				}
				if e.Field == c.field {
					return
				}
			}
			t.Errorf("no fault in %s: %v", c.field, err)
		})
	}
}

func TestNewReportsEveryFaultAtOnce(t *testing.T) {
	_, err := cors.New(cors.Config{
		Name: "a\nb", Origins: []string{"null", app, "http://x.example", "https://*.com"}, Credentials: true, Methods: []string{"put", "TRACE"},
		RequestHeaders: []string{"*", "cookie"}, ResponseHeaders: []string{"set-cookie"}, MaxAge: -1, PreflightStatus: 500,
	})
	var fields []string
	for e := range hardening.Faults(err) {
		fields = append(fields, e.Field)
	}
	slices.Sort(fields)
	want := []string{"MaxAge", "Methods[0]", "Methods[1]", "Name", "Origins[0]", "Origins[2]", "Origins[3]", "PreflightStatus", "RequestHeaders[0]", "RequestHeaders[0]", "RequestHeaders[1]", "ResponseHeaders[0]"}
	if !slices.Equal(fields, want) {
		t.Errorf("got  %v\nwant %v", fields, want)
	}
}

func TestNewTakesHonestConfigs(t *testing.T) {
	for name, cfg := range map[string]cors.Config{
		"one origin":                         {Origins: []string{app}},
		"subdomains of an exception":         {Origins: []string{"https://*.city.kawasaki.jp"}, Credentials: true},
		"subdomains of a registered name":    {Origins: []string{"https://*.clinic.co.uk"}, Credentials: true},
		"http without credentials":           {Origins: []string{"http://app.example"}},
		"this machine with credentials":      {Origins: []string{"http://localhost:*", "http://127.0.0.1:*", "http://[::1]:5173"}, Credentials: true},
		"an address":                         {Origins: []string{"https://192.0.2.1:8443"}},
		"a punycode name":                    {Origins: []string{"https://xn--zorg-epa.example"}},
		"everyone, everything":               {Origins: []string{"*"}, Methods: []string{"*"}, RequestHeaders: []string{"*", "Authorization"}, ResponseHeaders: []string{"*"}},
		"http with credentials and a leave":  {Origins: []string{"http://app.example"}, Credentials: true, DangerouslyAllowInsecureOrigins: true},
		"a public suffix with a leave":       {Origins: []string{"https://*.github.io"}, DangerouslyAllowPublicSuffixes: true},
		"a method that is nobody's standard": {Origins: []string{app}, Methods: []string{"PURGE", "patch2"}},
		"a day":                              {Origins: []string{app}, MaxAge: 24 * time.Hour, PreflightStatus: 200},
	} {
		if _, err := cors.New(cfg); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAConfigChangedAfterNewChangesNothing(t *testing.T) {
	cfg := shared()
	c := must(cors.New(cfg))
	before := fmt.Sprint(c.Check())
	cfg.Origins[0], cfg.Methods[0], cfg.RequestHeaders[0], cfg.ResponseHeaders[0] = "*", "*", "*", "*"
	if w := send(c.Wrap(reached), "OPTIONS", preflight(app, "PUT", "authorization")); w.Code != 204 || fmt.Sprint(c.Check()) != before {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestEveryCheckFailsForItsOwnWeakening(t *testing.T) {
	strong := cors.Config{Origins: []string{app}, Credentials: true}
	weak := map[string]func(*cors.Config){
		"HDN-CORS-001": func(c *cors.Config) { c.Origins, c.Credentials = []string{"*"}, false },
		"HDN-CORS-002": func(c *cors.Config) { c.Origins = []string{"http://localhost"} },
		"HDN-CORS-003": func(c *cors.Config) {
			c.Origins, c.Credentials, c.DangerouslyAllowPublicSuffixes = []string{"https://*.github.io"}, false, true
		},
		"HDN-CORS-004": func(c *cors.Config) { c.Origins = []string{"https://*.clinic.example"} },
		"HDN-CORS-005": func(c *cors.Config) { c.DangerouslyReportOnly = true },
		"HDN-CORS-006": func(c *cors.Config) { c.DangerouslyDebug = true },
		"HDN-CORS-007": func(c *cors.Config) { c.Credentials, c.Methods = false, []string{"*"} },
	}
	for _, f := range must(cors.New(strong)).Check() {
		if !f.Passed || f.Component != "cors" || f.Title == "" || f.Observed == "" || f.Expected == "" || f.Remedy == "" || len(f.Controls) == 0 {
			t.Errorf("incomplete or failing: %v", f)
		}
		if weak[f.ID] == nil {
			t.Errorf("%s has no weakening", f.ID)
			continue
		}
		cfg := strong
		weak[f.ID](&cfg)
		delete(weak, f.ID)
		for _, got := range must(cors.New(cfg)).Check() {
			if got.Passed == (got.ID == f.ID) || got.ID == f.ID && got.Observed == f.Observed {
				t.Errorf("after the weakening of %s: %v", f.ID, got)
			}
		}
	}
	if len(weak) > 0 {
		t.Errorf("no such checks: %v", weak)
	}
	var _ hardening.Checker = (*cors.CORS)(nil)
}
