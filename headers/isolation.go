package headers

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"unicode"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/faults"
	"github.com/inovy/hardening/internal/text"
)

// IsolationConfig says which other origins may change state here. The zero
// value: none.
type IsolationConfig struct {
	_ [0]func()

	// Name is the Component of findings and the instance of events. Default:
	// "isolation".
	Name string

	// TrustedOrigins are other origins of ours whose pages may send
	// state-changing requests and load resources with CORS, exactly as browsers write them:
	// "https://app.example". Default: none.
	TrustedOrigins []string

	// RequireOrigin also refuses state-changing requests that carry neither
	// Sec-Fetch-Site nor Origin. Browsers always send one of them;
	// command-line clients and other services do not. Default: such requests
	// pass, because no browser's cookies are behind them.
	RequireOrigin bool

	// Public are the paths that other sites may load by GET and HEAD, as
	// images, scripts, frames or with fetch: "/logo.svg", or "/assets/" for all
	// below it. Links to any page work without it. Default: none.
	Public []string

	// DangerouslyAllowResources lets other sites load everything by GET and
	// HEAD. What they cannot read they can still time, count and render.
	DangerouslyAllowResources bool

	// DangerouslyReportOnly lets everything through and only emits the event,
	// with outcome "success".
	DangerouslyReportOnly bool

	// Logger gets malicious_csrf events. nil = slog.Default() at the moment of
	// the event.
	Logger *slog.Logger

	// OnDeny answers refused requests. Default: hardening.WriteProblem.
	OnDeny func(http.ResponseWriter, *http.Request, *hardening.Problem)
}

// Isolation refuses requests by which another site would use the user's
// cookies. For methods that change state and for WebSockets, that is cross-site
// request forgery: it decides by Sec-Fetch-Site and Origin
// (net/http.CrossOriginProtection; ASVS v5.0.0-3.5.1), so forms need no token.
// For GET and HEAD it is a resource isolation policy (W3C Fetch Metadata, ASVS
// v5.0.0-3.5.8): what another site embeds, frames or fetches is refused, a link
// that the user follows is not. OPTIONS passes, because a preflight must.
//
// A request whose method frameworks override (X-HTTP-Method-Override,
// X-HTTP-Method, X-Method-Override, or _method in the query) is judged as one
// that changes state, whatever its own method is.
//
// GETs of a sibling host (Sec-Fetch-Site: same-site) and of browsers too old
// to say where they come from pass: CORP and SameSite cookies stop those.
// Reports of browsers (application/csp-report, application/reports+json) pass
// from anywhere if they carry no credentials: a script can send neither type to
// another origin without a preflight, and browsers send no cookies with them.
//
// It is immutable and safe for concurrent use.
type Isolation struct {
	cfg     IsolationConfig
	protect *http.CrossOriginProtection
	loads   *event.Seldom // refused GETs are many: one event stands for a minute of them
}

// The causes of a refusal; use errors.Is.
var (
	// ErrCrossOrigin: another site sent the request.
	ErrCrossOrigin = errors.New("headers: the request comes from another origin")
	// ErrCrossSiteResource: another site would embed, frame or fetch it.
	ErrCrossSiteResource = errors.New("headers: another site loads a resource that is not public")
	// ErrMalformedOrigin: Origin is nothing that a browser sends.
	ErrMalformedOrigin = errors.New("headers: the Origin header is malformed")
	// ErrNoOrigin: the request does not say where it comes from.
	ErrNoOrigin = errors.New("headers: the request names no origin")
)

// NewIsolation returns an Isolation, or every fault of cfg at once as
// hardening.ConfigErrors.
func NewIsolation(cfg IsolationConfig) (*Isolation, error) {
	if cfg.Name == "" {
		cfg.Name = "isolation"
	}
	cfg.TrustedOrigins, cfg.Public = slices.Clone(cfg.TrustedOrigins), slices.Clone(cfg.Public)
	f := faults.For("headers")
	f.Name("Name", cfg.Name)
	if cfg.TrustedOrigins != nil && len(cfg.TrustedOrigins) == 0 {
		f.Missing("TrustedOrigins", "is empty but not nil", "leave it nil to trust no other origin")
	}
	protect := http.NewCrossOriginProtection()
	for i, o := range cfg.TrustedOrigins {
		at := fmt.Sprintf("TrustedOrigins[%d]", i)
		if reason := originFault(o, "https"); reason != "" {
			f.Add(at, o, reason, originFix(o))
			continue
		}
		if slices.Contains(cfg.TrustedOrigins[:i], o) {
			f.Add(at, o, "is listed twice", "keep one")
		}
		if err := protect.AddTrustedOrigin(o); err != nil {
			f.Add(at, o, "is refused by net/http", `write it as in "https://app.example"`)
		}
	}
	cfg.validatePublic(f)
	if err := f.Err(); err != nil {
		return nil, err
	}
	return &Isolation{cfg: cfg, protect: protect, loads: new(event.Seldom)}, nil
}

