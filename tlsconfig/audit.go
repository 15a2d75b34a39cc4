package tlsconfig

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/text"
)

// Role is the side of the connection that a configuration is for.
type Role uint8

// The roles.
const (
	RoleServer Role = iota
	RoleClient
)

// AuditOptions says what [Audit] should assume. The zero value audits a server
// in production.
type AuditOptions struct {
	_ [0]func()

	// Name is the Component of the findings. Default: "tlsconfig".
	Name string

	// Role is the side that the configuration is for. Default: RoleServer.
	Role Role

	// Profile is what the configuration is held to, in finding HDN-TLS-054.
	// Default: none; the other findings have the level that NCSC-NL 2025-05
	// calls sufficient as their yardstick.
	Profile Profile

	// ServerName is what the probing client asks a server for. Default: "", a
	// client that names no host. Hooks that fetch certificates on demand
	// (ACME) may use the network for a name they do not have yet.
	ServerName string

	// Environment: in Development, certificates that nobody vouches for are
	// no fault. Default: Production.
	Environment hardening.Environment

	// DangerouslySkipVerify is the deviation under which a client skips
	// verification. Without a valid id, HDN-TLS-007 fails.
	DangerouslySkipVerify DangerouslySkipVerify
}

// probeTimeout bounds what the hooks of an audited configuration may take.
const probeTimeout = 5 * time.Second

// Audit judges a configuration that somebody else made: every finding, passes
// included, with the norm it comes from and the level that it has there. A nil
// cfg is what net/http would use. GODEBUG counts, and so do the settings that
// the build made the default of.
//
// For a server, it lets clients in memory say hello and also judges what
// GetConfigForClient and GetCertificate return to them: one that speaks all
// that Go does, one of TLS 1.2 that has RSA certificates only, and one of TLS
// 1.1. The hooks run in this process, with a connection that has no network
// address. What they keep for yet another client is not seen. A client's
// GetClientCertificate is asked by a server in memory that accepts any CA.
// Where nothing else verifies a peer, its VerifyConnection is shown a
// certificate that nobody vouches for, to see that it is refused. Options that
// mean nothing fail HDN-TLS-066. Audit changes nothing in cfg.
func Audit(cfg *tls.Config, opts AuditOptions) []hardening.Finding {
	if cfg == nil {
		cfg = &tls.Config{}
	}
	wrong := optionFaults(cfg, &opts)
	if opts.Name == "" {
		opts.Name = room
	}
	cfgs := []labelled{{cfg: cfg}}
	var probe probed
	if opts.Role == RoleServer {
		probe = probeServer(cfg, opts.ServerName)
		cfgs = append(cfgs, probe.cfgs...)
	} else {
		probe.certs, probe.err = clientCerts(cfg)
	}
	var out []hardening.Finding
	for _, c := range slices.Concat(configChecks(), auditChecks(cfg, opts)) {
		if f, ok := c.run(cfgs, opts.Role, opts.Name); ok {
			out = append(out, f)
		}
	}
	judgePublicCAs(out, cfgs)
	if opts.Role == RoleClient {
		out = append(out, deviation(out, cfg, opts))
	}
	evidence := hardening.Control{Framework: hardening.ISO27002, ID: "8.9", Relation: hardening.Evidences}
	out = append(out, hardening.Finding{
		ID: "HDN-TLS-014", Component: opts.Name, Title: "The hooks answer, so that what they return is judged", Severity: hardening.Low,
		Passed: probe.err == nil, Observed: probe.observed(), Expected: "a configuration and a certificate for the probing peer",
		Remedy: "give AuditOptions.ServerName a name that the server knows, and see why the hook fails", Controls: []hardening.Control{evidence},
	}, finding("HDN-TLS-066", opts.Name, "The options of the audit are understood", hardening.High,
		"all of them", wrong, "AuditOptions that say what they mean", "correct the option: what was judged is not what was asked for", evidence))
	return append(out, auditCerts(probe.certs, opts, time.Now())...)
}

// deviation lets a registered deviation stand for the verification that is
// skipped: HDN-TLS-007, which can never be accepted, then passes, and
// HDN-TLS-063 fails, which can.
func deviation(out []hardening.Finding, cfg *tls.Config, opts AuditOptions) hardening.Finding {
	skips := cfg.InsecureSkipVerify && validDeviation(opts.DangerouslySkipVerify.Deviation)
	if !skips {
		return DangerouslySkipVerify{}.finding(opts.Name)
	}
	for i := range out {
		if f := &out[i]; f.ID == "HDN-TLS-007" && !f.Passed {
			f.Passed, f.Observed = true, f.Observed+", under the deviation of HDN-TLS-063"
		}
	}
	return opts.DangerouslySkipVerify.finding(opts.Name)
}

// offered is a certificate as a peer gets it, with all that belongs to it.
type offered struct {
	served
	cert tls.Certificate
	// asked: it was chosen for the name that the probing client asked for.
	asked bool
}

// probed is what a server's hooks gave the probing clients.
type probed struct {
	cfgs  []labelled // from GetConfigForClient
	certs []offered
	err   error
}

