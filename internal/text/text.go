// Package text shortens and judges text.
package text

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clip cuts s to at most the given number of bytes, at a rune boundary, and
// marks the cut with three dots.
func Clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}

// IsName reports whether s can name an instance in findings and records: at
// most 64 bytes, all of which print. An empty name is one.
func IsName(s string) bool {
	return len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) })
}

// HasLineBreak reports whether s holds a byte that decoders of base64 skip, so that
// what it decodes to has more than one spelling. It takes long texts a vector at a
// time.
func HasLineBreak(s string) bool {
	return strings.IndexByte(s, '\n') >= 0 || strings.IndexByte(s, '\r') >= 0
}
