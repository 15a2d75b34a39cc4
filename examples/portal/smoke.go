package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"text/tabwriter"

	"github.com/inovy/hardening/auditlog"
)

// smoke serves the portal, walks through it with real HTTPS clients and
// prints what they saw. Its error says how many steps failed.
func smoke(ctx context.Context, p *portal, listener net.Listener, out io.Writer) error {
	serving, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- p.serve(serving, listener) }()

	w := &walk{p: p, origin: "https://" + listener.Addr().String()}
	defer w.close()
	fmt.Fprintf(out, "Patient portal, smoke test at %s, state %s\n\n", w.origin, p.opt.state)
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	failed := 0
	for _, s := range steps {
		seen, err := s.do(w, ctx)
		state := "ok"
		if err != nil {
			state, seen = "FAIL", err.Error()
			failed++
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\n", state, s.name, seen)
	}
	err := tw.Flush()
	stop()
	err = errors.Join(err, <-served)
	fmt.Fprintf(out, "\n%d of %d steps passed. Verify the log yourself:\n  %s\n", len(steps)-failed, len(steps), p.verifyCommand())
	if failed > 0 {
		err = errors.Join(fmt.Errorf("%d of %d steps failed", failed, len(steps)), err)
	}
	return err
}

var steps = []struct {
	name string
	do   func(*walk, context.Context) (string, error)
}{
	{"TLS", (*walk).tls},
	{"security headers", (*walk).headers},
	{"not logged in", (*walk).anonymous},
	{"wrong password", (*walk).wrongPassword},
	{"login", (*walk).login},
	{"record read", (*walk).read},
	{"record changed", (*walk).change},
	{"file exported", (*walk).export},
	{"another's record", (*walk).anothers},
	{"cross-site form", (*walk).crossSite},
	{"checks", (*walk).checks},
	{"limit", (*walk).limit},
	{"logout is final", (*walk).logout},
	{"log verified", (*walk).verify},
}

// walk is one run of the steps.
type walk struct {
	p                      *portal
	origin                 string
	doctor, patient, admin *browser
	seen                   int64 // sequence number of the newest entry that was looked at
}

func (w *walk) close() {
	for _, b := range []*browser{w.doctor, w.patient, w.admin} {
		if b != nil {
			b.close()
		}
	}
}

// event waits for nothing: a request is answered after its event is on disk.
// It returns the first entry since the last call that matches.
func (w *walk) event(ctx context.Context, match func(auditlog.Entry) bool) (found auditlog.Entry, err error) {
	ok := false
	for e, err := range w.p.trail.Query(ctx, auditlog.Filter{}) {
		if err != nil {
			return found, err
		}
		if e.Seq > w.seen && !ok && match(e) {
			found, ok = e, true
		}
		w.seen = max(w.seen, e.Seq)
	}
	if !ok {
		return found, errors.New("its event is not in the audit log")
	}
	return found, nil
}

func (w *walk) tls(ctx context.Context) (string, error) {
	if _, err := w.event(ctx, func(auditlog.Entry) bool { return true }); err != nil { // skips what earlier runs left
		return "", err
	}
	var err error
	for _, b := range []**browser{&w.doctor, &w.patient, &w.admin} {
		if *b, err = newBrowser(w.origin, w.p.ca.Pool()); err != nil {
			return "", err
		}
	}
	a, err := w.doctor.get(ctx, "/login")
	if err != nil {
		return "", err
	}
	if a.TLS == nil || a.TLS.Version != tls.VersionTLS13 {
		return "", fmt.Errorf("not TLS 1.3")
	}
	return fmt.Sprintf("%s, %s, %s, %s", tls.VersionName(a.TLS.Version), a.TLS.CurveID, tls.CipherSuiteName(a.TLS.CipherSuite), a.Proto), nil
}

var nonceOf = regexp.MustCompile(`'nonce-([^']+)'`)

func (w *walk) headers(ctx context.Context) (string, error) {
	a, err := w.doctor.get(ctx, "/login")
	if err != nil {
		return "", err
	}
	for k, want := range map[string]string{
		"Strict-Transport-Security": "max-age=31536000; includeSubDomains",
		"X-Frame-Options":           "DENY",
		"X-Content-Type-Options":    "nosniff",
		"Referrer-Policy":           "strict-origin-when-cross-origin",
		"Permissions-Policy":        "geolocation=(), microphone=(), camera=()",
	} {
		if got := a.Header.Get(k); got != want {
			return "", fmt.Errorf("%s is %q", k, got)
		}
	}
	nonce := nonceOf.FindStringSubmatch(a.Header.Get("Content-Security-Policy"))
	if nonce == nil || !strings.Contains(a.Text, `<script nonce="`+nonce[1]+`" src="/static/portal.js?`) {
		return "", errors.New("the nonce of the policy is not that of the page's script")
	}
	return "HSTS, DENY, nosniff, referrer, permissions; CSP with the page's nonce", nil
}

