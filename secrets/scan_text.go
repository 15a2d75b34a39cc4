package secrets

import (
	"encoding/base64"
	"math"
	"regexp"
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
		user, word := text[m[2]:m[3]], text[m[4]:m[5]]
		if madeUpPassword(user, word) {
			continue
		}
		hits = append(hits, hit{m[4], m[5], leakURL})
	}
	return hits
}

// madeUpPassword reports whether a password in a URL is documentation:
// user:pass, a variable, a format verb, the user's name again, a few dots.
func madeUpPassword(user, password string) bool {
	return standsForVariable(password) || strings.ContainsAny(password, "(){}") && len(password) < 12 ||
		placeholder([]byte(password)) || template([]byte(password)) ||
		strings.EqualFold(user, password) || made(password) || fewer([]byte(password), 4) || len(password) < 5 && entropy(password) < 2
}

// infix finds the shapes that begin with what could begin any word, and are
// known by something in their middle.
var infix = []struct {
	literal, kind string
	shape         *regexp.Regexp // its first group is the token
}{
	{"Q~", "azure-client-secret", regexp.MustCompile(`(?:^|\\[nrt]|[^A-Za-z0-9_~.-])([A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34})(?:$|[^A-Za-z0-9_~.-])`)},
	{".atlasv1.", "hashicorp-terraform-token", regexp.MustCompile(`(?:^|\\[nrt]|[^A-Za-z0-9])([A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,70})(?:$|[^A-Za-z0-9_=-])`)},
	{"_mmk", "maxmind-key", regexp.MustCompile(`(?:^|\\[nrt]|[^A-Za-z0-9_])([A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk)(?:$|[^A-Za-z0-9_])`)},
	// As parseRing reads them.
	{"@20", "hardening-ring", regexp.MustCompile(`(?:^|\\[nrt]|[^A-Za-z0-9_])(v[1-9][0-9]{0,9}@20[0-9]{2}-[0-9]{2}-[0-9]{2}(?:T[0-9:.]{8,18}Z)?:(?:base64:|hex:)?[A-Za-z0-9+/_-]{43,}={0,2})`)},
	{"-us", "mailchimp-key", regexp.MustCompile(`(?:^|\\[nrt]|[^A-Za-z0-9])([0-9a-f]{32}-us[0-9]{1,2})(?:$|[^A-Za-z0-9])`)},
}

func infixHits(text string) []hit {
	var hits []hit
	for _, in := range infix {
		for from := 0; ; {
			i := strings.Index(text[from:], in.literal)
			if i < 0 {
				break
			}
			at := from + i
			begin, end := max(0, at-48), min(len(text), at+200)
			from = at + len(in.literal)
			if at == 0 || alnum[text[at-1]] == 0 {
				continue
			}
			if m := in.shape.FindStringSubmatchIndex(text[begin:end]); m != nil && begin+m[2] <= at && at < begin+m[3] && !made(text[begin+m[2]:begin+m[3]]) {
				hits = append(hits, hit{begin + m[2], begin + m[3], in.kind})
				from = begin + m[3]
			}
		}
	}
	return hits
}

// What may be base64 of a text, and what a URL escaped.
var (
	base64Run  = regexp.MustCompile(`[A-Za-z0-9+/_-]{32,}={0,2}`)
	percentRun = regexp.MustCompile(`[A-Za-z0-9._~+-]*%[0-9A-Fa-f]{2}[A-Za-z0-9%._~+-]{8,}`)
)

// encodedHits finds secrets inside base64 and percent encoding, one layer deep:
// Kubernetes and CI systems keep secrets so, and no one can read them there. The
// place is that of the whole run.
func encodedHits(text string) []hit {
	var hits []hit
	look := func(runs [][]int, decode func(string) string) {
		for _, m := range runs {
			inner := decode(text[m[0]:m[1]])
			if inner == "" {
				continue
			}
			if found := plainHits(inner, true); len(found) > 0 {
				hits = append(hits, hit{m[0], m[1], found[0].kind})
			}
		}
	}
	look(base64Run.FindAllStringIndex(text, -1), decodeText)
	if strings.Contains(text, "%") {
		look(percentRun.FindAllStringIndex(text, -1), unescape)
	}
	return hits
}

