package cors

import (
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/faults"
	"github.com/inovy/hardening/internal/text"
)

// CORS answers preflights and marks answers as readable. It is immutable and
// safe for concurrent use.
type CORS struct {
	cfg      Config
	any      bool // every origin
	origins  origins
	methods  map[string]struct{}
	headers  map[string]struct{} // in lower case
	longest  int                 // bytes of the longest name in headers
	allMeth  bool
	allHead  bool // but Authorization, unless it is in headers
	patterns []pattern

	allowMethods, allowHeaders, exposed, maxAge string

	vary   slab // values of Vary where nothing else is allocated
	refuse event.Seldom
}

// The names are canonical: they index the map directly.
const (
	hOrigin  = "Origin"
	hVary    = "Vary"
	hMethod  = "Access-Control-Request-Method"
	hHeaders = "Access-Control-Request-Headers"

	hAllowOrigin  = "Access-Control-Allow-Origin"
	hCredentials  = "Access-Control-Allow-Credentials" // #nosec G101 -- the name of a header
	hAllowMethods = "Access-Control-Allow-Methods"
	hAllowHeaders = "Access-Control-Allow-Headers"
	hMaxAge       = "Access-Control-Max-Age"
	hExpose       = "Access-Control-Expose-Headers"
)

// A preflight's answer depends on all three. OPTIONS is not cacheable (RFC
// 9110 section 9.3.7), but content delivery networks were seen to cache it.
const preflightVary = hHeaders + ", " + hMethod + ", " + hOrigin

// New returns a CORS, or every fault of cfg at once as
// hardening.ConfigErrors.
func New(cfg Config) (*CORS, error) {
	cfg.resolve()
	f := faults.For("cors")
	patterns := cfg.validate(f)
	if err := f.Err(); err != nil {
		return nil, err
	}
	c := &CORS{
		cfg: cfg, any: cfg.Origins[0] == "*", origins: newOrigins(patterns), patterns: patterns,
		methods: map[string]struct{}{}, headers: map[string]struct{}{},
		allowMethods: strings.Join(cfg.Methods, ","), allowHeaders: strings.ToLower(strings.Join(cfg.RequestHeaders, ",")),
		exposed: strings.Join(cfg.ResponseHeaders, ","), maxAge: strconv.FormatInt(int64(cfg.MaxAge/time.Second), 10),
	}
	for _, m := range cfg.Methods {
		c.allMeth = c.allMeth || m == "*"
		c.methods[m] = struct{}{}
	}
	for _, m := range []string{"GET", "HEAD", "POST"} { // need no leave (Fetch, section 2.2.1)
		c.methods[m] = struct{}{}
	}
	for _, h := range cfg.RequestHeaders {
		c.allHead = c.allHead || h == "*"
		c.headers[strings.ToLower(h)] = struct{}{}
		c.longest = max(c.longest, len(h))
	}
	return c, nil
}

// Wrap answers preflights itself. Every other request reaches next: with the
// headers that let the origin read the answer, if it is allowed, and with none
// of them otherwise. Answers that depend on the origin say so in Vary.
func (c *CORS) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header[hOrigin]
		if r.Method == http.MethodOptions && len(origin) > 0 {
			if method := r.Header[hMethod]; len(method) > 0 {
				c.preflight(w, r, origin, method)
				return
			}
		}
		c.actual(w, r, origin)
		next.ServeHTTP(w, r)
	})
}

// values is the memory of one answer's headers. Each header gets a slice of
// its own part, cut so that an append cannot reach the next one; what a
// handler writes into it dies with the request.
type values []string

func (v values) set(h http.Header, i int, key, value string) {
	v[i] = value
	h[key] = v[i : i+1 : i+1]
}

