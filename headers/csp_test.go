package headers_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/headers"
)

var panicking = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("x") })

type sources = []headers.Source

func img(s ...headers.Source) func(*headers.CSP) {
	return func(c *headers.CSP) { c.ImgSrc = s }
}

func script(s ...headers.Source) func(*headers.CSP) {
	return func(c *headers.CSP) { c.ScriptSrc = s }
}

const sha256 = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"

var faultyCSP = []struct {
	name, field, fix string
	change           func(*headers.CSP)
}{
	{"no default-src", "CSP.DefaultSrc", "None", func(c *headers.CSP) { c.DefaultSrc = nil }},
	{"no object-src", "CSP.ObjectSrc", "None", func(c *headers.CSP) { c.ObjectSrc = nil }},
	{"no base-uri", "CSP.BaseURI", "None", func(c *headers.CSP) { c.BaseURI = nil }},
	{"no form-action", "CSP.FormAction", "None", func(c *headers.CSP) { c.FormAction = nil }},
	{"no frame-ancestors", "CSP.FrameAncestors", "None", func(c *headers.CSP) { c.FrameAncestors = nil }},
	{"an empty list", "CSP.ImgSrc", "None", func(c *headers.CSP) { c.ImgSrc = sources{} }},
	{"a source twice", "CSP.ImgSrc[1]", "", img("https://a.example", "https://a.example")},
	{"'none' beside others", "CSP.ImgSrc", "", img(headers.None, headers.Self)},
	{"an empty source", "CSP.ImgSrc[0]", "", img("")},
	{"a keyword without quotes", "CSP.ImgSrc[0]", "'self'", img("self")},
	{"none without quotes", "CSP.ImgSrc[0]", "'none'", img("none")},
	{"a hash without quotes", "CSP.ScriptSrc[0]", "'sha256-", script("sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")},
	{"a keyword with a typo", "CSP.ImgSrc[0]", "'self'", img("'slef'")},
	{"strict-dynamic with a typo", "CSP.ScriptSrc[1]", "'strict-dynamic'", script(headers.NonceSource, "'strict-dynamik'")},
	{"a keyword half quoted", "CSP.ImgSrc[0]", "'self'", img("'self")},
	{"a nonce of one's own", "CSP.ScriptSrc[0]", "NonceSource", script("'nonce-abc123'")},
	{"a nonce for images", "CSP.ImgSrc[0]", "ScriptSrc", img(headers.NonceSource)},
	{"strict-dynamic for images", "CSP.ImgSrc[0]", "", img(headers.StrictDynamic)},
	{"a hash for images", "CSP.ImgSrc[0]", "", img(sha256)},
	{"strict-dynamic without a nonce or hash", "CSP.ScriptSrc", "NonceSource", script(headers.StrictDynamic, "https://a.example")},
	{"a hash that is too short", "CSP.ScriptSrc[0]", "", script("'sha256-AAAA'")},
	{"a hash of another length", "CSP.ScriptSrc[0]", "", script("'sha384-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='")},
	{"a hash in base64url", "CSP.ScriptSrc[0]", "", script("'sha256-47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU='")},
	{"a hash that is not closed", "CSP.ScriptSrc[0]", "", script("'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")},
	{"inline scripts", "CSP.ScriptSrc[0]", `DangerouslyAllow["script-src"]`, script("'unsafe-inline'")},
	{"eval", "CSP.ScriptSrc[0]", "Dangerously", script("'unsafe-eval'")},
	{"inline for images", "CSP.ImgSrc[0]", "", img("'unsafe-inline'")},
	{"data: scripts", "CSP.ScriptSrc[0]", "Dangerously", script("data:")},
	{"data: objects", "CSP.ObjectSrc[0]", "Dangerously", func(c *headers.CSP) { c.ObjectSrc = sources{"data:"} }},
	{"data: by default", "CSP.DefaultSrc[0]", "Dangerously", func(c *headers.CSP) { c.DefaultSrc = sources{"data:"} }},
	{"blob: scripts", "CSP.ScriptSrc[0]", "Dangerously", script("blob:")},
	{"every host", "CSP.ImgSrc[0]", "Dangerously", img("*")},
	{"every host over https", "CSP.ImgSrc[0]", "Dangerously", img("https:")},
	{"every host over http", "CSP.ImgSrc[0]", "Dangerously", img("http:")},
	{"every host, said longer", "CSP.ImgSrc[0]", "Dangerously", img("https://*")},
	{"a whole top-level domain", "CSP.ImgSrc[0]", "Dangerously", img("https://*.nl")},
	{"a host over plain HTTP", "CSP.ImgSrc[0]", "Dangerously", img("http://a.example")},
	{"a scheme without its colon", "CSP.ImgSrc[0]", "write data:", img("data")},
	{"a host without a scheme", "CSP.ImgSrc[0]", "https://a.example", img("a.example")},
	{"an IPv4 address", "CSP.ImgSrc[0]", "Dangerously", img("https://127.0.0.1")},
	{"an IPv6 address", "CSP.ImgSrc[0]", "", img("https://[::1]")},
	{"every port", "CSP.ImgSrc[0]", "Dangerously", img("https://a.example:*")},
	{"port 0", "CSP.ImgSrc[0]", "", img("https://a.example:0")},
	{"a port that is too high", "CSP.ImgSrc[0]", "", img("https://a.example:65536")},
	{"a port that is a word", "CSP.ImgSrc[0]", "", img("https://a.example:https")},
	{"a wildcard inside", "CSP.ImgSrc[0]", "", img("https://a.*.example")},
	{"a wildcard in a label", "CSP.ImgSrc[0]", "", img("https://a*.example")},
	{"a host in capitals", "CSP.ImgSrc[0]", "lower case", img("https://A.example")},
	{"a Unicode host", "CSP.ImgSrc[0]", "punycode", img("https://bücher.example")},
	{"a user in a source", "CSP.ImgSrc[0]", "", img("https://u@a.example")},
	{"a query", "CSP.ImgSrc[0]", "", img("https://a.example/x?y")},
	{"a broken %-escape", "CSP.ImgSrc[0]", "", img("https://a.example/%2")},
	{"an end of the directive", "CSP.ImgSrc[0]", "", img("https://a.example/;script-src")},
	{"a second policy", "CSP.ImgSrc[0]", "", img("https://a.example,script-src")},
	{"two sources in one", "CSP.ImgSrc[0]", "", img("https://a.example https://b.example")},
	{"a line break", "CSP.ImgSrc[0]", "", img("https://a.example\r\nSet-Cookie:a=b")},
	{"a NUL", "CSP.ImgSrc[0]", "", img("https://a.example\x00")},
	{"a nonce's mark elsewhere", "CSP.ImgSrc[0]", "", img("https://a.example/{}")},
	{"an unknown scheme in capitals", "CSP.ImgSrc[0]", "", img("DATA:")},
	{"a leave for an unknown directive", `CSP.DangerouslyAllow["image-src"]`, `"img-src"`, func(c *headers.CSP) {
		c.DangerouslyAllow = map[string]sources{"image-src": {"*"}}
	}},
	{"a leave that nothing needs", `CSP.DangerouslyAllow["img-src"][0]`, "", func(c *headers.CSP) {
		c.DangerouslyAllow = map[string]sources{"img-src": {"'self'"}}
	}},
	{"an empty leave", `CSP.DangerouslyAllow["img-src"]`, "", func(c *headers.CSP) { c.DangerouslyAllow = map[string]sources{"img-src": {}} }},
	{"leaves for nothing", "CSP.DangerouslyAllow", "", func(c *headers.CSP) { c.DangerouslyAllow = map[string]sources{} }},
	{"a sandbox token with a typo", "CSP.Sandbox.Allow[0]", `"allow-forms"`, func(c *headers.CSP) { c.Sandbox = headers.Sandbox{On: true, Allow: []string{"allow-form"}} }},
	{"a sandbox token twice", "CSP.Sandbox.Allow[1]", "", func(c *headers.CSP) {
		c.Sandbox = headers.Sandbox{On: true, Allow: []string{"allow-forms", "allow-forms"}}
	}},
	{"a sandbox that is off", "CSP.Sandbox.Allow", "", func(c *headers.CSP) { c.Sandbox.Allow = []string{"allow-forms"} }},
	{"a sandbox with an empty list", "CSP.Sandbox.Allow", "", func(c *headers.CSP) { c.Sandbox = headers.Sandbox{On: true, Allow: []string{}} }},
	{"an empty list of Trusted Types", "CSP.TrustedTypes", "", func(c *headers.CSP) { c.TrustedTypes = []string{} }},
	{"a Trusted Types name that injects", "CSP.TrustedTypes[0]", "", func(c *headers.CSP) { c.TrustedTypes = []string{"a;b"} }},
	{"Trusted Types 'none' beside others", "CSP.TrustedTypes[0]", "", func(c *headers.CSP) { c.TrustedTypes = []string{"'none'", "a"} }},
	{"every Trusted Types policy", "CSP.TrustedTypes[0]", "", func(c *headers.CSP) { c.TrustedTypes = []string{"*"} }},
}

