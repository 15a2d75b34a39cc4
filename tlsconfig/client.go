package tlsconfig

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/faults"
	"github.com/inovy/hardening/internal/text"
)

// ClientConfig describes the TLS side of a client. The zero value speaks TLS
// 1.3 with servers that the system's CAs vouch for.
type ClientConfig struct {
	_ [0]func()

	// Name is the Component of findings and the instance in events. Default:
	// "tlsconfig".
	Name string

	// Profile fixes versions, suites and groups. Default: [Modern]. Use
	// [Intermediate] for servers that do not speak TLS 1.3.
	Profile Profile

	// Roots are the CAs that servers' certificates must lead to: [CAFile] for
	// your own. Default: [SystemCAs].
	Roots CASource

	// Certs are the client's own certificates, for servers that ask for one:
	// the first that the server accepts is sent. Default: none.
	Certs []CertSource

	// ServerName is the name or address that every server's certificate must
	// hold, whatever was dialled. Default: the host that was dialled. Without
	// it, a connection by IP address through [Client.TLS] fails, because
	// crypto/tls does not say which address was meant; [Client.Transport],
	// [Client.HTTPClient] and [Client.DialTLSContext] know it.
	ServerName string

	// Pins demand one of these keys in the server's verified chain; see
	// [PinOf]. At least two, one of them a backup. Default: no pins.
	Pins []string

	// ClassicalKexOnly leaves out the hybrid post-quantum groups, for a path
	// whose middleboxes drop a ClientHello of more than one packet. Its value
	// is the reason, of ten letters or more, and ends up in finding
	// HDN-TLS-037. Default: "", hybrid groups first.
	ClassicalKexOnly string

	// DangerouslySkipVerify switches off the verification of servers. It needs
	// the id of a deviation. Pins, if any, are then matched with the server's
	// own key.
	DangerouslySkipVerify DangerouslySkipVerify

	// DialContext makes the connections: DialContext of a [PublicDialer] for
	// URLs that somebody else chose, without Proxy then. Default: a net.Dialer
	// with a timeout of 10 s.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// Proxy is the proxy through which Transport and HTTPClient connect. It
	// must be an http or https URL and may hold credentials. It is the proxy
	// that connects to the destination then: beside a [PublicDialer], which
	// would judge the proxy's address alone, it is a fault, and beside another
	// DialContext finding HDN-TLS-064 fails. Default: none; the environment is
	// not read.
	Proxy *url.URL

	// Timeout bounds a call of HTTPClient, redirects and body included.
	// Default: 30 s.
	Timeout time.Duration

	// Environment is where the service runs. Only Development accepts client
	// certificates that nobody vouches for without a failing finding. Default:
	// Production.
	Environment hardening.Environment

	// PollInterval is the time between two looks at the files; a change is
	// taken over once two looks in a row have seen it alike. Default: 10 s. At
	// least 1 s.
	PollInterval time.Duration

	// Audit gets a record for every certificate and every set of CAs before it
	// is used; its error refuses it. nil = the records go to Logger.
	Audit slog.Handler

	// Logger gets operational events, one for each call of HTTPClient among
	// them, and records when Audit is nil. nil = slog.Default() at the moment
	// of the event.
	Logger *slog.Logger
}

// Client holds the TLS configuration of a client, its certificates and its
// trust. It is safe for concurrent use. Close it to stop following the files.
type Client struct {
	name       string
	profile    Profile
	env        hardening.Environment
	serverName string
	pins       pinSet
	classical  string // reason
	skip       DangerouslySkipVerify
	dialer     func(ctx context.Context, network, addr string) (net.Conn, error)
	proxy      *url.URL
	ownDialer  bool        // DialContext was given
	base       *tls.Config // never handed out
	keep       *keeper
	snap       atomic.Pointer[snapshot]
	roots      atomic.Pointer[trust]
	sessions   *sessionCache // nil = no resumption; no other client has it
	transport  *http.Transport
	client     *http.Client
	calls      atomic.Pointer[http.Transport] // of client; another one after each change of trust
	conns      conns
}

// trust is the set of roots in use. It is immutable, and another one is
// published when the roots or our own certificates change.
type trust struct {
	anchors *anchors // nil = the system's
	pairs   []*pair
}

func (t *trust) pool() *x509.CertPool {
	if t.anchors == nil {
		return nil
	}
	return t.anchors.pool
}

