package tlsconfig

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/text"
)

// The limits of a hardened client. Those of http.DefaultClient wait for ever.
const (
	callTimeout      = 30 * time.Second
	handshakeTimeout = 10 * time.Second

	// headerTimeout runs from the end of the request to the first header of
	// the response.
	headerTimeout = 30 * time.Second

	// maxResponseHeaderBytes: Go's default is 10 MiB for one response.
	maxResponseHeaderBytes = 1 << 20

	// idleConnTimeout is shorter than the 120 s that servers of this package
	// keep an idle connection, so that a request never meets one just closed.
	idleConnTimeout = 90 * time.Second

	// maxRedirects is what http.Client follows by default.
	maxRedirects = 10
)

// Errors about URLs. Match them with errors.Is.
var (
	// ErrPlainHTTP: the URL is not https.
	ErrPlainHTTP = errors.New("tlsconfig: only https URLs are called")
	// ErrURLCredentials: the URL holds a user name or password.
	ErrURLCredentials = errors.New("tlsconfig: the URL holds credentials; put them into the Authorization header")

	errRedirects    = errors.New("tlsconfig: more than 10 redirects")
	errRedirectURL  = errors.New("tlsconfig: a redirect to something that is no URL")
	errRedirectBody = errors.New("tlsconfig: a redirect would send the request's body to another host")
)

// Transport returns the client's http.Transport, the same one each time: it
// holds the connections. It has limits where http.DefaultTransport has none,
// speaks HTTP/2, verifies by name or address, and refuses http:// URLs and
// credentials in URLs. For the latter it looks at each URL that needs a new or
// an HTTP/1.1 connection only; [Client.HTTPClient], which has connections of
// its own, looks at every one. Within 30 s of a change of Roots, connections to
// servers that the new ones do not vouch for are closed, and all that lead
// through a proxy. Its errors may quote what a server sent: pass them through
// [SafeError]. Set nothing in it: Check does not see that.
func (c *Client) Transport() *http.Transport { return c.transport }

func (c *Client) newTransport() *http.Transport {
	return &http.Transport{
		Proxy:          c.gate,
		DialContext:    c.dialProxy,
		DialTLSContext: c.dialHTTPS,
		// For servers behind a proxy, since http.Transport then makes the
		// connection itself and tells no hook the name.
		TLSClientConfig:        c.TLS(),
		TLSHandshakeTimeout:    handshakeTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        idleConnTimeout,
		MaxIdleConns:           100,
		MaxIdleConnsPerHost:    16,
		MaxResponseHeaderBytes: maxResponseHeaderBytes,
		ForceAttemptHTTP2:      true,
		// A connection whose other end is gone without a word would take
		// requests until TCP gives up after minutes.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
	}
}

// gate is the transport's Proxy function because that sees the request's URL
// and survives http.Transport.Clone.
func (c *Client) gate(r *http.Request) (*url.URL, error) {
	if err := checkURL(r.URL); err != nil {
		return nil, err
	}
	return c.proxy, nil
}

func checkURL(u *url.URL) error {
	switch {
	case u == nil || u.Scheme != "https":
		return ErrPlainHTTP
	case u.User != nil:
		return ErrURLCredentials
	}
	return nil
}

// dialProxy is for connections without TLS. There is one kind: to an http
// proxy, to ask it for a tunnel.
func (c *Client) dialProxy(ctx context.Context, network, addr string) (net.Conn, error) {
	if c.proxy == nil || c.proxy.Scheme != "http" || !strings.EqualFold(addr, proxyAddr(c.proxy)) {
		return nil, ErrPlainHTTP
	}
	raw, err := c.dialer(ctx, network, addr)
	if err != nil {
		return nil, c.dialError(err, addr)
	}
	return c.conns.add(raw), nil
}

func (c *Client) dialHTTPS(ctx context.Context, network, addr string) (net.Conn, error) {
	if c.proxy != nil && strings.EqualFold(addr, proxyAddr(c.proxy)) {
		return c.dialTLS(ctx, network, addr, "http/1.1") // CONNECT, as http.Transport speaks it
	}
	return c.dialTLS(ctx, network, addr, "h2", "http/1.1")
}

