// Package headerstest asserts in a service's own tests that its responses
// carry the headers that OWASP ASVS and the public judges ask for:
//
//	func TestHeaders(t *testing.T) {
//		headerstest.Require(t, newServer(), headerstest.ASVSL2, "/", "/login", "/missing")
//	}
//
// It asks over HTTPS, as a browser that follows a link, and judges with
// headers.AuditPage.
package headerstest

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/inovy/hardening/headers"
)

// Level says how much is asked for. A higher one asks for all of the lower.
type Level int

// The levels of OWASP ASVS 5.0 for section V3.4 and the cookies of V3.3, and
// Everything that headers.AuditPage knows: also the values of the OWASP Secure
// Headers Project, which headers.Strict has and headers.Web has not.
const (
	ASVSL1 Level = iota + 1
	ASVSL2
	ASVSL3
	Everything
)

// levels lists the findings that each level adds.
var levels = map[Level][]string{
	ASVSL1: {"HDN-HEADERS-100", "HDN-HEADERS-102", "HDN-HEADERS-116"},
	ASVSL2: {"HDN-HEADERS-101", "HDN-HEADERS-103", "HDN-HEADERS-105", "HDN-HEADERS-107", "HDN-HEADERS-110", "HDN-HEADERS-111", "HDN-HEADERS-118"},
	ASVSL3: {"HDN-HEADERS-104", "HDN-HEADERS-108", "HDN-HEADERS-112", "HDN-HEADERS-113", "HDN-HEADERS-128", "HDN-HEADERS-129"},
}

// Require fails t for each finding that a response of h to "GET path" does not
// pass at this level. Without paths it asks for "/". The requests name the host
// "localhost" and come over TLS.
func Require(t testing.TB, h http.Handler, level Level, paths ...string) {
	t.Helper()
	if level < ASVSL1 || level > Everything {
		t.Fatalf("headerstest: %d is no level", level)
	}
	if len(paths) == 0 {
		paths = []string{"/"}
	}
	var ids []string
	for l := ASVSL1; l <= level; l++ {
		ids = append(ids, levels[l]...)
	}
	for _, path := range paths {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://localhost"+path, nil)
		r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true}
		r.Header.Set("Accept", "text/html,*/*;q=0.8")
		r.Header.Set("Sec-Fetch-Site", "none")
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		r.Header.Set("Sec-Fetch-Dest", "document")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		res := w.Result()
		res.Request = r
		for _, f := range headers.AuditPage(res, w.Body.Bytes()) {
			if !f.Passed && (level == Everything || slices.Contains(ids, f.ID)) {
				t.Errorf("%s answers %d: %v; remedy: %s", path, res.StatusCode, f, f.Remedy)
			}
		}
	}
}
