package tlsconfig

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/faults"
)

const room = "tlsconfig"

// ServerConfig describes the TLS side of a server. Only Certs must be given.
type ServerConfig struct {
	_ [0]func()

	// Name is the Component of findings and the instance in events. Default:
	// "tlsconfig".
	Name string

	// Profile fixes versions, suites and groups. Default: [Intermediate].
	Profile Profile

	// Certs are the certificates to serve, at least one. The client's server
	// name chooses among them by subject alternative name; several for one
	// name (ECDSA and RSA) are tried in order until the client supports one.
	// The first also answers clients that name no host, or an unknown one.
	Certs []CertSource

	// Environment is where the service runs. Only Development accepts
	// certificates that nobody vouches for without a failing finding.
	// Default: Production.
	Environment hardening.Environment

	// Audit gets a record for every certificate before it is served; its error
	// refuses the certificate. nil = the records go to Logger.
	Audit slog.Handler

	// Logger gets operational events, and records when Audit is nil.
	// nil = slog.Default() at the moment of the event.
	Logger *slog.Logger
}

// Server holds the TLS configuration of a server and its certificates. It is
// safe for concurrent use.
type Server struct {
	name    string
	profile Profile
	env     hardening.Environment
	logger  *slog.Logger
	sink    event.Sink
	base    *tls.Config // never handed out: TLS clones it
	snap    atomic.Pointer[snapshot]
}

// NewServer loads the certificates and checks them against the profile. Its
// error joins every fault of cfg and of every certificate as
// [hardening.ConfigError]s, without a byte of any PEM; or it is Audit's error.
func NewServer(cfg ServerConfig) (*Server, error) {
	f := faults.For(room)
	if !cfg.Profile.Valid() {
		f.Add("Profile", cfg.Profile, "is not a profile", "use Intermediate, Modern, NCSC or NCSCStrict")
	}
	if cfg.Profile == 0 || !cfg.Profile.Valid() { // judge the certificates all the same
		cfg.Profile = Intermediate
	}
	if !cfg.Environment.Valid() {
		f.Add("Environment", cfg.Environment, "is not an environment", "use hardening.Production, Staging or Development")
	}
	if len(cfg.Certs) == 0 {
		f.Missing("Certs", "names no certificate, and a TLS server needs one", `set []tlsconfig.CertSource{tlsconfig.Files("tls.crt", "tls.key")}`)
	}
	if cfg.Name == "" {
		cfg.Name = room
	}
	now := time.Now()
	pairs := make([]*pair, 0, len(cfg.Certs))
	for i, src := range cfg.Certs {
		field := fmt.Sprintf("Certs[%d]", i)
		if src == nil {
			f.Missing(field, "is nil", `use tlsconfig.Files("tls.crt", "tls.key")`)
			continue
		}
		p, flaws := src.load()
		if p != nil {
			flaws = append(flaws, policy(p, cfg.Profile, now)...)
			pairs = append(pairs, p)
		}
		for _, fl := range flaws {
			f.Add(field, pathTail(fl.file), fl.reason, fl.fix)
		}
	}
	if err := f.Err(); err != nil {
		return nil, err
	}

	s := &Server{
		name: cfg.Name, profile: cfg.Profile, env: cfg.Environment, logger: cfg.Logger,
		sink: event.Sink{Audit: cfg.Audit, Logger: cfg.Logger, Room: room, Name: cfg.Name},
		base: cfg.Profile.serverConfig(),
	}
	s.base.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return s.snap.Load().pick(hello)
	}
	for _, p := range pairs {
		if err := s.announce(context.Background(), p, now); err != nil {
			return nil, fmt.Errorf("tlsconfig: the audit handler refused the record of %s: %w", p.source, err)
		}
	}
	s.snap.Store(newSnapshot(pairs))
	return s, nil
}

// pathTail keeps the end of a long path, which tells files apart: a fault
// would keep its start.
func pathTail(path string) string {
	const most = 76
	if len(path) <= most {
		return path
	}
	return "..." + strings.ToValidUTF8(path[len(path)-most:], "")
}

// announce records that a certificate is about to be served, and that it must
// be renewed if so.
func (s *Server) announce(ctx context.Context, p *pair, now time.Time) error {
	attrs := []slog.Attr{
		slog.String(event.KeyObjectType, "certificate"),
		slog.String(event.KeyObject, p.fingerprint),
		slog.String("source", p.source),
		slog.Time("not_after", p.leaf().NotAfter.UTC()),
	}
	err := s.sink.Emit(ctx, event.CertificateReloaded, append(slices.Clip(attrs), slog.String(event.KeyOutcome, event.OutcomeSuccess))...)
	if err != nil {
		return err
	}
	if e := expiryOf(p.leaf().NotBefore, p.leaf().NotAfter, now); e != ExpiryFresh {
		return s.sink.Emit(ctx, event.CertificateExpiring, append(slices.Clip(attrs), slog.String(event.KeyReason, e.String()))...)
	}
	return nil
}

// TLS returns a new configuration for tls.NewListener, http.Server or any
// other server: it asks s for the certificate at each handshake, so a reload
// reaches it. The caller may change it; s does not see that, nor does Check.
func (s *Server) TLS() *tls.Config {
	cfg := s.base.Clone() // shallow
	cfg.CipherSuites = slices.Clone(cfg.CipherSuites)
	cfg.CurvePreferences = slices.Clone(cfg.CurvePreferences)
	cfg.NextProtos = slices.Clone(cfg.NextProtos)
	return cfg
}

// Close releases what s holds. Connections and configurations that it handed
// out keep working with the certificates they have. Close never fails twice.
func (s *Server) Close() error { return nil }
