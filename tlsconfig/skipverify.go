package tlsconfig

import (
	"crypto/tls"
	"fmt"
	"regexp"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/faults"
)

// DangerouslySkipVerify switches off the verification of the server's
// certificate: everybody on the way can read and change the traffic. The zero
// value verifies. There is no way to skip it without a record: the id of the
// deviation is the switch, and finding HDN-TLS-063 fails as long as it is set.
type DangerouslySkipVerify struct {
	// Deviation is the id under which the decision is registered, with its
	// reason, approvals and last day: "DEV-2026-001".
	Deviation string
}

// on reports whether verification is skipped.
func (d DangerouslySkipVerify) on() bool { return d.Deviation != "" }

// check adds a fault unless the id is one of the deviation registry.
func (d DangerouslySkipVerify) check(f *faults.Collector, field string) {
	if d.on() && !validDeviation(d.Deviation) {
		f.Add(field+".Deviation", d.Deviation, "is not the id of a deviation", `register one and give its id, such as "DEV-2026-001"; or better, name the server's CA and leave this zero`)
	}
}

func validDeviation(id string) bool {
	ok, err := regexp.MatchString(`^DEV-[0-9]{4}-[0-9]{3,6}$`, id)
	return err == nil && ok
}

// finding: a client under a deviation fails it.
func (d DangerouslySkipVerify) finding(component string) hardening.Finding {
	var bad []string
	if d.on() {
		bad = []string{"verification is skipped under deviation " + d.Deviation}
	}
	return finding("HDN-TLS-063", component, "The server is verified, without a deviation", hardening.High,
		"no deviation", bad, "no deviation", "trust the server's CA (RootCAs, CAFile) and give its name, then drop DangerouslySkipVerify",
		transportControls(
			hardening.Control{Framework: hardening.ASVS, ID: "v5.0.0-12.3.2", Relation: hardening.Implements},
			hardening.Control{Framework: hardening.CWE, ID: "295", Relation: hardening.Implements},
		)...)
}

// verifiesItself reports whether cfg skips crypto/tls's verification because a
// VerifyConnection of this package does it, against roots that can be
// reloaded. Code of other packages cannot be judged, so that it does not count.
func verifiesItself(cfg *tls.Config) bool {
	return cfg.VerifyConnection != nil && ownFunc(cfg.VerifyConnection, "(*Client).verify")
}

// judgeVerification is the check of HDN-TLS-007.
func judgeVerification(cfg *tls.Config, _ Role) (string, bool) {
	observed := fmt.Sprintf("InsecureSkipVerify %t", cfg.InsecureSkipVerify)
	switch {
	case !cfg.InsecureSkipVerify:
		return observed, true
	case verifiesItself(cfg):
		return observed + ", because this package verifies the chain and the name on every connection", true
	case cfg.VerifyConnection != nil:
		return observed + ", and a VerifyConnection whose checks cannot be seen from here", false
	}
	return observed, false
}
