package auditlog

import (
	"strings"

	"github.com/inovy/hardening/internal/shapes"
)

// match is one value in a text that must not be shown.
type match struct {
	start, end int
	pattern    Pattern
}

// Classes of bytes. Only a trigger makes the scanner look closer.
const (
	word    = 1 << iota // letters, digits, '_' and bytes of longer runes
	digit               // 0-9
	local               // may stand in the local part of an address
	b64url              // base64url
	token68             // RFC 9110 section 11.2
	trigger             // may begin, or stand in, a pattern
)

var classes = func() (t [256]uint8) {
	for c := range 256 {
		b := byte(c)
		alpha := b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
		num := b >= '0' && b <= '9'
		if alpha || num || b == '_' || b >= 0x80 {
			t[c] |= word | local
		}
		if num {
			t[c] |= digit | trigger
		}
		if strings.IndexByte(".%+-'", b) >= 0 {
			t[c] |= local
		}
		if alpha || num || b == '-' || b == '_' {
			t[c] |= b64url | token68
		}
		if strings.IndexByte(".~+/=", b) >= 0 {
			t[c] |= token68
		}
		if strings.IndexByte("@:=bBe%\\<", b) >= 0 {
			t[c] |= trigger
		}
	}
	return t
}()

func is(c byte, class uint8) bool { return classes[c]&class != 0 }

// find returns the first match in s at or after from.
func (r *Redactor) find(s string, from int) (match, bool) {
	sc := r.scan(s, 0)
	if len(s) > shortText {
		var runs shapes.Runs
		sc.issuers = shapes.NewScanner(s, &runs)
		return sc.next(from)
	}
	return sc.next(from)
}

// scanner finds the matches of one text from its beginning to its end, in time
// linear in its length: what it has found or read ahead of its place it keeps.
type scanner struct {
	r    *Redactor
	s    string
	off  patternSet
	own  match // the next of the room's own patterns, if hasOwn
	iss  match // the next token in the form of an issuer, if hasIss
	done bool  // both were searched for

	hasOwn, hasIss bool
	issuers        shapes.Scanner

	runEnd  int // where the base64url run ends that was read last
	urlEnd  int // where the URL ends that was read last
	urlLast int // and its last '@'

	escapedTo int // where the escaped URL ends that was read last
	escapedAt int // and its last '@'

	closeAt int // where the element of XML ends that was read last

	lookups int // characters read ahead of the walk, for the proof of linear time
}

// scan prepares to search s for all patterns but those that are off for r, and
// those in but.
func (r *Redactor) scan(s string, but patternSet) scanner {
	return scanner{r: r, s: s, off: r.off | but, issuers: shapes.NewScanner(s, nil)}
}

func (sc *scanner) isOff(p Pattern) bool { return sc.off != 0 && sc.off&bit(p) != 0 }

// next returns the first match at or after from, which must not be less than
// the end of the match before. Matches that overlap are one.
func (sc *scanner) next(from int) (match, bool) {
	long := len(sc.s) >= minToken
	if !sc.done {
		sc.done = true
		sc.own, sc.hasOwn = sc.findOwn(from)
		if long {
			sc.iss, sc.hasIss = sc.findIssued(from)
		}
	}
	if !sc.hasOwn && !sc.hasIss {
		return match{}, false
	}
	m := sc.own
	if !sc.hasOwn || sc.hasIss && sc.iss.start <= m.start {
		m = sc.iss
	}
	for {
		switch {
		case sc.hasOwn && sc.own.start < m.end:
			m.end = max(m.end, sc.own.end)
			sc.own, sc.hasOwn = sc.findOwn(m.end)
		case sc.hasIss && sc.iss.start < m.end:
			m.end = max(m.end, sc.iss.end)
			sc.iss, sc.hasIss = sc.findIssued(m.end)
		default:
			return m, true
		}
	}
}

