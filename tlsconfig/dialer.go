package tlsconfig

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/faults"
)

// dialTimeout bounds the look-up and the connection together. Ten seconds
// outlast three lost packets; a caller who waits longer has given up.
const dialTimeout = 10 * time.Second

// PublicDialerConfig describes a [Dialer]. The zero value dials port 443 of
// public addresses.
type PublicDialerConfig struct {
	_ [0]func()

	// Name is the Component of findings and the instance in events. Default:
	// "tlsconfig".
	Name string

	// Ports may be dialled. Default: 443 alone, so that nothing leaves without
	// TLS and no mail or database server can be spoken to.
	Ports []uint16

	// Allow lists networks of your own that may be dialled although they are
	// not public. Default: none. Cloud metadata services and link-local
	// addresses stay refused, even within Allow. IPv4 addresses that a NAT64 translator would
	// connect to are looked up here as IPv4.
	Allow []netip.Prefix

	// DangerouslyAllowMetadata lets Allow open cloud metadata services and
	// link-local addresses too: whoever chooses the URL may then read the
	// machine's credentials. Needs Allow.
	DangerouslyAllowMetadata bool

	// Deny lists networks that may not be dialled although they are public:
	// your organisation's own. It outranks Allow. Default: none.
	Deny []netip.Prefix

	// Timeout bounds one dial, name look-up included. Default: 10 s.
	Timeout time.Duration

	// Resolver looks names up. Default: net.DefaultResolver. What it answers is
	// not trusted.
	Resolver *net.Resolver

	// Logger gets a warning per class of refused destination, at most once a
	// minute with their count. nil = slog.Default() at the moment of the event.
	Logger *slog.Logger
}

// Dialer connects to public addresses only, for requests to a URL that
// somebody else chose: webhooks, avatars, OpenID discovery. It is safe for
// concurrent use. See [PublicDialer].
type Dialer struct {
	name     string
	ports    []uint16
	judge    *addressJudge
	timeout  time.Duration
	resolver *net.Resolver
	refused  *tally
}

// PublicDialer returns a dialler against server-side request forgery (OWASP
// A10:2021, CWE-918), or every fault of cfg at once:
//
//	dialer, err := tlsconfig.PublicDialer(tlsconfig.PublicDialerConfig{})
//	...
//	client, err := tlsconfig.NewClient(tlsconfig.ClientConfig{Profile: tlsconfig.Intermediate, DialContext: dialer.DialContext})
//	...
//	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
//	...
//	res, err := client.Do(req) // err tells whoever chose url nothing; the log has the reason
//
// Any other transport can use its DialContext too, if it has no proxy, which
// would connect in its place.
//
// It judges the address that the kernel is about to connect to, after all
// names are resolved and for every connection anew. Hence a name that answers
// differently the second time (DNS rebinding), a redirect, or a host written
// as a number changes nothing. Refused are all blocks of the IANA
// special-purpose registries, multicast, whatever is not global unicast,
// addresses with a zone, 6to4 and Teredo, cloud metadata services, and IPv4
// addresses of these kinds inside IPv4-mapped and NAT64 ones. A public address
// of your own machines is not special: list it in Deny.
func PublicDialer(cfg PublicDialerConfig) (*Dialer, error) {
	f := faults.For(room)
	if cfg.Ports != nil && len(cfg.Ports) == 0 {
		f.Add("PublicDialerConfig.Ports", "[]", "is empty but not nil", "leave it nil for port 443, or list the ports")
	}
	for i, p := range cfg.Ports {
		if p == 0 {
			f.Add(fmt.Sprintf("PublicDialerConfig.Ports[%d]", i), p, "is not a port", "use 443")
		}
	}
	dialNetworks(f, "PublicDialerConfig.Allow", cfg.Allow, "leave it nil to dial public addresses only")
	dialNetworks(f, "PublicDialerConfig.Deny", cfg.Deny, "leave it nil to deny none in addition")
	if cfg.DangerouslyAllowMetadata && len(cfg.Allow) == 0 {
		f.Add("PublicDialerConfig.DangerouslyAllowMetadata", true, "opens nothing without Allow", "leave it false, or list the addresses that are meant in Allow")
	}
	if cfg.Timeout < 0 {
		f.Add("PublicDialerConfig.Timeout", cfg.Timeout, "is negative", "leave it zero for 10s")
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	d := &Dialer{
		name: cfg.Name, ports: slices.Clone(cfg.Ports), timeout: cfg.Timeout, resolver: cfg.Resolver,
		judge: newAddressJudge(slices.Clone(cfg.Allow), slices.Clone(cfg.Deny), cfg.DangerouslyAllowMetadata),
	}
	if d.name == "" {
		d.name = room
	}
	if d.ports == nil {
		d.ports = []uint16{443}
	}
	if d.timeout == 0 {
		d.timeout = dialTimeout
	}
	d.refused = newTally(func(reason string, n int, last string) {
		sink := event.Sink{Logger: cfg.Logger, Room: room, Name: d.name}
		_ = sink.Emit(context.Background(), event.InputValidationFail, slog.String(event.KeyAction, "dial"), // without Audit it never fails
			slog.String(event.KeyReason, reason), slog.Int(event.KeyCount, n), slog.String(event.KeyLastAddress, last))
	})
	return d, nil
}

func dialNetworks(f *faults.Collector, field string, list []netip.Prefix, fix string) {
	if list != nil && len(list) == 0 {
		f.Add(field, "[]", "is empty but not nil", fix)
	}
	for i, p := range list {
		field := fmt.Sprintf("%s[%d]", field, i)
		switch {
		case !p.IsValid():
			f.Add(field, p, "is not a network", `build it with netip.MustParsePrefix("10.1.0.0/16")`)
		case p.Addr().Is4In6():
			f.Add(field, p, "is an IPv4-mapped network, which no unmapped address matches", "write it as an IPv4 prefix")
		case p.Bits() == 0:
			f.Add(field, p, "covers every address", "list the networks that are meant")
		case p != p.Masked():
			f.Add(field, p, "has address bits behind its mask", "write "+p.Masked().String()+" if the whole network is meant, or a longer prefix")
		}
	}
}

// DialContext connects like net.Dialer.DialContext, for the networks tcp, tcp4
// and tcp6. Every error is a [*DialError].
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if reason := d.refusesName(network, address); reason != "" {
		d.refused.add(reason, "")
		return nil, &DialError{Refused: true, Reason: reason}
	}
	nd := net.Dialer{Timeout: d.timeout, Resolver: d.resolver, Control: d.control}
	conn, err := nd.DialContext(ctx, network, address)
	if err == nil {
		return conn, nil
	}
	if refusal, ok := errors.AsType[*DialError](err); ok { // of the first address that was tried
		return nil, refusal
	}
	return nil, &DialError{Reason: dialFailure(err), err: err}
}

