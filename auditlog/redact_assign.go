package auditlog

import (
	"strings"
)

// assignment matches the value behind a denied name and the separator, ':' or
// '=', that is spelt in n bytes at i, as in DSNs, JSON (also JSON within JSON),
// headers and query strings.
func (sc *scanner) assignment(from, i, n int, separator byte) (match, bool) {
	s := sc.s
	end := i
	for end > from && isSpace(s[end-1]) {
		end--
	}
	quoted := false
	for end > from && (s[end-1] == '"' || s[end-1] == '\'' || s[end-1] == '\\') {
		quoted = true
		end--
	}
	for n > 1 && end-from >= n { // quotes and spaces are escaped as the separator is
		if s[end-1] == '+' {
			end--
			continue
		}
		c, width := unescaped(s, end-n)
		if width != n || strings.IndexByte("\"'\\ ", c) < 0 {
			break
		}
		quoted = quoted || c != ' '
		end -= n
	}
	if !quoted && strings.IndexByte(s[end:i], '\n') >= 0 {
		return match{}, false
	}
	name, how := sc.nameBefore(from, end)
	query := false
	if how == shown {
		start := end - len(name)
		switch {
		case strings.EqualFold(name, "value") && sc.valueOf(from, start, n > 1):
			how = secret
		case start > from && (s[start-1] == '?' || s[start-1] == '&') && inQuery(name):
			how, query = weak, true
		case n == 1 && separator == ':' && strings.EqualFold(name, "Private-Lines"): // of PuTTY's keys: half the file
			return match{i + 1, len(s), PrivateKey}, i+1 < len(s)
		default:
			return match{}, false
		}
	}
	v := i + n
	for v < len(s) && (s[v] == ' ' || s[v] == '\t' || s[v] == '=' || s[v] == '>' || quoted && isSpace(s[v])) { // "==", "=>"
		v++
	}
	if v == len(s) {
		return match{}, false
	}
	m := match{v, len(s), Assignment}
	if n > 1 {
		m.end = sc.escapedEnd(v)
	} else if query {
		m.end = v + len(parameter(s[v:]))
		sc.lookups += m.end - v
	} else if isHeader(name) && !quoted && separator == ':' { // a line of its own: `Cookie: a="b"; c=d`
		if j := strings.IndexAny(s[v:], "\r\n"); j >= 0 {
			m.end = v + j
		}
	} else {
		m.end = sc.valueEnd(v)
		if !quoted && len(name) >= len("cookie") && strings.EqualFold(name[len(name)-len("cookie"):], "cookie") { // "cookie=a=b; c=d"
			m.end = sc.cookiesEnd(m.end)
		}
		if isScheme(s[m.start:m.end]) { // "token: Bearer ...": the secret is the next word
			k := m.end
			for k < len(s) && (s[k] == ' ' || s[k] == '\t') {
				k++
			}
			if k > m.end && k < len(s) && !isSpace(s[k]) {
				m.end = sc.valueEnd(k)
			}
		}
		if open, n := opening(s, v); n > 0 && m.end-v >= 2*n && strings.HasSuffix(s[v:m.end], open) { // keep the quotes: JSON stays JSON
			m.start, m.end = v+n, m.end-n
		}
	}
	value := s[m.start:m.end]
	if isMark(value) || how == weak && !telling(value, separator == '=') {
		return match{}, false
	}
	if query && (len(value) < 20 || !strings.ContainsAny(value, "0123456789")) {
		return match{}, false
	}
	switch strings.Trim(value, `"'\`) {
	case "", "true", "false", "null", "nil", "<nil>":
		return match{}, false
	}
	return m, true
}

// nameBefore reads the name that ends at end, and ranks it. Of "user[password]",
// a form's way to say user.password, the name is what is in the brackets; of
// "tokens[0]" what is before them.
func (sc *scanner) nameBefore(from, end int) (string, rank) {
	s := sc.s
	for range 3 {
		open, shut, n := "[", "]", 1
		if end-from >= 3 && s[end-3] == '%' {
			open, shut, n = "%5B", "%5D", 3
		}
		if end-n < from || !strings.EqualFold(s[end-n:end], shut) {
			break
		}
		low := max(from, end-n-64)
		i := strings.LastIndex(s[low:end-n], open)
		if n == 3 && i < 0 {
			i = strings.LastIndex(s[low:end-n], "%5b")
		}
		if i < 0 {
			break
		}
		sc.lookups += end - low - i
		inner := strings.Trim(s[low+i+n:end-n], `"'\`)
		if strings.Trim(inner, "0123456789") != "" {
			return inner, sc.rankOf(inner)
		}
		end = low + i
	}
	start := end
	for start > from && end-start < 64 && (is(s[start-1], word) || s[start-1] == '-' || s[start-1] == '.') {
		start--
	}
	name := s[start:end]
	how := sc.rankOf(name)
	for how == shown { // the end of an escape may stand before it: "\npin", "\u0026pass", "%26pass", "%2526pass"
		n := 0
		switch {
		case start > from && s[start-1] == '\\' && len(name) > 5 && name[0] == 'u':
			n = 5
		case start > from && s[start-1] == '\\':
			n = 1
		case start > from && s[start-1] == '%' || strings.HasSuffix(s[from:start], "%25"):
			n = 2
		}
		if n == 0 || n >= len(name) {
			break
		}
		start, name = start+n, name[n:]
		how = sc.rankOf(name)
	}
	return name, how
}

