package auditlog

import (
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/inovy/hardening/internal/shapes"
)

// number looks at the digits s[i:end], which no digit precedes.
func (sc *scanner) number(from, i, end int) (match, bool) {
	s := sc.s
	if !sc.isOff(IBAN) {
		if m, ok := iban(s, from, i); ok {
			return m, true
		}
	}
	if numberBegins(s, i) {
		if m, ok := sc.personal(i, end); ok {
			return m, true
		}
	}
	if end-i < 3 {
		return match{}, false
	}
	// Some of the digits may end an escape: "%20", "\u0020".
	for n := range min(end-i, 8) + 1 {
		if behindEscape(s, i+n) {
			if m, ok := sc.personal(i+n, end); ok {
				return m, true
			}
		}
	}
	return match{}, false
}

// personal looks for the numbers of cards and citizens in the digits s[i:end].
func (sc *scanner) personal(i, end int) (match, bool) {
	if !sc.isOff(PAN) {
		if m, ok := pan(sc.s, i, end); ok {
			return m, true
		}
	}
	return bsn(sc.s, i, end)
}

// behindEscape reports whether an escape ends before s[i], whose last character
// is no part of what follows.
func behindEscape(s string, i int) bool {
	return shapes.BehindEscape(s, i, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
}

func isHex(s string) bool {
	for k := range len(s) {
		if c := s[k]; !is(c, digit) && (c|0x20 < 'a' || c|0x20 > 'f') {
			return false
		}
	}
	return true
}

// numberBegins reports whether a number may begin at i: not within a name, a
// hexadecimal text or a decimal, but behind '_', behind a word of letters
// ("bsn123456782") and behind any letter that is not ASCII: most scripts that have
// none put no space before a number.
func numberBegins(s string, i int) bool {
	if i == 0 {
		return true
	}
	switch c := s[i-1]; {
	case c == '_':
		return true
	case c == '.':
		return i < 2 || !is(s[i-2], digit)
	case c == ',': // of "0,5", not of a row of values
		return i < 2 || s[i-2] != '0' || i >= 3 && (is(s[i-3], digit) || s[i-3] == ',' || s[i-3] == '[')
	case c >= 0x80:
		r, _ := utf8.DecodeLastRuneInString(s[:i])
		return !unicode.IsDigit(r)
	case !is(c, word):
		return true
	}
	start, hex := i, true
	for start > 0 && i-start <= 20 && (s[start-1]|0x20) >= 'a' && (s[start-1]|0x20) <= 'z' {
		start--
		hex = hex && (s[start]|0x20) <= 'f'
	}
	return i-start >= 2 && i-start <= 20 && !hex && (start == 0 || apart(s[start-1]) || s[start-1] == '_')
}

// ends reports whether a number may end at i: what follows must not be part of
// a longer name or a decimal.
func ends(s string, i int) bool {
	if i >= len(s) {
		return true
	}
	switch c := s[i]; {
	case c == '_':
		return true
	case c >= 0x80:
		r, _ := utf8.DecodeRuneInString(s[i:])
		return !unicode.IsDigit(r)
	case is(c, word):
		return false
	}
	if i+1 >= len(s) || !is(s[i+1], digit) {
		return true
	}
	// A row of values goes on behind a comma; an amount ends in two digits.
	return s[i] != '.' && (s[i] != ',' || i+2 >= len(s) || !is(s[i+2], digit) || i+3 < len(s) && (is(s[i+3], digit) || s[i+3] == ','))
}

// separator returns the length of the separator between groups of digits at i,
// or 0: a space, '-', '.', '_', a space or hyphen as forms and URLs spell it, or
// one of Unicode's that cannot be broken at or hardly be seen.
func separator(s string, i int) int {
	if i >= len(s) {
		return 0
	}
	switch s[i] {
	case ' ', '-', '.', '_', '+':
		return 1
	case '%':
		if c, n := unescaped(s, i); strings.IndexByte(" -._+", c) >= 0 {
			return n
		}
	}
	if s[i] < 0x80 {
		return 0
	}
	switch r, n := utf8.DecodeRuneInString(s[i:]); r {
	case '\u00a0', '\u202f', '\u2007', '\u2009', '\u200a', '\u2010', '\u2011', '\u2012', '\u2013',
		'\u00ad', '\u200b', '\u200c', '\u200d', '\u2060', '\ufeff', '\u2002', '\u2003', '\u3000':
		return n
	}
	return 0
}

// groups reads digits in groups of these lengths with a separator between them,
// the same throughout unless mixed, and returns where they end and the digits
// alone.
func groups(s string, i int, mixed bool, lengths ...int) (end int, digits [19]byte, n int, ok bool) {
	sep := ""
	for g, length := range lengths {
		if g > 0 {
			w := separator(s, i)
			if w == 0 || !mixed && sep != "" && s[i:i+w] != sep {
				return 0, digits, 0, false
			}
			sep = s[i : i+w]
			i += w
		}
		for range length {
			if i >= len(s) || !is(s[i], digit) {
				return 0, digits, 0, false
			}
			digits[n] = s[i]
			n++
			i++
		}
	}
	return i, digits, n, ends(s, i) || mixed && s[i] == ','
}

// panShapes are the ways in which card numbers are written apart.
var panShapes = [...][]int{{4, 4, 4, 4, 3}, {4, 4, 4, 4}, {4, 6, 5}, {4, 6, 4}}

// pan matches a payment card number: 13 to 19 digits, an issuer's first digits
// (2221-2720, 3-6), a Luhn check digit.
func pan(s string, i, end int) (match, bool) {
	if n := end - i; n >= 13 && n <= 19 {
		return match{i, end, PAN}, (ends(s, end) || s[end] == ',') && issuer(s[i:end]) && luhn(s[i:end])
	}
	if end-i != 4 {
		return match{}, false
	}
	for _, shape := range panShapes {
		if end, digits, n, ok := groups(s, i, true, shape...); ok && issuer(string(digits[:n])) && luhn(string(digits[:n])) {
			return match{i, end, PAN}, true
		}
	}
	return match{}, false
}

func issuer(d string) bool {
	return d[0] >= '3' && d[0] <= '6' || d[:4] >= "2221" && d[:4] <= "2720"
}

func luhn(d string) bool {
	sum := 0
	for k := range len(d) {
		v := int(d[len(d)-1-k] - '0')
		if k&1 == 1 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
	}
	return sum%10 == 0
}

// bsn matches nine digits that pass the 11-proef, together, as 4-2-3 or 3-3-3.
func bsn(s string, i, end int) (match, bool) {
	switch end - i {
	case 9:
		return match{i, end, BSN}, ends(s, end) && elevenproof(s[i:end])
	case 4:
		if end, digits, n, ok := groups(s, i, false, 4, 2, 3); ok {
			return match{i, end, BSN}, elevenproof(string(digits[:n]))
		}
	case 3:
		if end, digits, n, ok := groups(s, i, false, 3, 3, 3); ok {
			return match{i, end, BSN}, elevenproof(string(digits[:n]))
		}
	}
	return match{}, false
}

func elevenproof(d string) bool {
	sum := -int(d[8] - '0')
	zero := d == "000000000"
	for k := range 8 {
		sum += int(d[k]-'0') * (9 - k)
	}
	return !zero && sum%11 == 0
}

// ibanLengths gives the length for each country that issues IBANs, from the
// SWIFT registry, release 99.
var ibanLengths = map[string]int{
	"AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29, "BY": 28,
	"CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
	"FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HN": 28, "HR": 21, "HU": 28,
	"IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20,
	"LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28,
	"NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24,
	"SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26,
	"UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}

// iban matches around the check digits at i: two letters before them, the rest
// of the account behind, together or in groups apart by single spaces. With
// another separator it must be one throughout and the groups of four, as they are
// printed: the parts of a UUID are not.
func iban(s string, from, i int) (match, bool) {
	start := i - 2
	if start < from || i+2 > len(s) || !begins(s, start) {
		return match{}, false
	}
	var text [34]byte
	country := [2]byte{upper(s[start]), upper(s[start+1])}
	length, known := ibanLengths[string(country[:])]
	if !known {
		return match{}, false
	}
	n, end, group, apartBy := 0, start, 0, ""
	for end < len(s) && n < length {
		c := upper(s[end])
		if w := separator(s, end); w > 0 && group > 0 {
			sep := s[end : end+w]
			if sep != " " && group != 4 || apartBy != "" && sep != apartBy {
				return match{}, false
			}
			end, group, apartBy = end+w, 0, sep
			continue
		}
		if !is(c, digit) && (c < 'A' || c > 'Z') {
			return match{}, false
		}
		text[n] = c
		n++
		end++
		group++
	}
	if apartBy != "" && apartBy != " " && group > 4 || n < length || end < len(s) && !apart(s[end]) {
		return match{}, false
	}
	rest := 0
	for k := range length { // ISO 7064 mod 97-10, the first four moved to the end
		c := text[(k+4)%length]
		if is(c, digit) {
			rest = (rest*10 + int(c-'0')) % 97
		} else {
			rest = (rest*100 + int(c-'A') + 10) % 97
		}
	}
	return match{start, end, IBAN}, rest == 1 && strings.IndexByte(s[start:end], '\n') < 0
}

func upper(c byte) byte {
	if c >= 'a' && c <= 'z' {
		return c - 'a' + 'A'
	}
	return c
}

// isCard reports whether a number that was logged as one is a payment card's. Of
// nine digits one number in eleven is a citizen's too: those are hidden as text
// only, or every count would be.
func (r *Redactor) isCard(n uint64) bool {
	if n < 1e12 || r.off&bit(PAN) != 0 {
		return false
	}
	var b [20]byte
	s := string(strconv.AppendUint(b[:0], n, 10))
	_, ok := pan(s, 0, len(s))
	return ok
}

func (r *Redactor) isCardInt(n int64) bool { return n > 0 && r.isCard(uint64(n)) }

// isCardFloat is isCard for what JSON made of a number.
func (r *Redactor) isCardFloat(f float64) bool {
	return f >= 1e12 && f < 1<<53 && f == math.Trunc(f) && r.isCard(uint64(f))
}

// isCardNumber is isCard for a number as JSON spells it: "4111...", "4111....0",
// "4.111...e15".
func (r *Redactor) isCardNumber(s string) bool {
	if n, err := strconv.ParseUint(s, 10, 64); err == nil {
		return r.isCard(n)
	}
	f, err := strconv.ParseFloat(s, 64)
	return err == nil && r.isCardFloat(f)
}
