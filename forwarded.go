package hardening

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// peerAddr reads http.Request.RemoteAddr. Unix sockets ("@", "") and anything
// else that is not an address give the invalid Addr.
func peerAddr(remote string) netip.Addr {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		a, err := netip.ParseAddr(remote)
		if err != nil {
			return netip.Addr{}
		}
		return a.Unmap().WithZone("")
	}
	return ap.Addr().Unmap().WithZone("")
}

// parseHop reads one hop: an address, optionally with a port, IPv6 with or
// without brackets. "unknown" and obfuscated names (RFC 7239 section 6) are
// not addresses.
func parseHop(s string) (netip.Addr, bool) {
	if len(s) > 64 {
		return netip.Addr{}, false
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Unmap().WithZone(""), true
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		if a, err := netip.ParseAddr(s[1 : len(s)-1]); err == nil && a.Is6() {
			return a.Unmap().WithZone(""), true
		}
	}
	return netip.Addr{}, false
}

// forwardedElement is one forwarded-element of RFC 7239 section 4.
type forwardedElement struct{ node, proto, host string }

// parseForwarded reads all Forwarded lines as one list. A list that does not
// follow the grammar is not believed at all: a client that opens a quote can
// otherwise swallow the element a proxy appends.
func parseForwarded(lines []string) (els []forwardedElement, wellFormed bool) {
	if len(lines) == 0 {
		return nil, true
	}
	s := strings.Join(lines, ",")
	for {
		var el forwardedElement
		for {
			s = strings.TrimLeft(s, " \t")
			i := 0
			for i < len(s) && isToken(s[i]) {
				i++
			}
			if i == 0 || i == len(s) || s[i] != '=' {
				return nil, false
			}
			name := s[:i]
			var value string
			var ok bool
			if value, s, ok = forwardedValue(s[i+1:]); !ok {
				return nil, false
			}
			var dst *string
			switch strings.ToLower(name) {
			case "for":
				dst = &el.node
			case "proto":
				dst = &el.proto
			case "host":
				dst = &el.host
			}
			if dst != nil {
				if *dst != "" { // a parameter must not occur twice in an element
					return nil, false
				}
				*dst = value
			}
			s = strings.TrimLeft(s, " \t")
			if s == "" || s[0] == ',' {
				break
			}
			if s[0] != ';' {
				return nil, false
			}
			s = s[1:]
		}
		els = append(els, el)
		if s == "" {
			return els, true
		}
		s = s[1:]
	}
}

// forwardedValue reads a token or quoted-string and returns what follows it.
// Real proxies send addresses with colons and brackets unquoted; that is
// accepted, since no delimiter is among those bytes.
func forwardedValue(s string) (value, rest string, ok bool) {
	if s != "" && s[0] == '"' {
		var b strings.Builder
		for i := 1; i < len(s); i++ {
			switch c := s[i]; c {
			case '"':
				return b.String(), s[i+1:], true
			case '\\':
				i++
				if i == len(s) {
					return "", "", false
				}
				b.WriteByte(s[i])
			default:
				b.WriteByte(c)
			}
		}
		return "", "", false
	}
	i := 0
	for i < len(s) && (isToken(s[i]) || s[i] == ':' || s[i] == '[' || s[i] == ']') {
		i++
	}
	return s[:i], s[i:], i > 0
}

func isToken(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// lastListItem is the right-most element over all lines: the one that the
// nearest proxy wrote.
func lastListItem(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	last := lines[len(lines)-1]
	return strings.Trim(last[strings.LastIndexByte(last, ',')+1:], " \t")
}

// forwardedScheme answers "https" only if every header that speaks of the
// scheme says so, "http" if one says otherwise, and "" if none speaks.
func forwardedScheme(xProto string, els []forwardedElement, wellFormed bool) string {
	said := make([]string, 0, 2)
	if xProto != "" {
		said = append(said, xProto)
	}
	if !wellFormed {
		return "http"
	}
	if n := len(els); n > 0 && els[n-1].proto != "" {
		said = append(said, els[n-1].proto)
	}
	if len(said) == 0 {
		return ""
	}
	for _, s := range said {
		if !strings.EqualFold(s, "https") && !strings.EqualFold(s, "wss") {
			return "http"
		}
	}
	return "https"
}

// forwardedHost answers the forwarded host if the headers that name one agree
// and it is shaped like a host.
func forwardedHost(xHost []string, els []forwardedElement, wellFormed bool) string {
	if !wellFormed {
		return ""
	}
	host := lastListItem(xHost)
	if n := len(els); n > 0 && els[n-1].host != "" {
		if host != "" && !strings.EqualFold(host, els[n-1].host) {
			return ""
		}
		host = els[n-1].host
	}
	host = strings.ToLower(host)
	if len(host) > 255 || strings.ContainsFunc(host, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == ':' || c == '[' || c == ']')
	}) {
		return ""
	}
	return host
}

func hasForwarding(h http.Header) bool {
	return len(h["X-Forwarded-For"]) > 0 || len(h["Forwarded"]) > 0 || len(h["X-Forwarded-Proto"]) > 0
}

func validRequestID(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

// traceParent returns the header if it is the only one and valid by W3C Trace
// Context level 1, section 3.2; a version above 00 may carry more behind it,
// which is cut off.
func traceParent(h http.Header) string {
	v := h["Traceparent"]
	if len(v) != 1 || len(v[0]) < 55 || len(v[0]) > 256 {
		return ""
	}
	s := v[0]
	if s[2] != '-' || s[35] != '-' || s[52] != '-' || s[:2] == "ff" {
		return ""
	}
	if len(s) > 55 && (s[:2] == "00" || s[55] != '-') {
		return ""
	}
	for _, part := range []string{s[:2], s[3:35], s[36:52], s[53:55]} {
		if !lowerHex(part) {
			return ""
		}
	}
	if zeros(s[3:35]) || zeros(s[36:52]) {
		return ""
	}
	return s[:55]
}

func lowerHex(s string) bool {
	return !slices.ContainsFunc([]byte(s), func(c byte) bool {
		return !('0' <= c && c <= '9' || 'a' <= c && c <= 'f')
	})
}

func zeros(s string) bool { return strings.Trim(s, "0") == "" }
