package shapes

import "strings"

// BehindEscape reports whether an escape ends before s[i], whose last character
// is no part of what follows: "\n" in JSON and source code, where the letter is one
// of letters, "%3D" in a URL, "\u003d" in JSON, and these where they are escaped
// themselves: "%253D", "%5Cn".
func BehindEscape(s string, i int, letters string) bool {
	switch {
	case i >= 3 && hexDigit[s[i-2]] && hexDigit[s[i-1]] && percentBefore(s, i-2),
		i >= 2 && strings.IndexByte(letters, s[i-1]) >= 0 && backslashBefore(s, i-1):
		return true
	}
	return i >= 6 && s[i-5] == 'u' && hexDigit[s[i-4]] && hexDigit[s[i-3]] && hexDigit[s[i-2]] && hexDigit[s[i-1]] && backslashBefore(s, i-5)
}

// percentBefore reports whether '%' stands before s[i], itself escaped or not.
func percentBefore(s string, i int) bool {
	for range 4 {
		if i < 1 || s[i-1] == '%' {
			return i > 0
		}
		if i < 2 || s[i-2:i] != "25" {
			return false
		}
		i -= 2
	}
	return false
}

func backslashBefore(s string, i int) bool {
	return i >= 1 && s[i-1] == '\\' || i >= 3 && s[i-2] == '5' && s[i-1]|0x20 == 'c' && percentBefore(s, i-2)
}
