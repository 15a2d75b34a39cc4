package auditlog

import (
	"encoding/base64"
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
		if strings.IndexByte("@:=bBe", b) >= 0 {
			t[c] |= trigger
		}
	}
	return t
}()

func is(c byte, class uint8) bool { return classes[c]&class != 0 }

// find returns the first match in s at or after from. It walks the text twice,
// here and in shapes, each time once and without allocating.
func (r *Redactor) find(s string, from int) (match, bool) {
	own, found := r.findOwn(s, from)
	limit := s
	if found { // an issuer's token counts only if it begins no later
		limit = s[:min(len(s), own.end+maxToken)]
	}
	if len(s)-from < minToken {
		return own, found
	}
	for at := from; ; {
		m, ok := shapes.Next(limit, at)
		if !ok || found && m.Start > own.start {
			return own, found
		}
		p := APIKey
		switch m.ID {
		case "private-key":
			p = PrivateKey
			m.End = max(m.End, blockEnd(s, m.Start, m.End))
		case "jwt":
			p = JWT
		}
		if !r.off[p] {
			if found && own.start <= m.Start && own.end > m.End {
				m.End = own.end
			}
			return match{m.Start, m.End, p}, true
		}
		at = m.End
	}
}

// minToken is less than the shortest token that any issuer publishes, so that
// keys and short values cost one walk only.
const minToken = 16

// maxToken is how far behind a match of ours a longer token is looked for.
const maxToken = 4096

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

func (r *Redactor) findOwn(s string, from int) (match, bool) {
	for i := from; i < len(s); i++ {
		c := s[i]
		if classes[c]&trigger == 0 {
			continue
		}
		var m match
		var ok bool
		switch c {
		case '@':
			m, ok = email(s, from, i)
		case ':', '=':
			if m, ok = urlUser(s, i); !ok || r.off[URLUser] {
				m, ok = r.assignment(s, from, i)
			}
		case 'b', 'B':
			if i == 0 || !is(s[i-1], word) {
				m, ok = credential(s, i)
			}
		case 'e':
			if i == 0 || !is(s[i-1], word) {
				m, ok = jwt(s, i)
			}
		default: // a digit
			end := i + 1
			for end < len(s) && is(s[end], digit) {
				end++
			}
			if m, ok = r.number(s, from, i, end); !ok {
				i = end - 1
			}
		}
		if ok && !r.off[m.pattern] {
			return m, true
		}
	}
	return match{}, false
}

// email matches around the '@' at i (RFC 5321, without quoted local parts and
// without the signs that RFC 5322 allows in theory: they separate words here).
func email(s string, from, i int) (match, bool) {
	start := i
	for start > from && is(s[start-1], local) {
		start--
	}
	for start < i && strings.IndexByte("'.-%+", s[start]) >= 0 { // punctuation before the address
		start++
	}
	end, dot := i+1, -1
	for end < len(s) && (is(s[end], word) || s[end] == '-' || s[end] == '.') && s[end] != '_' {
		if s[end] == '.' {
			if end == i+1 || s[end-1] == '.' {
				break
			}
			dot = end
		}
		end++
	}
	for end > i && (s[end-1] == '.' || s[end-1] == '-') {
		end--
	}
	if dot >= end { // a full stop that ends the sentence
		dot = strings.LastIndexByte(s[i:end], '.') + i
		if dot < i {
			dot = -1
		}
	}
	if start == i || dot <= i+1 || end-dot < 3 || is(s[dot+1], digit) {
		return match{}, false
	}
	return match{start, end, Email}, true
}

// urlUser matches the user information of the authority behind "://".
func urlUser(s string, i int) (match, bool) {
	if !strings.HasPrefix(s[i:], "://") {
		return match{}, false
	}
	start := i + len("://")
	at := -1
	for j := start; j < len(s) && strings.IndexByte("/?# \t\r\n\"'<>", s[j]) < 0; j++ {
		if s[j] == '@' {
			at = j
		}
	}
	return match{start, at, URLUser}, at > start
}

