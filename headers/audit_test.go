package headers_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/headers"
)

// good is a response that passes every rule.
func good() *http.Response {
	cfg := headers.Strict()
	cfg.ReportEndpoints = []headers.ReportEndpoint{{Name: "csp", URL: "/_reports"}}
	cfg.CSP.ReportTo = "csp"
	h := get(must(headers.New(cfg)).Wrap(nothing), "https")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Set-Cookie", "__Host-session=x; Path=/; Secure; HttpOnly; SameSite=Lax")
	r := request("https", "GET", "/")
	r.Header.Set("Origin", "https://evil.example")
	return &http.Response{StatusCode: 200, Header: h, Request: r}
}

func csp(from, to string) func(http.Header) {
	return func(h http.Header) {
		h.Set("Content-Security-Policy", strings.Replace(h.Get("Content-Security-Policy"), from, to, 1))
	}
}

func set(k string, v ...string) func(http.Header) {
	return func(h http.Header) { h[http.CanonicalHeaderKey(k)] = v }
}

func TestAuditFailsEachRuleForItsOwnFault(t *testing.T) {
	faults := map[string][]func(http.Header){
		"HDN-HEADERS-100": {set("Strict-Transport-Security"), set("Strict-Transport-Security", "max-age=31535999; includeSubDomains"), set("Strict-Transport-Security", "a", "b"),
			set("Strict-Transport-Security", "max-age=0; max-age=31536000; includeSubDomains"), set("Strict-Transport-Security", "max-age=31536000abc; includeSubDomains"),
			set("Strict-Transport-Security", "max-age=31536000, max-age=0"), set("Strict-Transport-Security", "max-age=31536000; includeSubDomains, max-age=0"), set("Strict-Transport-Security", "max-age=+31536000")},
		"HDN-HEADERS-101": {set("Strict-Transport-Security", "max-age=31536000")},
		"HDN-HEADERS-102": {set("Access-Control-Allow-Origin", "*"), set("Access-Control-Allow-Origin", "null"), set("Access-Control-Allow-Origin", " *"), func(h http.Header) {
			h.Set("Access-Control-Allow-Origin", "https://evil.example")
			h.Set("Access-Control-Allow-Credentials", "true")
		}},
		"HDN-HEADERS-103": {csp("base-uri 'none'", "base-uri 'self'"), csp("object-src 'none'", "object-src 'self'"), set("Content-Security-Policy")},
		"HDN-HEADERS-104": {csp("script-src ", "script-src 'self' "), csp("script-src ", "script-src-elem 'self'; script-src "), csp("script-src ", "script-src-attr https://x.example; script-src ")},
		"HDN-HEADERS-105": {csp("style-src 'self'", "style-src 'unsafe-inline'"), csp("script-src ", "script-src https: "), csp("img-src 'self'", "img-src *"), csp("img-src 'self'", "img-src cdn.example"), csp("img-src 'self'", "img-src https://127.0.0.1:80/x")},
		"HDN-HEADERS-106": {csp("form-action 'self'", "form-action https://x.example"), csp("default-src 'none'", "default-src https://x.example")},
		"HDN-HEADERS-107": {csp("frame-ancestors 'none'", "frame-ancestors https://x.example"), csp("; frame-ancestors 'none'", "")},
		"HDN-HEADERS-108": {csp("; report-to csp", "")},
		"HDN-HEADERS-109": {set("X-Frame-Options"), set("X-Frame-Options", "ALLOWALL"), set("X-Frame-Options", "DENY", "DENY")},
		"HDN-HEADERS-110": {set("X-Content-Type-Options"), set("X-Content-Type-Options", "sniff")},
		"HDN-HEADERS-111": {set("Referrer-Policy"), set("Referrer-Policy", "unsafe-url"), set("Referrer-Policy", "no-referrer, origin")},
		"HDN-HEADERS-112": {set("Cross-Origin-Opener-Policy"), set("Cross-Origin-Opener-Policy", "unsafe-none"), set("Cross-Origin-Opener-Policy", "same-origins")},
		"HDN-HEADERS-113": {set("Cross-Origin-Resource-Policy"), set("Cross-Origin-Resource-Policy", "cross-origin")},
		"HDN-HEADERS-114": {set("Permissions-Policy"), set("Permissions-Policy", "camera=*"), set("Permissions-Policy", "camera=(*)"), set("Permissions-Policy", "camera= *")},
		"HDN-HEADERS-115": {set("Content-Type", "text/html")},
		"HDN-HEADERS-116": {set("Set-Cookie", "a=b; Secure; HttpOnly"), set("Set-Cookie", "a=b; HttpOnly; SameSite=Lax"), set("Set-Cookie", "a=b; Secure; SameSite=Strict"), set("Set-Cookie", "patiënt=b"), set("Set-Cookie", "=b")},
		"HDN-HEADERS-117": {set("Server", "nginx/1.1"), set("X-Powered-By", "PHP"), set("X-XSS-Protection", "1; mode=block"), set("X-dtAgentId", "1")},
		"HDN-HEADERS-118": {set("Cross-Origin-Embedder-Policy", "require-corp", "require-corp")},
		"HDN-HEADERS-120": {set("X-Permitted-Cross-Domain-Policies"), set("X-Permitted-Cross-Domain-Policies", "all")},
		"HDN-HEADERS-121": {set("X-Dns-Prefetch-Control"), set("X-Dns-Prefetch-Control", "on")},
		"HDN-HEADERS-122": {set("Cross-Origin-Embedder-Policy"), set("Cross-Origin-Embedder-Policy", "unsafe-none")},
		"HDN-HEADERS-123": {set("Cache-Control"), set("Cache-Control", "no-cache"), set("Cache-Control", "no-store")},
		"HDN-HEADERS-124": {set("Referrer-Policy"), set("Referrer-Policy", "strict-origin")},
		"HDN-HEADERS-125": {set("Strict-Transport-Security", "max-age=63071999; includeSubDomains"), set("Strict-Transport-Security", "max-age=63072000")},
		"HDN-HEADERS-126": {set("Permissions-Policy"), func(h http.Header) {
			h.Set("Permissions-Policy", strings.Replace(h.Get("Permissions-Policy"), "usb=()", "usb=(self)", 1))
		}, func(h http.Header) {
			h.Set("Permissions-Policy", strings.Replace(h.Get("Permissions-Policy"), "serial=()", "x=()", 1))
		}},
		"HDN-HEADERS-129": {set("Content-Security-Policy", "script-src 'nonce-abcdefghijklmnopqrstu'"), set("Content-Security-Policy", "style-src 'nonce-abcdefghijklmnopqrstuvwxyz-_=='")},
		"HDN-HEADERS-127": {set("Content-Encoding", "gzip")},
		"HDN-HEADERS-119": {func(h http.Header) { clear(h) }},
	}
	base := headers.Audit(good())
	for _, f := range base {
		if !f.Passed || f.Component == "" || f.Expected == "" || f.Remedy == "" || len(f.Controls) == 0 {
			t.Errorf("%+v", f)
		}
		if len(faults[f.ID]) == 0 {
			t.Errorf("%s has no fault here", f.ID)
		}
	}
	if len(base) != len(faults) {
		t.Errorf("%d rules, %d faults", len(base), len(faults))
	}
	for id, changes := range faults {
		for i, change := range changes {
			res := good()
			change(res.Header)
			failed := false
			for _, f := range headers.Audit(res) {
				failed = failed || f.ID == id && !f.Passed
			}
			if !failed {
				t.Errorf("%s passes after fault %d", id, i)
			}
		}
	}
}

