package session

import (
	"fmt"
	"time"

	"github.com/inovy/hardening"
)

// Limits that the findings hold the configuration against.
const (
	seedAbsolute = 7 * 24 * time.Hour
	seedIdle     = 24 * time.Hour

	advisedMaxPerUser = 100
)

// Check reports how sessions are configured. It does no I/O.
func (m *Manager[Data]) Check() []hardening.Finding { return m.core.check() }

func (m *core) check() []hardening.Finding {
	const (
		impl = hardening.Implements
		supp = hardening.Supports
	)
	asvs := func(id string, rel hardening.Relation) hardening.Control {
		return hardening.Control{Framework: hardening.ASVS, ID: "v5.0.0-" + id, Relation: rel}
	}
	control := func(f hardening.Framework, id string, rel hardening.Relation) hardening.Control {
		return hardening.Control{Framework: f, ID: id, Relation: rel}
	}
	cookie, p, env := m.cfg.Cookie, m.cfg.Policy, m.cfg.Environment
	aal2 := PolicyAAL2()
	return []hardening.Finding{
		{
			ID: "HDN-SESSION-001", Component: m.cfg.Name, Severity: hardening.High,
			Title:    "The session cookie is bound to one host",
			Passed:   cookie.DangerouslyDomain == "",
			Observed: fmt.Sprintf("%s with domain %q", m.names.secure, cookie.DangerouslyDomain),
			Expected: "a __Host- cookie without a domain",
			Remedy:   "leave Cookie.DangerouslyDomain empty and let each host keep its own session",
			Controls: []hardening.Control{asvs("3.3.1", impl), asvs("3.3.3", impl), asvs("3.3.4", impl), control(hardening.OWASP, "A07:2021", supp), control(hardening.ISO27002, "8.5", supp), control(hardening.NEN7510, "A.9.4.2", supp)},
		},
		{
			ID: "HDN-SESSION-002", Component: m.cfg.Name, Severity: hardening.High,
			Title:    "The session cookie never travels over plain HTTP",
			Passed:   m.names.plain == "",
			Observed: "environment " + env.String(),
			Expected: "any environment but development",
			Remedy:   "set Environment to hardening.Production",
			Controls: []hardening.Control{asvs("3.3.1", impl), control(hardening.CWE, "614", impl), control(hardening.BIO2, "5.14.01", supp)},
		},
		{
			ID: "HDN-SESSION-003", Component: m.cfg.Name, Severity: hardening.Medium,
			Title:    "Session keys are kept outside the process and can be rotated",
			Passed:   m.cfg.Keys != nil,
			Observed: keysObserved(m.cfg.Keys),
			Expected: "a key source",
			Remedy:   "set Keys to a *secrets.Ring that the secrets package loads",
			Controls: []hardening.Control{asvs("11.1.1", supp), asvs("13.3.1", supp), control(hardening.ISO27002, "8.24", supp), control(hardening.BIO2, "8.24.01", supp)},
		},
		{
			ID: "HDN-SESSION-004", Component: m.cfg.Name, Severity: hardening.Medium,
			Title:    "A session ends at the latest seven days after its login",
			Passed:   p.Absolute <= seedAbsolute,
			Observed: "absolute lifetime " + p.Absolute.String(),
			Expected: "at most " + seedAbsolute.String(),
			Remedy:   "use Policy7Days, PolicyAAL2 or PolicyAAL3",
			Controls: []hardening.Control{asvs("7.3.2", impl), control(hardening.CWE, "613", impl), control(hardening.NIS2, "i", supp)},
		},
		{
			ID: "HDN-SESSION-005", Component: m.cfg.Name, Severity: hardening.Medium,
			Title:    "A session that is not used ends within a day",
			Passed:   p.Idle <= seedIdle,
			Observed: "idle lifetime " + p.Idle.String(),
			Expected: "at most " + seedIdle.String(),
			Remedy:   "set Policy.Idle to 24h or less",
			Controls: []hardening.Control{asvs("7.3.1", impl), control(hardening.NIS2IR, "11.6.2", supp), control(hardening.CWE, "613", impl)},
		},
		{
			ID: "HDN-SESSION-006", Component: m.cfg.Name, Severity: hardening.Low,
			Title:    "Session lifetimes keep within NIST SP 800-63B-4 for assurance level 2",
			Passed:   p.Absolute <= aal2.Absolute && p.Idle <= aal2.Idle && !p.Persistent,
			Observed: fmt.Sprintf("absolute %v, idle %v, persistent %t", p.Absolute, p.Idle, p.Persistent),
			Expected: fmt.Sprintf("absolute at most %v, idle at most %v, not persistent", aal2.Absolute, aal2.Idle),
			Remedy:   "use PolicyAAL2, or document why longer sessions are acceptable (ASVS v5.0.0-7.1.1)",
			Controls: []hardening.Control{asvs("7.1.1", hardening.Evidences), control(hardening.GDPR, "32(1)(b)", supp)},
		},
		{
			ID: "HDN-SESSION-007", Component: m.cfg.Name, Severity: hardening.Medium,
			Title:    "Logins and revocations take effect only once they are recorded",
			Passed:   m.cfg.Audit != nil,
			Observed: fmt.Sprintf("audit handler set %t", m.cfg.Audit != nil),
			Expected: "audit handler set true",
			Remedy:   "set Audit to the handler of an auditlog.Log",
			Controls: []hardening.Control{asvs("16.3.1", supp), control(hardening.BIO2, "8.15.01", supp), control(hardening.NEN7510, "A.12.4.1", supp), control(hardening.NIS2IR, "3.2.3", supp)},
		},
		{
			ID: "HDN-SESSION-008", Component: m.cfg.Name, Severity: hardening.Medium,
			Title:    "Sessions are kept by a store that updates only what is there at the version that was read",
			Passed:   m.cookies == nil,
			Observed: m.keptIn(),
			Expected: "a store",
			Remedy:   "use a MemoryStore or a redissession.Store; with a CookieStore keep nothing in Data that must not go back",
			Controls: []hardening.Control{asvs("7.2.1", supp), asvs("7.4.1", supp), control(hardening.CWE, "613", supp)},
		},
		{
			ID: "HDN-SESSION-009", Component: m.cfg.Name, Severity: hardening.Low,
			Title:    "How many sessions a user may have at once is bounded",
			Passed:   m.cfg.MaxPerUser > 0 && m.cfg.MaxPerUser <= advisedMaxPerUser,
			Observed: fmt.Sprintf("at most %d", m.cfg.MaxPerUser),
			Expected: fmt.Sprintf("at most 1 to %d", advisedMaxPerUser),
			Remedy:   "leave MaxPerUser zero, and use a store that keeps sessions",
			Controls: []hardening.Control{asvs("7.1.2", impl)},
		},
	}
}

func (m *core) keptIn() string {
	if m.cookies != nil {
		return "cookies, of which older copies show older states"
	}
	return "a store"
}

func keysObserved(k KeySource) string {
	if k == nil {
		return "a random key of this process"
	}
	return "a key source"
}