func (c *CORS) actual(w http.ResponseWriter, r *http.Request, origin []string) {
	h := w.Header()
	if c.any { // also without Origin, because a cache may keep the answer for a page of another site
		c.share(h, "*", false)
		return
	}
	allowed, anonymous := c.allows(origin)
	if !allowed {
		c.addVary(h, hOrigin)
		if len(origin) > 0 && !sameOrigin(r, origin) {
			c.report(r, origin, "the origin is not allowed", event.OutcomeDenied)
		}
		return
	}
	if anonymous {
		c.report(r, origin, "the origin is not allowed", event.OutcomeSuccess)
	}
	c.share(h, origin[0], anonymous)
}

// share lets origin read the answer.
func (c *CORS) share(h http.Header, origin string, anonymous bool) {
	v := values(new([4]string)[:])
	c.grant(h, v, origin, hOrigin, anonymous)
	if c.exposed != "" {
		v.set(h, 2, hExpose, c.exposed)
	}
}

// allows decides about an origin. anonymous means that it is let in for want
// of enforcement, and never with credentials.
func (c *CORS) allows(origin []string) (allowed, anonymous bool) {
	switch {
	case len(origin) != 1:
		return false, false // no browser sends two
	case c.any, c.origins.contain(origin[0]):
		return true, false
	}
	return c.cfg.DangerouslyReportOnly && len(origin[0]) <= maxOrigin, true
}

// grant sets the headers that name the origin, in parts 0, 1 and the last of v.
func (c *CORS) grant(h http.Header, v values, origin, vary string, anonymous bool) {
	if c.any {
		v.set(h, 0, hAllowOrigin, "*")
		if vary != hOrigin {
			setVary(h, v[len(v)-1:], vary)
		}
		return
	}
	v.set(h, 0, hAllowOrigin, origin)
	if c.cfg.Credentials && !anonymous {
		v.set(h, 1, hCredentials, "true")
	}
	setVary(h, v[len(v)-1:], vary)
}

// setVary adds to what other layers have put there.
func setVary(h http.Header, memory []string, value string) {
	if others := h[hVary]; len(others) > 0 {
		h[hVary] = append(others[:len(others):len(others)], value)
		return
	}
	memory[0] = value
	h[hVary] = memory[:1:1]
}

func (c *CORS) addVary(h http.Header, value string) {
	if len(h[hVary]) > 0 {
		setVary(h, nil, value)
		return
	}
	setVary(h, c.vary.next(), value)
}

func (c *CORS) preflight(w http.ResponseWriter, r *http.Request, origin, method []string) {
	h := w.Header()
	allowed, anonymous := c.allows(origin)
	if !allowed {
		c.refusePreflight(w, r, origin, "the origin is not allowed")
		return
	}
	reason := ""
	okMethod := len(method) == 1 && c.allowsMethod(method[0])
	okHeaders := c.allowsHeaders(r.Header[hHeaders])
	switch {
	case anonymous:
		reason = "the origin is not allowed"
	case !okMethod:
		reason = "the method is not allowed"
	case !okHeaders:
		reason = "a header is not allowed"
	}
	if reason != "" && !c.cfg.DangerouslyReportOnly && !c.cfg.DangerouslyDebug {
		c.refusePreflight(w, r, origin, reason)
		return
	}
	v := values(new([6]string)[:])
	c.grant(h, v, origin[0], preflightVary, reason != "" && c.cfg.DangerouslyReportOnly)
	methods, headers := c.allowMethods, c.allowHeaders
	outcome := event.OutcomeDenied
	if reason != "" && c.cfg.DangerouslyReportOnly {
		outcome = event.OutcomeSuccess
		if !okMethod && len(method) == 1 && isToken(method[0]) {
			methods = method[0]
		}
		if asked := strings.Join(r.Header[hHeaders], ","); !okHeaders && len(asked) <= maxAsked && areNames(asked) {
			headers = asked
		}
	}
	if reason != "" {
		c.report(r, origin, reason, outcome)
	}
	if methods != "" {
		v.set(h, 2, hAllowMethods, methods)
	}
	if headers != "" {
		v.set(h, 3, hAllowHeaders, headers)
	}
	if reason == "" { // what is let through for once must not be remembered
		v.set(h, 4, hMaxAge, c.maxAge)
	}
	w.WriteHeader(c.cfg.PreflightStatus)
}

