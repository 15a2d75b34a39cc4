package tlsconfig_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"

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
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "https://169.254.169.254/latest/meta-data/", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = client.Do(req) // the client's Logger got the reason
	if failed, ok := errors.AsType[*tlsconfig.CallError](err); ok {
		fmt.Println(failed) // for the user
	}
	if refusal, ok := errors.AsType[*tlsconfig.DialError](err); ok {
		fmt.Println(refusal.Refused, refusal.Reason) // for code, never for the user
	}
	// Output:
	// tlsconfig: call to 169.254.169.254: no connection to this destination
	// true metadata address
}
