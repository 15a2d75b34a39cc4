// Package text shortens text for errors and records.
package text

import "unicode/utf8"

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
