package tlsconfig

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/faults"
)

// ClientAuth asks clients for a certificate and says which are let in. What it
// demands is checked at every handshake, at every resumption and, for
// [Server.HTTPServer], before every request once something has changed: a
// client that was taken off the list, or whose CA was, is refused at once on
// the connection that it has.
type ClientAuth struct {
	_ [0]func()

	// CAs issue the clients' certificates. It must be given, and be a file of
	// your own: the system's CAs would let in whoever owns a domain.
	CAs CASource

	// Allow names the clients: a certificate must match one rule. It must be
	// given, since a CA often issues for more than this server's clients.
	// [Server.SetAllow] changes it at run time.
	Allow []SAN

	// DangerouslyAllowAll lets in every client that CAs have issued a
	// certificate for. Allow must then be nil.
	DangerouslyAllowAll bool

	// Pins demand one of these keys in the client's chain; see [PinOf]. At
	// least two, one of them a backup. Default: no pins.
	Pins []string

	// Optional lets in clients without a certificate, for handlers that
	// decide by r.TLS.VerifiedChains. One that is given must still be in order.
	// Default: every client needs one.
	Optional bool
}

// check adds the faults of a.
func (a *ClientAuth) check(f *faults.Collector) pinSet {
	const field = "ClientAuth."
	switch _, system := a.CAs.(systemCAs); {
	case a.CAs == nil:
		f.Missing(field+"CAs", "is nil, and crypto/tls would then trust every public CA for clients", `set tlsconfig.CAFile("clients-ca.crt")`)
	case system:
		f.Add(field+"CAs", a.CAs, "are public CAs, who make a client of anyone with a domain", `set tlsconfig.CAFile("clients-ca.crt")`)
	}
	switch {
	case a.DangerouslyAllowAll && a.Allow != nil:
		f.Add(field+"DangerouslyAllowAll", true, "contradicts Allow", "set one of them")
	case !a.DangerouslyAllowAll:
		checkAllow(f, field+"Allow", a.Allow)
	}
	return parsePins(f, field+"Pins", a.Pins)
}

func checkAllow(f *faults.Collector, field string, allow []SAN) {
	if len(allow) == 0 {
		f.Missing(field, "names no client", `name them: tlsconfig.DNS("api.internal"), tlsconfig.SPIFFE("spiffe://domain/*")`)
	}
	for i, s := range allow {
		if reason, fix := s.fault(); reason != "" {
			f.Add(fmt.Sprintf("%s[%d]", field, i), s, reason, fix)
		}
	}
}

// clientRules decide which clients are let in. They are immutable: a change
// publishes others, so that a pointer tells whether something changed.
type clientRules struct {
	cas      *anchors
	allow    []SAN // nil = all
	pins     pinSet
	optional bool
	worst    Level
	public   bool // cas are public CAs
}

// ErrClientRefused is what errors about a client's certificate match with
// errors.Is.
var ErrClientRefused = errors.New("tlsconfig: client refused")

// refusal is why a client was refused, in words of our own.
type refusal string

func (r refusal) Error() string     { return "tlsconfig: client refused: " + string(r) }
func (r refusal) Is(err error) bool { return err == ErrClientRefused }

const (
	refusedNone      refusal = "no certificate"
	refusedChain     refusal = "its certificate does not lead to a trusted CA, or has expired"
	refusedKey       refusal = "a key in its chain is too weak"
	refusedAllowList refusal = "it is not on the allow-list"
	refusedPin       refusal = "no key in its chain is pinned"
)

// verify checks what a client presented against the rules of this moment. The
// chain is verified anew unless crypto/tls has just done so with these CAs.
// The result is good until the time returned.
func (r *clientRules) verify(cs *tls.ConnectionState, fresh bool, now time.Time) (until time.Time, err error) {
	if len(cs.PeerCertificates) == 0 { // VerifyConnection is called for these too
		if r.optional {
			return now.Add(remindEvery), nil
		}
		return until, refusedNone
	}
	leaf, chains := cs.PeerCertificates[0], cs.VerifiedChains
	if !fresh || len(chains) == 0 {
		opts := x509.VerifyOptions{Roots: r.cas.pool, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, CurrentTime: now}
		for _, c := range cs.PeerCertificates[1:] {
			opts.Intermediates.AddCert(c)
		}
		if chains, err = leaf.Verify(opts); err != nil {
			return until, refusedChain
		}
	}
	if chains = strong(chains, r.worst); len(chains) == 0 {
		return until, refusedKey
	}
	if r.pins != nil && !r.pins.match(chains) {
		return until, refusedPin
	}
	if r.allow != nil && !slices.ContainsFunc(r.allow, func(s SAN) bool { return s.matches(leaf) }) {
		return until, refusedAllowList
	}
	until = leaf.NotAfter
	for _, c := range chains[0] {
		if c.NotAfter.Before(until) {
			until = c.NotAfter
		}
	}
	return until, nil
}

