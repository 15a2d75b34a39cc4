package ratelimit

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// match is the pattern of the route that a request matches, or "". A ServeMux
// decides, so that no request is read otherwise than by a service's own. Most
// requests are about no route, and for these it is slow: they are told apart by
// their method and how their path begins.
func (l *Limiter) match(r *http.Request) string {
	if !l.mayMatch(r) {
		return ""
	}
	_, pattern := l.mux.Handler(r)
	return pattern
}

// mayMatch is false only for requests that the ServeMux finds no route for.
// What it reads otherwise than as the plain path, it may match.
func (l *Limiter) mayMatch(r *http.Request) bool {
	p := r.URL.Path
	if r.URL.RawPath != "" || r.Method == http.MethodConnect || p == "" || p[0] != '/' || strings.Contains(p, "//") || strings.Contains(p, "/.") {
		return true
	}
	for i := range l.begins {
		if b := &l.begins[i]; b.admits(r.Method) && b.starts(p) {
			return true
		}
	}
	return false
}

// beginning is how every request begins that a pattern can match: its method,
// if it names one, and what stands before the first wildcard or escape.
type beginning struct{ method, path string }

// admits reports whether a pattern with this method matches requests of that
// one. GET is HEAD too.
func (b *beginning) admits(method string) bool {
	return b.method == "" || b.method == method || b.method == http.MethodGet && method == http.MethodHead
}

// starts reports whether the path begins so, or is redirected to what does.
func (b *beginning) starts(path string) bool {
	n := len(b.path) - 1
	return strings.HasPrefix(path, b.path) || b.path[n] == '/' && path == b.path[:n]
}

// addBeginning adds a pattern's beginning, unless a shorter one is there.
func addBeginning(list []beginning, pattern string) []beginning {
	method, rest, found := strings.Cut(pattern, " ")
	if !found {
		method, rest = "", pattern
	}
	b := beginning{method, rest[strings.IndexByte(rest, '/'):]}
	if i := strings.IndexAny(b.path, "{%"); i >= 0 {
		b.path = b.path[:i]
	}
	covers := func(a, b beginning) bool {
		return (a.method == "" || a.method == b.method) && strings.HasPrefix(b.path, a.path)
	}
	if slices.ContainsFunc(list, func(have beginning) bool { return covers(have, b) }) {
		return list
	}
	list = slices.DeleteFunc(list, func(have beginning) bool { return covers(b, have) })
	return append(list, b)
}

// register adds a pattern to mux, or says what is wrong with it. ServeMux takes
// any token for a method and anything before a slash for a host, so that
// "post /login" would match nothing, ever.
func register(mux *http.ServeMux, before []Route, pattern string) (reason, fix string) {
	for i, r := range before {
		if r.Pattern == pattern {
			return fmt.Sprintf("stands in Routes[%d] too", i), "put the limits of both into one route"
		}
	}
	method, rest, found := strings.Cut(pattern, " ")
	if !found {
		method, rest = "", pattern
	}
	host, _, slash := strings.Cut(strings.TrimLeft(rest, " \t"), "/")
	switch {
	case method != strings.ToUpper(method):
		return "has a method that is not upper case, which no request has", "write " + strings.ToUpper(method) + " " + rest
	case !slash:
		return "has no path", `write it like "POST /login"`
	case host != "" && host != "localhost" && !strings.Contains(host, "."):
		return "begins with a host of one word, " + host, "begin the path with a slash, or name the whole host"
	}
	if !takes(http.NewServeMux(), pattern) {
		return "is not a pattern of net/http.ServeMux", `write it like "POST /login" or "GET /records/{id}"`
	}
	if takes(mux, pattern) {
		return "", ""
	}
	for i, r := range before {
		if alone := http.NewServeMux(); takes(alone, r.Pattern) && !takes(alone, pattern) {
			return fmt.Sprintf("overlaps Routes[%d] %q, and neither is more specific", i, r.Pattern), "write one so that the other contains it, or merge them"
		}
	}
	return "overlaps another route", "write one so that the other contains it"
}

// takes registers a pattern, unless mux refuses it, which it does by a panic.
func takes(mux *http.ServeMux, pattern string) (ok bool) {
	defer func() { ok = recover() == nil }()
	mux.Handle(pattern, routed{})
	return true
}

// routed is the handler of every route in Limiter.mux, which nobody calls: a
// ServeMux that finds another one has redirected the request.
type routed struct{}

func (routed) ServeHTTP(http.ResponseWriter, *http.Request) {}