// NewClient loads the certificates and CAs and checks them. Its error joins
// every fault of cfg and of every file as [hardening.ConfigError]s, without a
// byte of any PEM; or it is Audit's error.
func NewClient(cfg ClientConfig) (*Client, error) {
	f := faults.For(room)
	f.Name("Name", cfg.Name)
	f.NilInside("Audit", cfg.Audit, "leave it nil to use Logger, or pass a handler that was made")
	if !cfg.Profile.Valid() {
		f.Add("Profile", cfg.Profile, "is not a profile", "use Intermediate, Modern, NCSC or NCSCStrict")
	}
	if cfg.Profile == 0 || !cfg.Profile.Valid() {
		cfg.Profile = Modern
	}
	if !cfg.Environment.Valid() {
		f.Add("Environment", cfg.Environment, "is not an environment", "use hardening.Production, Staging or Development")
	}
	if cfg.Certs != nil && len(cfg.Certs) == 0 {
		f.Missing("Certs", "is empty but not nil", "leave it nil for a client without a certificate")
	}
	if n := cfg.ServerName; n != "" && !validServerName(n) {
		f.Add("ServerName", n, "is neither a DNS name nor an IP address", "write it without scheme, port and brackets")
	}
	checkClassical(f, cfg.ClassicalKexOnly, cfg.Profile)
	cfg.DangerouslySkipVerify.check(f, "DangerouslySkipVerify")
	if p := cfg.Proxy; p != nil && (p.Scheme != "http" && p.Scheme != "https" || p.Host == "") {
		f.Secret("Proxy", "is not an http or https URL with a host", `write "http://proxy.internal:3128"`) // may hold a password
	}
	if cfg.Proxy != nil && ofDialer(cfg.DialContext) {
		f.Missing("Proxy", "makes the connections in place of the PublicDialer, which would judge the address of the proxy alone", "leave it nil, or have the proxy itself refuse destinations inside and leave DialContext nil")
	}
	switch {
	case cfg.Timeout < 0:
		f.Add("Timeout", cfg.Timeout, "is negative", "leave it zero for 30s")
	case cfg.Timeout == 0:
		cfg.Timeout = callTimeout
	}
	if cfg.Name == "" {
		cfg.Name = room
	}
	ownDialer := cfg.DialContext != nil
	if !ownDialer {
		cfg.DialContext = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}

	c := &Client{
		name: cfg.Name, profile: cfg.Profile, env: cfg.Environment, serverName: strings.TrimSuffix(strings.ToLower(cfg.ServerName), "."),
		pins: parsePins(f, "Pins", cfg.Pins), classical: cfg.ClassicalKexOnly, skip: cfg.DangerouslySkipVerify, dialer: cfg.DialContext, ownDialer: ownDialer,
		base: cfg.Profile.clientConfig(),
	}
	if cfg.Proxy != nil {
		p := *cfg.Proxy
		c.proxy = &p
	}
	c.keep = &keeper{
		sink: event.Sink{Audit: cfg.Audit, Logger: cfg.Logger, Room: room, Name: cfg.Name},
		role: RoleClient, profile: cfg.Profile, interval: pollInterval(f, cfg.PollInterval), publish: c.publish,
	}
	if _, system := cfg.Roots.(systemCAs); system {
		cfg.Roots = nil
	}
	now := time.Now()
	read := c.keep.load(f, cfg.Certs, "Roots", cfg.Roots, now)
	defer wipe(read)
	onlyStandbys(f, cfg.Certs)
	if err := f.Err(); err != nil {
		return nil, err
	}
	if c.classical != "" {
		c.base.CurvePreferences = slices.DeleteFunc(c.base.CurvePreferences, func(g tls.CurveID) bool { return groupLevel(g) == LevelGood })
	}
	if len(cfg.Certs) > 0 {
		c.base.GetClientCertificate = func(req *tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.snap.Load().present(req) }
	}
	if cfg.Profile.tickets() && len(cfg.Certs) == 0 { // a resumed session would be of the certificate that we had then
		c.sessions = newSessionCache()
		c.base.ClientSessionCache = c.sessions
	}
	c.transport = c.newTransport()
	c.calls.Store(c.newTransport())
	c.client = c.newHTTPClient(cfg.Timeout)
	if err := c.keep.announceAll(context.Background(), now); err != nil {
		return nil, err
	}
	if c.skip.on() {
		c.keep.log(context.Background(), slog.LevelWarn, event.TLSVerificationSkipped, slog.String(event.KeyReason, c.skip.Deviation))
	}
	c.keep.mu.Lock()
	c.publish()
	c.keep.mu.Unlock()
	c.keep.start(read)
	return c, nil
}

func validServerName(n string) bool {
	if _, err := netip.ParseAddr(n); err == nil {
		return true
	}
	n = strings.TrimSuffix(strings.ToLower(n), ".")
	return validHost(n) && !strings.HasPrefix(n, "*")
}

func checkClassical(f *faults.Collector, reason string, p Profile) {
	const field = "ClassicalKexOnly"
	switch {
	case reason == "":
	case len(strings.TrimSpace(reason)) < 10:
		f.Add(field, reason, "is no reason", "say which path drops large ClientHellos, so that somebody can see when it has ended")
	case p == NCSCStrict:
		f.Add(field, reason, "leaves profile NCSCStrict without a group", "use NCSC, or drop ClassicalKexOnly")
	}
}

