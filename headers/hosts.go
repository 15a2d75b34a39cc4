package headers

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/faults"
	"github.com/inovy/hardening/internal/text"
)

// HostCheckConfig says which hosts this service answers for.
type HostCheckConfig struct {
	_ [0]func()

	// Name is the Component of findings and the instance of events. Default:
	// "hosts".
	Name string

	// Hosts are the names and addresses that requests may ask for, lower case,
	// without port: "app.example", "192.0.2.1", "2001:db8::1", or
	// "*.app.example" for every subdomain. Required: only you know them.
	Hosts []string

	// DangerouslyReportOnly lets everything through and only emits the event,
	// with outcome "success".
	DangerouslyReportOnly bool

	// Logger gets input_validation_fail events, at most one a minute. nil =
	// slog.Default() at the moment of the event.
	Logger *slog.Logger

	// OnDeny answers refused requests. Default: hardening.WriteProblem.
	OnDeny func(http.ResponseWriter, *http.Request, *hardening.Problem)
}

// HostCheck refuses requests for other hosts than ours with 421 (RFC 9110
// section 15.5.20): a Host header that anyone can choose must not end up in
// links, in mails or in the keys of caches, and another site's name that
// resolves to this machine (DNS rebinding) must not reach it. Every port passes,
// as long as it is one. It takes the host from hardening.ClientOf. It is immutable and safe for concurrent use.
type HostCheck struct {
	cfg     HostCheckConfig
	exact   map[string]bool
	domains []string // ".app.example"
	refused *event.Seldom
}

// NewHostCheck returns a HostCheck, or every fault of cfg at once as
// hardening.ConfigErrors.
func NewHostCheck(cfg HostCheckConfig) (*HostCheck, error) {
	if cfg.Name == "" {
		cfg.Name = "hosts"
	}
	cfg.Hosts = slices.Clone(cfg.Hosts)
	f := faults.For("headers")
	f.Name("Name", cfg.Name)
	validateHosts(cfg.Hosts, true, f)
	if err := f.Err(); err != nil {
		return nil, err
	}
	c := &HostCheck{cfg: cfg, exact: map[string]bool{}, refused: new(event.Seldom)}
	for _, h := range cfg.Hosts {
		if domain, ok := strings.CutPrefix(h, "*"); ok {
			c.domains = append(c.domains, domain)
		} else {
			c.exact[h] = true
		}
	}
	return c, nil
}

func validateHosts(hosts []string, wild bool, f *faults.Collector) {
	if len(hosts) == 0 {
		f.Missing("Hosts", "is empty", "list the names this service answers to: only you know them")
	}
	for i, h := range hosts {
		at, name, reason := fmt.Sprintf("Hosts[%d]", i), h, ""
		if wild {
			name, _ = strings.CutPrefix(h, "*.")
		}
		addr, err := netip.ParseAddr(name)
		switch {
		case wild && err == nil && name == h && addr.String() == h && addr.Zone() == "":
		case wild && err == nil:
			reason = "is no address in its shortest form"
		case wild && name != h && !strings.Contains(name, "."):
			reason = "allows a whole top-level domain"
		case wild && name != h && publicSuffix(name):
			reason = "allows a domain below which strangers register names"
		default:
			reason = hostFault(name)
		}
		if reason != "" {
			f.Add(at, h, reason, hostFix(h, wild))
		} else if slices.Contains(hosts[:i], h) {
			f.Add(at, h, "is listed twice", "keep one")
		}
	}
}

// hostFix proposes what was meant: a URL and a Host header are what people have
// at hand to copy from.
func hostFix(h string, wild bool) string {
	name := strings.ToLower(h)
	if _, rest, ok := strings.Cut(name, "://"); ok {
		name = rest
	}
	name, _, _ = strings.Cut(name, "/")
	name = strings.TrimSuffix(withoutPort(name), ".")
	base, isWild := strings.CutPrefix(name, "*.")
	addr, err := netip.ParseAddr(base)
	switch {
	case isWild && !wild:
		return "list each name: only one that is listed is ever redirected to"
	case isWild && err == nil, isWild && (!strings.Contains(base, ".") || publicSuffix(base)):
		return `list the names, or the domain that they share, as in "*.app.example"`
	case err == nil && addr.Zone() == "":
		return fmt.Sprintf("write %q", addr)
	case hostFault(base) == "" && name != h:
		return fmt.Sprintf("write %q", name)
	}
	return `write the name alone in lower case, as in "app.example"`
}

// withoutPort returns the name or address of a Host header, without brackets,
// or "" where what follows the colon is no port. net/http lets much through
// there, over HTTP/2 even slashes and quotes, and a handler that puts r.Host
// into a link would put them there too.
func withoutPort(host string) string {
	// Not net.SplitHostPort: its error, for every host without a port, allocates.
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') && (host[0] == '[' || strings.IndexByte(host, ':') == i) {
		if !isPort(host[i+1:]) {
			return ""
		}
		host = host[:i]
	}
	if len(host) > 2 && host[0] == '[' && host[len(host)-1] == ']' && strings.IndexByte(host, ':') > 0 { // brackets are for IPv6
		return host[1 : len(host)-1]
	}
	return host
}

// isPort reports whether s is empty (RFC 3986 section 3.2.3) or a number of at
// most 65535.
func isPort(s string) bool {
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' || i == 5 {
			return false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n <= 65535
}

// Allow decides about a request without answering it. Its error is a
// *hardening.Problem.
func (c *HostCheck) Allow(r *http.Request) error {
	host := withoutPort(hardening.ClientOf(r).Host)
	if c.exact[host] {
		return nil
	}
	for _, d := range c.domains {
		if sub, ok := strings.CutSuffix(host, d); ok && sub != "" && hostFault(host) == "" {
			return nil
		}
	}
	return misdirected()
}

func misdirected() *hardening.Problem {
	return &hardening.Problem{Status: http.StatusMisdirectedRequest, Detail: "This address does not serve the requested host."}
}

// Wrap answers requests for other hosts with a 421 problem and the event
// input_validation_fail; next sees the others.
func (c *HostCheck) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.Allow(r) == nil {
			next.ServeHTTP(w, r)
			return
		}
		c.report(r)
		switch {
		case c.cfg.DangerouslyReportOnly:
			next.ServeHTTP(w, r)
		case c.cfg.OnDeny != nil:
			c.cfg.OnDeny(w, r, misdirected())
		default:
			hardening.WriteProblem(w, r, misdirected())
		}
	})
}

func (c *HostCheck) report(r *http.Request) {
	n := c.refused.Next()
	if n == 0 {
		return
	}
	outcome := event.OutcomeDenied
	if c.cfg.DangerouslyReportOnly {
		outcome = event.OutcomeSuccess
	}
	emit(c.cfg.Logger, c.cfg.Name, event.InputValidationFail, r,
		slog.String(event.KeyOutcome, outcome), slog.String(event.KeyReason, "the host is not one of ours"),
		slog.String(event.KeyObjectType, "host"), slog.String(event.KeyObject, text.Clip(hardening.ClientOf(r).Host, 128)),
		slog.Int64(event.KeyCount, n))
}