func TestNewRefusesEachFaultOfAPolicy(t *testing.T) {
	for _, c := range faultyCSP {
		t.Run(c.name, func(t *testing.T) {
			cfg := headers.Web()
			c.change(&cfg.CSP)
			_, err := headers.New(cfg)
			for e := range hardening.Faults(err) {
				complete(t, e)
				if e.Field == c.field && strings.Contains(e.Fix, c.fix) {
					return
				}
			}
			t.Errorf("no fault in %s that proposes %q: %v", c.field, c.fix, err)
		})
	}
}

func TestNewTakesHonestPolicies(t *testing.T) {
	for name, change := range map[string]func(*headers.CSP){
		"https hosts, a port and a path": img(headers.Self, "https://a.example", "https://a.example:8443/img/", "https://*.cdn.example"),
		"a percent sign in a path":       img("https://a.example/%20b"),
		"data: and blob: images":         img(headers.Self, "data:", "blob:"),
		"a WebSocket":                    func(c *headers.CSP) { c.ConnectSrc = sources{headers.Self, "wss://rt.example"} },
		"a hash":                         script(sha256),
		"a hash and strict-dynamic":      script(sha256, headers.StrictDynamic),
		"own scripts":                    script(headers.Self, headers.ReportSample),
		"nonces for styles":              func(c *headers.CSP) { c.StyleSrc = sources{headers.NonceSource} },
		"Trusted Types": func(c *headers.CSP) {
			c.RequireTrustedTypes, c.TrustedTypes = true, []string{"default", "'allow-duplicates'"}
		},
		"a sandbox with forms": func(c *headers.CSP) { c.Sandbox = headers.Sandbox{On: true, Allow: []string{"allow-forms"}} },
		"what is dangerous but asked for": func(c *headers.CSP) {
			c.ImgSrc, c.DangerouslyAllow = sources{"*"}, map[string]sources{"img-src": {"*"}}
		},
	} {
		cfg := headers.Web()
		change(&cfg.CSP)
		m, err := headers.New(cfg)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := nonceRE.ReplaceAllString(strings.ReplaceAll(cfg.CSP.String(), "'nonce-{}'", "'nonce-X'"), "'nonce-*'")
		if got := flat(t, get(m.Wrap(nothing), "https"))["Content-Security-Policy"]; got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
	}
}