func TestAuditTakesWhatBrowsersTake(t *testing.T) {
	for id, value := range map[string][2]string{
		"HDN-HEADERS-101": {"Strict-Transport-Security", `MAX-AGE="31536000" ;includeSubDomains;; preload`},
		"HDN-HEADERS-100": {"Strict-Transport-Security", "max-age=99999999999999999999"},
		"HDN-HEADERS-112": {"Cross-Origin-Opener-Policy", `same-origin; report-to="x"`},
	} {
		res := good()
		res.Header.Set(value[0], value[1])
		for _, f := range headers.Audit(res) {
			if f.ID == id && !f.Passed {
				t.Errorf("%q fails: %v", value, f)
			}
		}
	}
}

func TestAuditOfNothingPanicsNot(t *testing.T) {
	fs := headers.Audit(&http.Response{})
	failed := 0
	for _, f := range fs {
		var _ hardening.Finding = f
		if !f.Passed {
			failed++
		}
	}
	if failed < 12 || headers.ObservatoryScore(&http.Response{}) != 30 {
		t.Errorf("%d of %d fail, score %d", failed, len(fs), headers.ObservatoryScore(&http.Response{}))
	}
}

// The figures that the judge itself gives; integration/ compares them anew.
func TestObservatoryScores(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  headers.Config
		want int
	}{"Web": {headers.Web(), 135}, "Strict": {headers.Strict(), 135}, "API": {headers.API(), 135}} {
		h := get(must(headers.New(c.cfg)).Wrap(nothing), "https")
		if got := headers.ObservatoryScore(&http.Response{Header: h}); got != c.want-5 {
			t.Errorf("%s without cookies: %d", name, got)
		}
		h.Set("Set-Cookie", "__Host-session=x; Path=/; Secure; HttpOnly; SameSite=Lax")
		if got := headers.ObservatoryScore(&http.Response{Header: h}); got != c.want {
			t.Errorf("%s: %d", name, got)
		}
	}
}

func FuzzAudit(f *testing.F) {
	f.Add("Content-Security-Policy", "default-src 'none'; script-src 'nonce-a' 'strict-dynamic' https:", "max-age=1")
	f.Add("Set-Cookie", "session=a; SameSite=x", "max-age=99999999999999999999")
	f.Add("Referrer-Policy", ",,no-referrer", "a,b")
	f.Fuzz(func(t *testing.T, key, value, hsts string) {
		res := &http.Response{Header: http.Header{"Strict-Transport-Security": {hsts}}}
		res.Header.Add(key, value)
		for _, f := range headers.Audit(res) {
			if len(f.Observed) > 300 {
				t.Fatalf("%d bytes are shown", len(f.Observed))
			}
		}
		if s := headers.ObservatoryScore(res); s < 0 || s > 145 {
			t.Fatalf("score %d", s)
		}
	})
}
