package ratelimit

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"
)

// pattern is that of a [Route], taken apart. It means what net/http.ServeMux
// makes of it.
type pattern struct {
	method   string // "" is any; GET is HEAD too
	host     string // "" is any
	segments []segment
}

type segment struct {
	kind segmentKind
	text string // of a literal, without escapes
}

type segmentKind uint8

const (
	literal segmentKind = iota
	one                 // {name}: one segment, whatever it is
	slash               // {$}: the path ends with a slash here
	rest                // {name...} or a slash at the end: all that follows the slash
)

// parsePattern reads "[METHOD ][HOST]/path", or says what is wrong with it. It
// refuses more than a ServeMux does: what would match no request, or others than
// it seems to say.
func parsePattern(s string) (p pattern, reason, fix string) {
	where := s
	if method, after, found := strings.Cut(s, " "); found {
		if method != strings.ToUpper(method) {
			return p, "has a method that is not upper case, which no request has", "write " + strings.ToUpper(method) + " " + after
		}
		if method == "" || strings.ContainsFunc(method, func(c rune) bool { return (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' }) {
			return p, "begins with a word that is no method", `write it like "POST /login", and a space in a path as %20`
		}
		p.method, where = method, after
	}
	i := strings.IndexByte(where, '/')
	if i < 0 {
		return p, "has no path", `write it like "POST /login"`
	}
	if reason, fix := hostFault(where[:i]); reason != "" {
		return p, reason, fix
	}
	p.host = where[:i]
	path := where[i:]
	if strings.ContainsAny(path, "?#") {
		return p, "holds a '?' or '#', and a route is about the path only", "remove the query; in a path these characters are %3F and %23"
	}
	if strings.ContainsFunc(path, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		return p, "holds a space or a control character", "write a space in a path as %20"
	}
	if clean := cleanPath(path); clean != path {
		return p, "has a path that is not clean, at which no request is served", "write " + strings.TrimSuffix(s, path) + clean
	}
	seen := map[string]bool{}
	for path != "" {
		text, after := path[1:], ""
		if i := strings.IndexByte(text, '/'); i >= 0 {
			text, after = text[:i], text[i:]
		}
		sg, name, reason, fix := parseSegment(text)
		switch {
		case reason != "":
			return p, reason, fix
		case after != "" && (sg.kind == slash || sg.kind == rest):
			return p, fmt.Sprintf("has %s before its end", text), "let the path end there, or use {name} for one segment"
		case name != "" && seen[name]:
			return p, fmt.Sprintf("names two segments %q", name), "give each a name of its own"
		}
		seen[name] = true
		p.segments = append(p.segments, sg)
		path = after
	}
	return p, "", ""
}

// hostFault says what is wrong with the host of a pattern. A ServeMux compares
// it byte by byte with that of the request, less its port.
func hostFault(host string) (reason, fix string) {
	switch {
	case host == "":
		return "", ""
	case strings.Trim(host, " \t") != host:
		return "has not one space between its method and its path", "write one space after the method"
	case host != strings.ToLower(host):
		return "has a host that is not lower case, as clients send it", "write " + strings.ToLower(host)
	case strings.Contains(host, ":"):
		return "has a host with a port, which requests are matched without", "remove the port"
	case strings.ContainsFunc(host, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_'
	}):
		return "has a host that is none, " + host, "begin the path with a slash, or write the host in ASCII letters (punycode)"
	case host != "localhost" && !strings.Contains(host, "."):
		return "begins with a host of one word, " + host, "begin the path with a slash, or name the whole host"
	}
	return "", ""
}

// parseSegment reads what stands between two slashes. Names are only told apart.
func parseSegment(text string) (sg segment, name, reason, fix string) {
	switch {
	case text == "":
		return segment{kind: rest}, "", "", ""
	case text == "{$}":
		return segment{kind: slash}, "", "", ""
	case !strings.Contains(text, "{"):
		s, err := url.PathUnescape(text)
		if err != nil {
			return sg, "", "holds a % that begins no escape", "write it as %25"
		}
		if s == "/" { // to a ServeMux, that is {$}
			return sg, "", "has a segment that is an escaped slash", "remove it, or let the path end with {$}"
		}
		return segment{literal, s}, "", "", ""
	case text[0] != '{' || text[len(text)-1] != '}':
		return sg, "", "is not a pattern of net/http.ServeMux: " + text + " holds more than a wildcard", `write it like "GET /records/{id}"`
	}
	name, all := strings.CutSuffix(text[1:len(text)-1], "...")
	for i, c := range name {
		if !unicode.IsLetter(c) && c != '_' && (i == 0 || !unicode.IsDigit(c)) {
			name = ""
			break
		}
	}
	if name == "" {
		return sg, "", "is not a pattern of net/http.ServeMux: " + text + " has no name of letters and digits", `write it like "GET /records/{id}"`
	}
	if all {
		return segment{kind: rest}, name, "", ""
	}
	return segment{kind: one}, name, "", ""
}

// overlap compares what two patterns match: whether a request is matched by
// both, and which of them matches requests that the other does not.
func overlap(a, b *pattern) (both, more, less bool) {
	if a.host != b.host {
		return false, false, false // or the one with a host counts
	}
	switch {
	case a.method == b.method:
	case a.method == "", a.method == "GET" && b.method == "HEAD":
		more = true
	case b.method == "", b.method == "GET" && a.method == "HEAD":
		less = true
	default:
		return false, false, false
	}
	for i := 0; ; i++ {
		if i == len(a.segments) || i == len(b.segments) {
			return len(a.segments) == len(b.segments), more, less
		}
		x, y := a.segments[i], b.segments[i]
		switch {
		case x == y && x.kind == rest:
			return true, more, less
		case x == y:
		case x.kind == rest:
			return true, true, less
		case y.kind == rest:
			return true, more, true
		case x.kind == one && y.kind == literal:
			more = true
		case x.kind == literal && y.kind == one:
			less = true
		default:
			return false, false, false
		}
	}
}

// parseRoutes reads the pattern of every route. It calls fault for each one that
// has one, and for each of which it is unclear where it counts.
func parseRoutes(routes []Route, fault func(i int, reason, fix string)) []pattern {
	all := make([]pattern, len(routes))
	sound := make([]bool, len(routes))
	for i, r := range routes {
		p, reason, fix := parsePattern(r.Pattern)
		if reason != "" {
			fault(i, reason, fix)
			continue
		}
		all[i], sound[i] = p, true
		for j := range i {
			if !sound[j] {
				continue
			}
			both, more, less := overlap(&all[i], &all[j])
			if !both || more != less {
				continue
			}
			switch {
			case r.Pattern == routes[j].Pattern:
				fault(i, fmt.Sprintf("stands in Routes[%d] too", j), "put the limits of both into one route")
			case !more:
				fault(i, fmt.Sprintf("matches the same requests as Routes[%d] %q", j, routes[j].Pattern), "put the limits of both into one route")
			default:
				fault(i, fmt.Sprintf("overlaps Routes[%d] %q, and neither is more specific", j, routes[j].Pattern), "write one so that the other contains it, or merge them")
			}
			break
		}
	}
	return all
}