// findIssued looks for the published shapes.
func (sc *scanner) findIssued(from int) (match, bool) {
	for at := from; ; {
		m, ok := sc.issuers.Next(at)
		if !ok {
			return match{}, false
		}
		p := APIKey
		switch m.ID {
		case "private-key":
			p = PrivateKey
			m.End = max(m.End, blockEnd(sc.s, m.Start, m.End))
		case "jwt":
			p = JWT
		}
		if !sc.isOff(p) {
			return match{m.Start, m.End, p}, true
		}
		at = m.End
	}
}

// shortText is short enough to be scanned for issuers' tokens without memory.
const shortText = 256

// minToken is less than the shortest token that any issuer publishes, so that
// keys and short values cost one walk only.
const minToken = 16

// blockEnd finds the end of a PEM block in the whole text.
func blockEnd(s string, start, end int) int {
	if i := strings.Index(s[start:], "-----END"); i >= 0 {
		if j := strings.Index(s[start+i+len("-----END"):], "-----"); j >= 0 {
			return start + i + len("-----END") + j + len("-----")
		}
	}
	if strings.HasPrefix(s[start:], "-----BEGIN") {
		return len(s) // half a key is still a key
	}
	return end
}

// privateKey matches around the "BEGIN" at i of a private key whose first line is
// spelt for a URL or a form, or in the way of SSH2.
func privateKey(s string, from, i int) (match, bool) {
	if !strings.HasPrefix(s[i:], "BEGIN") {
		return match{}, false
	}
	line := s[i:min(len(s), i+72)]
	if k := strings.Index(line, "--"); k >= 0 {
		line = line[:k]
	}
	k := strings.Index(line, "PRIVATE")
	if k < 0 || !strings.Contains(line[k:], "KEY") {
		return match{}, false
	}
	start := i
	for _, gap := range [...]string{" ", "+", "%20"} {
		if strings.HasSuffix(s[from:i], "-"+gap) {
			start -= len(gap)
		}
	}
	for start > from && s[start-1] == '-' {
		start--
	}
	if start == i || s[start] != '-' {
		return match{}, false
	}
	end := len(s) // half a key is still a key
	if k := strings.Index(s[i:], "--END"); k >= 0 {
		end = i + k + len("--END")
		for end < len(s) && s[end] != '-' && s[end] != '\n' {
			end++
		}
		for end < len(s) && s[end] == '-' {
			end++
		}
	}
	return match{start, end, PrivateKey}, true
}

// element matches what is in an element of XML whose name is denied: at i is its
// '<'.
func (sc *scanner) element(i int) (match, bool) {
	s := sc.s
	j, local := i+1, i+1
	for j < len(s) && j-i < 64 && (is(s[j], word) || strings.IndexByte("-.:", s[j]) >= 0) {
		if s[j] == ':' {
			local = j + 1
		}
		j++
	}
	if j == local || j == len(s) || s[j] != '>' && !isSpace(s[j]) {
		return match{}, false
	}
	how := sc.rankOf(s[local:j])
	if how == shown {
		return match{}, false
	}
	tag := s[i+1 : j]
	for j < len(s) && j-i < 512 && s[j] != '>' && s[j] != '<' {
		j++
	}
	sc.lookups += j - i
	if j == len(s) || s[j] != '>' || s[j-1] == '/' {
		return match{}, false
	}
	j++
	if j >= sc.closeAt { // the next end of any element
		sc.closeAt = len(s)
		if k := strings.Index(s[j:], "</"); k >= 0 {
			sc.closeAt = j + k
		}
		sc.lookups += sc.closeAt - j
	}
	end := sc.closeAt
	closed := end < len(s) && strings.HasPrefix(s[end+2:], tag)
	if !closed && !strings.HasPrefix(s[j:], "<") { // a placeholder, "<token>", or cut off
		for end = j; end < len(s) && !isSpace(s[end]) && s[end] != '<'; end++ {
		}
	}
	value := s[j:end]
	if strings.TrimSpace(value) == "" || isMark(value) || how == weak && !telling(value, false) {
		return match{}, false
	}
	return match{j, end, Assignment}, true
}

