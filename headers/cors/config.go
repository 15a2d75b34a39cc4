package cors

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/faults"
)

// Config says which sites may read answers. Origins is required; everything
// else may be left zero.
type Config struct {
	_ [0]func()

	// Name is the Component of findings and the instance of events. Default:
	// "cors".
	Name string

	// Origins are the sites whose scripts may read answers, exactly as browsers
	// write them: "https://app.example", "https://app.example:8443",
	// "https://[2001:db8::1]". "https://*.example.com" stands for every
	// subdomain at any depth, and not for example.com. "http://localhost:*"
	// stands for every port, on this machine only. "*" alone stands for every
	// site, and excludes Credentials. Required: only you know them.
	Origins []string

	// Credentials lets requests carry cookies, client certificates and HTTP
	// authentication. Default: they do not.
	Credentials bool

	// Methods are those that preflights may ask for beside GET, HEAD and POST,
	// which need no leave. "*" alone stands for all, without Credentials.
	// Default: none.
	Methods []string

	// RequestHeaders are those that scripts may set beside the few that need
	// no leave. "*" stands for all but Authorization, without Credentials.
	// Default: none.
	RequestHeaders []string

	// ResponseHeaders are those that scripts may read beside the few that need
	// no leave. "*" alone stands for all, without Credentials. Default: none.
	ResponseHeaders []string

	// MaxAge is how long browsers remember a preflight's answer, in whole
	// seconds, at most 24 hours, which is where browsers cut it. Default: 10
	// minutes.
	MaxAge time.Duration

	// PreflightStatus answers successful preflights, 200 to 299. Default: 204.
	PreflightStatus int

	// DangerouslyAllowInsecureOrigins accepts http origins beside Credentials:
	// whoever sits on that site's network reads the answers. Origins on this
	// machine need no leave.
	DangerouslyAllowInsecureOrigins bool

	// DangerouslyAllowPublicSuffixes accepts a wildcard directly below a public
	// suffix such as co.uk or github.io, where strangers register names.
	DangerouslyAllowPublicSuffixes bool

	// DangerouslyReportOnly answers what would be refused as if it were
	// allowed, but never with credentials, and emits the event with outcome
	// "success".
	DangerouslyReportOnly bool

	// DangerouslyDebug answers a refused preflight with success and the headers
	// of those steps that passed, so that the browser's console says which one
	// did not; and emits an event for each refusal. It tells strangers with an
	// allowed origin what is allowed.
	DangerouslyDebug bool

	// Logger gets malicious_cors events, at most one a minute. nil =
	// slog.Default() at the moment of the event.
	Logger *slog.Logger

	// OnDeny answers refused preflights. Default: status 403 and no body,
	// because browsers show it to nobody.
	OnDeny func(http.ResponseWriter, *http.Request, *hardening.Problem)
}

const maxAgeLimit = 24 * time.Hour // Firefox's cap, the longest of all browsers

func (c *Config) resolve() {
	if c.Name == "" {
		c.Name = "cors"
	}
	if c.MaxAge == 0 {
		c.MaxAge = 10 * time.Minute
	}
	if c.PreflightStatus == 0 {
		c.PreflightStatus = http.StatusNoContent
	}
	c.Origins, c.Methods = slices.Clone(c.Origins), slices.Clone(c.Methods)
	c.RequestHeaders, c.ResponseHeaders = slices.Clone(c.RequestHeaders), slices.Clone(c.ResponseHeaders)
}

// validate returns the origins, parsed.
func (c *Config) validate(f *faults.Collector) []pattern {
	f.Name("Name", c.Name)
	patterns := c.validateOrigins(f)
	c.validateMethods(f)
	c.validateHeaders("RequestHeaders", c.RequestHeaders, forbiddenRequest, f)
	c.validateHeaders("ResponseHeaders", c.ResponseHeaders, forbiddenResponse, f)
	switch {
	case c.MaxAge < 0:
		f.Add("MaxAge", c.MaxAge, "is negative", "set at least 1s, or leave it zero for 10m")
	case c.MaxAge > maxAgeLimit:
		f.Add("MaxAge", c.MaxAge, "is longer than any browser remembers", "set at most 24h")
	case c.MaxAge%time.Second != 0:
		f.Add("MaxAge", c.MaxAge, "is not a number of whole seconds", "round it")
	}
	if c.PreflightStatus < 200 || c.PreflightStatus > 299 {
		f.Add("PreflightStatus", c.PreflightStatus, "is no success, and browsers take it for a refusal", "leave it zero for 204")
	}
	return patterns
}

