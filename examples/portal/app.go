package main

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/auditlog"
	"github.com/inovy/hardening/headers"
	"github.com/inovy/hardening/ratelimit"
	"github.com/inovy/hardening/secrets"
	"github.com/inovy/hardening/session"
	"github.com/inovy/hardening/session/password"
	"github.com/inovy/hardening/tlsconfig"
)

// options are the command's flags and where the operational log goes.
type options struct {
	state   string
	env     hardening.Environment
	profile tlsconfig.Profile // zero is the room's default
	log     io.Writer
}

// visit is what a session keeps beside its user.
type visit struct {
	Notice    string           // shown once, on the next page
	Emergency map[string]grant // patient id -> access without a treatment relation
}

// grant is access to one patient's file for a reason and a while.
type grant struct {
	Reason string
	Until  time.Time
}

// portal holds the rooms and what they protect.
type portal struct {
	opt  options
	keys keys

	trail     *auditlog.Log
	loader    *secrets.Loader
	ca        *tlsconfig.DevCA
	server    *tlsconfig.Server
	edge      *hardening.Edge
	policy    *headers.Middleware
	assets    *headers.Middleware // policy of the static files
	reports   *headers.ReportCollector
	hosts     *headers.HostCheck
	isolation *headers.Isolation
	contact   *headers.SecurityTxtFile
	sessions  *session.Manager[visit]
	limits    *ratelimit.Limiter

	users   *directory
	records *recordStore
	pages   map[string]*template.Template
	script  script // of every page
	handler http.Handler
	closers []func() error // in the order of opening

	stopping chan struct{} // closed when the server begins to stop
}

// tiers: nobody turns pages faster than this by hand, and staff share the
// hospital's address.
var tiers = []ratelimit.Tier{
	{Name: "public", User: []ratelimit.Limit{ratelimit.PerMinute(60)}, IP: []ratelimit.Limit{ratelimit.PerMinute(300)}},
	{Name: "patient", User: []ratelimit.Limit{ratelimit.PerMinute(120), ratelimit.PerHour(1200)}},
	{Name: "staff", User: []ratelimit.Limit{ratelimit.PerMinute(600)}},
}

// loginLimit is per address. Somebody who mistypes needs three; argon2id makes
// each cost the server 19 MiB.
var loginLimit = ratelimit.PerMinute(10)

// open makes what the state directory lacks and builds the rooms. The audit
// log comes first, because the other rooms announce there what they load.
func open(ctx context.Context, opt options) (*portal, error) {
	p := &portal{opt: opt, stopping: make(chan struct{})}
	for _, step := range []func(context.Context) error{p.openState, p.openRooms, p.openData} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, p.Close())
		}
	}
	return p, nil
}

// openData opens what the rooms protect, and puts them in front of it.
func (p *portal) openData(ctx context.Context) error {
	hasher, err := password.New(password.Config{Pepper: p.keys.Pepper})
	if err != nil {
		return err
	}
	if p.users, err = newDirectory(ctx, hasher, p.keys.passwordOf); err != nil {
		return err
	}
	if p.records, err = openRecords(filepath.Join(p.opt.state, "records.json")); err != nil {
		return err
	}
	if p.pages, err = parsePages(); err != nil {
		return err
	}
	p.handler, err = p.chain()
	return err
}

func (p *portal) anchorFile() string { return filepath.Join(p.opt.state, "anchor") }

func (p *portal) auditDir() string { return filepath.Join(p.opt.state, "audit") }