// jwt matches a compact JWS or JWE: a base64url JSON object, a dot, and more.
func jwt(s string, i int) (match, bool) {
	if !strings.HasPrefix(s[i:], "eyJ") {
		return match{}, false
	}
	end := i
	for end < len(s) && is(s[end], b64url) {
		end++
	}
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

// credential matches what follows the name of an authentication scheme.
func credential(s string, i int) (match, bool) {
	start := i
	basic := foldPrefix(s[i:], "basic ")
	switch {
	case basic:
		start += len("basic ")
	case foldPrefix(s[i:], "bearer "):
		start += len("bearer ")
	default:
		return match{}, false
	}
	for start < len(s) && s[start] == ' ' {
		start++
	}
	end, digits, upper := start, false, false
	for end < len(s) && is(s[end], token68) {
		digits = digits || is(s[end], digit)
		upper = upper || end > start && s[end] >= 'A' && s[end] <= 'Z'
		end++
	}
	if basic {
		plain, err := base64.StdEncoding.DecodeString(s[start:end])
		if err != nil {
			plain, err = base64.RawStdEncoding.DecodeString(s[start:end])
		}
		return match{start, end, Credential}, err == nil && strings.IndexByte(string(plain), ':') >= 0
	}
	// An English word follows "bearer" too: "bearer authentication".
	return match{start, end, Credential}, end-start >= 24 || end-start >= 6 && (digits || upper)
}

// foldPrefix compares ASCII letters without regard to case.
func foldPrefix(s, lower string) bool {
	return len(s) >= len(lower) && strings.EqualFold(s[:len(lower)], lower)
}

// assignment matches the value behind a denied name and ':' or '=' at i, as in
// DSNs, JSON, headers and query strings.
func (r *Redactor) assignment(s string, from, i int) (match, bool) {
	end := i
	for end > from && (s[end-1] == ' ' || s[end-1] == '"' || s[end-1] == '\'' || s[end-1] == '\\') {
		end--
	}
	start := end
	for start > from && end-start < 64 && (is(s[start-1], word) || s[start-1] == '-' || s[start-1] == '.') {
		start--
	}
	name := s[start:end]
	if name == "" || !r.hides(name) {
		return match{}, false
	}
	v := i + 1
	for v < len(s) && (s[v] == ' ' || s[v] == '\t' || s[v] == '=' || s[v] == '>') { // "==", "=>"
		v++
	}
	var buf [64]byte
	n := appendNormal(buf[:0], name)
	header := hasSuffix(n, "authorization") || hasSuffix(n, "cookie")
	stop := valueEnd(s, v, header)
	if stop == v || strings.HasPrefix(s[v:], "[REDACTED") {
		return match{}, false
	}
	switch strings.Trim(s[v:stop], `"'\`) {
	case "", "true", "false", "null", "nil", "<nil>":
		return match{}, false
	}
	if q := s[v]; (q == '"' || q == '\'') && stop-v > 1 && s[stop-1] == q { // keep the quotes: JSON stays JSON
		return match{v + 1, stop - 1, Assignment}, true
	}
	return match{v, stop, Assignment}, true
}

// valueEnd returns where the value at v ends. A value that is opened and not
// closed reaches to the end of the text.
func valueEnd(s string, v int, header bool) int {
	if v >= len(s) {
		return v
	}
	escaped := strings.HasPrefix(s[v:], `\"`)
	switch {
	case escaped:
		if j := strings.Index(s[v+2:], `\"`); j >= 0 {
			return v + 2 + j + 2
		}
		return len(s)
	case s[v] == '"' || s[v] == '\'':
		for j := v + 1; j < len(s); j++ {
			if s[j] == '\\' {
				j++
			} else if s[j] == s[v] {
				return j + 1
			}
		}
		return len(s)
	case s[v] == '{' || s[v] == '[':
		depth := 0
		for j := v; j < len(s); j++ {
			switch s[j] {
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return j + 1
				}
			}
		}
		return len(s)
	}
	stops := " \t\r\n\"'&,;)<>|}]"
	if header {
		stops = "\r\n\""
	}
	if j := strings.IndexAny(s[v:], stops); j >= 0 {
		return v + j
	}
	return len(s)
}
