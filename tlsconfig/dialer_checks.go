package tlsconfig

import (
	"fmt"
	"slices"
	"time"

	"github.com/inovy/hardening"
)

// maxDialTimeout: longer dials let a URL that leads nowhere hold a request of
// the service.
const maxDialTimeout = 30 * time.Second

// Check reports what the dialler may reach, passes included. It does no I/O.
func (d *Dialer) Check() []hardening.Finding {
	forgery := func(more ...hardening.Control) []hardening.Control {
		return append(more,
			hardening.Control{Framework: hardening.ASVS, ID: "v5.0.0-1.3.6", Relation: hardening.Implements},
			hardening.Control{Framework: hardening.OWASP, ID: "A10:2021", Relation: hardening.Implements},
			hardening.Control{Framework: hardening.CWE, ID: "918", Relation: hardening.Implements},
			hardening.Control{Framework: hardening.ISO27002, ID: "8.20", Relation: hardening.Supports},
		)
	}
	allowed := "none"
	if len(d.judge.allow) > 0 {
		allowed = fmt.Sprint(d.judge.allow)
	}
	return []hardening.Finding{{
		ID: "HDN-TLS-050", Component: d.name, Title: "Requests to chosen URLs reach public addresses only", Severity: hardening.Medium,
		Passed: len(d.judge.allow) == 0, Observed: "networks allowed beside public ones: " + allowed, Expected: "none",
		Remedy: "leave PublicDialerConfig.Allow nil, and call your own services with a client of their own", Controls: forgery(),
	}, {
		ID: "HDN-TLS-051", Component: d.name, Title: "Requests to chosen URLs use the HTTPS port only", Severity: hardening.Low,
		Passed: slices.Equal(d.ports, []uint16{443}), Observed: fmt.Sprintf("ports %v", d.ports), Expected: "443",
		Remedy: "leave PublicDialerConfig.Ports nil", Controls: forgery(hardening.Control{Framework: hardening.ISO27002, ID: "8.24", Relation: hardening.Supports}),
	}, {
		ID: "HDN-TLS-052", Component: d.name, Title: "Connections to chosen URLs are given up in time", Severity: hardening.Low,
		Passed: d.timeout <= maxDialTimeout, Observed: fmt.Sprintf("after %v", d.timeout), Expected: fmt.Sprintf("after %v or less", maxDialTimeout),
		Remedy:   "leave PublicDialerConfig.Timeout zero",
		Controls: []hardening.Control{{Framework: hardening.ISO27002, ID: "8.6", Relation: hardening.Supports}, {Framework: hardening.CWE, ID: "400", Relation: hardening.Supports}},
	}, {
		ID: "HDN-TLS-065", Component: d.name, Title: "Requests to chosen URLs reach no cloud metadata service", Severity: hardening.High,
		Passed: !d.judge.allowClosed, Observed: fmt.Sprintf("DangerouslyAllowMetadata %t", d.judge.allowClosed), Expected: "false",
		Remedy: "leave PublicDialerConfig.DangerouslyAllowMetadata false", Controls: forgery(),
	}}
}
