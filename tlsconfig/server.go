package tlsconfig

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/faults"
	"github.com/inovy/hardening/internal/filepoll"
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

	// MaxConnAge is how long [Server.HTTPServer] uses a connection. The first
	// request after it is answered and the connection then closed, gracefully
	// in HTTP/2 too, so that clients soon meet renewed certificates and changed
	// client CAs and allow-lists. Each connection ends up to a tenth earlier,
	// by chance. A response that runs then may go on for ConnGrace. At least
	// 1 s. Default: 10 minutes.
	MaxConnAge time.Duration

	// ConnGrace is how long after MaxConnAge a connection that is in use is
	// cut, whatever runs over it: a download, an event stream, a WebSocket that
	// a handler took over. Their clients connect again and are authenticated
	// anew. A server of your own that uses [Server.TLS] cuts
	// nothing: let it call [Server.VerifyClient] every minute or so. At
	// least 1 s. Default: 1 hour with ClientAuth; without, a response without
	// end lasts until its handler returns, or until http.Server.WriteTimeout if
	// the handler neither extended that nor took the connection over.
	ConnGrace time.Duration

	// DangerouslyEndlessConns lifts MaxConnAge and ConnGrace: a client that was delisted
	// keeps the connection that it has.
	DangerouslyEndlessConns bool

	// ClientAuth asks clients for certificates. Default: nil, it does not.
	// Session tickets are then off, so that each connection shows its
	// certificate anew.
	ClientAuth *ClientAuth

	// TicketKeys makes the keys of session tickets, so that a client may resume
	// on another node that has the same ones: use a *secrets.Ring. A key
	// derived from it seals for 12 hours and opens for 24 more. The Name takes
	// part: give servers that trust different clients different names.
	// Default: nil, random keys of this process. The NCSC profiles and
	// ClientAuth send no tickets and do not use it.
	TicketKeys KeySource

	// Hosts are names and addresses, beside those of Certs, that requests to
	// [Server.HTTPServer] may ask for: "app.example", "192.0.2.1", or
	// "*.app.example" for any one label. A request for any other host is
	// answered 421 before h sees it, so that a Host header which anybody can
	// choose gets into no link, mail or cache, and a foreign name that resolves
	// to this machine (DNS rebinding) reaches nothing. Three more are answered:
	// the address that the client connected to, by which balancers and
	// Kubernetes check health; no host at all (HTTP/1.0), which names no
	// foreign one; and every port. List the public names here if a proxy in
	// front passes on its client's Host while Certs name this server inside.
	// Default: nil, the names and addresses of Certs.
	Hosts []string

	// DangerouslyAnyHost lets every well-formed Host reach the handler.
	DangerouslyAnyHost bool

	// OnDeny answers a request of [Server.HTTPServer] that asks for a foreign
	// host, or whose client is not let in any more. Default:
	// hardening.WriteProblem.
	OnDeny func(http.ResponseWriter, *http.Request, *hardening.Problem)

	// PollInterval is the time between two looks at the files; a change is
	// taken over once two looks in a row have seen it alike. Default: 10 s. At
	// least 1 s.
	PollInterval time.Duration

	// Audit gets a record for every certificate before it is served; its error
	// refuses the certificate. nil = the records go to Logger.
	Audit slog.Handler

	// Logger gets operational events, and records when Audit is nil.
	// nil = slog.Default() at the moment of the event.
	Logger *slog.Logger
}

// Server holds the TLS configuration of a server and its certificates. It is
// safe for concurrent use. Close it to stop following the files.
type Server struct {
	name    string
	profile Profile
	env     hardening.Environment
	connAge time.Duration // 0 = no limit
	grace   time.Duration // 0 = connections in use are not cut
	more    []string      // hosts beside those of the certificates
	anyHost bool
	logger  *slog.Logger
	base    *tls.Config // never handed out: TLS clones it
	keep    *keeper
	snap    atomic.Pointer[snapshot]
	hosts   atomic.Pointer[hostSet]

	tickets *tickets    // nil = none are sent
	auth    *ClientAuth // nil = no client certificates; its Allow is not used
	pins    pinSet
	onDeny  func(http.ResponseWriter, *http.Request, *hardening.Problem)
	clients atomic.Pointer[clientRules] // nil = no client certificates
	allowMu sync.Mutex                  // serialises changes of allow
	allow   []SAN                       // guarded by keep.mu
}