// openState opens what outlives the process: CA, audit log, secrets.
func (p *portal) openState(ctx context.Context) (err error) {
	if p.ca, err = tlsconfig.NewDevCA(filepath.Join(p.opt.state, "ca"), tlsconfig.DevCAConfig{Environment: p.opt.env}); err != nil {
		return fmt.Errorf("this demo serves with a certificate of its own development CA, so it runs with -env development only: %w", err)
	}
	certFile, keyFile := filepath.Join(p.opt.state, "tls.crt"), filepath.Join(p.opt.state, "tls.key")
	if err := p.ca.Issue(certFile, keyFile, hosts...); err != nil {
		return err
	}
	anchor, err := auditlog.NewFileAnchor(p.anchorFile()) // in a service: on another owner's storage
	if err != nil {
		return err
	}
	p.trail, err = auditlog.Open(ctx, auditlog.Config{
		Dir:         p.auditDir(),
		KeyFile:     filepath.Join(p.opt.state, "audit.key"), // who copies the log for review copies no key
		Environment: p.opt.env,
		Anchors:     []auditlog.Anchor{anchor},
		Next:        slog.NewTextHandler(p.opt.log, nil), // gets what is no audit event, redacted
		ErrorLog:    slog.New(slog.NewTextHandler(p.opt.log, nil)),
	})
	if err != nil {
		return err
	}
	p.closers = append(p.closers, p.trail.Close)

	dir := filepath.Join(p.opt.state, "secrets")
	if err := makeSecrets(dir); err != nil {
		return err
	}
	p.loader, err = secrets.Load(ctx, &p.keys, secrets.Options{
		Environment: p.opt.env,
		Sources:     []secrets.Source{secrets.Dir(dir)},
		Audit:       p.trail.Handler(),
		Logger:      p.logger(),
	})
	if err != nil {
		return err
	}
	p.closers = append(p.closers, p.loader.Close)

	p.server, err = tlsconfig.NewServer(tlsconfig.ServerConfig{
		Profile:     p.opt.profile,
		Certs:       []tlsconfig.CertSource{tlsconfig.Files(certFile, keyFile)},
		Environment: p.opt.env,
		Audit:       p.trail.Handler(),
		Logger:      p.logger(),
	})
	if err != nil {
		return err
	}
	p.closers = append(p.closers, p.server.Close)
	return nil
}

// logger sends the rooms' events to the audit log, and everything else through
// it, redacted, to the operational log.
func (p *portal) logger() *slog.Logger { return slog.New(p.trail.Handler()) }

// openRooms builds what stands between a request and a handler.
func (p *portal) openRooms(context.Context) (err error) {
	if p.edge, err = hardening.NewEdge(hardening.EdgeConfig{Logger: p.logger()}); err != nil {
		return err
	}
	if err := p.openHeaders(); err != nil {
		return err
	}
	p.sessions, err = session.New[visit](session.Config{
		Keys:   p.keys.Session, // and no Environment: also the demo has TLS, so its cookie needs no leniency
		Policy: session.PolicyAAL2(),
		Audit:  p.trail.Handler(),
		Logger: p.logger(),
		OnDeny: p.deny,
	})
	if err != nil {
		return err
	}
	p.limits, err = ratelimit.New(ratelimit.Config{
		Tiers:    tiers,
		Identify: p.identify,
		Routes:   []ratelimit.Route{{Pattern: "POST /login", Limits: []ratelimit.Limit{loginLimit}, ByAddress: true}},
		Logger:   p.logger(),
		OnDeny:   p.deny,
	})
	return err
}

// identify tells the limits who asks.
func (p *portal) identify(r *http.Request) (ratelimit.Identity, error) {
	u, err := p.user(r)
	switch {
	case u == nil:
		return ratelimit.Identity{}, err
	case u.Role == patient:
		return ratelimit.Identity{User: u.ID, Tier: "patient"}, nil
	}
	return ratelimit.Identity{User: u.ID, Tier: "staff"}, nil
}

// chain puts the rooms around the routes, innermost first.
func (p *portal) chain() (http.Handler, error) {
	h, err := p.routes()
	if err != nil {
		return nil, err
	}
	h = p.forms(h)
	h = http.MaxBytesHandler(h, 64<<10) // a record has 8000 characters at most
	h = p.limits.Wrap(h)
	h = p.sessions.Wrap(h)
	h = p.isolation.Wrap(h)
	h = p.hosts.Wrap(h)
	h = p.policy.Recover(h)
	h = p.policy.Wrap(h)
	return p.edge.Wrap(h), nil
}

// checkers are the rooms that report about themselves.
func (p *portal) checkers() []hardening.Checker {
	return []hardening.Checker{p.edge, p.policy, p.reports, p.hosts, p.isolation, p.contact, p.sessions, p.limits, p.loader, p.trail, p.server, p.users.hasher}
}

// serve answers on the listener until ctx ends, and then finishes what has begun.
func (p *portal) serve(ctx context.Context, listener net.Listener) error {
	srv := p.server.HTTPServer(p.handler)
	done := make(chan error, 1)
	go func() { done <- srv.ServeTLS(listener, "", "") }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	close(p.stopping) // streams would keep Shutdown waiting
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := srv.Shutdown(grace)
	if served := <-done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// Close closes what was opened, last first.
func (p *portal) Close() error {
	var err error
	for i := len(p.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, p.closers[i]())
	}
	p.closers = nil
	return err
}

func (p *portal) verifyCommand() string {
	return fmt.Sprintf("go run ./cmd/hardening audit verify -dir '%s' -key '%s' -anchor '%s'", p.auditDir(), p.trail.VerifierKey(), p.anchorFile())
}
