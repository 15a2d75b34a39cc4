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
				if m, ok = sc.escapedUser(i + 1); !ok || c != ':' || sc.isOff(URLUser) {
					m, ok = sc.assignment(from, i, 1, c)
				}
			}
		case '%', '\\':
			m, ok = sc.escaped(from, i)
		case '<':
			m, ok = sc.element(i)
		case 'b', 'B':
			if i+1 < len(s) && strings.IndexByte("aeAE", s[i+1]) >= 0 && begins(s, i) {
				if m, ok = privateKey(s, from, i); !ok || sc.isOff(PrivateKey) {
					m, ok = credential(s, i)
				}
			}
		case 'e':
			if !sc.isOff(JWT) && i+1 < len(s) && s[i+1] == 'y' && begins(s, i) {
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
	return i >= 2 && s[i-2] == '\\' || behindEscape(s, i)
}
