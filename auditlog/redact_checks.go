package auditlog

import (
	"fmt"
	"log/slog"

	"github.com/inovy/hardening"
)

// Check reports what the redactor lets through.
func (r *Redactor) Check() []hardening.Finding {
	fs := []hardening.Finding{r.checkPatterns(), r.checkKeys(), r.checkPseudonyms(), checkDefault()}
	for i := range fs {
		fs[i].Component = room
	}
	return fs
}

func (r *Redactor) checkPatterns() hardening.Finding {
	return hardening.Finding{
		ID: "HDN-AUDITLOG-003", Severity: hardening.High,
		Title:    "Secrets and personal numbers are redacted by their shape",
		Passed:   len(r.cfg.DangerouslyAllow) == 0,
		Observed: fmt.Sprintf("shown: %q", r.cfg.DangerouslyAllow),
		Expected: "shown: []",
		Remedy:   "declare typed identifiers with Safe instead of switching a pattern off",
		Controls: []hardening.Control{
			supports(hardening.ASVS, "v5.0.0-16.2.5"), supports(hardening.BIO, "12.4.1.2"), supports(hardening.BIO2, "8.15.02"), supports(hardening.ISO27002, "8.11"),
			supports(hardening.GDPR, "25(1)"), supports(hardening.CWE, "532"),
		},
	}
}

func (r *Redactor) checkKeys() hardening.Finding {
	return hardening.Finding{
		ID: "HDN-AUDITLOG-004", Severity: hardening.High,
		Title:    "Nothing is shown under a key that names a secret",
		Passed:   len(r.cfg.DangerouslyAllowKeys) == 0,
		Observed: fmt.Sprintf("shown: %q", r.cfg.DangerouslyAllowKeys),
		Expected: "shown: []",
		Remedy:   "rename the attribute, or keep it out of the log",
		Controls: []hardening.Control{
			supports(hardening.ASVS, "v5.0.0-16.2.5"), supports(hardening.ASVS, "v5.0.0-14.2.4"), supports(hardening.BIO2, "8.15.02"),
			supports(hardening.ISO27002, "8.12"), supports(hardening.CWE, "532"),
		},
	}
}

func (r *Redactor) checkPseudonyms() hardening.Finding {
	observed := "keys from Pseudonyms"
	if r.pseudonyms.source == nil {
		observed = "a random key of this process"
	}
	return hardening.Finding{
		ID: "HDN-AUDITLOG-020", Severity: hardening.Low,
		Title:    "Pseudonyms of undeclared attributes stay the same across restarts",
		Passed:   r.pseudonyms.source != nil,
		Observed: observed,
		Expected: "keys from Pseudonyms",
		Remedy:   "set Pseudonyms to a key ring, such as *secrets.Ring",
		Controls: []hardening.Control{supports(hardening.ISO27002, "8.11"), supports(hardening.BIO2, "8.15.02"), supports(hardening.GDPR, "25(1)")},
	}
}

// checkDefault looks at what log calls without a logger go through.
func checkDefault() hardening.Finding {
	h := slog.Default().Handler()
	passed := redacts(h)
	observed := "slog.Default redacts"
	if !passed {
		observed = "slog.Default does not redact"
	}
	return hardening.Finding{
		ID: "HDN-AUDITLOG-021", Severity: hardening.High,
		Title:    "Log calls without a logger of their own are redacted",
		Passed:   passed,
		Observed: observed,
		Expected: "slog.Default redacts",
		Remedy:   "call slog.SetDefault with the log's Handler or with Redactor.Handler",
		Controls: []hardening.Control{supports(hardening.ASVS, "v5.0.0-16.2.5"), supports(hardening.BIO2, "8.15.02"), supports(hardening.CWE, "532")},
	}
}

func redacts(h slog.Handler) bool {
	switch h.(type) {
	case *redactHandler, *handler:
		return true
	}
	return false
}