func (c *Config) validateOrigins(f *faults.Collector) []pattern {
	if len(c.Origins) == 0 {
		f.Missing("Origins", "is empty", `list the sites that may read answers, as in "https://app.example": only you know them`)
		return nil
	}
	var patterns []pattern
	insecure, suffix := false, false
	for i, o := range c.Origins {
		at := fmt.Sprintf("Origins[%d]", i)
		if slices.Contains(c.Origins[:i], o) {
			f.Add(at, o, "is listed twice", "keep one")
			continue
		}
		if o == "*" {
			if len(c.Origins) > 1 {
				f.Add(at, o, "makes the other origins meaningless", `write "*" alone, or drop it`)
			}
			if c.Credentials {
				f.Add(at, o, "lets every site act as the user, which browsers refuse", "name the origins, or drop Credentials")
			}
			continue
		}
		p, reason, fix := parsePattern(o)
		if reason != "" {
			f.Add(at, o, reason, fix)
			continue
		}
		if c.Credentials && p.scheme == "http" && !p.loopback {
			insecure = true
			if !c.DangerouslyAllowInsecureOrigins {
				f.Add(at, o, "is not encrypted: whoever sits on its network acts as the user", "write it with https, or set DangerouslyAllowInsecureOrigins")
			}
		}
		if p.publicSuffix() {
			suffix = true
			if !c.DangerouslyAllowPublicSuffixes {
				f.Add(at, o, "is a wildcard below a public suffix, where strangers register names", "name the origins, or set DangerouslyAllowPublicSuffixes")
			}
		}
		patterns = append(patterns, p)
	}
	if c.DangerouslyAllowInsecureOrigins && !insecure {
		f.Add("DangerouslyAllowInsecureOrigins", true, "is set although no origin needs it", "drop it")
	}
	if c.DangerouslyAllowPublicSuffixes && !suffix {
		f.Add("DangerouslyAllowPublicSuffixes", true, "is set although no origin needs it", "drop it")
	}
	return patterns
}

// ordinary are the methods that people write in the wrong case.
var ordinary = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

func (c *Config) validateMethods(f *faults.Collector) {
	c.validateList("Methods", c.Methods, f)
	for i, m := range c.Methods {
		at := fmt.Sprintf("Methods[%d]", i)
		upper := strings.ToUpper(m)
		switch {
		case m == "*":
		case !isToken(m):
			f.Add(at, m, "is not a method", `write it as in "PUT"`)
		case upper == "CONNECT" || upper == "TRACE" || upper == "TRACK":
			f.Add(at, m, "is a method that browsers never send", "drop it")
		case m != upper && slices.Contains(ordinary, upper):
			f.Add(at, m, "never matches: methods are compared byte by byte", fmt.Sprintf("write %q", upper))
		}
	}
}

// validateList finds what is wrong with a list that may hold "*".
func (c *Config) validateList(field string, list []string, f *faults.Collector) {
	if list != nil && len(list) == 0 {
		f.Missing(field, "is empty but not nil", "leave it nil")
	}
	seen := map[string]bool{}
	for i, v := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		key := v
		if field != "Methods" {
			key = strings.ToLower(v)
		}
		if seen[key] {
			f.Add(at, v, "is listed twice", "keep one")
		}
		seen[key] = true
		if v != "*" {
			continue
		}
		if c.Credentials {
			f.Add(at, v, "means nothing to browsers where Credentials is set, or everything to us", "name them, or drop Credentials")
		}
		for _, other := range list {
			if other != v && (field != "RequestHeaders" || !strings.EqualFold(other, "Authorization")) {
				f.Add(at, v, "makes the others meaningless", `write "*" alone (and "Authorization" in RequestHeaders, which it does not cover), or drop it`)
				break
			}
		}
	}
}

func (c *Config) validateHeaders(field string, list []string, forbidden func(string) string, f *faults.Collector) {
	c.validateList(field, list, f)
	for i, h := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		switch {
		case h == "*":
		case !isToken(h) || len(h) > maxHeaderName:
			f.Add(at, h, "is not a header name", `write it as in "Content-Type"`)
		default:
			if reason := forbidden(strings.ToLower(h)); reason != "" {
				f.Add(at, h, reason, "drop it")
			}
		}
	}
}

// maxHeaderName bounds the names that we look up.
const maxHeaderName = 128

// never are the headers that scripts cannot set (Fetch, section 2.2.2).
var never = []string{
	"accept-charset", "accept-encoding", "access-control-request-headers", "access-control-request-method",
	"connection", "content-length", "cookie", "cookie2", "date", "dnt", "expect", "host", "keep-alive", "origin",
	"referer", "set-cookie", "te", "trailer", "transfer-encoding", "upgrade", "via",
}

func forbiddenRequest(name string) string {
	switch {
	case slices.Contains(never, name), strings.HasPrefix(name, "proxy-"), strings.HasPrefix(name, "sec-"):
		return "is a header that browsers do not let scripts set"
	case strings.HasPrefix(name, "access-control-"):
		return "belongs to CORS itself"
	}
	return ""
}

func forbiddenResponse(name string) string {
	switch {
	case name == "set-cookie", name == "set-cookie2":
		return "is a header that browsers do not let scripts read"
	case strings.HasPrefix(name, "access-control-"):
		return "belongs to CORS itself"
	}
	return ""
}

// isToken reports whether s is a token of RFC 9110 section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}
