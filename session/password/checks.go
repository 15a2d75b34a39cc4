package password

import (
	"fmt"

	"github.com/inovy/hardening"
)

// Limits that the findings hold the configuration against: more memory or more
// waiting than this is a way to be pushed over, less lets a few logins lock
// everyone else out.
const (
	advisedMaxMiB     = 4096
	advisedMaxWaiting = 4096
	advisedParallel   = 4
	advisedMinWaiting = 16
)

// Check reports how passwords are stored. It does no I/O.
func (h *Hasher) Check() []hardening.Finding {
	asvs := func(id string, rel hardening.Relation) hardening.Control {
		return hardening.Control{Framework: hardening.ASVS, ID: "v5.0.0-" + id, Relation: rel}
	}
	p := h.cfg.Params
	parallel := h.budget.total / int64(p.MemoryKiB)
	storage := []hardening.Control{
		asvs("11.4.2", hardening.Implements),
		{Framework: hardening.ISO27002, ID: "5.17", Relation: hardening.Supports},
		{Framework: hardening.BIO2, ID: "5.17.03", Relation: hardening.Supports},
		{Framework: hardening.NIS2IR, ID: "11.6.2", Relation: hardening.Supports},
		{Framework: hardening.GDPR, ID: "32(1)(a)", Relation: hardening.Supports},
	}
	load := []hardening.Control{asvs("15.2.2", hardening.Implements), {Framework: hardening.CWE, ID: "400", Relation: hardening.Implements}}
	return []hardening.Finding{
		{
			ID: "HDN-PASSWORD-001", Component: h.cfg.Name, Severity: hardening.High,
			Title:    "Passwords are hashed at OWASP's minimum cost or more",
			Passed:   h.cfg.Algorithm == Argon2id && p.meetsOWASP() || h.cfg.Algorithm == Bcrypt && h.cfg.BcryptCost >= minBcryptCost,
			Observed: h.cost(), Expected: "as strong as argon2id " + OWASPMinimum().String(),
			Remedy:   "leave Config.Params and Config.BcryptCost zero",
			Controls: storage,
		},
		{
			ID: "HDN-PASSWORD-002", Component: h.cfg.Name, Severity: hardening.High,
			Title:    "Configuration does not allow hashes below OWASP's minimum",
			Passed:   !h.cfg.DangerouslyWeak,
			Observed: fmt.Sprintf("DangerouslyWeak %t", h.cfg.DangerouslyWeak), Expected: "DangerouslyWeak false",
			Remedy:   "remove DangerouslyWeak outside tests",
			Controls: storage,
		},
		{
			ID: "HDN-PASSWORD-003", Component: h.cfg.Name, Severity: hardening.Medium,
			Title:    "The memory of all hashes together is bounded to what a server can spare",
			Passed:   h.cfg.MemoryMiB <= advisedMaxMiB,
			Observed: fmt.Sprintf("%d MiB", h.cfg.MemoryMiB), Expected: fmt.Sprintf("at most %d MiB", advisedMaxMiB),
			Remedy:   "lower Config.MemoryMiB",
			Controls: load,
		},
		{
			ID: "HDN-PASSWORD-004", Component: h.cfg.Name, Severity: hardening.Low,
			Title:    "Several logins can be checked at once",
			Passed:   parallel >= advisedParallel,
			Observed: fmt.Sprintf("%d hashes at once", parallel), Expected: fmt.Sprintf("at least %d", advisedParallel),
			Remedy:   "raise Config.MemoryMiB, or lower Config.Params.MemoryKiB",
			Controls: load,
		},
		{
			ID: "HDN-PASSWORD-005", Component: h.cfg.Name, Severity: hardening.Low,
			Title:    "A flood of logins is turned away before its queue is too long to be served",
			Passed:   h.cfg.MaxWaiting >= advisedMinWaiting && h.cfg.MaxWaiting <= advisedMaxWaiting,
			Observed: fmt.Sprintf("%d may wait", h.cfg.MaxWaiting), Expected: fmt.Sprintf("%d to %d", advisedMinWaiting, advisedMaxWaiting),
			Remedy:   "leave Config.MaxWaiting zero",
			Controls: load,
		},
		{
			ID: "HDN-PASSWORD-006", Component: h.cfg.Name, Severity: hardening.Low,
			Title:    "Passwords are hashed with a memory-hard algorithm",
			Passed:   h.cfg.Algorithm == Argon2id,
			Observed: h.cfg.Algorithm.String(), Expected: Argon2id.String(),
			Remedy:   "leave Config.Algorithm zero; bcrypt hashes are replaced as their users log in",
			Controls: storage,
		},
		{
			ID: "HDN-PASSWORD-007", Component: h.cfg.Name, Severity: hardening.Low,
			Title:    "Hashes are of no use without a key that is not in the database",
			Passed:   h.cfg.Pepper != nil,
			Observed: fmt.Sprintf("Pepper set %t", h.cfg.Pepper != nil), Expected: "Pepper set true",
			Remedy:   "set Config.Pepper to a *secrets.Ring that the secrets package loads",
			Controls: storage,
		},
	}
}

func (h *Hasher) cost() string {
	if h.cfg.Algorithm == Bcrypt {
		return fmt.Sprintf("bcrypt cost %d", h.cfg.BcryptCost)
	}
	return "argon2id " + h.cfg.Params.String()
}
