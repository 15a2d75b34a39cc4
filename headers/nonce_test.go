package headers_test

import (
	"context"
	"html/template"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/inovy/hardening/headers"
)

func TestEveryResponseHasANewNonceOfAtLeast128Bits(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-3.4.3")
	shape := regexp.MustCompile(`^[A-Z2-7]{26}$`) // 26 base32 digits, two of which have four bits: 128 bits
	seen, digits := map[string]bool{}, map[rune]int{}
	var inContext string
	h := must(headers.New(headers.Config{})).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inContext = headers.Nonce(r.Context())
	}))
	for range 2000 {
		m := nonceRE.FindStringSubmatch(get(h, "https").Get("Content-Security-Policy"))
		if m == nil || !shape.MatchString(m[1]) || seen[m[1]] || m[1] != inContext {
			t.Fatalf("nonce %v, in the context %q", m, inContext)
		}
		seen[m[1]] = true
		for _, d := range m[1] {
			digits[d]++
		}
	}
	for d, n := range digits { // 24 digits a nonce have all 32 values and two have 16: 1500 or 1750 of each expected; 7 standard deviations
		if n < 1230 || n > 2040 {
			t.Errorf("digit %c occurs %d times", d, n)
		}
	}
	if len(digits) != 32 {
		t.Errorf("%d digits occur", len(digits))
	}
}

func TestTheNonceReachesHTMLTemplateUnchanged(t *testing.T) {
	page := template.Must(template.New("").Parse(`<script {{.Attr}}>1</script><style nonce="{{.Text}}"></style>`))
	h := must(headers.New(headers.Config{})).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = page.Execute(w, map[string]any{"Attr": headers.NonceAttr(r.Context()), "Text": headers.Nonce(r.Context())})
	}))
	for range 200 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, request("https", "GET", "/"))
		n := nonceRE.FindStringSubmatch(w.Header().Get("Content-Security-Policy"))[1]
		if want := `<script nonce="` + n + `">1</script><style nonce="` + n + `"></style>`; w.Body.String() != want {
			t.Fatalf("got  %s\nwant %s", w.Body, want)
		}
	}
}

func TestOutsideWrapThereIsNoNonce(t *testing.T) {
	if n, a := headers.Nonce(context.Background()), headers.NonceAttr(context.Background()); n != "" || a != "" {
		t.Errorf("%q %q", n, a)
	}
	h := must(headers.New(headers.API())).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := headers.Nonce(r.Context()); n != "" {
			t.Errorf("a policy without a nonce gave %q", n)
		}
	}))
	get(h, "https")
}

func TestANestedPolicyKeepsTheRequestsNonce(t *testing.T) {
	root := must(headers.New(headers.Config{}))
	child := must(root.With("maps", func(c *headers.Config) {
		c.CSP.StyleSrc = []headers.Source{headers.NonceSource}
	}))
	var outer, inner string
	h := root.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		outer = headers.Nonce(r.Context())
		child.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			inner = headers.Nonce(r.Context())
		})).ServeHTTP(w, r)
	}))
	csp := get(h, "https").Get("Content-Security-Policy")
	if outer == "" || outer != inner || strings.Count(csp, "'nonce-"+outer+"'") != 2 {
		t.Errorf("outer %q inner %q policy %q", outer, inner, csp)
	}
}

func TestTheContextStillAnswersForOtherKeys(t *testing.T) {
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), key{}, "kept"))
	h := must(headers.New(headers.Config{})).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Context().Value(key{}) != "kept" {
			t.Error("a value of the outer context is lost")
		}
		cancel()
		<-r.Context().Done()
	}))
	h.ServeHTTP(httptest.NewRecorder(), request("https", "GET", "/").WithContext(ctx))
}