// decodeText decodes base64 of printable text, and returns "" for all else.
func decodeText(run string) string {
	run = strings.TrimRight(run, "=")
	enc := base64.RawStdEncoding
	if strings.ContainsAny(run, "-_") {
		enc = base64.RawURLEncoding
	}
	var head [24]byte // most runs are no text, which their beginning tells
	n, err := enc.Decode(head[:], []byte(run[:32]))
	if err != nil || !printable(head[:n]) {
		return ""
	}
	inner, err := enc.DecodeString(run)
	if err != nil || !printable(inner) {
		return ""
	}
	return string(inner)
}

// plainHits finds secrets in text as it stands.
func plainHits(text string, unquoted bool) []hit {
	hits := tokenHits(text)
	hits = append(hits, infixHits(text)...)
	hits = append(hits, urlHits(text)...)
	return append(hits, assignmentHits(text, unquoted)...)
}

// likelySecret reports whether a value has the variety of a generated secret:
// letters and digits mixed, and at least 3 bits a character. Words, paths,
// identifiers and dates do not.
func likelySecret(name, value string) bool {
	if len(value) < 8 || strings.Contains(value, "://") || standsForVariable(value) || placeholder([]byte(value)) || template([]byte(value)) || made(value) {
		return false
	}
	if strings.HasPrefix(value, "/") && strings.Count(value, "/") > 1 || strings.HasPrefix(value, "./") || name != "" && strings.HasPrefix(strings.ToLower(value), strings.ToLower(name)) {
		return false
	}
	if strings.ContainsAny(value, ",|") && !password.MatchString(name) { // a list, a tag, a set of choices
		return false
	}
	if strings.HasPrefix(value, "ssh-") || strings.HasPrefix(value, "ecdsa-sha2") { // what public keys begin with
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
	switch {
	case letters < 2 || letters+digits < len(value)/2:
		return false
	case digits >= 2:
	case digits == 0 && len(value) < 20 || !jumbled(value, 4): // one digit is fewer than most random texts have
		return false
	}
	return entropy(value) >= 3 && (!identifier.MatchString(value) || password.MatchString(name))
}

// identifier is a name of code with a number behind it: CiphertextSize1024. A
// person's password may look so, a generated secret does not.
var (
	identifier = regexp.MustCompile(`^[A-Za-z][a-z]*(?:[_.-]?[A-Za-z][a-z]+)+[_-]?[0-9]{1,4}$`)
	password   = regexp.MustCompile(`(?i)passw|pwd|passphrase`)
)

// random reports whether a value looks drawn at random, and holds nothing that
// stands in an expression: for values without quotes in code. Of random text of
// 20 characters or more, from hex on, more than 99 % does.
func random(value string) bool {
	digits := 0
	for i := range len(value) {
		c := value[i]
		if c >= '0' && c <= '9' {
			digits++
		} else if alnum[c] == 0 && strings.IndexByte("+/=_-!@#%^~", c) < 0 {
			return false
		}
	}
	return len(value) >= 15 && digits >= 3 && entropy(value) >= 3 && jumbled(value, 5)
}

// jumbled reports whether small letters, capitals and digits change places at
// one in so many characters, as in no word or identifier. A capital that begins
// a word, as in ByteCount, is no change.
func jumbled(value string, one int) bool {
	const other, digit, upper, lower = 0, 1, 2, 3
	changes, before := 0, other
	for i := range len(value) {
		class := other
		switch c := value[i]; {
		case c >= '0' && c <= '9':
			class = digit
		case c >= 'A' && c <= 'Z':
			class = upper
		case c >= 'a' && c <= 'z':
			class = lower
		}
		if class != before && class != other && before != other && !(before == upper && class == lower) {
			changes++
		}
		before = class
	}
	return changes*one >= len(value)
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
