package main

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/inovy/hardening/auditlog"
)

// liveSegment is the file that the audit log appends to.
func liveSegment(t *testing.T, p *portal) string {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(p.auditDir(), "seg-*"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("no segment in %s: %v", p.auditDir(), err)
	}
	return segments[len(segments)-1] // named by sequence, so the last is live
}

func TestWithoutAnAuditLogNothingIsShownOrChanged(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.5.3")
	for _, damage := range []struct {
		name     string
		verifies bool // what is on the disk is as it was signed
		do       func(path string) error
	}{
		{"the live segment was unlinked", false, os.Remove},
		{"the live segment was truncated", false, func(path string) error { return os.Truncate(path, 0) }},
		{"the live segment was replaced by a copy", true, func(path string) error {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.WriteFile(path, text, 0o600)
		}},
	} {
		t.Run(damage.name, func(t *testing.T) {
			ctx := t.Context()
			s := start(t, t.TempDir())
			doctor := s.enter(t, "vermeer")
			a, err := doctor.get(ctx, aRecord)
			want(t, a, err, http.StatusOK, "")
			s.broken = true
			if err := damage.do(liveSegment(t, s.p)); err != nil {
				t.Fatal(err)
			}

			a, err = doctor.get(ctx, aRecord)
			if want(t, a, err, http.StatusServiceUnavailable, ""); strings.Contains(a.Text, "Headaches") {
				t.Error("the record is shown although nobody could record it")
			}
			a, err = doctor.post(ctx, aRecord+"/edit", url.Values{"version": {"1"}, "title": {"Unrecorded"}, "body": {"x"}})
			want(t, a, err, http.StatusServiceUnavailable, "")
			if rec, err := s.p.records.get("jansen", "r1001"); err != nil || rec.Version != 1 || rec.Title == "Unrecorded" {
				t.Errorf("the handler ran: %+v, %v", rec, err)
			}
			a, err = doctor.get(ctx, "/patients/jansen/export")
			if want(t, a, err, http.StatusServiceUnavailable, ""); a.Header.Get("Content-Disposition") != "" {
				t.Error("the refusal is offered as a download")
			}
			b := s.browser(t)
			a, err = b.login(ctx, "bakker", s.p.keys.passwordOf("bakker"))
			want(t, a, err, http.StatusServiceUnavailable, "")
			a, err = b.get(ctx, "/account/devices")
			want(t, a, err, http.StatusSeeOther, "/login") // a login that nobody could record is none
			if s.p.trail.Healthy() == nil {
				t.Error("the audit log calls itself healthy")
			}
			report, err := auditlog.Verify(ctx, s.p.auditDir(), s.p.trail.VerifierKey(), auditlog.VerifyOptions{})
			if err != nil || (report.Status == auditlog.StatusOK) != damage.verifies {
				t.Errorf("the damaged log verifies as %v, %v", report, err)
			}
		})
	}
}
