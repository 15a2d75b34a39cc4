package headers

import (
	"cmp"
	"fmt"
	"html"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/inovy/hardening"
)

// AuditPage is [Audit] of a response whose body is at hand: it also judges
// whether scripts and style sheets of other hosts carry the hash that they must
// have (Subresource Integrity, ASVS v5.0.0-3.6.1), and the Observatory's score
// counts it. A page that is no HTML has neither.
func AuditPage(res *http.Response, page []byte) []hardening.Finding {
	a := auditHeaders(res, ObservatoryPageScore(res, page))
	a.integrity(loads(res, page))
	return a.findings
}

// ObservatoryPageScore is [ObservatoryScore] of a response whose body is at
// hand: 5 more where a script has an integrity attribute and none is amiss, and
// 5, 20 or 50 less for scripts of other sites without it or over HTTP. Which
// hosts are one site it tells by the common registries only, not by the whole
// Public Suffix List. The most that can be reached here is 145; what answers no
// HTML reaches 140.
func ObservatoryPageScore(res *http.Response, page []byte) int {
	return observatory(res, scoreIntegrity(res, page))
}

// load is a script or style sheet that a page loads.
type load struct {
	script    bool
	src       string // resolved against the page's <base>; "" for inline scripts
	integrity string
}

var htmlTypes = []string{"text/html", "application/xhtml+xml"}

func mediaType(res *http.Response) string {
	s, _ := joined(res, "Content-Type")
	s, _, _ = strings.Cut(s, ";")
	return s
}

// loads returns what an HTML page loads, and nil for other types.
func loads(res *http.Response, page []byte) []load {
	if !slices.Contains(htmlTypes, strings.ToLower(strings.TrimSpace(mediaType(res)))) {
		return nil
	}
	var out []load
	base := ""
	hidden := 0 // depth of <template>, whose content is inert
	for t := range tags(string(page)) {
		switch {
		case t.name == "template" && t.end:
			hidden = max(hidden-1, 0)
		case t.name == "template":
			hidden++
		case t.end || hidden > 0:
		case t.name == "base" && base == "" && t.attrs["href"] != "":
			base = absolute(t.attrs["href"])
		case t.name == "script":
			out = append(out, load{true, resolve(base, t.attrs["src"]), t.attrs["integrity"]})
		case t.name == "link" && slices.Contains(strings.Fields(strings.ToLower(t.attrs["rel"])), "stylesheet") && t.attrs["href"] != "":
			out = append(out, load{false, resolve(base, t.attrs["href"]), t.attrs["integrity"]})
		}
	}
	return out
}

// absolute writes an http or https URL as browsers do (URL standard: spaces
// around it and line breaks within do not count, a backslash is a slash, and
// how many there are does not matter), or returns "".
func absolute(s string) string {
	s = trimURL(s)
	scheme, rest, ok := strings.Cut(s, ":")
	if scheme = strings.ToLower(scheme); !ok || scheme != "http" && scheme != "https" {
		return ""
	}
	host := strings.TrimLeft(rest, `/\`)
	if end := strings.IndexAny(host, `/\?#`); end >= 0 {
		return scheme + "://" + strings.ToLower(host[:end]) + host[end:]
	}
	return scheme + "://" + strings.ToLower(host)
}

func resolve(base, src string) string {
	if full := absolute(src); full != "" || src == "" || base == "" {
		return cmp.Or(full, src)
	}
	trimmed := trimURL(src)
	if namesHost(trimmed) {
		scheme, _, _ := strings.Cut(base, ":")
		return absolute(scheme + ":" + trimmed)
	}
	from, err := url.Parse(base)
	to, err2 := url.Parse(trimmed)
	if err != nil || err2 != nil {
		return src
	}
	return from.ResolveReference(to).String()
}

// trimURL removes what browsers overlook in a URL (URL standard, section 4.4).
func trimURL(s string) string {
	return strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(strings.TrimFunc(s, func(r rune) bool { return r <= ' ' }))
}