func proxyAddr(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// HTTPClient returns a client for calls to other services. Beyond what
// [Client.Transport] does, it
//
//   - refuses http:// and credentials in URLs, redirects included;
//   - follows a redirect to another host without any header of the request
//     but Accept, Accept-Language and User-Agent, and never with its body;
//     it never sends a Referer, which holds the query;
//   - gives up after ClientConfig.Timeout;
//   - writes one record for each request sent: method, host, status, duration,
//     protocol, TLS version and group, never path, query, header or body;
//   - returns errors as [CallError], those of the body too, whose text holds
//     nothing of these either;
//   - sends no call over a connection that was made before Roots or Certs
//     last changed.
//
// The http.Client itself wraps that in a *url.Error with the whole URL, query
// included. Use [Client.Do], or pass errors through [SafeError] before they
// are logged.
func (c *Client) HTTPClient() *http.Client {
	copied := *c.client
	return &copied
}

// Do sends a request as [Client.HTTPClient] does and returns errors that are
// safe to log: a *url.Error with scheme and host only, around a [CallError].
func (c *Client) Do(r *http.Request) (*http.Response, error) {
	res, err := c.client.Do(r) // #nosec G704 -- where to is the caller's; PublicDialer is for URLs that others choose
	if err != nil {
		return res, SafeError(err)
	}
	return res, nil
}

func (c *Client) newHTTPClient(timeout time.Duration) *http.Client {
	return &http.Client{Transport: caller{c}, CheckRedirect: stripRedirect, Timeout: timeout}
}

// caller is the RoundTripper of HTTPClient.
type caller struct{ c *Client }

// CloseIdleConnections lets http.Client.CloseIdleConnections through.
func (t caller) CloseIdleConnections() { t.c.calls.Load().CloseIdleConnections() }

// RoundTrip decides about redirects too: what http.Client says about those it
// refuses quotes the Location header.
func (t caller) RoundTrip(r *http.Request) (*http.Response, error) {
	start := time.Now()
	res, err := t.send(r)
	attrs := []slog.Attr{
		slog.String(event.KeyMethod, text.Clip(r.Method, 16)), slog.String(event.KeyHost, hostOfURL(r.URL)),
		slog.Duration(event.KeyDuration, time.Since(start)), slog.Int(event.KeyRedirects, hops(r)),
	}
	if res != nil {
		attrs = append(attrs, slog.Int(event.KeyStatus, res.StatusCode), slog.String(event.KeyProtocol, res.Proto))
		if res.TLS != nil {
			attrs = append(attrs, slog.String(event.KeyTLS, tls.VersionName(res.TLS.Version)), slog.String(event.KeyGroup, res.TLS.CurveID.String()), slog.Bool(event.KeyResumed, res.TLS.DidResume))
		}
	}
	if err == nil {
		t.c.keep.log(r.Context(), slog.LevelInfo, event.HTTPClientCall, append(attrs, slog.String(event.KeyOutcome, event.OutcomeSuccess))...)
		return res, nil
	}
	if res != nil { // a redirect that is refused
		_ = res.Body.Close()
	}
	failed := callError(err, r.URL)
	t.c.keep.log(r.Context(), slog.LevelWarn, event.HTTPClientCall, append(attrs, slog.String(event.KeyOutcome, event.OutcomeFailure), slog.String(event.KeyReason, failed.logReason()))...)
	return nil, failed
}

func (t caller) send(r *http.Request) (*http.Response, error) {
	if err := checkURL(r.URL); err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // as a RoundTripper must
		}
		return nil, err
	}
	res, err := t.c.calls.Load().RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusSwitchingProtocols && res.Body != http.NoBody { // the body of a 101 is a connection
		res.Body = body{res.Body, r.URL}
	}
	return res, checkRedirect(r, res)
}

// checkRedirect refuses redirects that http.Client is about to follow.
func checkRedirect(r *http.Request, res *http.Response) error {
	switch res.StatusCode {
	case 301, 302, 303, 307, 308:
	default:
		return nil
	}
	loc := res.Header.Get("Location")
	if loc == "" {
		return nil // http.Client returns the response
	}
	to, err := r.URL.Parse(loc)
	if err != nil {
		return errRedirectURL
	}
	if err := checkURL(to); err != nil {
		return err
	}
	if hops(r) >= maxRedirects {
		return errRedirects
	}
	hasBody := r.Body != nil && r.Body != http.NoBody
	if (res.StatusCode == 307 || res.StatusCode == 308) && hasBody && origin(to) != origin(r.URL) {
		return errRedirectBody
	}
	return nil
}

// stripRedirect is http.Client's CheckRedirect. Go keeps Authorization and
// cookies for sub-domains, and all other headers, such as X-Api-Key, for
// everybody.
func stripRedirect(r *http.Request, via []*http.Request) error {
	r.Header.Del("Referer")
	home := origin(via[0].URL)
	for _, hop := range append(via[1:len(via):len(via)], r) {
		if origin(hop.URL) == home {
			continue
		}
		for name := range r.Header {
			switch name {
			case "Accept", "Accept-Language", "User-Agent":
			default:
				delete(r.Header, name)
			}
		}
		return nil
	}
	return nil
}

// hops counts the redirects that led to a request.
func hops(r *http.Request) (n int) {
	for r.Response != nil && r.Response.Request != nil && n <= maxRedirects {
		r = r.Response.Request
		n++
	}
	return n
}

func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "443"
	}
	return strings.ToLower(u.Hostname()) + ":" + port
}

// hostOfURL is the part of a URL that may be logged.
func hostOfURL(u *url.URL) string {
	if u == nil {
		return ""
	}
	return text.Clip(u.Host, 255)
}
