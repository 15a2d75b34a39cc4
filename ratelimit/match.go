package ratelimit

import (
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
)

// matcher finds the route of a request, the one whose pattern a net/http.ServeMux
// of the same patterns would find: a service that serves a request under a
// pattern has had it held against that pattern's limits. It is never changed
// after New.
type matcher struct {
	hosts map[string]methods // of the patterns that name a host; these come first
	any   methods            // of the others
}

// methods holds the paths of each method; "" is any.
type methods map[string]*node

// node is where a path has got to. A literal is more specific than {name}, and
// that than the rest, so that the first way to a leaf leads to the route.
type node struct {
	literals map[string]*node
	one      *node // after {name}
	rest     *leaf
	here     *leaf // of the pattern that ends here
	slash    *leaf // of the one that ends here with {$}
}

// leaf is the end of a pattern.
type leaf struct {
	route int // its index
	depth int // how many segments the pattern has
	rest  bool
}

func newMatcher(patterns []pattern) *matcher {
	m := &matcher{hosts: map[string]methods{}, any: methods{}}
	for i, p := range patterns {
		of := m.any
		if p.host != "" {
			if m.hosts[p.host] == nil {
				m.hosts[p.host] = methods{}
			}
			of = m.hosts[p.host]
		}
		if of[p.method] == nil {
			of[p.method] = &node{}
		}
		of[p.method].add(p.segments, &leaf{route: i, depth: len(p.segments), rest: p.segments[len(p.segments)-1].kind == rest})
	}
	return m
}

func (n *node) add(segments []segment, l *leaf) {
	for _, s := range segments {
		switch s.kind {
		case rest:
			n.rest = l
			return
		case slash:
			n.slash = l
			return
		case one:
			if n.one == nil {
				n.one = &node{}
			}
			n = n.one
		case literal:
			if n.literals == nil {
				n.literals = map[string]*node{}
			}
			if n.literals[s.text] == nil {
				n.literals[s.text] = &node{}
			}
			n = n.literals[s.text]
		}
	}
	n.here = l
}

// find returns the index of the route that the request matches, or -1. It is
// served there unless a ServeMux would only redirect it to where the route is:
// to the clean path, or to the path with a slash at its end. Such requests are
// held against the route too: a handler that is no ServeMux may serve them.
//
// The path is compared as it was sent, segment by segment and then without
// escapes, so that no %2F makes two segments of one. The path of a CONNECT is
// not cleaned, and its host keeps the port.
func (m *matcher) find(r *http.Request) (route int, served bool) {
	p := r.URL.EscapedPath()
	if r.Method == http.MethodConnect {
		if _, slashed := m.resolve(r.URL.Host, r.Method, p); slashed != nil {
			return slashed.route, false
		}
		return m.lookup(r.Host, r.Method, p, false).index(), true
	}
	host := r.Host
	if len(m.hosts) > 0 && strings.Contains(host, ":") {
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
	}
	clean := cleanPath(p)
	l, slashed := m.resolve(host, r.Method, clean)
	if slashed != nil {
		return slashed.route, false
	}
	return l.index(), clean == p
}

// resolve looks a path up. If no pattern matches it but one for whatever
// follows, and another matches exactly the path with a slash, it returns that
// one in slashed: a ServeMux redirects to it.
func (m *matcher) resolve(host, method, path string) (l, slashed *leaf) {
	l = m.lookup(host, method, path, false)
	if l != nil && !l.rest || path == "" || path[len(path)-1] == '/' {
		return l, nil
	}
	s := m.lookup(host, method, path, true)
	if s != nil && (!s.rest || s.depth == strings.Count(path, "/")+1) {
		return l, s
	}
	return l, nil
}

// lookup finds the most specific pattern: first of those that name the host,
// then of those that name none. With more, the path has a slash at its end that
// is not written there.
func (m *matcher) lookup(host, method, path string, more bool) *leaf {
	if host != "" {
		if l := m.hosts[host].find(method, path, more); l != nil {
			return l
		}
	}
	return m.any.find(method, path, more)
}

func (m methods) find(method, path string, more bool) *leaf {
	if l := m[method].find(path, more); l != nil {
		return l
	}
	if method == http.MethodHead {
		if l := m[http.MethodGet].find(path, more); l != nil {
			return l
		}
	}
	return m[""].find(path, more)
}

// find looks at no node twice, so that its work is bounded by the patterns,
// whatever the path.
func (n *node) find(path string, more bool) *leaf {
	switch {
	case n == nil:
		return nil
	case path == "" && more:
		path, more = "/", false
	case path == "":
		return n.here
	}
	text, after := path[1:], ""
	if i := strings.IndexByte(text, '/'); i >= 0 {
		text, after = text[:i], text[i:]
	}
	if strings.IndexByte(text, '%') >= 0 {
		if s, err := url.PathUnescape(text); err == nil {
			text = s
		}
	}
	// A segment that is one escaped slash is to a ServeMux like the end of the
	// path: {$} matches it, and {name} does not.
	if path == "/" || text == "/" {
		if n.slash != nil && after == "" && !more {
			return n.slash
		}
		return n.rest
	}
	if l := n.literals[text].find(after, more); l != nil {
		return l
	}
	if l := n.one.find(after, more); l != nil {
		return l
	}
	return n.rest
}

func (l *leaf) index() int {
	if l == nil {
		return -1
	}
	return l.route
}

// cleanPath is the path that a ServeMux redirects to, and serves: it begins with
// a slash and has no "//", "." and "..".
func cleanPath(p string) string {
	if p == "" || p[0] != '/' {
		p = "/" + p
	}
	if !strings.Contains(p, "//") && !strings.Contains(p, "/.") {
		return p
	}
	clean := path.Clean(p)
	if clean != "/" && p[len(p)-1] == '/' {
		clean += "/"
	}
	return clean
}

// readsPatterns reports whether the ServeMux of this process knows methods and
// wildcards. One under GODEBUG=httpmuxgo121=1 takes them for parts of a host or
// path, so that it would serve requests under other patterns than find finds.
func readsPatterns() bool {
	mux := http.NewServeMux()
	mux.Handle("GET /{a}", http.NotFoundHandler())
	_, pattern := mux.Handler(&http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/b"}})
	return pattern != ""
}