// namesHost reports whether a URL without scheme begins with a host.
func namesHost(s string) bool {
	return len(s) > 1 && strings.IndexByte(`/\`, s[0]) >= 0 && strings.IndexByte(`/\`, s[1]) >= 0
}

// isForeign reports whether a browser that shows the page loads src from
// another host.
func isForeign(res *http.Response, src string) bool {
	src = trimURL(src)
	_, rest, _ := strings.Cut(absolute(src), "://")
	if rest == "" {
		if !namesHost(src) {
			return false
		}
		rest = strings.ToLower(strings.TrimLeft(src, `/\`))
	}
	if end := strings.IndexAny(rest, `/\?#`); end >= 0 {
		rest = rest[:end]
	}
	return rest != pageHost(res)
}

// pageHost is the host, with its port, that the response was asked of.
func pageHost(res *http.Response) string {
	switch {
	case res.Request == nil:
		return ""
	case res.Request.URL != nil && res.Request.URL.Host != "":
		return strings.ToLower(res.Request.URL.Host)
	}
	return strings.ToLower(res.Request.Host)
}

func hasHash(integrity string) bool {
	return slices.ContainsFunc(strings.Fields(integrity), func(s string) bool {
		algorithm, hash, _ := strings.Cut(s, "-")
		return len(hash) >= 43 && slices.Contains([]string{"sha256", "sha384", "sha512"}, strings.ToLower(algorithm))
	})
}

func (a *audit) integrity(page []load) {
	var loose []string
	for _, l := range page {
		if isForeign(a.res, l.src) && (!strings.HasPrefix(l.src, "https://") || !hasHash(l.integrity)) {
			loose = append(loose, clip(l.src))
		}
	}
	a.add("HDN-HEADERS-128", hardening.Medium, len(loose) == 0, "Scripts and styles of other hosts are those that were reviewed",
		fmt.Sprintf("without integrity or https: %q", loose), "without integrity or https: []",
		"serve them yourself, or give the tag https:// and the integrity attribute (headers.SRI)", implements(hardening.ASVS, "v5.0.0-3.6.1"))
}

// scoreIntegrity is the Observatory's rule "subresource-integrity", its order
// of results included, in which 5 points less outweigh 20.
func scoreIntegrity(res *http.Response, page []byte) int {
	if !slices.Contains(htmlTypes, mediaType(res)) {
		return 0 // "TEXT/HTML" and "text/html ;" too: the judge compares bytes
	}
	const none, signedInClear, unsigned, unsignedInClear = 0, -20, -5, -50
	grave := func(penalty int) int { // the judge's order, which is not that of its numbers
		return slices.Index([]int{none, signedInClear, unsigned, unsignedInClear}, penalty)
	}
	worst, bonus := none, false
	note := func(penalty int) {
		if grave(penalty) > grave(worst) {
			worst = penalty
		}
	}
	for _, l := range loads(res, page) {
		if !l.script || l.src == "" {
			continue
		}
		full := strings.HasPrefix(l.src, "http://") || strings.HasPrefix(l.src, "https://")
		noScheme := len(l.src) > 2 && strings.HasPrefix(l.src, "//") && l.src[2] != '/'
		secure := strings.HasPrefix(l.src, "https://") || !full && !noScheme && !isPlain(res)
		signed := l.integrity != ""
		switch own := !noScheme && (!full || sameSite(res, l.src)); {
		case own:
			bonus = bonus || signed && secure
		case signed && secure:
			bonus = true
		case signed:
			note(signedInClear)
		case secure:
			note(unsigned)
		default:
			note(unsignedInClear)
		}
	}
	switch {
	case worst != none:
		return worst
	case bonus:
		return 5
	}
	return 0
}

// isPlain reports whether the page itself came over plain HTTP.
func isPlain(res *http.Response) bool {
	return res.TLS == nil && res.Request != nil && res.Request.TLS == nil && res.Request.URL != nil && res.Request.URL.Scheme == "http"
}

func sameSite(res *http.Response, src string) bool {
	u, err := url.Parse(src)
	own := &url.URL{Host: pageHost(res)}
	return err == nil && registrable(u.Hostname()) == registrable(own.Hostname())
}

