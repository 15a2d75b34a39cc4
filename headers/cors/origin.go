package cors

import (
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// pattern is one origin of a Config.
type pattern struct {
	text     string // as configured
	scheme   string
	host     string // without "*."
	port     string // ":8443", or ""
	anySub   bool   // every subdomain of host
	anyPort  bool
	loopback bool
}

// maxOrigin is the longest origin there is: https, a name of 253 bytes, a port.
const maxOrigin = len("https://") + 253 + len(":65535")

// parsePattern reads an origin of a Config; an empty reason means it is sound.
// What passes is spelt as browsers spell it, so that equal bytes are equal
// origins and nothing has to be normalised per request.
func parsePattern(s string) (p pattern, reason, fix string) {
	const shape = `write it as browsers do, as in "https://app.example"`
	p.text = s
	if s == "null" {
		return p, "is the origin of sandboxed frames and local files, which anyone can make", "name the site's own origin"
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || scheme != "https" && scheme != "http" {
		return p, "does not begin with https:// or http://", shape
	}
	p.scheme = scheme
	if i := strings.IndexAny(rest, "/?#@\\ "); i >= 0 {
		return p, "has more than scheme, host and port", shape
	}
	p.host, p.port = rest, ""
	if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, ']') {
		p.host, p.port = rest[:i], rest[i:]
	}
	if p.port != "" {
		if p.port == ":*" {
			p.anyPort = true
		} else if n, err := strconv.ParseUint(p.port[1:], 10, 16); err != nil || n == 0 || p.port[1] == '0' {
			return p, "has no valid port", shape
		} else if scheme == "https" && n == 443 || scheme == "http" && n == 80 {
			return p, "names the scheme's own port, which browsers leave out", "write " + scheme + "://" + p.host
		}
	}
	p.host, p.anySub = strings.CutPrefix(p.host, "*.")
	if strings.Contains(p.host, "*") {
		return p, "has a wildcard elsewhere than in front of a dot, at the beginning", `write "https://*.example.com" for every subdomain`
	}
	if addr, ok := bracketed(p.host); ok {
		if p.anySub || addr.String() != p.host[1:len(p.host)-1] || addr.Is4In6() || addr.Zone() != "" {
			return p, "is an address that browsers do not write so", "write it in its shortest lower-case form: https://[" + addr.WithZone("").String() + "]"
		}
		p.loopback = addr.IsLoopback()
	} else if addr, err := netip.ParseAddr(p.host); err == nil {
		if !addr.Is4() || p.anySub {
			return p, "is an address that browsers do not write so", `write "https://192.0.2.1" or "https://[2001:db8::1]"`
		}
		p.loopback = addr.IsLoopback()
	} else {
		if strings.ToLower(p.host) != p.host {
			return p, "has capitals, which browsers do not send", "write it in lower case"
		}
		if !isHost(p.host) {
			return p, "has no valid host name", "write the name in ASCII (punycode), as in \"https://app.example\""
		}
		p.loopback = p.host == "localhost" && !p.anySub
	}
	if p.anyPort && !p.loopback {
		return p, "allows every port of a machine that others may use", "name the port; \":*\" is for localhost only"
	}
	return p, "", ""
}

func bracketed(host string) (netip.Addr, bool) {
	if len(host) < 2 || host[0] != '[' || host[len(host)-1] != ']' {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(host[1 : len(host)-1])
	return addr, err == nil && !addr.Is4()
}

// isHost reports whether s is a host name in lower case: labels of letters,
// digits, '-' and '_', and a last label that no browser takes for a number.
func isHost(s string) bool {
	return len(s) <= 253 && areLabels(s) && !isNumber(s[strings.LastIndexByte(s, '.')+1:])
}

func areLabels(s string) bool {
	if s == "" {
		return false
	}
	start := 0
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != '.' {
			if c := s[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
				return false
			}
			continue
		}
		if n := i - start; n == 0 || n > 63 || s[start] == '-' || s[i-1] == '-' {
			return false
		}
		if i < len(s) {
			start = i + 1
		}
	}
	return true
}

// isNumber reports whether browsers would read a last label as a part of an
// IPv4 address (URL standard, "ends in a number").
func isNumber(label string) bool {
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

// publicSuffix reports whether strangers register names below the wildcard:
// directly, or, where the list has a rule such as *.compute.amazonaws.com, one
// level further down.
func (p *pattern) publicSuffix() bool {
	if !p.anySub {
		return false
	}
	for _, name := range []string{p.host, "any." + p.host} {
		if suffix, _ := publicsuffix.PublicSuffix(name); suffix == name {
			return true
		}
	}
	return false
}

// origins is a set of patterns, ready to match.
type origins struct {
	exact   map[string]struct{}
	loose   []loose
	longest int
}

// loose is a pattern with a wildcard: what stands between head and tail varies.
type loose struct {
	head, tail string
	port       bool // a port varies, else a subdomain
	most       int  // bytes of a subdomain, so that the whole name is one
}

func newOrigins(patterns []pattern) origins {
	set := origins{exact: make(map[string]struct{}, len(patterns))}
	for _, p := range patterns {
		switch {
		case p.anySub:
			set.loose = append(set.loose, loose{head: p.scheme + "://", tail: "." + p.host + p.port, most: 253 - len(p.host) - 1})
		case p.anyPort:
			bare := p.scheme + "://" + p.host
			set.exact[bare] = struct{}{} // the scheme's own port is not written
			set.loose = append(set.loose, loose{head: bare + ":", port: true})
		default:
			set.exact[p.text] = struct{}{}
		}
		set.longest = max(set.longest, len(p.text))
	}
	if len(set.loose) > 0 {
		set.longest = maxOrigin
	}
	return set
}

// contain reports whether the value of an Origin header is allowed. The
// comparison is byte by byte, as RFC 6454 section 5 lets it be for what
// browsers write.
func (set *origins) contain(origin string) bool {
	if len(origin) > set.longest {
		return false
	}
	if _, ok := set.exact[origin]; ok {
		return true
	}
	for i := range set.loose {
		l := &set.loose[i]
		if len(origin) <= len(l.head)+len(l.tail) || !strings.HasPrefix(origin, l.head) || !strings.HasSuffix(origin, l.tail) {
			continue
		}
		varies := origin[len(l.head) : len(origin)-len(l.tail)]
		if l.port && isPort(varies) || !l.port && len(varies) <= l.most && areLabels(varies) {
			return true
		}
	}
	return false
}

func isPort(s string) bool {
	if len(s) > 5 || s[0] == '0' {
		return false
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n <= 65535
}
