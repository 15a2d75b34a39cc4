package headers

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/faults"
)

// RedirectConfig says where plain HTTP is sent.
type RedirectConfig struct {
	_ [0]func()

	// Hosts are the names this service answers to, lower case, without port.
	// Required: a redirect to whatever Host says is an open redirect.
	Hosts []string

	// Port is the port of the HTTPS listener. Default: 443, which URLs leave
	// out.
	Port int

	// API answers other methods than GET and HEAD with a 403 problem instead.
	// What they carried has crossed the network in the clear, and a client
	// that is silently sent on never learns it (ASVS v5.0.0-4.1.2).
	API bool

	// Next gets requests that already came over HTTPS, where one port serves
	// both behind a proxy. Default: such requests are refused with 421,
	// because redirecting them would never end.
	Next http.Handler

	// OnDeny answers refused requests. Default: hardening.WriteProblem.
	OnDeny func(http.ResponseWriter, *http.Request, *hardening.Problem)
}

// RedirectHTTPS returns a handler that sends plain HTTP to the same host over
// HTTPS with 308, or every fault of cfg at once as hardening.ConfigErrors. A
// host that is not listed gets a 421 problem. Wrap it with [Middleware.Wrap]
// so that its answers carry the headers too. It is safe for concurrent use.
func RedirectHTTPS(cfg RedirectConfig) (http.Handler, error) {
	f := faults.For("headers")
	validateHosts(cfg.Hosts, false, f)
	if cfg.Port < 0 || cfg.Port > 65535 {
		f.Add("Port", cfg.Port, "is not a port", "write 1 to 65535, or leave it zero for 443")
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	cfg.Hosts = slices.Clone(cfg.Hosts)
	rd := &redirect{cfg: cfg}
	if cfg.Port != 0 && cfg.Port != 443 {
		rd.suffix = ":" + strconv.Itoa(cfg.Port)
	}
	return rd, nil
}

type redirect struct {
	cfg    RedirectConfig
	suffix string // ":8443", or "" for the default port
}

func (rd *redirect) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	client := hardening.ClientOf(r)
	host := withoutPort(client.Host)
	secure := client.Scheme == "https"
	switch {
	case secure && rd.cfg.Next != nil:
		rd.cfg.Next.ServeHTTP(w, r)
		return
	case secure || !slices.Contains(rd.cfg.Hosts, host):
		rd.deny(w, r, misdirected())
		return
	case rd.cfg.API && r.Method != http.MethodGet && r.Method != http.MethodHead:
		rd.deny(w, r, &hardening.Problem{Status: http.StatusForbidden, Title: "HTTPS required",
			Detail: "The request was sent unencrypted. Use https, and replace any credentials that it carried."})
		return
	}
	// "OPTIONS *" and CONNECT have no path; without the slash the host would
	// run into what they have.
	path := r.URL.EscapedPath()
	if !strings.HasPrefix(path, "/") {
		path = "/"
	}
	target := "https://" + host + rd.suffix + path
	if r.URL.RawQuery != "" {
		target += "?" + escapeQuery(r.URL.RawQuery)
	}
	h := w.Header()
	h.Set("Location", target)
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusPermanentRedirect)
}

// escapeQuery writes what a URI cannot hold (RFC 3986 appendix A) in
// %-escapes: net/http takes any byte but controls and spaces in a query.
func escapeQuery(q string) string {
	var b strings.Builder
	for i := range len(q) {
		if c := q[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func (rd *redirect) deny(w http.ResponseWriter, r *http.Request, p *hardening.Problem) {
	if rd.cfg.OnDeny != nil {
		rd.cfg.OnDeny(w, r, p)
		return
	}
	hardening.WriteProblem(w, r, p)
}