func (c *CORS) refusePreflight(w http.ResponseWriter, r *http.Request, origin []string, reason string) {
	c.addVary(w.Header(), preflightVary)
	c.report(r, origin, reason, event.OutcomeDenied)
	switch {
	case c.cfg.DangerouslyDebug:
		w.WriteHeader(c.cfg.PreflightStatus) // without Access-Control-Allow-Origin it is a refusal
	case c.cfg.OnDeny != nil:
		c.cfg.OnDeny(w, r, &hardening.Problem{Status: http.StatusForbidden, Title: "Cross-origin request refused", Detail: "This service does not share with that site."})
	default:
		w.WriteHeader(http.StatusForbidden)
	}
}

func (c *CORS) allowsMethod(method string) bool {
	if _, ok := c.methods[method]; ok {
		return true
	}
	return c.allMeth && isToken(method)
}

// maxAsked bounds what a preflight may ask for, in bytes over all lines; 16
// empty elements are what RFC 9110 section 5.6.1.2 calls a reasonable number.
const (
	maxAsked = 8 << 10
	maxEmpty = 16
)

// allowsHeaders reads a list as browsers write it, and as intermediaries
// leave it: split over lines, with spaces, in any case, with empty elements.
func (c *CORS) allowsHeaders(lines []string) bool {
	empty, bytes := 0, 0
	for _, line := range lines {
		if bytes += len(line); bytes > maxAsked {
			return false
		}
		for line != "" {
			name := line
			if i := strings.IndexByte(line, ','); i >= 0 {
				name, line = line[:i], line[i+1:]
			} else {
				line = ""
			}
			name = strings.Trim(name, " \t")
			if name == "" {
				if empty++; empty > maxEmpty {
					return false
				}
				continue
			}
			if !c.allowsHeader(name) {
				return false
			}
		}
	}
	return true
}

func (c *CORS) allowsHeader(name string) bool {
	if c.allHead {
		if len(name) > maxHeaderName || !isToken(name) {
			return false
		}
		if !strings.EqualFold(name, "Authorization") {
			return true
		}
	}
	if len(name) > c.longest {
		return false
	}
	var buf [maxHeaderName]byte
	for i := range len(name) {
		b := name[i]
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		buf[i] = b
	}
	_, ok := c.headers[string(buf[:len(name)])]
	return ok
}

// areNames reports whether s may be sent back as a list of header names.
func areNames(s string) bool {
	for name := range strings.SplitSeq(s, ",") {
		if name = strings.Trim(name, " \t"); name != "" && !isToken(name) {
			return false
		}
	}
	return s != ""
}

// sameOrigin reports whether a page of this host sent the request: browsers
// add Origin to its own POSTs too.
func sameOrigin(r *http.Request, origin []string) bool {
	if site := r.Header["Sec-Fetch-Site"]; len(site) > 0 {
		return site[0] == "same-origin" || site[0] == "none"
	}
	_, host, _ := strings.Cut(origin[0], "://")
	return strings.EqualFold(host, r.Host)
}

func (c *CORS) report(r *http.Request, origin []string, reason, outcome string) {
	n := int64(1)
	if !c.cfg.DangerouslyDebug {
		if n = c.refuse.Next(); n == 0 {
			return
		}
	}
	client := hardening.ClientOf(r)
	attrs := []slog.Attr{
		slog.String(event.KeyOutcome, outcome), slog.String(event.KeyReason, reason),
		slog.String(event.KeyObjectType, "origin"), slog.String(event.KeyObject, text.Clip(strings.Join(origin, " "), 128)),
		slog.Int64(event.KeyCount, n),
	}
	sink := event.Sink{Logger: c.cfg.Logger, Room: "cors", Name: c.cfg.Name}
	_ = sink.Emit(r.Context(), event.MaliciousCORS, event.AppendClient(attrs, client.Addr, client.RequestID, client.TraceParent)...) // without Audit it has no error
}