// publish hands the state to handshakes. The keeper's lock is held.
func (c *Client) publish() {
	c.snap.Store(c.keep.snapshot(time.Now()))
	next := new(trust)
	if c.keep.cas != nil {
		next.anchors = c.keep.cas.set
	}
	for i := range c.keep.certs {
		next.pairs = append(next.pairs, c.keep.certs[i].pair)
	}
	is := c.roots.Load()
	if is != nil && is.anchors == next.anchors && slices.Equal(is.pairs, next.pairs) {
		return
	}
	c.roots.Store(next)
	if is == nil {
		return
	}
	// A session would carry on under the certificates and trust with which it
	// began, and so would a connection: one that is always busy is never idle.
	c.sessions.clear()
	c.calls.Swap(c.newTransport()).CloseIdleConnections()
	c.transport.CloseIdleConnections()
	c.conns.judgeIn(trustGrace, c.stillTrusted)
}

// TLS returns a new configuration for any client that takes a *tls.Config. It
// verifies servers on every connection, resumed ones included, against the
// roots of that moment, so a reload reaches it. crypto/tls can not do that, so
// InsecureSkipVerify is set and VerifyConnection verifies; whoever replaces
// VerifyConnection switches verification off, which [Audit] reports. See
// [ClientConfig].ServerName about connections by IP address.
func (c *Client) TLS() *tls.Config {
	cfg := c.clone()
	cfg.ServerName = c.serverName
	cfg.InsecureSkipVerify = true // #nosec G402 -- VerifyConnection verifies, chain and name
	cfg.VerifyConnection = c.verifyConnection
	if c.skip.on() {
		cfg.VerifyConnection = c.unverified
	}
	return cfg
}

func (c *Client) clone() *tls.Config {
	cfg := c.base.Clone()
	cfg.CipherSuites = slices.Clone(cfg.CipherSuites)
	cfg.CurvePreferences = slices.Clone(cfg.CurvePreferences)
	return cfg
}

// tlsFor is the configuration for one connection to a host that is known: a
// name or an address.
func (c *Client) tlsFor(host string, protos ...string) *tls.Config {
	if c.serverName != "" {
		host = c.serverName
	}
	cfg := c.clone()
	cfg.ServerName, cfg.NextProtos = host, protos
	if c.skip.on() {
		cfg.InsecureSkipVerify, cfg.VerifyConnection = true, c.unverified // #nosec G402 -- asked for with a deviation id, and reported
		return cfg
	}
	at := c.roots.Load()
	cfg.RootCAs = at.pool()
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		return c.verify(&cs, host, !cs.DidResume && at == c.roots.Load())
	}
	return cfg
}

// DialTLSContext connects and shakes hands, for protocols other than HTTP: addr
// is host:port, and the host, name or address, is what the certificate must
// hold unless ServerName is set. The handshake may take 10 s. Errors are
// [CallError]s. After a change of Roots, a connection to a server that the new
// ones do not vouch for is closed within 30 s.
func (c *Client) DialTLSContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return c.dialTLS(ctx, network, addr)
}

func (c *Client) dialTLS(ctx context.Context, network, addr string, protos ...string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	raw, err := c.dialer(ctx, network, addr)
	if err != nil {
		return nil, c.dialError(err, addr)
	}
	host = strings.TrimSuffix(host, ".")
	known := c.conns.add(raw)
	conn := tls.Client(known, c.tlsFor(host, protos...))
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = known.Close()
		return nil, c.dialError(err, addr)
	}
	cs := conn.ConnectionState()
	known.peer.Store(&peer{host, cs.PeerCertificates})
	return conn, nil
}

// dialError keeps what the peer wrote into its certificate out of the text.
func (c *Client) dialError(err error, addr string) error {
	return &CallError{Host: text.Clip(addr, 255), Reason: callReason(err), cause: err}
}

// Status describes the client's own certificates, in the order of
// [ClientConfig].Certs, and the CAs of Roots after them; the system's are not
// listed. It is safe for concurrent use.
func (c *Client) Status() []CertStatus { return c.keep.status(time.Now()) }

// Reload looks at all files at once; see [Server.Reload].
func (c *Client) Reload(ctx context.Context) error { return c.keep.reload(ctx) }

// ForceReload is Reload that also takes over a client certificate with fewer
// names or an earlier end; see [Server.ForceReload].
func (c *Client) ForceReload(ctx context.Context) error {
	return c.keep.reload(context.WithValue(ctx, forceKey{}, true))
}

// Close stops following the files and closes idle connections of Transport.
// What c handed out keeps working with the certificates and roots of that
// moment. Close never fails.
func (c *Client) Close() error {
	c.keep.close()
	c.conns.stop()
	c.transport.CloseIdleConnections()
	c.calls.Load().CloseIdleConnections()
	return nil
}