// rankOf ranks a name that stands in a text.
func (sc *scanner) rankOf(name string) rank {
	if name == "" {
		return shown
	}
	if how := sc.r.rank(name); how != shown {
		return how
	}
	return assigned(name)
}

// inQuery knows parameters of URLs that open a door to whoever has the URL:
// codes of OAuth, signatures of shared links, tickets.
func inQuery(name string) bool {
	var buf [64]byte
	switch string(appendNormal(buf[:0], name)) {
	case "code", "sig", "signature", "xamzsignature", "xgoogsignature", "ticket", "samlresponse", "assertion":
		return true
	}
	return false
}

// plain returns s without its escapes.
func plain(s string) string {
	if !strings.ContainsAny(s, "%\\") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		c, n := s[i], 1
		if c == '%' || c == '\\' {
			if x, width := unescaped(s, i); width > 0 {
				c, n = x, width
			}
		}
		b = append(b, c)
		i += n
	}
	return string(b)
}

// parameter returns what s begins with of a parameter of a URL.
func parameter(s string) string {
	if i := strings.IndexAny(s, " \t\r\n\"'<>&;?"); i >= 0 {
		return s[:i]
	}
	return s
}

// cookiesEnd returns where the pairs end that follow a cookie at i.
func (sc *scanner) cookiesEnd(i int) int {
	s := sc.s
	for i < len(s) && s[i] == ';' {
		j := i + 1
		for j < len(s) && s[j] == ' ' {
			j++
		}
		k := j
		for k < len(s) && k-j < 64 && is(s[k], token68) && s[k] != '=' {
			k++
		}
		if k == j || k == len(s) || s[k] != '=' {
			break
		}
		i = sc.valueEnd(k + 1)
	}
	return i
}

// valueOf reports whether the name at start, "value", belongs to a pair whose
// name stands before it and is denied: {"name":"DB_PASSWORD","value":"..."}.
func (sc *scanner) valueOf(from, start int, escaped bool) bool {
	s := sc.s[max(from, start-160):start]
	sc.lookups += len(s)
	for range 3 { // as often as a URL may stand in another
		if escaped {
			s = plain(s)
		}
	}
	before := len(s)
	s = strings.TrimRight(s, " \t\r\n,\"'\\+")
	i := strings.LastIndexAny(s, "\"'")
	if i < 0 || len(s) == before {
		return false
	}
	name := s[i+1:]
	s = strings.TrimRight(s[:i], " \t\r\n\\+")
	if s == "" || s[len(s)-1] != ':' && s[len(s)-1] != '=' {
		return false
	}
	s = strings.TrimRight(s[:len(s)-1], " \t\"'\\+")
	for _, label := range [...]string{"name", "key"} {
		if k := len(s) - len(label); k >= 0 && strings.EqualFold(s[k:], label) {
			return sc.r.rank(name) != shown
		}
	}
	return false
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// isHeader knows the headers whose whole line is secret.
func isHeader(name string) bool {
	var buf [64]byte
	n := appendNormal(buf[:0], name)
	return hasSuffix(n, "authorization") || hasSuffix(n, "cookie")
}

// isScheme knows the words that stand before credentials in a header.
func isScheme(s string) bool {
	var buf [64]byte
	switch string(appendNormal(buf[:0], strings.TrimLeft(s, `"'\`))) {
	case "bearer", "basic", "digest", "token", "apikey", "dpop", "negotiate", "ntlm", "hawk":
		return true
	}
	return false
}

// isMark reports whether the value is what stands for a redacted one.
func isMark(s string) bool {
	inner, ok := strings.CutPrefix(s, "[REDACTED")
	inner, closed := strings.CutSuffix(inner, "]")
	if !ok || !closed {
		return false
	}
	if inner == "" || inner == ":key" {
		return true
	}
	for _, p := range allPatterns {
		if len(inner) == len(p)+1 && inner[0] == ':' && inner[1:] == string(p) {
			return true
		}
	}
	return false
}

// telling reports whether a value under a weak name ("tokens", "session") is
// more than a count or a word.
func telling(v string, equals bool) bool {
	digits, letters := 0, 0
	for i := range len(v) {
		switch c := v[i]; {
		case is(c, digit):
			digits++
		case c >= 'a' && c <= 'z':
			letters++
		}
	}
	if digits == len(v) && digits <= 9 {
		return false
	}
	return equals || letters < len(v)
}
