package tlsconfig

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/inovy/hardening"
)

// Check reports what the server's configuration and certificates come to at
// this moment, passes included. It does no I/O: files were judged when loaded.
// It is safe for concurrent use.
func (s *Server) Check() []hardening.Finding {
	cfgs := []labelled{{cfg: s.TLS()}}
	var out []hardening.Finding
	for _, c := range configChecks() {
		if f, ok := c.run(cfgs, RoleServer, s.name); ok {
			out = append(out, f)
		}
	}
	pairs := s.keep.pairs()
	certs := make([]served, len(pairs))
	for i, p := range pairs {
		certs[i] = served{p.source, p.chain}
	}
	out = append(out, certFindings(certs, s.env, s.name, time.Now())...)
	out = append(out, s.keep.findings(s.name, time.Now())...)
	out = append(out, s.clientFindings()...)
	out = append(out, s.tickets.finding(s.name))
	return append(out, keyFileFinding(pairs, s.name), connAgeFinding(s.connAge, s.grace, s.name), hostFinding(s.anyHost, s.name))
}

// Ids of controls: ISO/IEC 27002:2022 numbers are those of NEN 7510:2024.
func transportControls(more ...hardening.Control) []hardening.Control {
	return append(more,
		hardening.Control{Framework: hardening.ISO27002, ID: "8.24", Relation: hardening.Supports},
		hardening.Control{Framework: hardening.BIO2, ID: "5.14.01", Relation: hardening.Supports},
		hardening.Control{Framework: hardening.BIO2, ID: "8.24.04", Relation: hardening.Supports},
	)
}

// labelled is a configuration and the hook that returned it, if any.
type labelled struct {
	from string
	cfg  *tls.Config
}

// configCheck judges one aspect of a *tls.Config.
type configCheck struct {
	id, title, expected, remedy string
	severity                    hardening.Severity
	controls                    []hardening.Control
	roles                       []Role // nil = both
	judge                       func(cfg *tls.Config, role Role) (observed string, passed bool)
}

// run judges all configurations that a peer can meet: the worst one counts.
func (c configCheck) run(cfgs []labelled, role Role, component string) (f hardening.Finding, ok bool) {
	if c.roles != nil && !slices.Contains(c.roles, role) {
		return f, false
	}
	f = hardening.Finding{
		ID: c.id, Component: component, Title: c.title, Passed: true, Severity: c.severity,
		Expected: c.expected, Remedy: c.remedy, Controls: c.controls,
	}
	for _, l := range cfgs {
		observed, passed := c.judge(l.cfg, role)
		if l.from != "" {
			observed = l.from + ": " + observed
		}
		if f.Observed == "" || f.Passed && !passed {
			f.Observed = observed
		}
		f.Passed = f.Passed && passed
	}
	return f, true
}

func configChecks() []configCheck {
	const a, n, m, r = hardening.ASVS, hardening.NCSCTLS, hardening.Mozilla, hardening.RFC
	implements := func(fw hardening.Framework, id string) hardening.Control {
		return hardening.Control{Framework: fw, ID: id, Relation: hardening.Implements}
	}
	server, client := []Role{RoleServer}, []Role{RoleClient}
	return []configCheck{{
		id: "HDN-TLS-001", title: "No protocol version before TLS 1.2", severity: hardening.High,
		expected: "TLS 1.2 or later", remedy: "set MinVersion to tls.VersionTLS12 or tls.VersionTLS13",
		controls: transportControls(implements(a, "v5.0.0-12.1.1"), implements(n, "3.3.1"), implements(r, "8996")),
		judge: func(cfg *tls.Config, role Role) (string, bool) {
			least, _ := effectiveVersions(cfg, role)
			return fmt.Sprintf("from %s (%s)", tls.VersionName(least), versionLevel(least)), versionLevel(least) <= LevelSufficient
		},
	}, {
		id: "HDN-TLS-002", title: "Only cipher suites with authenticated encryption and forward secrecy", severity: hardening.High,
		expected: "no suite that NCSC-NL 2025-05 calls phase out or insufficient", remedy: "set CipherSuites to the six ECDHE suites with GCM or ChaCha20-Poly1305, or MinVersion to TLS 1.3",
		controls: transportControls(implements(a, "v5.0.0-12.1.2"), implements(n, "3.3.2"), implements(m, "intermediate")),
		judge: func(cfg *tls.Config, role Role) (string, bool) {
			var weak []string
			suites := effectiveSuites(cfg, role)
			for _, id := range suites {
				if l := suiteLevel(id); l > LevelSufficient {
					weak = append(weak, fmt.Sprintf("%s (%s)", tls.CipherSuiteName(id), l))
				}
			}
			if len(weak) > 0 {
				return strings.Join(weak, ", "), false
			}
			return fmt.Sprintf("%d suites for TLS 1.2, and those of TLS 1.3", len(suites)), true
		},
	}, {
		id: "HDN-TLS-003", title: "Hybrid post-quantum key agreement is offered", severity: hardening.Medium,
		expected: "X25519MLKEM768 or another hybrid group, and TLS 1.3 to use it", remedy: "leave CurvePreferences nil or list tls.X25519MLKEM768, and do not set GODEBUG tlsmlkem=0",
		controls: transportControls(implements(n, "3.3.3"), hardening.Control{Framework: a, ID: "v5.0.0-11.2.2", Relation: hardening.Supports}),
		judge: func(cfg *tls.Config, role Role) (string, bool) {
			groups := effectiveGroups(cfg)
			_, most := effectiveVersions(cfg, role)
			hybrid := slices.ContainsFunc(groups, func(g tls.CurveID) bool { return groupLevel(g) == LevelGood })
			return fmt.Sprintf("%v up to %s", groups, tls.VersionName(most)), hybrid && most >= tls.VersionTLS13
		},
	}, {
		id: "HDN-TLS-004", title: "TLS 1.3 is offered", severity: hardening.High,
		expected: "TLS 1.3", remedy: "leave MaxVersion zero",
		controls: transportControls(implements(a, "v5.0.0-12.1.1"), implements(n, "3.3.1")),
		judge: func(cfg *tls.Config, role Role) (string, bool) {
			_, most := effectiveVersions(cfg, role)
			return "up to " + tls.VersionName(most), most >= tls.VersionTLS13
		},
	}, {
		id: "HDN-TLS-005", title: "Session ticket keys rotate", severity: hardening.Medium, roles: server,
		expected: "no tickets, or keys that crypto/tls replaces every day", remedy: "leave SessionTicketKey zero",
		controls: transportControls(implements(r, "9325 7.4")),
		judge: func(cfg *tls.Config, _ Role) (string, bool) {
			switch {
			case cfg.SessionTicketsDisabled:
				return "no tickets", true
			case cfg.SessionTicketKey != [32]byte{} && !bytes.HasPrefix(cfg.SessionTicketKey[:], []byte("DEPRECATED")):
				// crypto/tls writes DEPRECATED into the field of a config in use.
				return "one fixed SessionTicketKey", false
			case cfg.WrapSession != nil:
				return "keys of WrapSession", true
			}
			return "keys of crypto/tls", true
		},
	}, {
		id: "HDN-TLS-006", title: "Session keys are not written to a log", severity: hardening.Critical,
		expected: "KeyLogWriter nil", remedy: "remove KeyLogWriter: whoever reads it reads all traffic",
		controls: transportControls(hardening.Control{Framework: a, ID: "v5.0.0-16.2.5", Relation: hardening.Supports}),
		judge: func(cfg *tls.Config, _ Role) (string, bool) {
			return fmt.Sprintf("KeyLogWriter set: %t", cfg.KeyLogWriter != nil), cfg.KeyLogWriter == nil
		},
	}, {
		id: "HDN-TLS-007", title: "The server's certificate is verified", severity: hardening.Critical, roles: client,
		expected: "InsecureSkipVerify false, or the verification of this package", remedy: "give the CA in RootCAs and the name in ServerName instead",
		controls: transportControls(implements(a, "v5.0.0-12.3.2"), implements(hardening.CWE, "295")),
		judge:    judgeVerification,
	}, {
		id: "HDN-TLS-008", title: "Renegotiation is off", severity: hardening.Medium, roles: client,
		expected: "tls.RenegotiateNever", remedy: "leave Renegotiation zero",
		controls: transportControls(implements(n, "3.4.2")),
		judge: func(cfg *tls.Config, _ Role) (string, bool) {
			return fmt.Sprintf("Renegotiation %d", cfg.Renegotiation), cfg.Renegotiation == tls.RenegotiateNever
		},
	}, {
		id: "HDN-TLS-009", title: "Client certificates that are asked for are verified against own roots", severity: hardening.High, roles: server,
		expected: "no client certificates, or VerifyClientCertIfGiven or RequireAndVerifyClientCert with ClientCAs", remedy: "set ClientCAs to the CA that issues your clients' certificates, and verify",
		controls: transportControls(implements(a, "v5.0.0-12.1.3"), implements(hardening.CWE, "295")),
		judge:    judgeClientAuth,
	}, {
		id: "HDN-TLS-010", title: "Own checks of the peer run on resumed sessions too", severity: hardening.High,
		expected: "checks in VerifyConnection, or no resumption", remedy: "move the checks of VerifyPeerCertificate to VerifyConnection: crypto/tls skips the former when a session is resumed",
		controls: transportControls(implements(hardening.CWE, "295"), hardening.Control{Framework: a, ID: "v5.0.0-12.1.3", Relation: hardening.Supports}),
		judge: func(cfg *tls.Config, role Role) (string, bool) {
			resumes := role == RoleServer && !cfg.SessionTicketsDisabled || role == RoleClient && cfg.ClientSessionCache != nil && !cfg.SessionTicketsDisabled
			return fmt.Sprintf("VerifyPeerCertificate %t, VerifyConnection %t, resumption %t", cfg.VerifyPeerCertificate != nil, cfg.VerifyConnection != nil, resumes),
				cfg.VerifyPeerCertificate == nil || !resumes || refusesStrangers(cfg)
		},
	}, {
		id: "HDN-TLS-011", title: "Randomness is the system's", severity: hardening.High,
		expected: "Rand nil", remedy: "leave Rand nil",
		controls: transportControls(implements(a, "v5.0.0-11.5.1")),
		judge: func(cfg *tls.Config, _ Role) (string, bool) {
			return fmt.Sprintf("Rand set: %t", cfg.Rand != nil), cfg.Rand == nil
		},
	}, {
		id: "HDN-TLS-012", title: "No GODEBUG setting weakens TLS", severity: hardening.High,
		expected: "none of the settings that bring back weak TLS", remedy: "remove the setting from GODEBUG or //go:debug, and raise the go line in go.mod",
		controls: transportControls(hardening.Control{Framework: hardening.ISO27002, ID: "8.9", Relation: hardening.Supports}),
		judge: func(*tls.Config, Role) (string, bool) {
			weak := weakeningGodebug()
			if len(weak) == 0 {
				return "none", true
			}
			return strings.Join(weak, ","), false
		},
	}, {
		id: "HDN-TLS-013", title: "HTTP/2 can be served with the chosen suites", severity: hardening.Low, roles: server,
		expected: "an ECDHE suite with AES-128-GCM wherever h2 is offered over TLS 1.2", remedy: "add tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 and its RSA twin",
		controls: []hardening.Control{implements(r, "9113 9.2.2")},
		judge: func(cfg *tls.Config, role Role) (string, bool) {
			least, _ := effectiveVersions(cfg, role)
			suites := effectiveSuites(cfg, role)
			fits := least >= tls.VersionTLS13 || !slices.Contains(cfg.NextProtos, "h2") ||
				slices.Contains(suites, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256) || slices.Contains(suites, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)
			return fmt.Sprintf("protocols %v, %d suites for TLS 1.2", cfg.NextProtos, len(suites)), fits
		},
	}}
}

func judgeClientAuth(cfg *tls.Config, _ Role) (string, bool) {
	switch cfg.ClientAuth {
	case tls.NoClientCert:
		return "no client certificates", true
	case tls.RequestClientCert, tls.RequireAnyClientCert:
		own := refusesStrangers(cfg)
		return fmt.Sprintf("%v, with a VerifyConnection that refuses strangers: %t", cfg.ClientAuth, own), own
	}
	switch {
	case cfg.ClientCAs == nil:
		return fmt.Sprintf("%v with the system's roots: any public CA can make a client", cfg.ClientAuth), false
	case cfg.ClientCAs.Equal(x509.NewCertPool()):
		return fmt.Sprintf("%v with an empty pool", cfg.ClientAuth), false
	}
	return fmt.Sprintf("%v with own roots", cfg.ClientAuth), true
}
