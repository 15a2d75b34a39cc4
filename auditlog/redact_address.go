package auditlog

import (
	"strings"
)

// email matches around the '@' that is spelt in n bytes at i (RFC 5321, without
// quoted local parts and without the signs that RFC 5322 allows in theory: they
// separate words here).
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