// findOwn looks for what has no published literal.
func (sc *scanner) findOwn(from int) (match, bool) {
	s := sc.s
	for i := from; i < len(s); i++ {
		c := s[i]
		if classes[c]&trigger == 0 {
			continue
		}
		var m match
		var ok bool
		switch c {
		case '@':
			if m, ok = driverUser(s, from, i); !ok || sc.isOff(URLUser) {
				m, ok = email(s, from, i, 1)
			}
		case ':', '=':
			if m, ok = sc.urlUser(i); !ok || sc.isOff(URLUser) {
				m, ok = sc.assignment(from, i, 1, c)
			}
		case '%', '\\':
			m, ok = sc.escaped(from, i)
		case '<':
			m, ok = sc.element(i)
		case 'b', 'B':
			if begins(s, i) {
				if m, ok = privateKey(s, from, i); !ok || sc.isOff(PrivateKey) {
					m, ok = credential(s, i)
				}
			}
		case 'e':
			if !sc.isOff(JWT) && begins(s, i) {
				m, ok = sc.jwt(i)
			}
		default: // a digit
			end := i + 1
			for end < len(s) && is(s[end], digit) {
				end++
			}
			if m, ok = sc.number(from, i, end); !ok {
				i = end - 1
			}
		}
		if ok && !sc.isOff(m.pattern) {
			return m, true
		}
	}
	return match{}, false
}

// apart reports whether a token in ASCII may stand beside c: beside all but ASCII
// letters and digits and '_'. Bytes of longer runes are mostly quotation marks,
// dashes, arrows and spaces, and a letter among them is no part of a token either.
// Bare digits are told from names more strictly, see numberBegins.
func apart(c byte) bool { return c >= 0x80 || !is(c, word) }

// begins reports whether a token may begin at i: behind anything but a letter
// or digit, or behind an escape that ends in one ("\n", "%3D").
func begins(s string, i int) bool {
	if i == 0 || apart(s[i-1]) || s[i-1] == '_' {
		return true
	}
	return i >= 2 && s[i-2] == '\\' || i >= 3 && s[i-3] == '%' || i >= 5 && s[i-5:i-2] == "%25" || i >= 6 && s[i-6] == '\\' && s[i-5] == 'u'
}

// email matches around the '@' that is spelt in n bytes at i (RFC 5321, without quoted local parts and
// without the signs that RFC 5322 allows in theory: they separate words here).
func email(s string, from, i, n int) (match, bool) {
	at := i + n - 1
	start := i
	for start > from && is(s[start-1], local) {
		start--
	}
	for start < i && strings.IndexByte("'.-%+", s[start]) >= 0 { // punctuation before the address
		start++
	}
	end, dot := at+1, -1
	for end < len(s) && (is(s[end], word) || s[end] == '-' || s[end] == '.') && s[end] != '_' {
		if s[end] == '.' {
			if end == at+1 || s[end-1] == '.' {
				break
			}
			dot = end
		}
		end++
	}
	for end > at && (s[end-1] == '.' || s[end-1] == '-') {
		end--
	}
	if dot >= end { // a full stop that ends the sentence
		dot = strings.LastIndexByte(s[at:end], '.') + at
		if dot < at {
			dot = -1
		}
	}
	if start == i || dot <= at+1 || end-dot < 3 || is(s[dot+1], digit) {
		return match{}, false
	}
	return match{start, end, Email}, true
}

// unescaped returns the byte that is escaped at i, as "%3D", "%253D" or "\u003d",
// and the length of the escape, or 0.
func unescaped(s string, i int) (c byte, n int) {
	j := i + 1
	if s[i] == '%' {
		for strings.HasPrefix(s[j:], "25") && j-i < 7 {
			j += 2
		}
	} else if strings.HasPrefix(s[j:], "u00") {
		j += 3
	} else {
		return 0, 0
	}
	if j+2 > len(s) || !isHex(s[j:j+2]) {
		return 0, 0
	}
	return hexValue(s[j])<<4 | hexValue(s[j+1]), j + 2 - i
}