// originFix proposes the origin of a URL: people copy it from the address bar,
// with a slash or a path behind it.
func originFix(o string) string {
	scheme, rest, _ := strings.Cut(strings.ToLower(o), "://")
	host, tail, _ := strings.Cut(rest, "/")
	proposal := scheme + "://" + strings.TrimSuffix(host, ":443")
	switch {
	case originFault(proposal, "https") != "":
		return `write it as browsers do, as in "https://app.example"`
	case host != rest && tail == "":
		return fmt.Sprintf("write %q: an origin ends without a slash", proposal)
	}
	return fmt.Sprintf("write %q", proposal)
}

func (c *IsolationConfig) validatePublic(f *faults.Collector) {
	if c.Public != nil && len(c.Public) == 0 {
		f.Missing("Public", "is empty but not nil", "leave it nil if nothing is public")
	}
	if c.Public != nil && c.DangerouslyAllowResources {
		f.Add("Public", c.Public, "means nothing where DangerouslyAllowResources is set", "drop one of the two")
	}
	for i, p := range c.Public {
		at := fmt.Sprintf("Public[%d]", i)
		switch {
		case p == "/":
			f.Add(at, p, "makes everything public", "list what is, or set DangerouslyAllowResources")
		case !strings.HasPrefix(p, "/") || !isClean(p) || strings.ContainsAny(p, "?#*{}%;\\") || strings.ContainsFunc(p, unicode.IsControl):
			f.Add(at, p, "is no clean path", `write it as in "/logo.svg", or "/assets/" for all below it`)
		case slices.Contains(c.Public[:i], p):
			f.Add(at, p, "is listed twice", "keep one")
		}
	}
}

// isClean reports whether no part of p is empty, "." or "..".
func isClean(p string) bool {
	return path.Clean(p) == p || p != "/" && path.Clean(p)+"/" == p
}

// public reports whether the path may be loaded by everyone. A path that a
// handler could read in two ways is not: of /assets%2fx, ServeMux makes one
// segment and Path two; in /assets/..;/x Java servers see a parameter, in
// /assets/..\x Windows sees a separator, and who decodes twice sees more.
func (i *Isolation) public(u *url.URL) bool {
	p := u.Path
	if strings.Contains(u.RawPath, "%2f") || strings.Contains(u.RawPath, "%2F") ||
		strings.ContainsFunc(p, func(r rune) bool { return r == ';' || r == '\\' || r == '%' || unicode.IsControl(r) }) {
		return false
	}
	for _, known := range i.cfg.Public {
		if p == known || strings.HasSuffix(known, "/") && strings.HasPrefix(p, known) {
			return isClean(p)
		}
	}
	return false
}

// allowLoad decides about a GET or HEAD.
func (i *Isolation) allowLoad(r *http.Request) error {
	sites := r.Header["Sec-Fetch-Site"]
	if len(sites) == 0 || i.cfg.DangerouslyAllowResources {
		return nil
	}
	if len(sites) > 1 {
		return refusal(ErrMalformedOrigin)
	}
	switch sites[0] {
	case "same-origin", "same-site", "none":
		return nil
	}
	if mode := r.Header["Sec-Fetch-Mode"]; len(mode) == 1 && mode[0] == "navigate" {
		switch r.Header.Get("Sec-Fetch-Dest") {
		case "document", "": // "" in the first browsers with Fetch Metadata
			return nil
		}
	}
	if origin := r.Header["Origin"]; len(origin) == 1 && slices.Contains(i.cfg.TrustedOrigins, origin[0]) {
		return nil
	}
	if i.public(r.URL) {
		return nil
	}
	return refusal(ErrCrossSiteResource)
}

// isReport reports whether a browser sends a report, without credentials.
func isReport(r *http.Request) bool {
	types := r.Header["Content-Type"]
	if r.Method != http.MethodPost || len(types) != 1 || len(r.Header["Cookie"]) > 0 || len(r.Header["Authorization"]) > 0 {
		return false
	}
	t, _, _ := strings.Cut(types[0], ";")
	t = strings.Trim(t, " ")
	return strings.EqualFold(t, "application/csp-report") || strings.EqualFold(t, "application/reports+json")
}

// Allow decides about a request without answering it. Its error is a
// *hardening.Problem whose cause is one of the Err values.
func (i *Isolation) Allow(r *http.Request) error {
	// A WebSocket handshake is a GET, but opens a channel that carries the
	// user's cookies and that CORS does not guard. A GET that names another
	// method is that method to a handler that honours it.
	writes := len(r.Header["Upgrade"]) > 0 || overridesMethod(r)
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		if !writes {
			return i.allowLoad(r)
		}
	case http.MethodOptions:
		if !writes {
			return nil
		}
	}
	if !writes && isReport(r) {
		return nil
	}
	origins, sites := r.Header["Origin"], r.Header["Sec-Fetch-Site"]
	if len(origins) > 1 || len(sites) > 1 || len(origins) == 1 && !serialisedOrigin(origins[0]) || len(sites) == 1 && sites[0] == "" {
		return refusal(ErrMalformedOrigin)
	}
	if i.cfg.RequireOrigin && len(origins) == 0 && len(sites) == 0 {
		return refusal(ErrNoOrigin)
	}
	client := hardening.ClientOf(r)
	if len(sites) == 0 && len(origins) == 1 && !plausible(origins[0], client.Scheme) {
		return refusal(ErrCrossOrigin)
	}
	if writes || client.Host != r.Host {
		seen := *r // Check looks at Method, Host and Header only
		if writes {
			seen.Method = http.MethodPost
		}
		seen.Host = client.Host
		r = &seen
	}
	if i.protect.Check(r) != nil {
		return refusal(ErrCrossOrigin)
	}
	return nil
}

