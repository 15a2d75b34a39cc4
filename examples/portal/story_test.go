package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/auditlog"
)

// story is a running portal and what a test asks of it.
type story struct {
	*walk
	broken bool // the test damaged the audit log, so that closing it may fail
}

// start serves a portal on a free port until the test ends.
func start(t *testing.T, state string) *story {
	t.Helper()
	p, err := open(t.Context(), options{state: state, env: hardening.Development, log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	served := make(chan error, 1)
	go func() { served <- p.serve(ctx, listener) }()
	s := &story{walk: &walk{p: p, origin: "https://" + listener.Addr().String()}}
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-served, p.Close()); err != nil && !s.broken {
			t.Errorf("closing: %v", err)
		}
	})
	return s
}

func (s *story) browser(t *testing.T) *browser {
	t.Helper()
	b, err := newBrowser(s.origin, s.p.ca.Pool())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	return b
}

// enter returns a browser in which the user is logged in.
func (s *story) enter(t *testing.T, id string) *browser {
	t.Helper()
	b := s.browser(t)
	a, err := b.login(t.Context(), id, s.p.keys.passwordOf(id))
	want(t, a, err, http.StatusSeeOther, "/")
	return b
}

func want(t *testing.T, a *answer, err error, status int, location string) *answer {
	t.Helper()
	if err := expect(a, err, status, location); err != nil {
		t.Fatal(err)
	}
	return a
}

// recorded fails the test unless the audit log has gained an entry that
// matches since the last call.
func (s *story) recorded(t *testing.T, what string, match func(auditlog.Entry) bool) auditlog.Entry {
	t.Helper()
	e, err := s.event(t.Context(), match)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return e
}