func hexValue(c byte) byte {
	if is(c, digit) {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// escaped looks at a separator that stands escaped at i, as in a URL within a
// URL, or in what some encoders make of '=' in JSON.
func (sc *scanner) escaped(from, i int) (match, bool) {
	switch c, n := unescaped(sc.s, i); c {
	case '@':
		return email(sc.s, from, i, n)
	case ':', '=':
		if m, ok := sc.escapedUser(i + n); ok && c == ':' && !sc.isOff(URLUser) {
			return m, true
		}
		return sc.assignment(from, i, n, c)
	}
	return match{}, false
}

// escapedUser matches the user information behind an escaped "//" at i, as
// urlUser does behind a plain one.
func (sc *scanner) escapedUser(i int) (match, bool) {
	s := sc.s
	for range 2 {
		if i >= len(s) || s[i] != '%' {
			return match{}, false
		}
		c, n := unescaped(s, i)
		if c != '/' {
			return match{}, false
		}
		i += n
	}
	if i >= sc.escapedTo {
		j := i
		sc.escapedAt = -1
		for j < len(s) && strings.IndexByte(" \t\r\n\"&<>", s[j]) < 0 {
			c, n := escapedOrPlain(s, j)
			if c == '@' {
				sc.escapedAt = j
			}
			j += n
		}
		sc.lookups += j - i
		sc.escapedTo = j
	}
	if sc.escapedAt <= i {
		return match{}, false
	}
	at, colon := -1, false
	j := i
walk:
	for j < sc.escapedTo {
		c, n := escapedOrPlain(s, j)
		switch c {
		case '@':
			at = j
		case ':':
			colon = true
		case '/', '?', '#':
			break walk
		}
		j += n
	}
	sc.lookups += j - i
	if colon {
		at = sc.escapedAt
	}
	return match{i, at, URLUser}, at > i
}

func escapedOrPlain(s string, i int) (c byte, n int) {
	if s[i] == '%' {
		if c, n = unescaped(s, i); n > 0 {
			return c, n
		}
	}
	return s[i], 1
}

// driverUser matches user and password before the address of a database
// driver: "user:password@tcp(host:3306)/name".
func driverUser(s string, from, i int) (match, bool) {
	j := i + 1
	for j < len(s) && j < i+8 && s[j] >= 'a' && s[j] <= 'z' {
		j++
	}
	if j == i+1 || j >= len(s) || s[j] != '(' {
		return match{}, false
	}
	start, colon := i, false
	for start > from && i-start < 512 && strings.IndexByte(" \t\r\n\"", s[start-1]) < 0 {
		start--
		colon = colon || s[start] == ':'
	}
	return match{start, i, URLUser}, colon
}

// urlUser matches the user information behind "://". A password that holds '/',
// '?' or '#' unescaped, which url.Parse quotes in its error, makes the rest of
// it look like a path: behind "user:" everything up to the last '@' counts,
// also what could be a port and a path.
func (sc *scanner) urlUser(i int) (match, bool) {
	s := sc.s
	start := i
	switch {
	case strings.HasPrefix(s[i:], "://"):
		start += len("://")
	case strings.HasPrefix(s[i:], `:\/\/`): // as some encoders of JSON write it
		start += len(`:\/\/`)
	default:
		return match{}, false
	}
	if start >= sc.urlEnd { // the URL around an earlier "://" ends before this one
		j := start
		sc.urlLast = -1
		for j < len(s) && strings.IndexByte(" \t\r\n\"", s[j]) < 0 {
			if s[j] == '@' {
				sc.urlLast = j
			}
			j++
		}
		sc.urlEnd = j
		sc.lookups += j - start
	}
	if sc.urlLast <= start {
		return match{}, false
	}
	at, colon := -1, false
	j := start
	for ; j < sc.urlEnd && strings.IndexByte("/?#", s[j]) < 0; j++ {
		switch s[j] {
		case '@':
			at = j
		case ':':
			colon = true
		case '[':
			if j == start { // an IPv6 address
				return match{}, false
			}
		}
	}
	sc.lookups += j - start
	if colon {
		at = sc.urlLast
	}
	return match{start, at, URLUser}, at > start
}

// jwt matches a compact JWS or JWE: a base64url JSON object, a dot, and more.
func (sc *scanner) jwt(i int) (match, bool) {
	s := sc.s
	if !strings.HasPrefix(s[i:], "eyJ") {
		return match{}, false
	}
	if i >= sc.runEnd {
		end := i
		for end < len(s) && is(s[end], b64url) {
			end++
		}
		sc.lookups += end - i
		sc.runEnd = end
	}
	end := sc.runEnd
	if end-i < 10 || end+2 >= len(s) || s[end] != '.' || s[end+1] != '.' && !is(s[end+1], b64url) { // ".." without an encrypted key
		return match{}, false
	}
	for end < len(s) && (is(s[end], b64url) || s[end] == '.') {
		end++
	}
	if s[end-1] == '.' && strings.Count(s[i:end], ".") > 2 { // the end of a sentence
		end--
	}
	return match{i, end, JWT}, true
}

// credential matches what follows the name of an authentication scheme, behind
// spaces, quotes and how URLs spell them.
func credential(s string, i int) (match, bool) {
	basic := foldPrefix(s[i:], "basic")
	start := i + len("basic")
	if !basic {
		if !foldPrefix(s[i:], "bearer") {
			return match{}, false
		}
		start++
	}
	for gap := start; ; {
		switch {
		case start == len(s) || start-gap > 8:
			return match{}, false
		case strings.IndexByte(" \t\"'`+:=\\", s[start]) >= 0:
			start++
			continue
		case strings.HasPrefix(s[start:], "%2") && start+2 < len(s) && strings.IndexByte("027B", s[start+2]) >= 0: // space, '"', '\'', '+'
			start += 3
			continue
		case start == gap:
			return match{}, false
		}
		break
	}
	end := start
	if basic {
		for end < len(s) && end-start < 1<<10 && inBase64(s[end]) {
			end++
		}
		if !holdsColon(s[start:end]) {
			return match{}, false
		}
		for end < len(s) && (inBase64(s[end]) || s[end] == '=') {
			end++
		}
		return match{start, end, Credential}, true
	}
	digits, upper := false, false
	for end < len(s) && s[end] > ' ' && strings.IndexByte("\"'`<>,;()[]{}&\\", s[end]) < 0 {
		digits = digits || is(s[end], digit)
		upper = upper || end > start && isUpper(s[end])
		end++
	}
	for end > start && strings.IndexByte(":!?", s[end-1]) >= 0 { // the end of a sentence
		end--
	}
	// An English word follows "bearer" too: "bearer authentication".
	return match{start, end, Credential}, end-start >= 24 || end-start >= 6 && (digits || upper)
}

func inBase64(c byte) bool { return is(c, b64url) || c == '+' || c == '/' }

// holdsColon reports whether base64, of either alphabet, says "user:password".
func holdsColon(s string) bool {
	bits, n := uint32(0), 0
	for i := range len(s) {
		v := uint32(62)
		switch c := s[i]; {
		case c >= 'A' && c <= 'Z':
			v = uint32(c - 'A')
		case c >= 'a' && c <= 'z':
			v = uint32(c-'a') + 26
		case is(c, digit):
			v = uint32(c-'0') + 52
		case c == '/' || c == '_':
			v = 63
		}
		bits, n = bits<<6|v, n+6
		if n >= 8 {
			n -= 8
			if byte(bits>>n) == ':' {
				return true
			}
		}
	}
	return false
}

// foldPrefix compares ASCII letters without regard to case.
func foldPrefix(s, lower string) bool {
	return len(s) >= len(lower) && strings.EqualFold(s[:len(lower)], lower)
}
