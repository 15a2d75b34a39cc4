package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/inovy/hardening/auditlog"
)

func TestOnlyStaticFilesAreStatic(t *testing.T) {
	s := start(t, t.TempDir())
	b := s.browser(t)
	a, err := b.get(t.Context(), "/static/style.css")
	want(t, a, err, http.StatusOK, "")
	for _, path := range []string{
		"/static/%2e%2e/templates/layout.html", "/static/..%2ftemplates/layout.html", "/static/%2e%2e%2ftemplates%2flayout.html",
		"/static/templates/layout.html", "/static/", "/static/.%2e/pages.go", "/static/%5c..%5ctemplates%5clayout.html", "/static/style.css/",
	} {
		a, err := b.get(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if a.StatusCode == http.StatusOK || strings.Contains(a.Text, "{{") {
			t.Errorf("%s answers %d with %d bytes", path, a.StatusCode, len(a.Text))
		}
	}
}

// What a client makes up must neither stop the trail nor fill it.
func TestNonsenseInAPathOrReasonIsRefusedAndRecorded(t *testing.T) {
	s := start(t, t.TempDir())
	doctor := s.enter(t, "vermeer")
	s.recorded(t, "login", func(auditlog.Entry) bool { return true })

	long := strings.Repeat("x", 3000)
	a, err := doctor.get(t.Context(), "/patients/jansen/records/"+long)
	want(t, a, err, http.StatusNotFound, "")
	s.recorded(t, "read of no record", func(e auditlog.Entry) bool {
		return e.Type == auditlog.SensitiveRead && e.Subject.ID == "jansen" && e.Object.ID == ""
	})

	a, err = doctor.post(t.Context(), "/patients/visser/emergency", url.Values{"reason": {strings.Repeat("é", 3000)}})
	want(t, a, err, http.StatusUnprocessableEntity, "")
	s.recorded(t, "emergency with a long reason", func(e auditlog.Entry) bool {
		return e.BreakGlass && e.Subject.ID == "visser" && e.Reason == strings.Repeat("é", maxReason)
	})
}