// control runs after the look-up and before each connect.
func (d *Dialer) control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return &DialError{Refused: true, Reason: "invalid address"}
	}
	return d.Allows(ap)
}

// Allows reports whether d would connect to the address: nil, or a [*DialError].
// It helps to refuse a numeric URL when it is entered. It is no answer for a
// name, whose addresses may have changed by the time it is dialled.
func (d *Dialer) Allows(ap netip.AddrPort) error {
	reason := ""
	if class := d.judge.refuses(ap.Addr()); class != "" {
		reason = class + " address"
	} else if !slices.Contains(d.ports, ap.Port()) {
		reason = "port"
	}
	if reason == "" {
		return nil
	}
	d.refused.add(reason, ap.Addr().WithZone("").String())
	return &DialError{Refused: true, Reason: reason}
}

// refusesName refuses before the look-up what no public service is called:
// the question alone would tell a hostile resolver, or the inside of the
// network, that it was asked.
func (d *Dialer) refusesName(network, address string) string {
	if network != "tcp" && network != "tcp4" && network != "tcp6" {
		return "network"
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return "invalid address"
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil || !slices.Contains(d.ports, uint16(port)) {
		return "port"
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return "" // control judges it
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	last := name[strings.LastIndexByte(name, '.')+1:]
	switch {
	case name == "":
		return "name" // net would dial this machine
	case endsInNumber(last):
		return "numeric name"
	case len(d.judge.allow) > 0:
		return "" // own networks have own names
	case last == name:
		return "local name" // the resolver would try it below its search domains
	case slices.Contains(localDomains[:], last), below(name, "home.arpa"):
		return "local name"
	}
	return ""
}

// localDomains are the top-level domains of the IANA Special-Use Domain Names
// registry and ICANN's private one that name nothing public.
var localDomains = [...]string{"alt", "internal", "invalid", "local", "localhost", "onion", "test"}

// endsInNumber: the URL standard reads such hosts as IPv4 addresses, in
// decimal, octal or hex ("2130706433", "0177.1", "127.0.0.0x1"), and so do some
// resolvers. No top-level domain is a number (RFC 3696 section 2).
func endsInNumber(label string) bool {
	digits, hex := strings.CutPrefix(label, "0x")
	if digits == "" {
		return hex
	}
	for _, c := range []byte(digits) {
		if !('0' <= c && c <= '9' || hex && 'a' <= c && c <= 'f') {
			return false
		}
	}
	return true
}

// DialError is why a [Dialer] did not connect. Its text is the same for every
// reason and names no host and no address: whoever chose the URL must not
// learn what the inside of the network looks like.
type DialError struct {
	// Refused is whether the destination is not allowed; else it could not be
	// reached.
	Refused bool

	// Reason is a few fixed words for the log, such as "private address",
	// "port", "numeric name", "no such host" or "timeout". Do not show it to
	// whoever chose the URL.
	Reason string

	err error
}

// Error returns "tlsconfig: no connection to this destination".
func (*DialError) Error() string { return "tlsconfig: no connection to this destination" }

// Unwrap returns the error of package net, which does name addresses, for
// errors.Is with context.Canceled and the like; nil if Refused.
func (e *DialError) Unwrap() error { return e.err }

// Timeout reports whether time ran out, as net.Error has it.
func (e *DialError) Timeout() bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](e.err)
	return ok && t.Timeout()
}

// Temporary reports false: a net.Error must have it.
func (*DialError) Temporary() bool { return false }

// dialFailure sorts the errors of a dial into fixed words.
func dialFailure(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return "no such host"
	}
	if t, ok := errors.AsType[net.Error](err); ok && t.Timeout() {
		return "timeout"
	}
	switch {
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "unreachable"
	}
	return "network error"
}
