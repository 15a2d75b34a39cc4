package tlsconfig

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/inovy/hardening"
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

	// ServerName is what the probing client asks a server for. Default: "", a
	// client that names no host. Hooks that fetch certificates on demand
	// (ACME) may use the network for a name they do not have yet.
	ServerName string

	// Environment: in Development, certificates that nobody vouches for are
	// no fault. Default: Production.
	Environment hardening.Environment
}

// probeTimeout bounds what the hooks of an audited configuration may take.
const probeTimeout = 5 * time.Second

// Audit judges a configuration that somebody else made: every finding, passes
// included, with the norm it comes from. A nil cfg is what net/http would use.
// For a server, it lets a client in memory say hello and also judges what
// GetConfigForClient and GetCertificate return to it; they run in this
// process, with a connection that has no network address. Audit changes
// nothing in cfg.
func Audit(cfg *tls.Config, opts AuditOptions) []hardening.Finding {
	if cfg == nil {
		cfg = &tls.Config{}
	}
	if opts.Name == "" {
		opts.Name = room
	}
	cfgs := []labelled{{cfg: cfg}}
	var probe probed
	if opts.Role == RoleServer {
		probe = probeServer(cfg, opts.ServerName)
		if probe.cfg != nil {
			cfgs = append(cfgs, labelled{"GetConfigForClient", probe.cfg})
		}
	}
	var out []hardening.Finding
	for _, c := range configChecks() {
		if f, ok := c.run(cfgs, opts.Role, opts.Name); ok {
			out = append(out, f)
		}
	}
	if opts.Role == RoleClient {
		return out
	}
	out = append(out, hardening.Finding{
		ID: "HDN-TLS-014", Component: opts.Name, Title: "The hooks answer, so that what they return is judged", Severity: hardening.Low,
		Passed: probe.err == nil, Observed: probe.observed(), Expected: "a configuration and a certificate for the probing client",
		Remedy:   "give AuditOptions.ServerName a name that the server knows, and see why the hook fails",
		Controls: []hardening.Control{{Framework: hardening.ISO27002, ID: "8.9", Relation: hardening.Evidences}},
	})
	return append(out, certFindings(probe.certs, opts.Environment, opts.Name, time.Now())...)
}

// probed is what a server's hooks gave the probing client.
type probed struct {
	cfg   *tls.Config // from GetConfigForClient; nil = none
	certs []served
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

// probeServer runs a handshake in memory up to the point where the hooks have
// answered: a hand-made ClientHelloInfo has no context, and hooks that use it
// would fail here only.
func probeServer(cfg *tls.Config, serverName string) probed {
	got := make(chan probed, 1)
	go func() { // owner: the deferred cancel ends the handshake, a hook that ignores its context ends when it returns
		var p probed
		defer func() {
			if recover() != nil {
				p.err = errHookFails
			}
			got <- p
		}()
		p = runProbe(cfg, serverName)
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

func runProbe(cfg *tls.Config, serverName string) (p probed) {
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	go func() { // ends when far closes
		name := serverName
		if name == "" {
			name = "127.0.0.1" // clients send no address as server name
		}
		_ = tls.Client(far, &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}).HandshakeContext(ctx)
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
				use, p.cfg = c, c
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
func certsOf(cfg *tls.Config, hello *tls.ClientHelloInfo) ([]served, error) {
	var list []tls.Certificate
	var names []string
	for i, c := range cfg.Certificates {
		list, names = append(list, c), append(names, fmt.Sprintf("Certificates[%d]", i))
	}
	if cfg.GetCertificate != nil {
		switch c, err := cfg.GetCertificate(hello); {
		case err != nil:
			return nil, errHookFails
		case c != nil:
			list, names = append(list, *c), append(names, "GetCertificate")
		}
	}
	var out []served
	for i, c := range list {
		s := served{source: names[i]}
		for _, der := range c.Certificate {
			x, err := x509.ParseCertificate(der)
			if err != nil {
				return nil, fmt.Errorf("%s does not parse", names[i])
			}
			s.chain = append(s.chain, x)
		}
		if len(s.chain) == 0 {
			return nil, fmt.Errorf("%s is empty", names[i])
		}
		out = append(out, s)
	}
	return out, nil
}
