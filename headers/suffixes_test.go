package headers_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/headers"
)

// TestStrangersDomainsAreNotAllowedWhole: whoever registers a name below one
// would be a source of the page's content, or a host of ours.
func TestStrangersDomainsAreNotAllowedWhole(t *testing.T) {
	for domain, shared := range map[string]bool{
		"co.uk": true, "org.au": true, "github.io": true, "blob.core.windows.net": true, "pages.dev": true, "nhs.uk": true,
		"clinic.co.uk": false, "clinic.github.io": false, "app.example": false, "co.example": false, "account.blob.core.windows.net": false,
	} {
		_, err := headers.NewHostCheck(headers.HostCheckConfig{Hosts: []string{"*." + domain}})
		if (err != nil) != shared {
			t.Errorf("HostCheck of *.%s: %v", domain, err)
		}
		if _, err := headers.NewHostCheck(headers.HostCheckConfig{Hosts: []string{domain}}); err != nil {
			t.Errorf("HostCheck of %s itself: %v", domain, err)
		}
		cfg := headers.Web()
		wild := headers.Source("https://*." + domain)
		cfg.CSP.ImgSrc = []headers.Source{wild}
		_, err = headers.New(cfg)
		if (err != nil) != shared || shared && !strings.Contains(err.Error(), "CSP.ImgSrc[0]") {
			t.Errorf("CSP of *.%s: %v", domain, err)
		}
		if shared {
			cfg.CSP.DangerouslyAllow = map[string][]headers.Source{"img-src": {wild}}
			p, err := headers.New(cfg)
			if err != nil {
				t.Fatalf("*.%s, allowed by name: %v", domain, err)
			}
			if !slices.ContainsFunc(p.Check(), func(f hardening.Finding) bool { return f.ID == "HDN-HEADERS-004" && !f.Passed }) {
				t.Errorf("*.%s passes the check", domain)
			}
		}
	}
}

func TestATrustedOriginFromTheAddressBarIsPutRight(t *testing.T) {
	for origin, fix := range map[string]string{
		"https://app.example/":      `write "https://app.example": an origin ends without a slash`,
		"https://app.example/login": `write "https://app.example"`,
		"https://App.example":       `write "https://app.example"`,
		"https://app.example:443":   `write "https://app.example"`,
		"https://user@app.example":  `write it as browsers do, as in "https://app.example"`,
		"app.example":               `write it as browsers do, as in "https://app.example"`,
		"http://app.example/":       `write it as browsers do, as in "https://app.example"`,
	} {
		_, err := headers.NewIsolation(headers.IsolationConfig{TrustedOrigins: []string{origin}})
		var fault *hardening.ConfigError
		if !errors.As(err, &fault) || fault.Fix != fix {
			t.Errorf("%s: %v", origin, err)
		}
	}
}

func TestTrap_AnOverriddenMethodIsAChange(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-3.5.1")
	i := must(headers.NewIsolation(headers.IsolationConfig{}))
	for _, c := range []struct {
		name, url, header, site string
		refused                 bool
	}{
		{"a link", "/?a=b", "", "cross-site", false},
		{"a link with a method", "/?a=b&_method=DELETE", "", "cross-site", true},
		{"a link with a method in other bytes", "/?%5Fmethod=DELETE", "", "cross-site", true},
		{"a method behind a semicolon, which some take for an ampersand", "/?a=1;_method=DELETE", "", "cross-site", true},
		{"a method before a semicolon", "/?_method=DELETE;x", "", "cross-site", true},
		{"a method behind a broken escape", "/?a=%zz&_method=DELETE", "", "cross-site", true},
		{"a list of PHP", "/?_method[]=DELETE", "", "cross-site", true},
		{"a dot, which PHP takes for an underscore", "/?.method=DELETE", "", "cross-site", true},
		{"a space before it, which PHP drops", "/?+_method=PUT", "", "cross-site", true},
		{"nothing of that name", "/?method=a&;=&[&%&_methods=b&my.method=c", "", "cross-site", false},
		{"a page of ours with a method", "/?_method=DELETE", "", "same-origin", false},
		{"a parameter that only looks like it", "/?x_method=a&b=_method&c=%20", "", "cross-site", false},
		{"the usual header", "/", "X-HTTP-Method-Override", "cross-site", true},
		{"Microsoft's header", "/", "X-HTTP-Method", "cross-site", true},
		{"IBM's header", "/", "X-Method-Override", "cross-site", true},
		{"a header on a page of ours", "/", "X-HTTP-Method-Override", "same-origin", false},
		{"a header from a sibling host", "/", "X-HTTP-Method-Override", "same-site", true},
	} {
		for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
			if method == "OPTIONS" && c.header == "" && !c.refused {
				continue
			}
			r := request("https", method, c.url)
			r.Header.Set("Sec-Fetch-Site", c.site)
			r.Header.Set("Sec-Fetch-Mode", "navigate")
			r.Header.Set("Sec-Fetch-Dest", "document")
			if c.header != "" {
				r.Header.Set(c.header, "DELETE")
			}
			if err := i.Allow(r); errors.Is(err, headers.ErrCrossOrigin) != c.refused || !c.refused && err != nil {
				t.Errorf("%s, %s: %v", method, c.name, err)
			}
		}
	}
}