func TestAnAllowedSourceIsAllowedInItsDirectiveOnly(t *testing.T) {
	cfg := headers.Web()
	cfg.CSP.ImgSrc, cfg.CSP.FontSrc = sources{"*"}, sources{"*"}
	cfg.CSP.DangerouslyAllow = map[string]sources{"img-src": {"*"}}
	_, err := headers.New(cfg)
	var fields []string
	for e := range hardening.Faults(err) {
		fields = append(fields, e.Field)
	}
	if len(fields) != 1 || fields[0] != "CSP.FontSrc[0]" {
		t.Errorf("faults %v", fields)
	}
}

func TestParseCSPReadsPresetsBack(t *testing.T) {
	for name, cfg := range map[string]headers.Config{"Web": headers.Web(), "Strict": headers.Strict(), "API": headers.API()} {
		got, err := headers.ParseCSP(cfg.CSP.String())
		if err != nil || !reflect.DeepEqual(got, cfg.CSP) {
			t.Errorf("%s: %v\ngot  %v\nwant %v", name, err, got, cfg.CSP)
		}
	}
	got, err := headers.ParseCSP(" Default-Src 'none' ;;\timg-src\n https://a.example  data: ; object-src ; sandbox; trusted-types ;")
	if want := "default-src 'none'; img-src https://a.example data:; object-src 'none'; sandbox; trusted-types 'none'"; err != nil || got.String() != want {
		t.Errorf("%v\ngot  %s\nwant %s", err, got, want)
	}
}

