package headerstest_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/inovy/hardening/headers"
	"github.com/inovy/hardening/headers/headerstest"
)

// recorder is a testing.TB that remembers what failed.
type recorder struct {
	testing.TB
	failed []string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(f string, args ...any) {
	r.failed = append(r.failed, fmt.Sprintf(f, args...))
}
func (r *recorder) Fatalf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }

var page = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, "<!doctype html>")
})

func TestRequirePassesTheRoomsOwnPolicies(t *testing.T) {
	cfg := headers.Strict()
	cfg.ReportEndpoints = []headers.ReportEndpoint{{Name: "csp", URL: "/_reports"}}
	cfg.CSP.ReportTo = "csp"
	policy, err := headers.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	headerstest.Require(t, policy.Wrap(page), headerstest.Everything, "/", "/login")
	plain, err := headers.New(headers.Config{})
	if err != nil {
		t.Fatal(err)
	}
	headerstest.Require(t, plain.Wrap(page), headerstest.ASVSL2)
}

// Level 3 asks for one thing more than the defaults have, because only the
// service knows where its reports go (ASVS v5.0.0-3.4.7).
func TestTheDefaultsLackOnlyAPlaceToReportToForLevel3(t *testing.T) {
	r := &recorder{TB: t}
	policy, err := headers.New(headers.Web())
	if err != nil {
		t.Fatal(err)
	}
	headerstest.Require(r, policy.Wrap(page), headerstest.ASVSL3)
	if len(r.failed) != 1 || !strings.Contains(r.failed[0], "HDN-HEADERS-108") {
		t.Errorf("%d failures: %q", len(r.failed), r.failed)
	}
	cfg := headers.Web()
	cfg.ReportEndpoints = []headers.ReportEndpoint{{Name: "csp", URL: "/_reports"}}
	cfg.CSP.ReportTo = "csp"
	if policy, err = headers.New(cfg); err != nil {
		t.Fatal(err)
	}
	headerstest.Require(t, policy.Wrap(page), headerstest.ASVSL3, "/", "/login")
}

func TestRequireReadsThePage(t *testing.T) {
	policy, err := headers.New(headers.Strict())
	if err != nil {
		t.Fatal(err)
	}
	foreign := policy.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, `<script src="https://cdn.test/a.js"></script><script src="https://localhost/own.js"></script>`)
	}))
	r := &recorder{TB: t}
	headerstest.Require(r, foreign, headerstest.ASVSL3)
	failed := strings.Join(r.failed, "\n")
	if !strings.Contains(failed, "HDN-HEADERS-128") || !strings.Contains(failed, "cdn.test") || strings.Contains(failed, "own.js") {
		t.Errorf("a foreign script without integrity: %s", failed)
	}
}

func TestRequireNamesWhatIsMissing(t *testing.T) {
	want := map[headerstest.Level]int{headerstest.ASVSL1: 1, headerstest.ASVSL2: 7, headerstest.ASVSL3: 11, headerstest.Everything: 22}
	for level, n := range want {
		r := &recorder{TB: t}
		headerstest.Require(r, page, level)
		if len(r.failed) != n || !strings.Contains(r.failed[0], "HDN-HEADERS-100") || !strings.Contains(r.failed[0], "remedy") {
			t.Errorf("level %d: %d failures, want %d\n%s", level, len(r.failed), n, strings.Join(r.failed, "\n"))
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a level that there is not was taken")
		}
	}()
	headerstest.Require(&recorder{TB: t}, page, 9)
}
