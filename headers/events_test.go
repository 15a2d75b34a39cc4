package headers_test

import (
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/inovy/hardening/headers"
)

// A record that says client_addr="invalid IP" or request_id="" claims to know
// something. What is not known is left out.
func TestEventsClaimNothingAboutAnUnknownClient(t *testing.T) {
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	policy := must(headers.New(headers.Config{Logger: logger}))
	isolation := must(headers.NewIsolation(headers.IsolationConfig{Logger: logger}))
	h := isolation.Wrap(policy.Recover(panicking))
	for _, site := range []string{"same-origin", "cross-site"} {
		r := request("https", "POST", "/")
		r.RemoteAddr = "@" // a unix socket
		r.Header.Set("Sec-Fetch-Site", site)
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	if !strings.Contains(log.String(), "sys_crash") || !strings.Contains(log.String(), "malicious_csrf") {
		t.Fatal(log.String())
	}
	for _, claim := range []string{"client_addr", "request_id", "traceparent"} {
		if strings.Contains(log.String(), claim) {
			t.Errorf("%s in %s", claim, &log)
		}
	}
}

func discardTo(b *strings.Builder) *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }
