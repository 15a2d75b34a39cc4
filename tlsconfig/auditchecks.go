package tlsconfig

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/inovy/hardening"
)

// lostChanges names the fields of outer that inner, which is used in its place,
// does not have. Protocols are HDN-TLS-057's.
func lostChanges(outer, inner *tls.Config) (lost []string) {
	for _, f := range []struct {
		name string
		kept bool
	}{
		{"MinVersion", outer.MinVersion == inner.MinVersion},
		{"MaxVersion", outer.MaxVersion == inner.MaxVersion},
		{"CipherSuites", slices.Equal(outer.CipherSuites, inner.CipherSuites)},
		{"CurvePreferences", slices.Equal(outer.CurvePreferences, inner.CurvePreferences)},
		{"ClientAuth", outer.ClientAuth == inner.ClientAuth},
		{"SessionTicketsDisabled", outer.SessionTicketsDisabled == inner.SessionTicketsDisabled},
		{"Certificates", len(outer.Certificates) == len(inner.Certificates)},
		{"GetCertificate", sameFunc(outer.GetCertificate, inner.GetCertificate)},
		{"VerifyConnection", outer.VerifyConnection == nil || ownFunc(outer.VerifyConnection, "(*Server).") || bothOf(inner.VerifyConnection)},
		{"VerifyPeerCertificate", sameFunc(outer.VerifyPeerCertificate, inner.VerifyPeerCertificate)},
	} {
		if !f.kept {
			lost = append(lost, f.name)
		}
	}
	return lost
}

// auditChecks are those that only a configuration of somebody else can fail:
// NewServer and NewClient leave no way to.
func auditChecks(outer *tls.Config, opts AuditOptions) []configCheck {
	const n, m, r = hardening.NCSCTLS, hardening.Mozilla, hardening.RFC
	implements := func(fw hardening.Framework, id string) hardening.Control {
		return hardening.Control{Framework: fw, ID: id, Relation: hardening.Implements}
	}
	server, client := []Role{RoleServer}, []Role{RoleClient}
	checks := []configCheck{{
		id: "HDN-TLS-055", title: "Certificates are judged by the system's clock", severity: hardening.Medium,
		expected: "Time nil", remedy: "leave Time nil: a clock that stands still accepts certificates that have expired",
		controls: []hardening.Control{implements(hardening.CWE, "298"), {Framework: hardening.ISO27002, ID: "8.17", Relation: hardening.Supports}},
		judge: func(cfg *tls.Config, _ Role) (string, bool) {
			return fmt.Sprintf("Time set: %t", cfg.Time != nil), cfg.Time == nil
		},
	}, {
		id: "HDN-TLS-056", title: "The client trusts somebody", severity: hardening.Low, roles: client,
		expected: "RootCAs nil, or with certificates", remedy: "look at what AppendCertsFromPEM returned: false means that the file held no certificate",
		controls: transportControls(hardening.Control{Framework: hardening.ASVS, ID: "v5.0.0-12.3.2", Relation: hardening.Supports}),
		judge: func(cfg *tls.Config, _ Role) (string, bool) {
			switch {
			case cfg.RootCAs == nil:
				return "the system's roots", true
			case cfg.RootCAs.Equal(x509.NewCertPool()):
				return "an empty pool", false
			}
			return "roots of its own", true
		},
	}, {
		id: "HDN-TLS-057", title: "Configurations for single clients keep the protocols", severity: hardening.Low, roles: server,
		expected: "the NextProtos of the configuration they stand for", remedy: "set NextProtos in what GetConfigForClient returns: http.Server adds h2 to its own copy only",
		controls: []hardening.Control{implements(r, "7301 3.1")},
		judge: func(cfg *tls.Config, _ Role) (string, bool) {
			// A server of ours that was told to speak HTTP/1 alone says so here.
			own := outer.GetConfigForClient != nil && ownFunc(outer.GetConfigForClient, "(*Server).")
			missing := slices.DeleteFunc(slices.Clone(outer.NextProtos), func(p string) bool { return slices.Contains(cfg.NextProtos, p) || own && p == "h2" })
			if len(missing) > 0 {
				return fmt.Sprintf("lacks %v", missing), false
			}
			return fmt.Sprintf("protocols %v", cfg.NextProtos), true
		},
	}, {
		id: "HDN-TLS-058", title: "Trust domains share no session tickets", severity: hardening.Medium, roles: server,
		expected: "no tickets, or keys of its own, wherever client certificates are judged differently", remedy: "set SessionTicketsDisabled, or WrapSession and UnwrapSession, in what GetConfigForClient returns: without keys of its own, crypto/tls takes those of the outer configuration",
		controls: transportControls(implements(hardening.CWE, "295"), hardening.Control{Framework: hardening.ASVS, ID: "v5.0.0-12.1.3", Relation: hardening.Supports}),
		judge: func(cfg *tls.Config, _ Role) (string, bool) {
			switch {
			case cfg == outer:
				return "one trust domain", true
			case cfg.ClientAuth == outer.ClientAuth && samePool(cfg.ClientCAs, outer.ClientCAs) && (cfg.VerifyConnection == nil) == (outer.VerifyConnection == nil):
				return "client certificates are judged alike", true
			case cfg.SessionTicketsDisabled || outer.SessionTicketsDisabled:
				return "another trust domain, without tickets", true
			case outer.WrapSession != nil && cfg.UnwrapSession != nil && opensTicketsOf(outer, cfg):
				return "another trust domain, whose UnwrapSession opens the tickets of this one", false
			case outer.WrapSession != nil || cfg.UnwrapSession != nil || cfg.SessionTicketKey != [32]byte{}:
				return "another trust domain, with ticket keys of its own", true
			}
			return "another trust domain with the same ticket keys, unless SetSessionTicketKeys was called, which cannot be seen", false
		},
	}, {
		id: "HDN-TLS-069", title: "Changes of a Server's configuration reach handshakes", severity: hardening.High, roles: server,
		expected: "what Server.TLS returned, or no changes", remedy: "change what Server.TLS returned before it is used, not a Clone of it: its GetConfigForClient does not see the Clone",
		controls: transportControls(),
		judge: func(cfg *tls.Config, _ Role) (string, bool) {
			if cfg == outer || outer.GetConfigForClient == nil || !ownFunc(outer.GetConfigForClient, "(*Server).") {
				return "no such configuration", true
			}
			if lost := lostChanges(outer, cfg); len(lost) > 0 {
				return fmt.Sprintf("a Clone was changed, and handshakes do not see its %s", strings.Join(lost, ", ")), false
			}
			return "all of them", true
		},
	}, {
		id: "HDN-TLS-062", title: "Clients of TLS 1.2 find a group", severity: hardening.Low, roles: server,
		expected: "a classical group wherever TLS 1.2 is spoken", remedy: "add tls.X25519 and tls.CurveP256, or set MinVersion to TLS 1.3",
		controls: []hardening.Control{{Framework: n, ID: "3.3.3", Relation: hardening.Evidences}},
		judge: func(cfg *tls.Config, role Role) (string, bool) {
			least, _ := effectiveVersions(cfg, role)
			groups := effectiveGroups(cfg)
			classical := slices.ContainsFunc(groups, func(g tls.CurveID) bool { return groupLevel(g) != LevelGood })
			return fmt.Sprintf("from %s, %v", tls.VersionName(least), groups), classical || least >= tls.VersionTLS13
		},
	}}
	if opts.Profile != 0 && opts.Profile.Valid() {
		checks = append(checks, configCheck{
			id: "HDN-TLS-054", title: "The configuration keeps to the profile " + opts.Profile.String(), severity: hardening.High,
			expected: "no version, suite, group or ticket beyond the profile", remedy: "use NewServer or NewClient with this profile, or drop what the profile does not have",
			controls: transportControls(implements(n, "3.3.1"), implements(n, "3.3.3"), implements(m, "intermediate")),
			judge: func(cfg *tls.Config, role Role) (string, bool) {
				if beyond := opts.Profile.beyond(cfg, role); len(beyond) > 0 {
					return strings.Join(beyond, ", "), false
				}
				return "within the profile", true
			},
		})
	}
	return checks
}

func samePool(a, b *x509.CertPool) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Equal(b)
}

// beyond lists what cfg does that the profile does not.
func (p Profile) beyond(cfg *tls.Config, role Role) []string {
	var out []string
	least, _ := effectiveVersions(cfg, role)
	if least < p.minVersion() {
		out = append(out, fmt.Sprintf("%s (%s)", tls.VersionName(least), versionLevel(least)))
	}
	if p.minVersion() < tls.VersionTLS13 { // else the version says it all
		for _, id := range effectiveSuites(cfg, role) {
			if !slices.Contains(p.cipherSuites(), id) {
				out = append(out, fmt.Sprintf("%s (%s)", tls.CipherSuiteName(id), suiteLevel(id)))
			}
		}
	}
	for _, g := range effectiveGroups(cfg) {
		if !slices.Contains(p.groups(), g) {
			out = append(out, fmt.Sprintf("%v (%s)", g, groupLevel(g)))
		}
	}
	if role == RoleServer && !p.tickets() && !cfg.SessionTicketsDisabled {
		out = append(out, "session tickets")
	}
	return out
}