// overridesMethod reports whether frameworks would take the request for one of
// another method: by a header, or by _method in the query. A form's body is not
// read: it comes with a POST, which is judged as a change anyhow.
func overridesMethod(r *http.Request) bool {
	if len(r.Header["X-Http-Method-Override"]) > 0 || len(r.Header["X-Http-Method"]) > 0 || len(r.Header["X-Method-Override"]) > 0 {
		return true
	}
	q := r.URL.RawQuery
	return (strings.Contains(q, "method") || strings.Contains(q, "%")) && queryOverrides(q)
}

// queryOverrides reads the query as the most generous of the frameworks behind
// us may: net/url drops what has a semicolon or a broken escape, others take a
// semicolon for an ampersand, and PHP a dot or a space for an underscore and
// "_method[]" for a list of that name.
func queryOverrides(q string) bool {
	for len(q) > 0 {
		pair := q
		if i := strings.IndexAny(q, "&;"); i >= 0 {
			pair, q = q[:i], q[i+1:]
		} else {
			q = ""
		}
		key, _, _ := strings.Cut(pair, "=")
		if name, err := url.QueryUnescape(key); err == nil {
			key = name
		}
		key, _, _ = strings.Cut(strings.TrimLeft(key, " +"), "[")
		if len(key) == len("_method") && strings.IndexByte("_. ", key[0]) >= 0 && key[1:] == "method" {
			return true
		}
	}
	return false
}

// plausible reports whether a page of ours can have this origin by its scheme.
// net/http compares hosts only. Without Sec-Fetch-Site it would let through a
// page that a network attacker put on http://our-host, one of an app that
// calls itself app://our-host, and "null" where the request has no Host. Over
// HTTP, https is plausible: there may be a proxy that we do not know of.
func plausible(origin, scheme string) bool {
	return strings.HasPrefix(origin, "https://") || scheme == "http" && strings.HasPrefix(origin, "http://")
}

func refusal(cause error) *hardening.Problem {
	return &hardening.Problem{
		Status: http.StatusForbidden,
		Title:  "Cross-site request refused",
		Detail: "The request did not come from a page of this site. Open the page again and repeat it there.",
		Err:    cause,
	}
}

// serialisedOrigin reports whether s is "null" or scheme://host[:port], as RFC
// 6454 section 6.1 lets browsers write it. net/http would also accept
// https://user@host (golang/go#78563) and paths.
func serialisedOrigin(s string) bool {
	if s == "null" {
		return true
	}
	scheme, host, ok := strings.Cut(s, "://")
	if !ok || scheme == "" || host == "" || len(s) > 512 {
		return false
	}
	for i := range len(scheme) {
		if c := scheme[i]; !alphanumeric(c) && c != '+' && c != '-' && c != '.' {
			return false
		}
	}
	for i := range len(host) {
		switch c := host[i]; c {
		case '-', '.', '_', ':', '[', ']':
		default:
			if !alphanumeric(c) {
				return false
			}
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// Wrap answers refused requests with a 403 problem and the event
// malicious_csrf; next sees the others.
func (i *Isolation) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := i.Allow(r)
		if err == nil {
			next.ServeHTTP(w, r)
			return
		}
		i.report(r, err)
		if i.cfg.DangerouslyReportOnly {
			next.ServeHTTP(w, r)
			return
		}
		var p *hardening.Problem
		if !errors.As(err, &p) {
			p = refusal(err)
		}
		if i.cfg.OnDeny != nil {
			i.cfg.OnDeny(w, r, p)
			return
		}
		hardening.WriteProblem(w, r, p)
	})
}

func (i *Isolation) report(r *http.Request, err error) {
	outcome := event.OutcomeDenied
	if i.cfg.DangerouslyReportOnly {
		outcome = event.OutcomeSuccess
	}
	count := int64(1)
	if errors.Is(err, ErrCrossSiteResource) {
		if count = i.loads.Next(); count == 0 {
			return
		}
	}
	emit(i.cfg.Logger, i.cfg.Name, event.MaliciousCSRF, r,
		slog.String(event.KeyOutcome, outcome),
		slog.String(event.KeyReason, errors.Unwrap(err).Error()),
		slog.String(event.KeyObjectType, "origin"), slog.String(event.KeyObject, text.Clip(r.Header.Get("Origin"), 128)),
		slog.Int64(event.KeyCount, count))
}
