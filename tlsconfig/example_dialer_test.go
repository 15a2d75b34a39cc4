package tlsconfig_test

import (
	"errors"
	"fmt"

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
	client, err := tlsconfig.NewClient(tlsconfig.ClientConfig{DialContext: dialer.DialContext, Logger: silent})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	_, err = client.HTTPClient().Get("https://169.254.169.254/latest/meta-data/")
	if refusal, ok := errors.AsType[*tlsconfig.DialError](err); ok {
		fmt.Println(refusal)        // for the user
		fmt.Println(refusal.Reason) // for the log
	}
	// Output:
	// tlsconfig: no connection to this destination
	// metadata address
}
