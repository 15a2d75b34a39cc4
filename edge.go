package hardening

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/text"
)

// Client is what the service knows about the sender of a request.
type Client struct {
	// Addr is the client's address, IPv4-mapped IPv6 unmapped and the zone
	// dropped. It is invalid (the zero Addr) where the peer has no address,
	// such as a unix socket, and where the headers of a trusted proxy cannot
	// be believed, because they contradict each other or do not parse: treat
	// that as one shared, strict identity.
	Addr netip.Addr
	// Scheme is "https" or "http", as the client used it.
	Scheme string
	// Host is the host the client asked for, lower case, with its port if one
	// was given. It is the client's claim: compare it with an allow-list.
	Host string
	// RequestID names the request: 1 to 128 letters, digits, '.', '_' or '-'.
	// It is empty without [Edge.Wrap].
	RequestID string
	// TraceParent is the W3C trace context header if the client sent a valid
	// one. It links records and proves nothing.
	TraceParent string
}

// EdgeConfig says what stands between the clients and this service. The zero
// value is a service that clients reach directly.
type EdgeConfig struct {
	_ [0]func()

	// Name is the Component of findings. Default: "edge".
	Name string

	// TrustedProxies are the networks whose X-Forwarded-*, Forwarded and
	// X-Request-Id headers are believed. Default: none. A prefix must be
	// masked (10.0.0.0/8, not 10.1.2.3/8) and must not cover everyone.
	TrustedProxies []netip.Prefix

	// AssumeTLS says that every client speaks TLS to something in front of
	// this service that does not say so in a header. A trusted proxy that
	// states "http" is still believed.
	AssumeTLS bool

	// ForwardedHost believes X-Forwarded-Host (or host= of Forwarded) from
	// trusted proxies. Default: off, because a proxy that routes on Host and
	// passes a client's X-Forwarded-Host through lets the client choose the
	// host of every link the service builds. Set it only if the proxy
	// overwrites the header.
	ForwardedHost bool

	// Logger gets a warning, at most once a minute, when forwarding headers
	// from a peer that is not trusted were ignored. nil = slog.Default() at
	// that moment.
	Logger *slog.Logger
}

// Edge finds out who the client of a request is. It is safe for concurrent
// use and immutable.
type Edge struct {
	cfg EdgeConfig

	ignored event.Seldom // requests whose forwarding headers were not believed
}