func TestParseCSPNamesTheNearestDirective(t *testing.T) {
	_, err := headers.ParseCSP("scrpit-src 'self'; img-source *; img-src 'self'; img-src *; block-all-mixed-content; report-to a b; " +
		"require-trusted-types-for 'style'; upgrade-insecure-requests 1; completely-different-word x")
	var got []string
	for e := range hardening.Faults(err) {
		complete(t, e)
		got = append(got, e.Fix)
	}
	for i, want := range []string{`write "script-src"`, `write "img-src"`, "join", "drop it", "write the name of one", "'script'", "alone", "drop it, or see"} {
		if i >= len(got) || !strings.Contains(got[i], want) {
			t.Fatalf("fault %d must propose %q: %q", i, want, got)
		}
	}
	if len(got) != 8 {
		t.Errorf("%d faults: %q", len(got), got)
	}
}

// What ParseCSP reads is written back so that it reads the same, and what New
// accepts never breaks out of its header.
func FuzzParseCSP(f *testing.F) {
	f.Add(headers.Web().CSP.String())
	f.Add(headers.Strict().CSP.String())
	f.Add(headers.API().CSP.String())
	f.Add("default-src 'none'; script-src 'nonce-{}' 'nonce-{}'; img-src a,b \x00; sandbox allow-forms allow-forms; trusted-types {} *")
	f.Add("default-src 'none'; report-uri /r https://r.example/x?y; report-to csp")
	f.Add("DEFAULT-SRC *;;; ; object-src\n'none' ;base-uri")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := headers.ParseCSP(text)
		if err != nil {
			for e := range hardening.Faults(err) {
				complete(t, e)
			}
			return
		}
		again, err := headers.ParseCSP(c.String())
		if err != nil || !reflect.DeepEqual(c, again) {
			t.Fatalf("%q reads as\n%#v\nand back as\n%#v, %v", text, c, again, err)
		}
		for _, list := range []*sources{&c.DefaultSrc, &c.ObjectSrc, &c.BaseURI, &c.FormAction, &c.FrameAncestors} {
			if *list == nil { // or New refuses nearly every input for this alone
				*list = sources{headers.None}
			}
		}
		cfg := headers.Web()
		cfg.CSP, cfg.FrameOptions, cfg.DangerouslyOmitFrameOptions = c, "", true
		if c.ReportTo != "" {
			cfg.ReportEndpoints = []headers.ReportEndpoint{{Name: c.ReportTo, URL: "/_reports"}}
		}
		m, err := headers.New(cfg)
		if err != nil {
			return
		}
		csp := get(m.Wrap(nothing), "https").Get("Content-Security-Policy")
		if strings.ContainsAny(csp, "\r\n\x00,{}") || strings.Count(csp, ";") != strings.Count(c.String(), ";") {
			t.Fatalf("%q is sent as %q", text, csp)
		}
	})
}
