package hardening_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"

	"github.com/inovy/hardening"
)

// The edge stands outermost and says who the client is. Here one network of
// proxies is trusted to name it.
func Example() {
	edge, err := hardening.NewEdge(hardening.EdgeConfig{
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	h := edge.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := hardening.ClientOf(r)
		fmt.Println(c.Addr, c.Scheme, c.Host)
	}))

	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "10.0.0.7:40112"
	r.Header.Set("X-Forwarded-For", "6.6.6.6, 192.0.2.7") // the left one is the client's own claim
	r.Header.Set("X-Forwarded-Proto", "https")
	h.ServeHTTP(httptest.NewRecorder(), r)
	// Output: 192.0.2.7 https example.com
}

// A Config with mistakes gets them all back at once, each with its mend.
func ExampleFaults() {
	_, err := hardening.NewEdge(hardening.EdgeConfig{TrustedProxies: []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/0"),
		netip.MustParsePrefix("10.1.2.3/8"),
	}})
	for f := range hardening.Faults(err) {
		fmt.Printf("%s: %s\n", f.Field, f.Fix)
	}
	// Output:
	// EdgeConfig.TrustedProxies[0]: list the proxies' own networks
	// EdgeConfig.TrustedProxies[1]: write 10.0.0.0/8 if the whole network is meant, or a longer prefix
}

// A refusal is one value. Programs get it as a problem document, browsers as a
// page, and nobody gets Err, which is for the log.
func ExampleWriteProblem() {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/patients/7", nil)
	hardening.WriteProblem(w, r, &hardening.Problem{
		Status: http.StatusForbidden, Detail: "You may not open this.", Err: errors.New("no treatment relation"),
	})
	fmt.Println(w.Code, w.Header().Get("Content-Type"))
	fmt.Println(w.Body)
	// Output:
	// 403 application/problem+json
	// {"detail":"You may not open this.","status":403,"title":"Forbidden","type":"about:blank"}
}
