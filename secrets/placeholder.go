package secrets

import (
	"bytes"
	"slices"
)

// phrases are what no random text holds: eight letters or more, because shorter
// words do turn up in base64. Compared by letters and digits alone, letters in
// lower case.
var phrases = []string{
	"changeme", "changethis", "changeit", "replaceme", "replacethis", "replacewith", "placeholder",
	"yoursecret", "yourpassword", "yourtoken", "yourapikey", "insertyour", "enteryour",
	"notasecret", "notsosecret", "supersecret", "topsecret", "mysecret", "secretkey", "secret123", "devsecret", "testsecret", "defaultsecret",
	"password", "passw0rd", "p4ssw0rd", "letmeinplease", "correcthorse", "qwertyuiop",
	"insecure", "donotuse", "exampleonly", "examplekey", "exampletoken", "dummytoken", "dummysecret", "fillmein",
	"abcdefgh", "12345678", "01234567", "deadbeef",
}

// wholes are words that are a placeholder when nothing else is there.
var wholes = []string{
	"secret", "passwd", "pass", "pwd", "test", "testing", "dev", "demo", "default", "none", "null", "nil", "undefined",
	"todo", "fixme", "tbd", "admin", "root", "guest", "user", "postgres", "redis", "mysql", "mariadb", "mongo", "rabbitmq",
	"qwerty", "letmein", "welcome", "hunter2", "example", "sample", "string", "value", "token", "key", "apikey", "redacted", "hidden", "masked",
}

// openers begin a placeholder when a separator and no digit follow:
// your-token-here. A random text of 43 base64url characters begins so and holds
// no digit with a probability below 1e-8.
var openers = []string{"your", "insert", "enter", "replace", "dummy", "example", "sample", "fake", "todo", "change"}

// alnum maps letters to lower case, digits to themselves and all else to 0.
// It is never changed.
var alnum = func() (t [256]byte) {
	for c := range 256 {
		switch {
		case c >= 'A' && c <= 'Z':
			t[c] = byte(c | 0x20)
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			t[c] = byte(c)
		}
	}
	return t
}()

// phraseIndex finds phrases by their first two bytes. It is never changed.
var phraseIndex = func() (x struct {
	second [128][2]uint64 // by the first byte, a bit per second one; phrases are ASCII
	first  [128][]string
}) {
	for _, p := range phrases {
		x.second[p[0]][p[1]>>6] |= 1 << (p[1] & 63)
		x.first[p[0]] = append(x.first[p[0]], p)
	}
	return x
}()

// holdsPhrase reports whether the letters and digits of text, whatever stands
// between them, hold one of phrases. It makes no copy.
func holdsPhrase(text []byte) bool {
	var before byte // the letter or digit before this one, and where it stands
	at := 0
	for i, c := range text {
		c = alnum[c]
		if c == 0 {
			continue
		}
		if phraseIndex.second[before][c>>6]&(1<<(c&63)) != 0 {
			for _, p := range phraseIndex.first[before] {
				if beginsWith(text[at:], p) {
					return true
				}
			}
		}
		before, at = c, i
	}
	return false
}

// beginsWith reports whether the letters and digits of text begin with phrase.
func beginsWith(text []byte, phrase string) bool {
	n := 0
	for _, c := range text {
		if c = alnum[c]; c == 0 {
			continue
		}
		if c != phrase[n] {
			return false
		}
		if n++; n == len(phrase) {
			return true
		}
	}
	return false
}

// longestWhole is the length of the longest of wholes.
var longestWhole = len(slices.MaxFunc(wholes, func(a, b string) int { return len(a) - len(b) }))

// placeholder reports whether text stands for a secret instead of being one.
// It is for texts that are not keys: tokens and passwords.
func placeholder(text []byte) bool { return whole(text) || opens(text) || holdsPhrase(text) }

// whole reports whether text is one of wholes, apart from digits behind it and
// from what is neither letter nor digit.
func whole(text []byte) bool {
	var scratch [32]byte
	word, letters := scratch[:0], 0
	for _, c := range text {
		if c = alnum[c]; c == 0 {
			continue
		}
		if c > '9' {
			letters++
		}
		switch {
		case letters > longestWhole, c > '9' && len(word) == cap(word):
			return false
		case len(word) < cap(word):
			word = append(word, c) // digits beyond that would be cut off anyway
		}
	}
	for len(word) > 0 && word[len(word)-1] <= '9' {
		word = word[:len(word)-1]
	}
	return slices.Contains(wholes, string(word))
}

// opens reports whether text is one of openers, a separator and more words,
// without a digit.
func opens(text []byte) bool {
	sep := 0
	for i, c := range text {
		switch c {
		case '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
			return false
		case ' ', '-', '_', '.', ':', '/', '<':
			if i == 0 {
				return false
			}
			if sep == 0 {
				sep = i
			}
		}
	}
	return sep > 0 && slices.Contains(openers, string(bytes.ToLower(text[:sep])))
}

// template reports whether text is a variable that nothing expanded: ${X},
// $(x), {{ .X }}, <x>, %X%. A random password may hold these characters, so the
// whole text must have the shape and a name inside.
func template(text []byte) bool {
	if len(text) == 0 || bytes.IndexByte([]byte("${<%"), text[0]) < 0 {
		return false
	}
	for _, pair := range [][2]string{{"${", "}"}, {"$(", ")"}, {"{{", "}}"}, {"<", ">"}, {"%", "%"}} {
		inside, opens := bytes.CutPrefix(text, []byte(pair[0]))
		inside, closes := bytes.CutSuffix(inside, []byte(pair[1]))
		if opens && closes && nameLike(inside) {
			return true
		}
	}
	return false
}

// holdsTemplate is template for a part of a longer text, where braces can not
// stand by chance, as in a URL.
func holdsTemplate(text []byte) bool {
	for _, pair := range [][2]string{{"${", "}"}, {"{{", "}}"}} {
		if _, rest, ok := bytes.Cut(text, []byte(pair[0])); ok && bytes.Contains(rest, []byte(pair[1])) {
			return true
		}
	}
	return false
}

func nameLike(text []byte) bool {
	for _, c := range text {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || bytes.IndexByte([]byte("_-.: "), c) >= 0) {
			return false
		}
	}
	return len(text) > 0
}
