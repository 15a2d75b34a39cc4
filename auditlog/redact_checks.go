package auditlog

import (
	"log/slog"

	"github.com/inovy/hardening"
)

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