// NewEdge returns an Edge, or every fault of cfg at once as [ConfigError]s.
func NewEdge(cfg EdgeConfig) (*Edge, error) {
	var errs []error
	fault := func(field string, value any, reason, fix string) {
		errs = append(errs, &ConfigError{Room: "hardening", Field: "EdgeConfig." + field, Value: clip(fmt.Sprint(value)), Reason: reason, Fix: fix})
	}
	if !text.IsName(cfg.Name) {
		fault("Name", cfg.Name, "is no name: it is longer than 64 bytes or holds control characters", `name the instance in a word or two, as in "outer edge"`)
	}
	if cfg.TrustedProxies != nil && len(cfg.TrustedProxies) == 0 {
		fault("TrustedProxies", "[]", "is empty but not nil", "leave it nil to trust no proxy, or list the proxies' networks")
	}
	for i, p := range cfg.TrustedProxies {
		field := fmt.Sprintf("TrustedProxies[%d]", i)
		switch {
		case !p.IsValid():
			fault(field, p, "is not a network", `build it with netip.MustParsePrefix("10.0.0.0/8")`)
		case p.Addr().Is4In6():
			fault(field, p, "is an IPv4-mapped network, which no unmapped address matches", "write it as an IPv4 prefix")
		case p.Bits() == 0:
			fault(field, p, "trusts every peer, so that any client can claim any address", "list the proxies' own networks")
		case p.Addr().Is4() && p.Bits() < 4 || p.Addr().Is6() && p.Bits() < 7:
			fault(field, p, "trusts a large part of the Internet, so that strangers can claim any address", "list the proxies' own networks")
		case p != p.Masked():
			fault(field, p, "has address bits behind its mask", "write "+p.Masked().String()+" if the whole network is meant, or a longer prefix")
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	cfg.TrustedProxies = slices.Clone(cfg.TrustedProxies)
	if cfg.Name == "" {
		cfg.Name = "edge"
	}
	return &Edge{cfg: cfg}, nil
}

// clientContext carries the Client without a second allocation.
type clientContext struct {
	context.Context
	client Client
}

type clientKey struct{}

func (c *clientContext) Value(key any) any {
	if _, ok := key.(clientKey); ok {
		return &c.client
	}
	return c.Context.Value(key)
}

// Wrap makes [ClientOf] answer with what e knows, and names the request in the
// X-Request-Id response header. It belongs outermost.
func (e *Edge) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := &clientContext{Context: r.Context(), client: e.client(r)}
		w.Header()["X-Request-Id"] = []string{ctx.client.RequestID}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// ClientOf returns the sender of the request. Behind [Edge.Wrap] it honours
// trusted proxies; without it, it describes the direct peer and believes no
// header.
func ClientOf(r *http.Request) Client {
	if c, ok := r.Context().Value(clientKey{}).(*Client); ok {
		return *c
	}
	return Client{Addr: peerAddr(r.RemoteAddr), Scheme: SchemeOf(r), Host: strings.ToLower(r.Host), TraceParent: traceParent(r.Header)}
}

// SchemeOf is ClientOf(r).Scheme without the price of reading the address.
func SchemeOf(r *http.Request) string {
	if c, ok := r.Context().Value(clientKey{}).(*Client); ok {
		return c.Scheme
	}
	if r.TLS != nil {
		return "https"
	}
	return "http"
}

func (e *Edge) client(r *http.Request) Client {
	c := Client{Addr: peerAddr(r.RemoteAddr), Scheme: "http", Host: strings.ToLower(r.Host), TraceParent: traceParent(r.Header)}
	if r.TLS != nil || e.cfg.AssumeTLS {
		c.Scheme = "https"
	}
	if !e.trusts(c.Addr) {
		if hasForwarding(r.Header) {
			e.warnIgnored(r.Context(), c.Addr)
		}
		c.RequestID = rand.Text()
		return c
	}
	forwarded, wellFormed := parseForwarded(r.Header["Forwarded"])
	c.Addr = e.clientAddr(c.Addr, r.Header["X-Forwarded-For"], forwarded, wellFormed)
	if s := forwardedScheme(lastListItem(r.Header["X-Forwarded-Proto"]), forwarded, wellFormed); s != "" {
		c.Scheme = s
	}
	if e.cfg.ForwardedHost {
		if host := forwardedHost(r.Header["X-Forwarded-Host"], forwarded, wellFormed); host != "" {
			c.Host = host
		}
	}
	if ids := r.Header["X-Request-Id"]; len(ids) == 1 && validRequestID(ids[0]) {
		c.RequestID = ids[0]
	} else {
		c.RequestID = rand.Text()
	}
	return c
}

func (e *Edge) trusts(a netip.Addr) bool {
	for _, p := range e.cfg.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// clientAddr walks each header from the right. Where both are present and
// disagree, one of them came from the client: a proxy that writes one header
// passes the other through untouched. No header can be believed then, and
// neither can the peer's own address stand in, or a client could pass for the
// proxy. The invalid Addr only merges the liar with other liars.
func (e *Edge) clientAddr(peer netip.Addr, xff []string, fwd []forwardedElement, wellFormed bool) netip.Addr {
	byXFF := e.walkXFF(peer, xff)
	if len(fwd) == 0 && wellFormed {
		return byXFF
	}
	if !wellFormed {
		return netip.Addr{}
	}
	byFwd := peer
	for _, el := range slices.Backward(fwd) {
		hop, ok := parseHop(el.node)
		if !ok {
			break
		}
		byFwd = hop
		if !e.trusts(hop) {
			break
		}
	}
	if len(xff) > 0 && byXFF != byFwd {
		return netip.Addr{}
	}
	return byFwd
}

// walkXFF returns the first address from the right, over all header lines,
// that is not a trusted proxy. It stops at the last trusted address when a hop
// does not parse, because everything to the left of it is hearsay.
func (e *Edge) walkXFF(peer netip.Addr, lines []string) netip.Addr {
	addr := peer
	for _, line := range slices.Backward(lines) {
		for rest := line; ; {
			i := strings.LastIndexByte(rest, ',')
			hop, ok := parseHop(strings.Trim(rest[i+1:], " \t"))
			if !ok {
				return addr
			}
			addr = hop
			if !e.trusts(hop) {
				return addr
			}
			if i < 0 {
				break
			}
			rest = rest[:i]
		}
	}
	return addr
}

// Check reports how the edge is configured.
func (e *Edge) Check() []Finding {
	widest := 128
	for _, p := range e.cfg.TrustedProxies {
		bits := p.Bits()
		if p.Addr().Is6() {
			bits -= 24 // a /32 is what a provider gets, as a /8 was
		}
		widest = min(widest, bits)
	}
	client := []Control{{ASVS, "v5.0.0-15.3.4", Implements}, {ASVS, "v5.0.0-4.1.3", Supports}}
	return []Finding{
		{
			ID: "HDN-EDGE-001", Component: e.cfg.Name, Severity: High,
			Title:    "Forwarding headers are believed from listed networks only",
			Passed:   widest >= 8,
			Observed: fmt.Sprintf("trusted proxies %v", e.cfg.TrustedProxies),
			Expected: "no network wider than /8 (IPv4) or /32 (IPv6)",
			Remedy:   "list the proxies' own networks in EdgeConfig.TrustedProxies",
			Controls: append([]Control{{ISO27002, "8.20", Supports}}, client...),
		},
		{
			ID: "HDN-EDGE-002", Component: e.cfg.Name, Severity: Medium,
			Title:    "The scheme is observed, not assumed",
			Passed:   !e.cfg.AssumeTLS,
			Observed: fmt.Sprintf("AssumeTLS %t", e.cfg.AssumeTLS),
			Expected: "AssumeTLS false",
			Remedy:   "let the proxy send X-Forwarded-Proto and list it in EdgeConfig.TrustedProxies",
			Controls: []Control{{ASVS, "v5.0.0-4.1.3", Supports}, {ASVS, "v5.0.0-12.2.1", Supports}},
		},
		{
			ID: "HDN-EDGE-003", Component: e.cfg.Name, Severity: Medium,
			Title:    "A forwarded host does not replace the Host header",
			Passed:   !e.cfg.ForwardedHost,
			Observed: fmt.Sprintf("ForwardedHost %t", e.cfg.ForwardedHost),
			Expected: "ForwardedHost false",
			Remedy:   "leave EdgeConfig.ForwardedHost off and let the proxy keep the Host header",
			Controls: []Control{{ASVS, "v5.0.0-4.1.3", Supports}, {CWE, "644", Supports}},
		},
	}
}

func (e *Edge) warnIgnored(ctx context.Context, peer netip.Addr) {
	n := e.ignored.Next()
	if n == 0 {
		return
	}
	log := e.cfg.Logger
	if log == nil {
		log = slog.Default()
	}
	name := event.ForwardedHeaderIgnored
	log.LogAttrs(ctx, event.LevelOf(name), name,
		slog.String(event.KeyRoom, "edge"), slog.String(event.KeyInstance, e.cfg.Name),
		slog.String(event.KeyClient, peer.String()), slog.Int64(event.KeyCount, n),
		slog.String(event.KeyFix, "if this peer is a proxy of yours, list its network in EdgeConfig.TrustedProxies"))
}