func (w *walk) anonymous(ctx context.Context) (string, error) {
	a, err := w.doctor.get(ctx, "/patients/jansen")
	if err := expect(a, err, http.StatusSeeOther, "/login"); err != nil {
		return "", err
	}
	return "303 to /login", nil
}

func (w *walk) wrongPassword(ctx context.Context) (string, error) {
	a, err := w.doctor.login(ctx, "vermeer", "not the password")
	if err := expect(a, err, http.StatusUnauthorized, ""); err != nil {
		return "", err
	}
	e, err := w.event(ctx, func(e auditlog.Entry) bool { return e.Type == "authn_login_fail" && e.Actor.ID == "vermeer" })
	return fmt.Sprintf("401; entry %d authn_login_fail of vermeer", e.Seq), err
}

func (w *walk) login(ctx context.Context) (string, error) {
	for b, id := range map[*browser]string{w.doctor: "vermeer", w.patient: "jansen", w.admin: "beheer"} {
		a, err := b.login(ctx, id, w.p.keys.passwordOf(id))
		if err := expect(a, err, http.StatusSeeOther, "/"); err != nil {
			return "", fmt.Errorf("%s: %w", id, err)
		}
		if b.cookie() == nil {
			return "", fmt.Errorf("%s got no __Host- cookie", id)
		}
	}
	e, err := w.event(ctx, func(e auditlog.Entry) bool { return e.Type == "authn_login_success" && e.Actor.ID == "vermeer" })
	return fmt.Sprintf("doctor, patient, admin; cookie %s; entry %d authn_login_success", w.doctor.cookie().Name, e.Seq), err
}

const aRecord = "/patients/jansen/records/r1001"

func (w *walk) read(ctx context.Context) (string, error) {
	a, err := w.doctor.get(ctx, aRecord)
	if err := expect(a, err, http.StatusOK, ""); err != nil {
		return "", err
	}
	e, err := w.event(ctx, func(e auditlog.Entry) bool {
		return e.Type == "sensitive_read" && e.Actor.ID == "vermeer" && e.Subject.ID == "jansen" && e.Object.ID == "r1001" && e.Outcome == auditlog.Success
	})
	return fmt.Sprintf("200; entry %d: %s %s %s of %s by %s for %s", e.Seq, e.Type, e.Action, e.Object.ID, e.Subject.ID, e.Actor.ID, e.Purpose), err
}

func (w *walk) change(ctx context.Context) (string, error) {
	before, err := w.p.records.get("jansen", "r1001")
	if err != nil {
		return "", err
	}
	a, err := w.doctor.post(ctx, aRecord+"/edit", url.Values{"version": {fmt.Sprint(before.Version)}, "title": {before.Title}, "body": {before.Body}})
	if err := expect(a, err, http.StatusSeeOther, aRecord); err != nil {
		return "", err
	}
	after, err := w.p.records.get("jansen", "r1001")
	if err != nil {
		return "", err
	}
	if after.Version != before.Version+1 {
		return "", fmt.Errorf("version %d after %d", after.Version, before.Version)
	}
	e, err := w.event(ctx, func(e auditlog.Entry) bool { return e.Type == "sensitive_update" && e.Object.ID == "r1001" })
	return fmt.Sprintf("version %d; entry %d sensitive_update", after.Version, e.Seq), err
}

func (w *walk) export(ctx context.Context) (string, error) {
	a, err := w.patient.get(ctx, "/patients/jansen/export")
	if err := expect(a, err, http.StatusOK, ""); err != nil {
		return "", err
	}
	var file struct{ Records []record }
	if err := json.Unmarshal([]byte(a.Text), &file); err != nil {
		return "", err
	}
	if len(file.Records) == 0 {
		return "", errors.New("the download holds no records")
	}
	e, err := w.event(ctx, func(e auditlog.Entry) bool { return e.Type == "export" && e.Subject.ID == "jansen" })
	return fmt.Sprintf("%d records, %s; entry %d export", len(file.Records), a.Header.Get("Content-Disposition"), e.Seq), err
}

func (w *walk) anothers(ctx context.Context) (string, error) {
	a, err := w.patient.get(ctx, "/patients/bakker/records/r1003")
	if err := expect(a, err, http.StatusForbidden, ""); err != nil {
		return "", err
	}
	e, err := w.event(ctx, func(e auditlog.Entry) bool {
		return e.Outcome == auditlog.Denied && e.Actor.ID == "jansen" && e.Subject.ID == "bakker"
	})
	return fmt.Sprintf("403; entry %d %s", e.Seq, e.Type), err
}