func TestTheStory(t *testing.T) {
	s := start(t, t.TempDir())
	ctx := t.Context()

	t.Run("nobody sees a file without logging in", func(t *testing.T) {
		t.Attr("control", "ASVS v5.0.0-8.2.1")
		for _, a := range actions {
			if strings.HasPrefix(a.pattern, "GET ") {
				path := strings.NewReplacer("GET ", "", "{patient}", "jansen", "{record}", "r1001").Replace(a.pattern)
				got, err := s.browser(t).get(ctx, path)
				want(t, got, err, http.StatusSeeOther, "/login")
			}
		}
	})

	t.Run("a wrong password and an unknown user get the same answer", func(t *testing.T) {
		t.Attr("control", "ASVS v5.0.0-6.3.8")
		b := s.browser(t)
		a, err := b.login(ctx, "vermeer", "not the password")
		known := want(t, a, err, http.StatusUnauthorized, "")
		e := s.recorded(t, "the failed login", func(e auditlog.Entry) bool { return e.Type == "authn_login_fail" })
		if e.Actor.ID != "vermeer" || e.Outcome != auditlog.Failure {
			t.Errorf("recorded %+v", e.Event)
		}
		a, err = b.login(ctx, "nobody1", "not the password")
		unknown := want(t, a, err, http.StatusUnauthorized, "")
		e = s.recorded(t, "the failed login", func(e auditlog.Entry) bool { return e.Type == "authn_login_fail" })
		if e.Actor.ID == "nobody1" {
			t.Error("what was typed as a user name is in the log, and may be a password")
		}
		same := func(a *answer) string {
			nonce := nonceOf.FindStringSubmatch(a.Header.Get("Content-Security-Policy"))
			return csrfField.ReplaceAllString(strings.NewReplacer(nonce[1], "", "vermeer", "", "nobody1", "").Replace(a.Text), "")
		}
		if same(known) != same(unknown) {
			t.Errorf("the answers differ:\n%s\n%s", known.Text, unknown.Text)
		}
		a, err = b.get(ctx, "/")
		want(t, a, err, http.StatusSeeOther, "/login") // its cookie is that of the form, and nobody's
	})

	doctor, jansen := s.enter(t, "vermeer"), s.enter(t, "jansen")

	t.Run("login is recorded and its cookie cannot leave this host", func(t *testing.T) {
		t.Attr("control", "ASVS v5.0.0-3.3.3")
		s.recorded(t, "the login", func(e auditlog.Entry) bool { return e.Type == "authn_login_success" && e.Actor.ID == "vermeer" })
		b := s.browser(t)
		a, err := b.login(ctx, "bakker", s.p.keys.passwordOf("bakker"))
		want(t, a, err, http.StatusSeeOther, "/")
		cookies := a.Cookies()
		if len(cookies) != 1 {
			t.Fatalf("%d cookies", len(cookies))
		}
		c := cookies[0]
		if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
			t.Errorf("cookie %v", c)
		}
	})

	t.Run("every page carries a nonce of its own", func(t *testing.T) {
		t.Attr("control", "ASVS v5.0.0-3.4.3")
		seen := map[string]bool{}
		for _, path := range []string{"/login", "/login", "/patients", aRecord, "/nothing-here"} {
			a, err := doctor.get(ctx, path)
			if err != nil {
				t.Fatal(err)
			}
			nonce := nonceOf.FindStringSubmatch(a.Header.Get("Content-Security-Policy"))
			if nonce == nil || seen[nonce[1]] || !strings.Contains(a.Text, `<script nonce="`+nonce[1]+`" src="/static/portal.js?`) {
				t.Errorf("%s: nonce %v, policy %q", path, nonce, a.Header.Get("Content-Security-Policy"))
				continue
			}
			seen[nonce[1]] = true
			if cc := a.Header.Get("Cache-Control"); !strings.Contains(cc, "no-store") {
				t.Errorf("%s: Cache-Control %q", path, cc)
			}
		}
	})

	t.Run("a doctor reads a patient's record, and the log says whose and why", func(t *testing.T) {
		t.Attr("control", "NEN7513 5")
		a, err := doctor.get(ctx, aRecord)
		if want(t, a, err, http.StatusOK, ""); !strings.Contains(a.Text, "Headaches since January") {
			t.Error("the page lacks the record")
		}
		e := s.recorded(t, "the access", func(e auditlog.Entry) bool {
			return e.Type == "sensitive_read" && e.Outcome == auditlog.Success && e.Object.ID == "r1001"
		})
		if e.Actor.ID != "vermeer" || e.Actor.Role != "doctor" || e.Subject.ID != "jansen" || e.Action != auditlog.Read || e.Purpose != "TREAT" || e.RequestID == "" || e.BreakGlass {
			t.Errorf("recorded %+v", e.Event)
		}
	})

	t.Run("a change is saved once, and a stale one is refused", func(t *testing.T) {
		form := url.Values{"version": {"1"}, "title": {"Headaches, better"}, "body": {"Diary <b>kept</b>."}}
		a, err := doctor.post(ctx, aRecord+"/edit", form)
		want(t, a, err, http.StatusSeeOther, aRecord)
		s.recorded(t, "the change", func(e auditlog.Entry) bool {
			return e.Type == "sensitive_update" && e.Action == auditlog.Update && e.Subject.ID == "jansen" && e.Outcome == auditlog.Success
		})
		a, err = doctor.get(ctx, aRecord)
		if want(t, a, err, http.StatusOK, ""); !strings.Contains(a.Text, "The record is saved.") || !strings.Contains(a.Text, "Diary &lt;b&gt;kept&lt;/b&gt;.") {
			t.Errorf("the page lacks the notice or the text:\n%s", a.Text)
		}
		a, err = doctor.get(ctx, aRecord)
		if want(t, a, err, http.StatusOK, ""); strings.Contains(a.Text, "The record is saved.") {
			t.Error("the notice is shown twice")
		}
		form.Set("title", "Overwritten")
		a, err = doctor.post(ctx, aRecord+"/edit", form)
		want(t, a, err, http.StatusConflict, "")
		form.Set("version", "2")
		form.Set("title", " ")
		a, err = doctor.post(ctx, aRecord+"/edit", form)
		want(t, a, err, http.StatusUnprocessableEntity, "")
		if rec, _ := s.p.records.get("jansen", "r1001"); rec.Version != 2 || rec.Title != "Headaches, better" {
			t.Errorf("the record is now %+v", rec)
		}
	})

	t.Run("a patient exports the own file", func(t *testing.T) {
		a, err := jansen.get(ctx, "/patients/jansen/export")
		want(t, a, err, http.StatusOK, "")
		if got := a.Header.Get("Content-Disposition"); got != `attachment; filename=records-jansen.json` {
			t.Errorf("Content-Disposition %q", got)
		}
		if !strings.Contains(a.Text, "r1002") || strings.Contains(a.Text, "r1003") {
			t.Errorf("exported %s", a.Text)
		}
		s.recorded(t, "the export", func(e auditlog.Entry) bool {
			return e.Type == "export" && e.Actor.ID == "jansen" && e.Subject.ID == "jansen" && e.Outcome == auditlog.Success
		})
	})

	t.Run("a patient opens nobody else's file and changes none", func(t *testing.T) {
		t.Attr("control", "ASVS v5.0.0-8.2.2")
		for _, path := range []string{"/patients/bakker", "/patients/bakker/records/r1003", "/patients/bakker/export", "/patients/bakker/access", aRecord + "/edit", "/patients", "/admin/trail", "/admin/checks", "/patients/unknown"} {
			a, err := jansen.get(ctx, path)
			if want(t, a, err, http.StatusForbidden, ""); strings.Contains(a.Text, "Metoprolol") {
				t.Errorf("%s shows the record", path)
			}
			s.recorded(t, path, func(e auditlog.Entry) bool {
				return e.Actor.ID == "jansen" && e.Outcome == auditlog.Denied && e.Type == "authz_fail"
			})
		}
		a, err := jansen.get(ctx, "/patients/jansen/records/r1003") // another's record under the own name
		want(t, a, err, http.StatusNotFound, "")
		a, err = jansen.post(ctx, aRecord+"/edit", url.Values{"version": {"2"}, "title": {"I am fine"}, "body": {"x"}})
		want(t, a, err, http.StatusForbidden, "")
		if rec, _ := s.p.records.get("jansen", "r1001"); rec.Version != 2 {
			t.Errorf("the record is now %+v", rec)
		}
	})

	t.Run("a doctor breaks the glass with a reason, and the patient sees it", func(t *testing.T) {
		t.Attr("control", "NEN7513 6")
		const path = "/patients/visser"
		a, err := doctor.get(ctx, path)
		want(t, a, err, http.StatusForbidden, "")
		a, err = doctor.post(ctx, path+"/emergency", url.Values{"reason": {"short"}})
		want(t, a, err, http.StatusUnprocessableEntity, "")
		a, err = doctor.get(ctx, path)
		want(t, a, err, http.StatusForbidden, "")
		const reason = "collapsed on the ward, not responsive"
		a, err = doctor.post(ctx, path+"/emergency", url.Values{"reason": {reason}})
		want(t, a, err, http.StatusSeeOther, path)
		a, err = doctor.get(ctx, path)
		want(t, a, err, http.StatusOK, "")
		e := s.recorded(t, "the emergency access", func(e auditlog.Entry) bool {
			return e.Type == "sensitive_read" && e.Subject.ID == "visser" && e.Outcome == auditlog.Success && e.BreakGlass
		})
		if e.Reason != reason || e.Purpose != "BTG" {
			t.Errorf("recorded %+v", e.Event)
		}
		a, err = s.enter(t, "visser").get(ctx, path+"/access")
		if want(t, a, err, http.StatusOK, ""); !strings.Contains(a.Text, "vermeer") || !strings.Contains(a.Text, reason) || strings.Contains(a.Text, "bakker") {
			t.Errorf("the patient sees\n%s", a.Text)
		}
	})

	t.Run("another site cannot send forms with the user's cookies", func(t *testing.T) {
		t.Attr("control", "ASVS v5.0.0-3.5.1")
		a, err := doctor.forge(ctx, aRecord+"/edit", url.Values{"version": {"2"}, "title": {"Forged"}, "body": {"x"}})
		want(t, a, err, http.StatusForbidden, "")
		a, err = doctor.forge(ctx, "/logout", nil)
		want(t, a, err, http.StatusForbidden, "")
		s.recorded(t, "the forgery", func(e auditlog.Entry) bool { return e.Type == "malicious_csrf" })
		if rec, _ := s.p.records.get("jansen", "r1001"); rec.Version != 2 {
			t.Errorf("the record is now %+v", rec)
		}
		a, err = doctor.get(ctx, "/patients")
		want(t, a, err, http.StatusOK, "")
	})

	t.Run("a tampered cookie opens nothing", func(t *testing.T) {
		t.Attr("control", "ASVS v5.0.0-7.2.1")
		c := *doctor.cookie()
		flipped := byte('A')
		if c.Value[20] == flipped {
			flipped = 'B'
		}
		c.Value = c.Value[:20] + string(flipped) + c.Value[21:]
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.origin+aRecord, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.AddCookie(&c)
		r.Header.Set("Accept", "text/html")
		a, err := s.browser(t).do(r)
		want(t, a, err, http.StatusSeeOther, "/login")
		s.recorded(t, "the forged cookie", func(e auditlog.Entry) bool { return e.Type == "session_forged" })
		a, err = doctor.get(ctx, "/patients") // the real one still works
		want(t, a, err, http.StatusOK, "")
	})

	t.Run("the admin sees trail and checks but no file", func(t *testing.T) {
		admin := s.enter(t, "beheer")
		a, err := admin.get(ctx, "/admin/trail?actor=jansen")
		if want(t, a, err, http.StatusOK, ""); !strings.Contains(a.Text, "authz_fail") || strings.Contains(a.Text, "authn_login_fail") {
			t.Error("the trail of jansen lacks the denied access, or holds what vermeer did")
		}
		s.recorded(t, "the look at the trail", func(e auditlog.Entry) bool {
			return e.Type == "authz_admin" && e.Actor.ID == "beheer" && e.Object.Type == "audit_trail"
		})
		a, err = admin.get(ctx, "/admin/checks")
		want(t, a, err, http.StatusOK, "")
		for _, c := range s.p.checkers() {
			for _, f := range c.Check() {
				if !strings.Contains(a.Text, f.ID) {
					t.Errorf("the page lacks %s", f.ID)
				}
			}
		}
		a, err = admin.get(ctx, aRecord)
		want(t, a, err, http.StatusForbidden, "")
	})

	t.Run("hostile requests change nothing and get an answer", func(t *testing.T) {
		for _, c := range []struct {
			name   string
			form   url.Values
			path   string
			status int
		}{
			{"a form beyond the limit", url.Values{"version": {"2"}, "title": {"x"}, "body": {strings.Repeat("x", 70<<10)}}, aRecord + "/edit", http.StatusRequestEntityTooLarge},
			{"a text of more than 8000 characters", url.Values{"version": {"2"}, "title": {"x"}, "body": {strings.Repeat("x", 8001)}}, aRecord + "/edit", http.StatusUnprocessableEntity},
			{"a text that is not UTF-8", url.Values{"version": {"2"}, "title": {"x"}, "body": {"\xff"}}, aRecord + "/edit", http.StatusUnprocessableEntity},
			{"a version that is no number", url.Values{"version": {"two"}, "title": {"x"}, "body": {"x"}}, aRecord + "/edit", http.StatusConflict},
			{"no form at all", nil, aRecord + "/edit", http.StatusUnprocessableEntity},
			{"a record that is not there", url.Values{"version": {"2"}, "title": {"x"}, "body": {"x"}}, "/patients/jansen/records/r9/edit", http.StatusNotFound},
			{"a path that climbs", nil, "/patients/jansen/records/..%2f..%2fvisser/edit", http.StatusNotFound},
			{"an emergency without a reason", nil, "/patients/visser/emergency", http.StatusUnprocessableEntity},
			{"an emergency of nobody", url.Values{"reason": {"long enough a reason"}}, "/patients/nobody/emergency", http.StatusNotFound},
			{"a route for reading only", nil, "/patients/jansen/export", http.StatusNotFound},
		} {
			a, err := doctor.post(ctx, c.path, c.form)
			if err := expect(a, err, c.status, ""); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		for _, path := range []string{"/patients/jansen?a=%zz", "/static/", "/static/../main.go", "/static/%2e%2e/main.go", "/templates/login.html"} {
			a, err := doctor.get(ctx, path)
			if err != nil || a.StatusCode == http.StatusOK || a.StatusCode >= 500 {
				t.Errorf("%s: %v, %v", path, a, err)
			}
		}
		if rec, _ := s.p.records.get("jansen", "r1001"); rec.Version != 2 || rec.Title != "Headaches, better" {
			t.Errorf("the record is now %+v", rec)
		}
	})

	t.Run("programs get a problem document", func(t *testing.T) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.origin+"/patients/bakker", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "application/json")
		a, err := jansen.do(r)
		want(t, a, err, http.StatusForbidden, "")
		if got := a.Header.Get("Content-Type"); got != "application/problem+json" || !strings.Contains(a.Text, `"status":403`) {
			t.Errorf("%s: %s", got, a.Text)
		}
	})

	t.Run("guessing passwords ends at the limit", func(t *testing.T) {
		t.Attr("control", "ASVS v5.0.0-6.3.1")
		b := s.browser(t)
		for n := 1; ; n++ {
			a, err := b.login(ctx, "jansen", "guess "+strconv.Itoa(n))
			if err != nil {
				t.Fatal(err)
			}
			if a.StatusCode == http.StatusUnauthorized && n <= 10 {
				continue
			}
			want(t, a, nil, http.StatusTooManyRequests, "")
			if after, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || after < 1 || after > 60 {
				t.Errorf("Retry-After %q", a.Header.Get("Retry-After"))
			}
			break
		}
		s.recorded(t, "the limit", func(e auditlog.Entry) bool { return e.Type == "excess_rate_limit_exceeded" })
		a, err := b.login(ctx, "jansen", s.p.keys.passwordOf("jansen")) // the right one is not tried either
		want(t, a, err, http.StatusTooManyRequests, "")
		a, err = jansen.get(ctx, "/patients/jansen") // who is in stays in
		want(t, a, err, http.StatusOK, "")
	})

	t.Run("logout is final", func(t *testing.T) {
		t.Attr("control", "ASVS v5.0.0-7.4.1")
		stolen := doctor.cookie()
		a, err := doctor.post(ctx, "/logout", nil)
		want(t, a, err, http.StatusSeeOther, "/login")
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.origin+aRecord, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.AddCookie(stolen)
		r.Header.Set("Accept", "text/html")
		a, err = s.browser(t).do(r)
		want(t, a, err, http.StatusSeeOther, "/login")
	})

	t.Run("and the log of all this verifies while it is written", func(t *testing.T) {
		t.Attr("control", "ASVS v5.0.0-16.4.2")
		report, err := auditlog.Verify(ctx, s.p.auditDir(), s.p.trail.VerifierKey(), auditlog.VerifyOptions{})
		if err != nil || report.Status != auditlog.StatusOK || report.Size <= s.seen {
			t.Errorf("%+v, %v; %d entries seen", report, err, s.seen)
		}
	})
}