// strong keeps the chains whose keys and signatures are no worse than a level.
func strong(chains [][]*x509.Certificate, worst Level) [][]*x509.Certificate {
	return slices.DeleteFunc(slices.Clone(chains), func(chain []*x509.Certificate) bool { return chainLevel(chain) > worst })
}

// VerifyClient checks the client of a connection against the rules as they are
// now, for servers other than [Server.HTTPServer] whose connections live long:
// call it before a request is served. It returns nil if the server asks for no
// client certificates; its errors match [ErrClientRefused]. It costs a chain
// verification, some 100 microseconds.
func (s *Server) VerifyClient(cs tls.ConnectionState) error {
	rules := s.clients.Load()
	if rules == nil {
		return nil
	}
	_, err := rules.verify(&cs, false, time.Now())
	return err
}

// SetAllow replaces [ClientAuth].Allow. The record of the change goes to Audit
// first, whose error refuses it. From then on clients that no rule matches are
// refused: in new handshakes, in resumed ones, and before their next request
// on connections of [Server.HTTPServer]. It returns every fault of the rules
// at once as [hardening.ConfigError]s.
func (s *Server) SetAllow(ctx context.Context, allow ...SAN) error {
	f := faults.For(room)
	if s.auth == nil {
		f.Missing("ClientAuth", "is not set, so that there is no allow-list", "set ServerConfig.ClientAuth")
	} else {
		checkAllow(f, "allow", allow)
	}
	if err := f.Err(); err != nil {
		return err
	}
	allow = slices.Clone(allow)
	s.allowMu.Lock() // records in the order of the changes
	defer s.allowMu.Unlock()
	err := s.keep.sink.Emit(ctx, event.ConfigChanged,
		slog.String(event.KeyField, "ClientAuth.Allow"), slog.Int(event.KeyCount, len(allow)),
		slog.String(event.KeyBefore, digestOf(s.clients.Load().allow)), slog.String(event.KeyAfter, digestOf(allow)))
	if err != nil {
		return fmt.Errorf("tlsconfig: the audit handler refused the record of the allow-list: %w", err)
	}
	return s.keep.settle(func() { s.allow = allow })
}

// digestOf tells allow-lists apart in records without naming clients.
func digestOf(allow []SAN) string {
	if allow == nil {
		return "all"
	}
	var lines []string
	for _, s := range allow {
		lines = append(lines, s.String())
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:])
}

// askClients makes cfg demand client certificates. Every handshake gets a
// configuration with the CAs of that moment. Where it is for an http.Server, that
// decides whether HTTP/2 may be offered, which reaches only its own copy of cfg,
// and its TLSConfig counts: it may have been replaced by a changed Clone.
func (s *Server) askClients(cfg *tls.Config, srv *http.Server) {
	cfg.ClientAuth = tls.RequireAndVerifyClientCert
	if s.auth.Optional {
		cfg.ClientAuth = tls.VerifyClientCertIfGiven
	}
	rules := s.clients.Load()
	cfg.ClientCAs = rules.cas.pool
	// For whoever replaces GetConfigForClient: the rules hold all the same.
	cfg.VerifyConnection = func(cs tls.ConnectionState) error { return s.admit(&cs, nil, nil) }
	own := cfg.VerifyConnection
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		rules := s.clients.Load()
		is := cfg
		if srv != nil && srv.TLSConfig != nil {
			is = srv.TLSConfig
		}
		c := is.Clone()
		c.GetConfigForClient = nil
		c.ClientCAs = rules.cas.pool
		if srv != nil && !offersHTTP2(srv) {
			c.NextProtos = slices.DeleteFunc(slices.Clone(c.NextProtos), func(p string) bool { return p == "h2" })
		}
		var peer net.Addr
		if hello.Conn != nil {
			peer = hello.Conn.RemoteAddr()
		}
		c.VerifyConnection = func(cs tls.ConnectionState) error { return s.admit(&cs, rules, peer) }
		if added := is.VerifyConnection; added != nil && !sameFunc(added, own) { // a check of the caller's
			c.VerifyConnection = both(c.VerifyConnection, added)
		}
		return c, nil
	}
}

// admit decides about one handshake. at are the rules whose CAs crypto/tls has
// verified the chain with; nil = not known.
func (s *Server) admit(cs *tls.ConnectionState, at *clientRules, peer net.Addr) error {
	rules := s.clients.Load()
	_, err := rules.verify(cs, !cs.DidResume && at != nil && at.cas == rules.cas, time.Now())
	if err != nil {
		s.recordRefusal(context.Background(), cs, err, addrOf(peer))
	}
	return err
}