func (p probed) observed() string {
	if p.err != nil {
		return p.err.Error()
	}
	return fmt.Sprintf("%d certificates", len(p.certs))
}

var (
	errProbeDone = errors.New("probe done")
	errNoCerts   = errors.New("no certificate to judge")
	errHookFails = errors.New("a hook failed or panicked") // its own text may hold anything
	errHookHangs = errors.New("a hook did not answer in time")
)

// probes are the clients that say hello. The first decides whether the hooks
// work at all; the others may be refused.
func probes(serverName string) []*tls.Config {
	if serverName == "" {
		serverName = "127.0.0.1" // clients send no address as server name
	}
	return []*tls.Config{
		{ServerName: serverName, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}},
		{ServerName: serverName, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, CipherSuites: []uint16{
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		}},
		{ServerName: serverName, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, //nolint:gosec // G402: it is in memory, and asks what a server tells such a client
	}
}

// probeServer runs handshakes in memory up to the point where the hooks have
// answered: a hand-made ClientHelloInfo has no context, and hooks that use it
// would fail here only.
func probeServer(cfg *tls.Config, serverName string) probed {
	got := make(chan probed, 1)
	go func() { // owner: the deferred cancel ends the handshakes; a hook that ignores its context ends when it returns
		var all probed
		for i, client := range probes(serverName) {
			p := guarded(func() probed { return runProbe(cfg, client) })
			if i == 0 {
				all = p
				if p.err != nil {
					break
				}
				continue
			}
			all.merge(p)
		}
		got <- all
	}()
	t := time.NewTimer(probeTimeout + time.Second)
	defer t.Stop()
	select {
	case p := <-got:
		return p
	case <-t.C:
		return probed{err: errHookHangs}
	}
}

// merge adds what another client was given, once.
func (p *probed) merge(q probed) {
	for _, l := range q.cfgs {
		if !slices.ContainsFunc(p.cfgs, func(m labelled) bool { return m.cfg == l.cfg }) {
			p.cfgs = append(p.cfgs, l)
		}
	}
	for _, c := range q.certs {
		if !slices.ContainsFunc(p.certs, func(d offered) bool { return d.chain[0].Equal(c.chain[0]) }) {
			p.certs = append(p.certs, c)
		}
	}
}

func guarded(probe func() probed) (p probed) {
	defer func() {
		if recover() != nil {
			p = probed{err: errHookFails}
		}
	}()
	return probe()
}

func runProbe(cfg, client *tls.Config) (p probed) {
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	go func() { // ends when far closes
		_ = tls.Client(far, client).HandshakeContext(ctx)
		_ = far.Close() // a client that cannot even say hello, as in FIPS 140-3 mode, must not be waited for
	}()

	outer := cfg.Clone()
	hook := cfg.GetConfigForClient
	outer.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		use := cfg
		if hook != nil {
			c, err := hook(hello)
			if err != nil {
				p.err = errHookFails
				return nil, err
			}
			if c != nil {
				use = c
				p.cfgs = []labelled{{"GetConfigForClient", c}}
			}
		}
		p.certs, p.err = certsOf(use, hello)
		return nil, errProbeDone
	}
	_ = tls.Server(near, outer).HandshakeContext(ctx)
	if p.err == nil && len(p.certs) == 0 {
		p.err = errNoCerts // no common version, or a hello that never came
	}
	return p
}

// certsOf lists the certificates that cfg can serve: all static ones, and the
// one that GetCertificate gives this client.
func certsOf(cfg *tls.Config, hello *tls.ClientHelloInfo) ([]offered, error) {
	out, err := staticCerts(cfg)
	if err != nil || cfg.GetCertificate == nil {
		return out, err
	}
	c, err := cfg.GetCertificate(hello)
	switch {
	case err != nil:
		return nil, errHookFails
	case c == nil:
		return out, nil
	}
	o, err := offer("GetCertificate", *c)
	if err != nil {
		return nil, err
	}
	o.asked = true
	return append(out, o), nil
}

func staticCerts(cfg *tls.Config) ([]offered, error) {
	var out []offered
	for i, c := range cfg.Certificates {
		o, err := offer(fmt.Sprintf("Certificates[%d]", i), c)
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	byName := cfg.NameToCertificate //nolint:staticcheck // SA1019: crypto/tls still serves from it
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if byName[name] == nil {
			continue
		}
		o, err := offer("NameToCertificate["+text.Clip(name, 64)+"]", *byName[name])
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(out, func(d offered) bool { return d.chain[0].Equal(o.chain[0]) }) {
			out = append(out, o)
		}
	}
	return out, nil
}

func offer(source string, c tls.Certificate) (offered, error) {
	o := offered{served: served{source: source}, cert: c}
	for _, der := range c.Certificate {
		x, err := x509.ParseCertificate(der)
		if err != nil {
			return o, fmt.Errorf("%s does not parse", source)
		}
		o.chain = append(o.chain, x)
	}
	if len(o.chain) == 0 {
		return o, fmt.Errorf("%s is empty", source)
	}
	return o, nil
}
