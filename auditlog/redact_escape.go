package auditlog

import (
	"strings"
)

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

func escapedOrPlain(s string, i int) (c byte, n int) {
	if s[i] == '%' {
		if c, n = unescaped(s, i); n > 0 {
			return c, n
		}
	}
	return s[i], 1
}

func hexValue(c byte) byte {
	if is(c, digit) {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