// recordRefusal names the certificate by its digest and serial number: a name
// in it may be a person's.
func (s *Server) recordRefusal(ctx context.Context, cs *tls.ConnectionState, why error, client string) {
	attrs := []slog.Attr{slog.String(event.KeyOutcome, event.OutcomeDenied), slog.String(event.KeyClient, client), slog.Bool(event.KeyResumed, cs.DidResume)}
	if r, ok := errors.AsType[refusal](why); ok {
		attrs = append(attrs, slog.String(event.KeyReason, string(r)))
	}
	if len(cs.PeerCertificates) > 0 {
		sum := sha256.Sum256(cs.PeerCertificates[0].Raw)
		attrs = append(attrs, slog.String(event.KeyObjectType, "client_certificate"), slog.String(event.KeyObject, hex.EncodeToString(sum[:])),
			slog.String(event.KeySerial, cs.PeerCertificates[0].SerialNumber.Text(16)))
	}
	_ = s.keep.sink.Emit(ctx, event.AuthzFail, attrs...) // refused in any case
}

func addrOf(a net.Addr) string {
	if a == nil {
		return ""
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return ""
	}
	return ap.Addr().Unmap().WithZone("").String()
}

// admission is what is known about the client of one connection.
type admission struct {
	rules atomic.Pointer[clientRules] // those that it met
	until atomic.Int64                // Unix seconds
}

type admissionKey struct{}

// keepAdmitting makes srv check the client again before a request when the
// rules have changed since, or its certificate expired.
func (s *Server) keepAdmitting(srv *http.Server) {
	before := srv.ConnContext
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if before != nil {
			ctx = before(ctx, c)
		}
		return context.WithValue(ctx, admissionKey{}, new(admission))
	}
	next := srv.Handler
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.readmit(r); err != nil {
			w.Header().Set("Connection", "close") // in HTTP/2 too: net/http sends GOAWAY
			s.onDeny(w, r, &hardening.Problem{Status: http.StatusForbidden, Detail: "This client certificate is not accepted any more.", Err: err})
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) readmit(r *http.Request) error {
	rules, now := s.clients.Load(), time.Now()
	known, _ := r.Context().Value(admissionKey{}).(*admission) // nil if another ConnContext replaced ours: verify every time
	if known != nil && known.rules.Load() == rules && now.Unix() < known.until.Load() {
		return nil
	}
	cs := r.TLS
	if cs == nil { // served without TLS
		cs = new(tls.ConnectionState)
	}
	until, err := rules.verify(cs, false, now)
	if err != nil {
		s.recordRefusal(r.Context(), cs, err, hardening.ClientOf(r).Addr.String())
		return err
	}
	if known != nil {
		known.until.Store(until.Unix())
		known.rules.Store(rules)
	}
	return nil
}

// clientFindings judge the rules.
func (s *Server) clientFindings() []hardening.Finding {
	controls := []hardening.Control{
		{Framework: hardening.ASVS, ID: "v5.0.0-12.1.3", Relation: hardening.Implements},
		{Framework: hardening.ASVS, ID: "v5.0.0-12.3.5", Relation: hardening.Implements},
		{Framework: hardening.CWE, ID: "295", Relation: hardening.Supports},
	}
	named, required, own := "no client certificates", "no client certificates", "no client certificates"
	var all, optional, public []string
	if rules := s.clients.Load(); rules != nil {
		named = fmt.Sprintf("%d rules, %d pins", len(rules.allow), len(rules.pins))
		required = "required"
		if rules.allow == nil {
			all = []string{"every client of " + rules.cas.source}
		}
		own = fmt.Sprintf("%d CAs in %s", len(rules.cas.certs), rules.cas.source)
		if rules.public {
			public = []string{own + ", which look like the public ones"}
		}
		if rules.optional {
			optional = []string{"clients without a certificate are let in"}
		}
	}
	return []hardening.Finding{
		finding("HDN-TLS-031", s.name, "Clients are let in by name, not only by their CA", hardening.High, named, all,
			"an allow-list, or no client certificates", "name the clients in ClientAuth.Allow", controls...),
		finding("HDN-TLS-032", s.name, "A client certificate that is asked for is required", hardening.Low, required, optional,
			"required, or not asked for", "leave ClientAuth.Optional false, and serve clients without a certificate elsewhere", controls...),
		finding("HDN-TLS-067", s.name, "The CAs of clients are your own, not public ones", hardening.High, own, public,
			"fewer than ten CAs that this system trusts for everything, and fewer than fifty in all", "put the CA that issues your clients' certificates alone into ClientAuth.CAs: a public one makes a client of anyone with a domain", controls...),
	}
}
