package secrets

import (
	"bytes"
	"math"
	"regexp"
	"slices"
	"strings"
)

// urlPassword finds scheme://user:password@host. The password may not hold the
// characters that end a URL in running text.
var urlPassword = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]{1,20}://([^\s/:@"'<>` + "`" + `]{0,100}):([^\s/@"'<>` + "`" + `]{3,200})@[A-Za-z0-9\[_.-]`)

func urlHits(text string) []hit {
	if !strings.Contains(text, "://") {
		return nil
	}
	var hits []hit
	for _, m := range urlPassword.FindAllStringSubmatchIndex(text, -1) {
		user, password := text[m[2]:m[3]], text[m[4]:m[5]]
		if madeUpPassword(user, password) {
			continue
		}
		hits = append(hits, hit{m[4], m[5], leakURL})
	}
	return hits
}

// madeUpPassword reports whether a password in a URL is documentation:
// user:pass, a variable, a format verb, the user's name again, a few dots.
func madeUpPassword(user, password string) bool {
	if strings.ContainsAny(password, "{}$%()*") || placeholder([]byte(password)) || template([]byte(password)) {
		// A percent sign may be an escape in a true password: then letters or
		// digits remain that no format string has.
		if !strings.Contains(password, "%") || strings.ContainsAny(password, "{}$()*") || len(password) < 12 {
			return true
		}
	}
	return strings.EqualFold(user, password) || made(password) || distinct([]byte(password)) < 4 || len(password) < 5 && entropy(password) < 2
}

// assignment finds NAME = value where the name speaks of a secret. Quoted and
// unquoted values are told apart by the groups.
var assignment = regexp.MustCompile(`(?i)\b([A-Za-z0-9_.-]{0,50}(?:passw(?:or)?d|passphrase|pwd|secret|token|api[_.-]?key|access[_.-]?key|private[_.-]?key|encryption[_.-]?key|signing[_.-]?key|auth[_.-]?key|credentials?)[A-Za-z0-9_.-]{0,30})["']?\s{0,3}(?::=|=>|=|:)\s{0,3}(?:"([^"\s\\]{8,200})"|'([^'\s\\]{8,200})'|` + "`([^`\\s]{8,200})`" + `|([^\s"'` + "`" + `,;#]{8,200}))`)

func assignmentHits(text string, unquoted bool) []hit {
	var hits []hit
	for _, line := range linesThatName(text) {
		hits = appendAssignments(hits, text[line[0]:line[1]], line[0], unquoted)
	}
	return hits
}

// speaking are the words by which a name speaks of a secret, as in the
// expression above.
var speaking = []string{"passw", "passphrase", "pwd", "secret", "token", "key", "credential"}

// linesThatName returns the offsets of the lines that hold one of the words,
// in order: the expression is slow, and most lines need not meet it.
func linesThatName(text string) [][2]int {
	lower := []byte(text)
	for i, c := range lower {
		if c >= 'A' && c <= 'Z' {
			lower[i] = c | 0x20
		}
	}
	starts := map[int]int{}
	for _, word := range speaking {
		for from := 0; ; {
			i := bytes.Index(lower[from:], []byte(word))
			if i < 0 {
				break
			}
			start := bytes.LastIndexByte(lower[:from+i], '\n') + 1
			end := len(lower)
			if n := bytes.IndexByte(lower[from+i:], '\n'); n >= 0 {
				end = from + i + n
			}
			starts[start] = end
			from = end
		}
	}
	lines := make([][2]int, 0, len(starts))
	for start, end := range starts {
		lines = append(lines, [2]int{start, end})
	}
	slices.SortFunc(lines, func(a, b [2]int) int { return a[0] - b[0] })
	return lines
}

func appendAssignments(hits []hit, text string, offset int, unquoted bool) []hit {
	for _, m := range assignment.FindAllStringSubmatchIndex(text, -1) {
		start, end := -1, -1
		for group := 2; group <= 5; group++ {
			if m[2*group] >= 0 {
				start, end = m[2*group], m[2*group+1]
				if group == 5 && !unquoted {
					start = -1
				}
			}
		}
		if start < 0 || !likelySecret(text[m[2]:m[3]], text[start:end]) {
			continue
		}
		hits = append(hits, hit{offset + start, offset + end, leakAssignment})
	}
	return hits
}

// likelySecret reports whether a value has the variety of a generated secret:
// letters and digits mixed, and at least 3 bits a character. Words, paths,
// identifiers and dates do not.
func likelySecret(name, value string) bool {
	if strings.ContainsAny(value, "{}$()<>*") || strings.Contains(value, "://") || placeholder([]byte(value)) || template([]byte(value)) || made(value) {
		return false
	}
	if strings.HasPrefix(value, "/") || strings.HasPrefix(value, "./") || name != "" && strings.HasPrefix(strings.ToLower(value), strings.ToLower(name)) {
		return false
	}
	letters, digits := 0, 0
	for i := range len(value) {
		switch c := value[i] | 0x20; {
		case c >= 'a' && c <= 'z':
			letters++
		case value[i] >= '0' && value[i] <= '9':
			digits++
		}
	}
	if digits < 2 || letters < 2 || letters+digits < len(value)/2 {
		return false
	}
	return entropy(value) >= 3
}

// entropy is Shannon's, in bits a byte, of the bytes' own frequencies.
func entropy(s string) float64 {
	var count [256]int
	for i := range len(s) {
		count[s[i]]++
	}
	var bits float64
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(s))
			bits -= p * math.Log2(p)
		}
	}
	return bits
}
