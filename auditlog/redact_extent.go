package auditlog

import (
	"strings"
)

// opening returns the quote at v with the backslashes before it, which say in
// how many texts it is nested, and the length of both.
func opening(s string, v int) (string, int) {
	j := v
	for j < len(s) && s[j] == '\\' {
		j++
	}
	if j < len(s) && (s[j] == '"' || s[j] == '\'') {
		return s[v : j+1], j + 1 - v
	}
	return "", 0
}

// stringEnd returns where the string ends that is opened at v by a quote behind
// slashes backslashes, or -1. Within n texts a quote that closes has 2^n-1
// backslashes of its own, and every backslash of the innermost text 2^(n+1).
func (sc *scanner) stringEnd(v, slashes int) int {
	s := sc.s
	quote := s[v+slashes]
	run := 0
	for j := v + slashes + 1; j < len(s); j++ {
		sc.lookups++
		switch {
		case s[j] == '\\':
			run++
			continue
		case s[j] == quote && run%(2*(slashes+1)) == slashes:
			if slashes == 0 && j > v+1 && j+1 < len(s) && s[j+1] == quote { // 'it''s'
				j++
				break
			}
			return j + 1
		}
		run = 0
	}
	return -1
}

// valueEnd returns where the value at v ends. Strings and brackets are taken
// whole; one that is opened at v and not closed reaches to the end of the text.
// A separator ends the value only if something else begins behind it: of
// "password=a;b c" nobody knows whether "b" belongs to it, of "a;b=c" all do.
func (sc *scanner) valueEnd(v int) int {
	s := sc.s
	j := v
	if _, n := opening(s, v); n > 0 {
		if j = sc.stringEnd(v, n-1); j < 0 {
			return len(s)
		}
	}
	nest := true
	for j < len(s) {
		c := s[j]
		switch {
		case isSpace(c):
			return j
		case c == '\\' && j > v && (s[j-1] == '"' || s[j-1] == '\''):
			return j
		case (c == '{' || c == '[') && nest:
			end := sc.bracketEnd(j)
			if end < 0 && j == v {
				return len(s)
			}
			if nest = end >= 0; nest {
				j = end
				continue
			}
		case strings.IndexByte("\"'&,;)<>|}]", c) >= 0:
			k := j
			for k < len(s) && strings.IndexByte("\"'&,;)<>|}]\\", s[k]) >= 0 {
				k++
			}
			if sc.lookups += k - j; k == len(s) || isSpace(s[k]) || beginsOther(s, k) || strings.IndexByte(s[j:k], '"') >= 0 && s[j] != '"' && j > v {
				return j
			}
			if s[j] == '"' && j > v && (s[k-1] == '{' || k > j+1) {
				return j
			}
			j = k
			continue
		}
		j++
	}
	return j
}

// escapedEnd returns where the value at v ends behind an escaped separator: with
// the word, for all that may belong to it is escaped too.
func (sc *scanner) escapedEnd(v int) int {
	s := sc.s
	j := v
	for j < len(s) && strings.IndexByte(" \t\r\n\"'<>&", s[j]) < 0 {
		j++
	}
	sc.lookups += j - v
	for j > v && j < len(s) && s[j-1] == '\\' { // of an escaped quote
		j--
	}
	return j
}

// bracketEnd returns where the bracket at v closes, or -1. Brackets within
// strings do not count.
func (sc *scanner) bracketEnd(v int) int {
	s := sc.s
	depth := 0
	for j := v; j < len(s); j++ {
		sc.lookups++
		switch s[j] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return j + 1
			}
		case '"', '\\':
			_, n := opening(s, j)
			if n == 0 || s[j+n-1] != '"' {
				continue
			}
			end := sc.stringEnd(j, n-1)
			if end < 0 {
				return -1
			}
			j = end - 1
		}
	}
	return -1
}

// beginsOther reports whether a name and its separator, or a bracket, stand at k.
func beginsOther(s string, k int) bool {
	j := k
	for j < len(s) && j-k < 64 && (is(s[j], word) || s[j] == '-' || s[j] == '.') {
		j++
	}
	return j < len(s) && (j > k && (s[j] == '=' || s[j] == ':') || j == k && (s[j] == '{' || s[j] == '['))
}
