package tlsconfig_test

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/inovy/hardening/tlsconfig"
)

// A request to a URL that a user typed must not reach the inside of the
// network, however the URL is written and wherever it redirects to.
func ExamplePublicDialer() {
	dialer, err := tlsconfig.PublicDialer(tlsconfig.PublicDialerConfig{Logger: silent})
	if err != nil {
		fmt.Println(err)
		return
	}
	client := &http.Client{
		Transport: &http.Transport{DialContext: dialer.DialContext, ForceAttemptHTTP2: true}, // and no Proxy
		Timeout:   10 * time.Second,
	}
	_, err = client.Get("https://169.254.169.254/latest/meta-data/")
	if refusal, ok := errors.AsType[*tlsconfig.DialError](err); ok {
		fmt.Println(refusal)        // for the user
		fmt.Println(refusal.Reason) // for the log
	}
	// Output:
	// tlsconfig: no connection to this destination
	// metadata address
}