func (w *walk) crossSite(ctx context.Context) (string, error) {
	a, err := w.doctor.forge(ctx, "/logout", nil)
	if err := expect(a, err, http.StatusForbidden, ""); err != nil {
		return "", err
	}
	a, err = w.doctor.get(ctx, "/patients")
	if err := expect(a, err, http.StatusOK, ""); err != nil {
		return "", fmt.Errorf("logged out by another site: %w", err)
	}
	e, err := w.event(ctx, func(e auditlog.Entry) bool { return e.Type == "malicious_csrf" })
	return fmt.Sprintf("403, still logged in; entry %d malicious_csrf", e.Seq), err
}

var checkCount = regexp.MustCompile(`(\d+) checks passed, (\d+) failed`)

// accepted are the checks that this demo fails, and why.
var accepted = map[string]string{
	"HDN-AUDITLOG-020": "its audit log opens first, and records which secrets are loaded",
}

func (w *walk) checks(ctx context.Context) (string, error) {
	a, err := w.admin.get(ctx, "/admin/checks")
	if err := expect(a, err, http.StatusOK, ""); err != nil {
		return "", err
	}
	count := checkCount.FindString(a.Text)
	if count == "" {
		return "", errors.New("the page counts no checks")
	}
	for _, c := range w.p.checkers() {
		for _, f := range c.Check() {
			if why := accepted[f.ID]; !f.Passed && why == "" {
				return "", fmt.Errorf("%v", f)
			} else if !f.Passed {
				count += "; " + f.ID + ": " + why
			}
		}
	}
	return count, nil
}

// limit has to come after the logins, which share the address.
func (w *walk) limit(ctx context.Context) (string, error) {
	guesser, err := newBrowser(w.origin, w.p.ca.Pool())
	if err != nil {
		return "", err
	}
	defer guesser.close()
	for n := 1; n <= 20; n++ {
		a, err := guesser.login(ctx, "jansen", "not the password")
		if err != nil {
			return "", err
		}
		if a.StatusCode == http.StatusTooManyRequests {
			if a.Header.Get("Retry-After") == "" {
				return "", errors.New("429 without Retry-After")
			}
			e, err := w.event(ctx, func(e auditlog.Entry) bool { return e.Type == "excess_rate_limit_exceeded" })
			return fmt.Sprintf("429 at wrong password %d, Retry-After %s; entry %d", n, a.Header.Get("Retry-After"), e.Seq), err
		}
	}
	return "", errors.New("20 wrong passwords and no 429")
}

func (w *walk) logout(ctx context.Context) (string, error) {
	stolen := w.doctor.cookie()
	a, err := w.doctor.post(ctx, "/logout", nil)
	if err := expect(a, err, http.StatusSeeOther, "/login"); err != nil {
		return "", err
	}
	if w.doctor.cookie() != nil {
		return "", errors.New("the cookie is still there")
	}
	if got := a.Header.Get("Clear-Site-Data"); got != `"cache", "cookies", "storage"` {
		return "", fmt.Errorf("the browser is told to forget %q", got)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.origin+"/patients", nil)
	if err != nil {
		return "", err
	}
	r.AddCookie(stolen)
	r.Header.Set("Accept", "text/html")
	a, err = w.doctor.do(r)
	if err := expect(a, err, http.StatusSeeOther, "/login"); err != nil {
		return "", fmt.Errorf("the old cookie still works: %w", err)
	}
	return "cookie gone, and a copy of it opens nothing", nil
}

func (w *walk) verify(ctx context.Context) (string, error) {
	anchor, err := os.ReadFile(w.p.anchorFile())
	if err != nil {
		return "", err
	}
	report, err := auditlog.Verify(ctx, w.p.auditDir(), w.p.trail.VerifierKey(), auditlog.VerifyOptions{Anchor: anchor})
	if err != nil {
		return "", err
	}
	if report.Status != auditlog.StatusOK {
		return "", fmt.Errorf("%v", report.Status)
	}
	return fmt.Sprintf("%v, %d entries", report.Status, report.Size), nil
}

// expect is nil if the request was answered with status and, unless it is
// empty, this Location.
func expect(a *answer, err error, status int, location string) error {
	switch {
	case err != nil:
		return err
	case a.StatusCode != status:
		return fmt.Errorf("%s %s answers %d, want %d", a.Request.Method, a.Request.URL.Path, a.StatusCode, status)
	case location != "" && a.Header.Get("Location") != location:
		return fmt.Errorf("%s %s leads to %q, want %q", a.Request.Method, a.Request.URL.Path, a.Header.Get("Location"), location)
	}
	return nil
}
