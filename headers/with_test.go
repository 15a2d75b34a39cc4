package headers_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/headers"
)

func TestWithReplacesWholeHeadersForOneRoute(t *testing.T) {
	root := must(headers.New(headers.Strict()))
	assets := must(root.With("assets", func(c *headers.Config) {
		c.CSP = headers.API().CSP
		c.CacheControl = "public, max-age=31536000, immutable"
		c.CORP = headers.CORPSameSite
		c.COEP = ""
		c.NoDNSPrefetch = false
	}))
	mux := http.NewServeMux()
	mux.Handle("/assets/", assets.Wrap(nothing))
	mux.Handle("/", nothing)
	h := root.Wrap(mux)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request("https", "GET", "/assets/app.js"))
	got := flat(t, w.Header())
	if got["Content-Security-Policy"] != headers.API().CSP.String() || got["Cache-Control"] != "public, max-age=31536000, immutable" || got["Cross-Origin-Resource-Policy"] != "same-site" {
		t.Errorf("the inner policy did not win: %v", got)
	}
	for _, k := range []string{"Cross-Origin-Embedder-Policy", "X-Dns-Prefetch-Control"} {
		if v, ok := got[k]; ok {
			t.Errorf("%s %q of the outer policy is left over", k, v)
		}
	}
	if got["Strict-Transport-Security"] != "max-age=63072000; includeSubDomains" {
		t.Errorf("what was not changed must be inherited: %v", got)
	}
	if got := flat(t, get(h, "https")); got["Cross-Origin-Embedder-Policy"] != "require-corp" || !strings.Contains(got["Content-Security-Policy"], "nonce") {
		t.Errorf("the parent changed: %v", got)
	}
}

// The stricter of the two wins there, and nothing is sent twice.
func TestTrap_WithinATimeoutHandlerADerivedPolicyOnlyAdds(t *testing.T) {
	root := must(headers.New(headers.Config{}))
	framed := must(root.With("framed", func(c *headers.Config) {
		c.FrameOptions, c.DangerouslyOmitFrameOptions = "", true
		c.CSP.FrameAncestors = []headers.Source{"https://partner.example"}
	}))
	inner := http.TimeoutHandler(framed.Wrap(nothing), time.Minute, "")
	for name, h := range map[string]http.Handler{"Wrap": root.Wrap(inner), "Enforce": root.Enforce(inner)} {
		got := flat(t, get(h, "https"))
		if got["X-Frame-Options"] != "DENY" || !strings.Contains(got["Content-Security-Policy"], "frame-ancestors https://partner.example") {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestWithRefusesWhatNewRefuses(t *testing.T) {
	root := must(headers.New(headers.Config{}))
	must(root.With("assets", func(*headers.Config) {}))
	for name, derive := range map[string]func() (*headers.Middleware, error){
		"a bad policy": func() (*headers.Middleware, error) {
			return root.With("bad", func(c *headers.Config) { c.HSTS.MaxAge = 1 })
		},
		"a name taken by a child":  func() (*headers.Middleware, error) { return root.With("assets", func(*headers.Config) {}) },
		"a name taken by the root": func() (*headers.Middleware, error) { return root.With("headers", func(*headers.Config) {}) },
		"no name and no change":    func() (*headers.Middleware, error) { return root.With("", nil) },
	} {
		m, err := derive()
		if m != nil || len(slices.Collect(hardening.Faults(err))) == 0 {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
	if n := len(root.Check()); n != 24 {
		t.Errorf("refused policies must not be in Check: %d findings of 2 policies", n)
	}
	if m, err := root.With("bad", func(*headers.Config) {}); err != nil {
		t.Errorf("a refused policy must not keep its name: %v, %v", m, err)
	}
}

func TestWithNamesFaultsOfNameAndPolicyAtOnce(t *testing.T) {
	root := must(headers.New(headers.Config{}))
	for _, c := range []struct {
		name, want string
		change     func(*headers.Config)
	}{
		{"", "[With.name HSTS.MaxAge COOP]", func(c *headers.Config) { c.HSTS.MaxAge, c.COOP = 1, "x" }},
		{"headers", "[COOP With.name]", func(c *headers.Config) { c.COOP = "x" }},
		{"", "[With.change With.name]", nil},
		{"a\nb", "[Name COOP]", func(c *headers.Config) { c.COOP = "x" }},
	} {
		_, err := root.With(c.name, c.change)
		var fields []string
		for e := range hardening.Faults(err) {
			fields = append(fields, e.Field)
		}
		slices.Sort(fields)
		want := strings.Fields(strings.Trim(c.want, "[]"))
		slices.Sort(want)
		if fmt.Sprint(fields) != fmt.Sprint(want) {
			t.Errorf("%q: got %v, want %v", c.name, fields, want)
		}
	}
}
