package auditlog

import (
	"strings"
)

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
		case start == len(s) || start-gap > 24:
			return match{}, false
		case strings.IndexByte(" \t\"'`+:=\\", s[start]) >= 0:
			start++
			continue
		case s[start] == '%':
			if c, n := unescaped(s, start); n > 0 && strings.IndexByte(" \t\"'`+:=\\", c) >= 0 {
				start += n
				continue
			}
			return match{}, false
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