// registrable is the name that somebody registered, or "" for addresses and
// names of one label.
func registrable(host string) string {
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	n := 2
	if l := len(labels); l >= 2 && slices.Contains(registries[labels[l-1]], labels[l-2]) {
		n = 3
	}
	if len(labels) < n {
		return ""
	}
	return strings.Join(labels[len(labels)-n:], ".")
}

// tag is a start or end tag of a page.
type tag struct {
	name  string
	end   bool
	attrs map[string]string // by lower-case name; of a repeated one, the first
}

// rawText are the elements whose content has no tags for browsers (HTML
// standard, section 13.2.5).
var rawText = []string{"script", "style", "textarea", "title", "iframe", "noembed", "noframes", "xmp"}

// tags reads the tags of a page, as browsers do that run no scripts.
func tags(page string) func(yield func(tag) bool) {
	return func(yield func(tag) bool) {
		for {
			i := strings.IndexByte(page, '<')
			if i < 0 || i+1 == len(page) {
				return
			}
			page = page[i+1:]
			switch c := page[0]; {
			case strings.HasPrefix(page, "!--"):
				page = afterComment(page[3:])
				continue
			case c == '!' || c == '?' || c == '/' && len(page) > 1 && !isLetter(page[1]):
				_, page, _ = strings.Cut(page, ">")
				continue
			case c != '/' && !isLetter(c):
				continue
			}
			t, rest, ok := readTag(page)
			if page = rest; !ok || !yield(t) {
				return
			}
			switch {
			case t.end:
			case t.name == "plaintext":
				return
			case slices.Contains(rawText, t.name):
				page = atEndTag(page, t.name)
			}
		}
	}
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// afterComment returns what follows a comment, of which the beginning is gone.
func afterComment(s string) string {
	for _, short := range []string{">", "->"} {
		if rest, ok := strings.CutPrefix(s, short); ok {
			return rest
		}
	}
	for {
		i := strings.Index(s, "--")
		if i < 0 {
			return ""
		}
		for _, end := range []string{"-->", "--!>"} {
			if rest, ok := strings.CutPrefix(s[i:], end); ok {
				return rest
			}
		}
		s = s[i+1:]
	}
}

// atEndTag returns s from the end tag of name on.
func atEndTag(s, name string) string {
	for {
		i := strings.Index(s, "</")
		if i < 0 {
			return ""
		}
		s = s[i:]
		if n := 2 + len(name); len(s) > n && strings.EqualFold(s[2:n], name) && strings.IndexByte(" \t\n\f\r/>", s[n]) >= 0 {
			return s
		}
		s = s[2:]
	}
}

const htmlSpace = " \t\n\f\r"

// readTag reads a tag that begins with its name, or with a slash and its name.
// It fails where the page ends within.
func readTag(s string) (t tag, rest string, ok bool) {
	s, t.end = strings.CutPrefix(s, "/")
	n := strings.IndexAny(s, htmlSpace+"/>")
	if n < 0 {
		return t, "", false
	}
	t.name, s = strings.ToLower(s[:n]), s[n:]
	for {
		s = strings.TrimLeft(s, htmlSpace+"/")
		if s == "" {
			return t, "", false
		}
		if s[0] == '>' {
			return t, s[1:], true
		}
		n := strings.IndexAny(s[1:], htmlSpace+"/>=") + 1 // a name may begin with '='
		if n == 0 {
			return t, "", false
		}
		name, value := strings.ToLower(s[:n]), ""
		s = strings.TrimLeft(s[n:], htmlSpace)
		if after, found := strings.CutPrefix(s, "="); found {
			s = strings.TrimLeft(after, htmlSpace)
			switch {
			case s == "":
				return t, "", false
			case s[0] == '"' || s[0] == '\'':
				if value, s, found = strings.Cut(s[1:], s[:1]); !found {
					return t, "", false
				}
			default:
				n := strings.IndexAny(s, htmlSpace+">")
				if n < 0 {
					return t, "", false
				}
				value, s = s[:n], s[n:]
			}
		}
		if _, twice := t.attrs[name]; !twice {
			if t.attrs == nil {
				t.attrs = map[string]string{}
			}
			t.attrs[name] = html.UnescapeString(value)
		}
	}
}
