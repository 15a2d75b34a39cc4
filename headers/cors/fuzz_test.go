package cors_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/inovy/hardening/headers/cors"
)

// An origin that is let in is one that net/url reads the same way: scheme and
// host, nothing else, and the host is an allowed one.
func FuzzOrigin(f *testing.F) {
	for _, s := range []string{app, "https://a.clinic.example", "https://a.ward.example:8443", "http://localhost:3000", "https://u@a.clinic.example", "https://evil.example/.clinic.example", "null", "https://[2001:db8::1]"} {
		f.Add(s)
	}
	h := must(cors.New(shared())).Wrap(reached)
	f.Fuzz(func(t *testing.T, origin string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Origin"] = []string{origin}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		got, ok := w.Header()["Access-Control-Allow-Origin"]
		if !ok {
			return
		}
		u, err := url.Parse(origin)
		if err != nil || len(got) != 1 || got[0] != origin || u.Scheme+"://"+u.Host != origin || u.User != nil || strings.ToLower(origin) != origin {
			t.Fatalf("%q: %v %q", origin, err, got)
		}
		name := u.Hostname()
		switch {
		case origin == app, origin == "https://[2001:db8::1]", u.Scheme == "http" && name == "localhost",
			u.Scheme == "https" && strings.HasSuffix(name, ".clinic.example") && u.Port() == "",
			u.Scheme == "https" && strings.HasSuffix(name, ".ward.example") && u.Port() == "8443":
		default:
			t.Fatalf("%q was let in", origin)
		}
	})
}

// The list parser agrees with the obvious one that splits, trims and compares.
func FuzzRequestHeaders(f *testing.F) {
	f.Add("authorization,content-type", "x-trace")
	f.Add(" Authorization ,\tX-Trace", "")
	f.Add(",,,,,,,,,,,,,,,,,", ",")
	f.Add("authorization x", "authorizatioN")
	h := must(cors.New(shared())).Wrap(reached)
	f.Fuzz(func(t *testing.T, one, two string) {
		w := send(h, "OPTIONS", preflight(app, "PUT", one, two))
		want, empty := len(one)+len(two) <= 8<<10, 0
		for _, line := range []string{one, two} {
			if line == "" {
				continue
			}
			names := strings.Split(line, ",")
			if names[len(names)-1] == "" {
				names = names[:len(names)-1] // what follows a last comma is nothing
			}
			for _, name := range names {
				switch name = strings.Trim(name, " \t"); {
				case name == "":
					empty++
				case !strings.EqualFold(name, "authorization") && !strings.EqualFold(name, "content-type") && !strings.EqualFold(name, "x-trace") || !ascii(name):
					want = false
				}
			}
		}
		if want = want && empty <= 16; want != (w.Code == http.StatusNoContent) {
			t.Fatalf("%q %q: status %d, want allowed %t", one, two, w.Code, want)
		}
	})
}

func ascii(s string) bool { // EqualFold also takes U+017F for s and U+212A for k
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 0x7e })
}

// No Config makes New panic, and a policy that New lets through with
// credentials lets in nobody whom the Config does not name.
func FuzzConfigOrigin(f *testing.F) {
	for _, s := range []string{app, "https://*.clinic.example", "http://localhost:*", "https://[::1]:1", "https://*.co.uk", "https://1.2.3.4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		c, err := cors.New(cors.Config{Origins: []string{pattern}, Credentials: true})
		if err != nil {
			return
		}
		h := c.Wrap(reached)
		if !strings.Contains(pattern, "*") {
			u, err := url.Parse(pattern)
			if err != nil || u.Scheme+"://"+u.Host != pattern || u.User != nil {
				t.Fatalf("%q was accepted: %v", pattern, err)
			}
			if send(h, "GET", pairs{"Origin": {pattern}}).Header().Get("Access-Control-Allow-Origin") != pattern {
				t.Fatalf("%q does not match itself", pattern)
			}
		}
		for _, other := range []string{"https://evil.test", "null", "", pattern + ".evil.test", pattern + "@evil.test"} {
			if got := send(h, "GET", pairs{"Origin": {other}}).Header()["Access-Control-Allow-Origin"]; got != nil && other != pattern {
				t.Fatalf("%q lets %q in", pattern, other)
			}
		}
	})
}