// NewServer loads the certificates and checks them against the profile. Its
// error joins every fault of cfg and of every certificate as
// [hardening.ConfigError]s, without a byte of any PEM; or it is Audit's error.
func NewServer(cfg ServerConfig) (*Server, error) {
	f := faults.For(room)
	f.Name("Name", cfg.Name)
	f.NilInside("Audit", cfg.Audit, "leave it nil to use Logger, or pass a handler that was made")
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
	s := &Server{name: cfg.Name, profile: cfg.Profile, env: cfg.Environment, logger: cfg.Logger, base: cfg.Profile.serverConfig()}
	s.more, s.anyHost = slices.Clone(cfg.Hosts), cfg.DangerouslyAnyHost
	checkHosts(f, cfg.Hosts, cfg.DangerouslyAnyHost)
	s.connAge = connAge(f, cfg.MaxConnAge, cfg.DangerouslyEndlessConns)
	s.grace = connGrace(f, cfg.ConnGrace, cfg.DangerouslyEndlessConns, cfg.ClientAuth != nil)
	s.keep = &keeper{
		sink: event.Sink{Audit: cfg.Audit, Logger: cfg.Logger, Room: room, Name: cfg.Name},
		role: RoleServer, profile: cfg.Profile, interval: pollInterval(f, cfg.PollInterval), publish: s.publish,
	}
	if s.onDeny = cfg.OnDeny; s.onDeny == nil {
		s.onDeny = hardening.WriteProblem
	}
	var cas CASource
	if cfg.ClientAuth != nil {
		auth := *cfg.ClientAuth
		s.auth, s.pins, s.allow, cas = &auth, auth.check(f), slices.Clone(auth.Allow), auth.CAs
		s.base.SessionTicketsDisabled = true
	}
	if !s.base.SessionTicketsDisabled {
		s.tickets = newTickets(f, cfg.TicketKeys, cfg.Name)
		s.tickets.into(s.base)
	}
	now := time.Now()
	read := s.keep.load(f, cfg.Certs, "ClientAuth.CAs", cas, now)
	defer wipe(read)
	onlyStandbys(f, cfg.Certs)
	if err := f.Err(); err != nil {
		return nil, err
	}
	s.base.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return s.snap.Load().pick(hello)
	}
	if err := s.keep.announceAll(context.Background(), now); err != nil {
		return nil, err
	}
	s.keep.mu.Lock()
	s.publish()
	s.keep.mu.Unlock()
	s.keep.start(read)
	return s, nil
}

// publish hands the state to handshakes. The keeper's lock is held.
func (s *Server) publish() {
	snap := s.keep.snapshot(time.Now())
	s.hosts.Store(snap.hostsOf(s.more))
	s.snap.Store(snap)
	if s.auth == nil {
		return
	}
	is := s.clients.Load()
	if is != nil && is.cas == s.keep.cas.set && slices.Equal(is.allow, s.allow) {
		return // nothing that clients would have to be checked for again
	}
	s.clients.Store(&clientRules{cas: s.keep.cas.set, public: looksPublic(s.keep.cas.set), allow: s.allow, pins: s.pins, optional: s.auth.Optional, worst: s.profile.worstKey()})
}

func wipe(read []filepoll.Snapshot) {
	for _, r := range read {
		r.Wipe()
	}
}

func pollInterval(f *faults.Collector, d time.Duration) time.Duration {
	switch {
	case d == 0:
		return defaultPoll
	case d < minPoll:
		f.Add("PollInterval", d, "is shorter than a second", "set 1s or more, or leave it zero for 10s")
	}
	return d
}

func onlyStandbys(f *faults.Collector, certs []CertSource) {
	for _, c := range certs {
		if _, ok := c.(standby); !ok {
			return
		}
	}
	if len(certs) > 0 {
		f.Missing("Certs", "holds standby certificates only", "give the one to use without Standby")
	}
}

// pathTail keeps the end of a long path, which tells files apart: a fault
// would keep its start.
func pathTail(path string) string {
	if strings.ContainsAny(path, "\n\r") || strings.Contains(path, "-----") {
		return hardening.Redacted // a key was pasted where its path belongs
	}
	const most = 76
	if len(path) <= most {
		return path
	}
	return "..." + strings.ToValidUTF8(path[len(path)-most:], "")
}

// Reload looks at all files at once, without waiting for the next look or for
// changes to settle, and returns what is wrong with them as
// [hardening.ConfigError]s. What is in order is taken over; for the rest, the
// last good state stays in use. It returns [ErrClosed] after Close.
func (s *Server) Reload(ctx context.Context) error { return s.keep.reload(ctx) }

// ForceReload is Reload that also takes over a certificate which covers fewer
// names than the one in use, or ends earlier. Every other check stands.
func (s *Server) ForceReload(ctx context.Context) error {
	return s.keep.reload(context.WithValue(ctx, forceKey{}, true))
}

// TLS returns a new configuration for tls.NewListener, http.Server or any
// other server: it asks s for the certificate at each handshake, so a reload
// reaches it. The caller may change it; s does not see that, nor does Check.
// With ClientAuth, GetConfigForClient brings the client CAs of the moment: a
// VerifyConnection of the caller's runs after ours, which stays. It brings them
// in a copy of what TLS returned, changes included; so change that, before it
// is used, and not a Clone of it, whose changes crypto/tls does not look at:
// [Audit] of the Clone then fails HDN-TLS-069.
func (s *Server) TLS() *tls.Config { return s.tlsConfig(nil) }

// tlsConfig is for the http.Server srv; nil = for anything else.
func (s *Server) tlsConfig(srv *http.Server) *tls.Config {
	cfg := s.base.Clone() // shallow
	cfg.CipherSuites = slices.Clone(cfg.CipherSuites)
	cfg.CurvePreferences = slices.Clone(cfg.CurvePreferences)
	cfg.NextProtos = slices.Clone(cfg.NextProtos)
	if s.auth != nil {
		s.askClients(cfg, srv)
	}
	return cfg
}

// Close stops following the files and waits until that has ended. Connections
// and configurations that s handed out keep working with the certificates of
// that moment. Close never fails.
func (s *Server) Close() error {
	s.keep.close()
	return nil
}
