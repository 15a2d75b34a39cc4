package main

import (
	"crypto/sha512"
	"encoding/base64"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/inovy/hardening/auditlog"
)

func TestThePageNamesItsScriptByDigest(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-3.6.1")
	s := start(t, t.TempDir())
	b := s.browser(t)
	a, err := b.get(t.Context(), "/login")
	want(t, a, err, http.StatusOK, "")
	tag := regexp.MustCompile(`<script nonce="[^"]+" src="([^"]+)" integrity="([^"]+)">`).FindStringSubmatch(a.Text)
	if tag == nil {
		t.Fatalf("no script in\n%s", a.Text)
	}
	src, integrity := html.UnescapeString(tag[1]), html.UnescapeString(tag[2])
	file, err := b.get(t.Context(), src)
	want(t, file, err, http.StatusOK, "")
	sum := sha512.Sum384([]byte(file.Text))
	if got := "sha384-" + base64.StdEncoding.EncodeToString(sum[:]); got != integrity {
		t.Errorf("the page says %s, the file has %s", integrity, got)
	}
	u, err := url.Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := url.QueryUnescape(u.RawQuery); err != nil || got != integrity {
		t.Errorf("%s is the same for the next version of the file, which caches do not have yet", src)
	}
	if got := file.Header.Values("Cache-Control"); len(got) != 1 || got[0] != "public, max-age=300" {
		t.Errorf("Cache-Control %q", got)
	}
	if csp := file.Header.Get("Content-Security-Policy"); strings.Contains(csp, "nonce") {
		t.Errorf("a file that is kept has the policy %q", csp)
	}
}

// Without a token, another could log the visitor in under a name of theirs and
// read what the visitor then enters.
func TestALoginNeedsTheFormOfThisBrowser(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-3.5.1")
	s := start(t, t.TempDir())
	b := s.browser(t)
	form := url.Values{"user": {"vermeer"}, "password": {s.p.keys.passwordOf("vermeer")}}
	a, err := b.post(t.Context(), "/login", form)
	want(t, a, err, http.StatusForbidden, "")
	s.recorded(t, "the login without token", func(e auditlog.Entry) bool { return e.Type == "malicious_csrf" })

	a, err = s.browser(t).get(t.Context(), "/login")
	want(t, a, err, http.StatusOK, "")
	form.Set("csrf_token", csrfField.FindStringSubmatch(a.Text)[1])
	a, err = b.post(t.Context(), "/login", form)
	want(t, a, err, http.StatusForbidden, "")
	if b.cookie() != nil {
		t.Error("a refused login left a session")
	}
}

func TestOtherHostsAreNotAnswered(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-1.2.2")
	s := start(t, t.TempDir())
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.origin+"/login", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "attacker.example"
	a, err := s.browser(t).do(r)
	want(t, a, err, http.StatusMisdirectedRequest, "")
	s.recorded(t, "the foreign host", func(e auditlog.Entry) bool { return e.Type == "input_validation_fail" })
}

func TestABrowsersReportIsRecordedWithoutThePatient(t *testing.T) {
	s := start(t, t.TempDir())
	b := s.browser(t)
	a, err := b.get(t.Context(), "/login")
	want(t, a, err, http.StatusOK, "")
	csp := a.Header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "report-uri "+reportPath) || !strings.Contains(csp, "report-to csp") || a.Header.Get("Reporting-Endpoints") != `csp="`+reportPath+`"` {
		t.Errorf("policy %q, endpoints %q", csp, a.Header.Get("Reporting-Endpoints"))
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.origin+reportPath, strings.NewReader(`{"csp-report":{"document-uri":"`+s.origin+
		`/patients/jansen/records/r1001?q=secret","effective-directive":"script-src-elem","blocked-uri":"https://evil.example/x.js"}}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/csp-report")
	r.Header.Set("Origin", s.origin)
	a, err = b.do(r)
	want(t, a, err, http.StatusNoContent, "")
	e := s.recorded(t, "the report", func(e auditlog.Entry) bool { return e.Type == "malicious_csp_violation" })
	if e.Object.ID != "/patients/{patient}/records/{record}" {
		t.Errorf("recorded %+v", e.Event)
	}
}

func TestFindersOfVulnerabilitiesLearnWhomToTell(t *testing.T) {
	s := start(t, t.TempDir())
	a, err := s.browser(t).get(t.Context(), "/.well-known/security.txt")
	want(t, a, err, http.StatusOK, "")
	if !strings.HasPrefix(a.Text, "Contact: mailto:security@hospital.example\n") || !strings.Contains(a.Text, "\nExpires: ") {
		t.Errorf("%q", a.Text)
	}
}
