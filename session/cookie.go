package session

import (
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/faults"
)

// Cookie is how the session cookie looks. It is always HttpOnly, Secure and
// Path=/ (ASVS v5.0.0-3.3.1 to 3.3.4). In hardening.Development only, and only
// towards a loopback host over plain HTTP, it goes without Secure and without
// its prefix, because such a host has no certificate.
type Cookie struct {
	// Name is the cookie's name without its prefix: "id", the default,
	// is sent as "__Host-id". A token of at most 64 bytes (RFC 6265).
	Name string
	// SameSite is http.SameSiteLaxMode (the default) or
	// http.SameSiteStrictMode.
	SameSite http.SameSite
	// DangerouslyDomain shares the cookie with this domain and all of its
	// subdomains, each of which can then read it and plant one. The prefix
	// becomes "__Secure-".
	DangerouslyDomain string
}

const (
	prefixHost   = "__Host-"
	prefixSecure = "__Secure-"
)

func (c Cookie) withDefaults() Cookie {
	if c.Name == "" {
		c.Name = "id"
	}
	if c.SameSite == 0 {
		c.SameSite = http.SameSiteLaxMode
	}
	return c
}

func (c Cookie) validate(f *faults.Collector) {
	if c.Name != "" {
		switch {
		case strings.HasPrefix(strings.ToLower(c.Name), "__"):
			f.Add("Cookie.Name", c.Name, "begins with two underscores, as prefixes do", "leave the prefix away; the room adds the right one")
		case len(c.Name) > 64 || !isToken(c.Name):
			f.Add("Cookie.Name", c.Name, "is not a token of at most 64 bytes (RFC 6265 section 4.1.1)", `use letters and digits, for example "id"`)
		}
	}
	switch c.SameSite {
	case 0, http.SameSiteLaxMode, http.SameSiteStrictMode:
	default:
		f.Add("Cookie.SameSite", int(c.SameSite), "lets other sites send the cookie, or leaves it to the browser", "use http.SameSiteLaxMode or http.SameSiteStrictMode")
	}
	if d := c.DangerouslyDomain; d != "" && !isDomain(d) {
		f.Add("Cookie.DangerouslyDomain", d, "is not a domain that a cookie can be shared with", `write two labels or more without port and leading dot, like "care.example", or leave it empty`)
	}
}

func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?={}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

func isDomain(s string) bool {
	if len(s) > 253 || !strings.Contains(s, ".") || net.ParseIP(s) != nil {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}

// cookieNames are the names under which one manager's cookie can travel.
type cookieNames struct {
	secure string // with its prefix
	plain  string // without; "" outside Development
}

func (c Cookie) names(env hardening.Environment) cookieNames {
	n := cookieNames{secure: prefixHost + c.Name}
	if c.DangerouslyDomain != "" {
		n.secure = prefixSecure + c.Name
	}
	if env == hardening.Development {
		n.plain = c.Name
	}
	return n
}

// of returns the name for this request.
func (n cookieNames) of(r *http.Request) (name string, secure bool) {
	if n.plain == "" {
		return n.secure, true
	}
	c := hardening.ClientOf(r)
	if c.Scheme == "https" || !loopback(c.Host) {
		return n.secure, true
	}
	return n.plain, false
}

func loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// maxCandidates is how many cookies of our name are looked at. A browser sends
// one; more than a few is someone planting them.
const maxCandidates = 4

// candidates collects the distinct values of cookies called name, without
// parsing the rest. ok is false if there are more than maxCandidates.
func candidates(h http.Header, name string, out *[maxCandidates]string) (n int, ok bool) {
	for _, line := range h["Cookie"] {
		for line != "" {
			part := line
			if i := strings.IndexByte(line, ';'); i >= 0 {
				part, line = line[:i], line[i+1:]
			} else {
				line = ""
			}
			part = strings.Trim(part, " \t")
			if len(part) <= len(name) || part[len(name)] != '=' || part[:len(name)] != name {
				continue
			}
			value := part[len(name)+1:]
			seen := false
			for _, v := range out[:n] {
				seen = seen || v == value
			}
			if seen {
				continue
			}
			if n == maxCandidates {
				return n, false
			}
			out[n] = value
			n++
		}
	}
	return n, true
}

// write puts the cookie into h, in place of any other of its name.
func (c Cookie) write(h http.Header, name string, secure bool, value string, maxAge int) {
	lines := h["Set-Cookie"]
	kept := lines[:0:0]
	for _, l := range lines {
		if !strings.HasPrefix(l, name+"=") {
			kept = append(kept, l)
		}
	}
	ck := http.Cookie{Name: name, Value: value, Path: "/", MaxAge: maxAge, Secure: secure, HttpOnly: true, SameSite: c.SameSite} // #nosec G124 -- New decides Secure and SameSite, and refuses weak combinations
	if secure {
		ck.Domain = c.DangerouslyDomain
	}
	h["Set-Cookie"] = append(kept, ck.String())
}

// maxAge is the life of the cookie in seconds, 0 for one that ends with the
// browser.
func (p Policy) maxAge(born, now time.Time) int {
	if !p.Persistent {
		return 0
	}
	left := born.Add(p.Absolute).Sub(now)
	return max(1, int((left+time.Second-1)/time.Second))
}