// auditCerts judges the certificates that the probing clients were given, or
// that a client shows.
func auditCerts(certs []offered, opts AuditOptions, now time.Time) []hardening.Finding {
	plain := make([]served, len(certs))
	var unusable, foreign, staples []string
	answered := opts.ServerName == "" || opts.Role == RoleClient
	for i, c := range certs {
		plain[i] = c.served
		for _, what := range unusableFor(c, opts.Role, now) {
			unusable = append(unusable, c.source+" "+what)
		}
		if what := stapleFault(c, now); what != "" {
			staples = append(staples, c.source+": "+what)
		}
		switch err := c.chain[0].VerifyHostname(opts.ServerName); {
		case opts.ServerName == "" || opts.Role == RoleClient:
		case err == nil:
			answered = true
		case c.asked:
			foreign = append(foreign, c.source+": a certificate for another name")
		}
	}
	if !answered && len(certs) > 0 && len(foreign) == 0 {
		foreign = []string{"no certificate for this name"}
	}
	rfc := func(id string) hardening.Control {
		return hardening.Control{Framework: hardening.RFC, ID: id, Relation: hardening.Implements}
	}
	all := fmt.Sprintf("%d certificates, all of them so", len(certs))
	out := certFindings(plain, opts.Environment, opts.Name, now)
	if opts.Role == RoleClient {
		// Who issues clients, and for how long, is a matter of the server that
		// lists them.
		out = slices.DeleteFunc(out, func(f hardening.Finding) bool { return f.ID != "HDN-TLS-020" && f.ID != "HDN-TLS-021" })
	} else {
		out = append(out,
			finding("HDN-TLS-059", opts.Name, "The name that is asked for gets its certificate", hardening.High,
				all, foreign, "a certificate for the name of AuditOptions.ServerName", "serve a certificate with this subject alternative name", rfc("9525 6.3")),
			finding("HDN-TLS-061", opts.Name, "OCSP answers that are stapled are good", hardening.Medium,
				all, staples, "no answer, or one that is signed by the issuer and in time", "renew the answer before it ends, or staple none",
				hardening.Control{Framework: hardening.NCSCTLS, ID: "3.4.5", Relation: hardening.Implements}, rfc("6960 3.2")))
	}
	return append(out, finding("HDN-TLS-060", opts.Name, "Peers accept the certificates as they are", hardening.High,
		all, unusable, "names, key usage, order of the chain and private key as RFC 5280 and RFC 8446 want them", "have the certificate issued again, or install the chain that the CA publishes",
		rfc("5280 4.2.1"), rfc("8446 4.4.2"), hardening.Control{Framework: hardening.CWE, ID: "295", Relation: hardening.Supports}))
}

// unusableFor lists why peers refuse c, weak keys and its expiry aside, which
// have findings of their own.
func unusableFor(c offered, role Role, now time.Time) []string {
	var out []string
	for _, f := range policy(&pair{source: c.source, chain: c.chain}, role, Intermediate, now) {
		if f.kind != tooWeak && f.kind != expired {
			out = append(out, f.reason)
		}
	}
	switch key := c.cert.PrivateKey.(type) {
	case nil:
		out = append(out, "has no private key")
	case crypto.Signer:
		if !samePublicKey(key.Public(), c.chain[0].PublicKey) {
			out = append(out, "has the private key of another certificate")
		}
	case crypto.Decrypter: // RSA key exchange only; HDN-TLS-002 says more
		out = append(out, "has a private key that cannot sign")
	default:
		out = append(out, "has a private key of an unknown kind")
	}
	return out
}

// stapleFault judges what a server shows as its revocation status.
func stapleFault(c offered, now time.Time) string {
	if len(c.cert.OCSPStaple) == 0 {
		return ""
	}
	var issuer *x509.Certificate
	if len(c.chain) > 1 {
		issuer = c.chain[1]
	}
	res, err := ocsp.ParseResponseForCert(c.cert.OCSPStaple, c.chain[0], issuer)
	switch {
	case err != nil:
		return "an answer that clients cannot verify" // err may quote it
	case res.SerialNumber.Cmp(c.chain[0].SerialNumber) != 0:
		return "an answer about another certificate"
	case res.Status != ocsp.Good:
		return "an answer that is not good"
	case !res.NextUpdate.IsZero() && now.After(res.NextUpdate):
		return "an answer that ended on " + day(res.NextUpdate)
	case now.Before(res.ThisUpdate.Add(-clockSlack)):
		return "an answer of the future"
	}
	return ""
}
