package secrets

import (
	"bytes"
	"slices"
)

// Phrases that no random text holds: eight letters or more, because shorter
// words do turn up in base64. Compared after normalise.
var phrases = []string{
	"changeme", "changethis", "changeit", "replaceme", "replacethis", "replacewith", "placeholder",
	"yoursecret", "yourpassword", "yourtoken", "yourapikey", "insertyour", "enteryour",
	"notasecret", "notsosecret", "supersecret", "topsecret", "mysecret", "secretkey", "secret123", "devsecret", "testsecret", "defaultsecret",
	"password", "passw0rd", "p4ssw0rd", "letmeinplease", "correcthorse", "qwertyuiop",
	"insecure", "donotuse", "exampleonly", "examplekey", "exampletoken", "dummytoken", "dummysecret", "fillmein",
	"abcdefgh", "12345678", "01234567", "deadbeef",
}

// Words that are a placeholder when nothing else is there.
var wholes = []string{
	"secret", "passwd", "pass", "pwd", "test", "testing", "dev", "demo", "default", "none", "null", "nil", "undefined",
	"todo", "fixme", "tbd", "admin", "root", "guest", "user", "postgres", "redis", "mysql", "mariadb", "mongo", "rabbitmq",
	"qwerty", "letmein", "welcome", "hunter2", "example", "sample", "string", "value", "token", "key", "apikey", "redacted", "hidden", "masked",
}

// Words that begin a placeholder when a separator and no digit follow:
// your-token-here. A random text of 43 base64url characters begins so and holds
// no digit with a probability below 1e-8.
var openers = []string{"your", "insert", "enter", "replace", "dummy", "example", "sample", "fake", "todo", "change"}

// normalSize is room for what normalise returns of an ordinary secret; longer
// ones cost an allocation.
const normalSize = 128

// normalise appends to out the letters, in lower case, and digits of text.
func normalise(out, text []byte) []byte {
	if cap(out) < len(text) {
		out = make([]byte, 0, len(text)) // at once: growing would leave copies behind
	}
	for _, c := range text {
		if alnum[c] != 0 {
			out = append(out, alnum[c])
		}
	}
	return out
}

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
	begins [128][128]bool // phrases are ASCII
	first  [128][]string
}) {
	for _, p := range phrases {
		x.begins[p[0]][p[1]] = true
		x.first[p[0]] = append(x.first[p[0]], p)
	}
	return x
}()

// holdsPhrase looks for the phrases in what normalise returned.
func holdsPhrase(normal []byte) bool {
	for i := 1; i < len(normal); i++ {
		if !phraseIndex.begins[normal[i-1]&127][normal[i]&127] {
			continue
		}
		rest := normal[i-1:]
		for _, p := range phraseIndex.first[rest[0]&127] {
			if len(rest) >= len(p) && string(rest[:len(p)]) == p {
				return true
			}
		}
	}
	return false
}

// longestWhole is the length of the longest of wholes.
var longestWhole = len(slices.MaxFunc(wholes, func(a, b string) int { return len(a) - len(b) }))

// placeholder reports whether text stands for a secret instead of being one.
// It is for texts that are not keys: tokens and passwords.
func placeholder(text []byte) bool {
	var scratch [normalSize]byte
	normal := normalise(scratch[:0], text)
	defer clear(normal)
	end := len(normal)
	for end > 0 && normal[end-1] <= '9' {
		end--
	}
	if end <= longestWhole && slices.Contains(wholes, string(normal[:end])) {
		return true
	}
	return opens(text) || holdsPhrase(normal)
}

// opens reports whether text is one of openers, a separator and more words,
// without a digit.
func opens(text []byte) bool {
	sep := 0
	for i, c := range text {
		switch {
		case c >= '0' && c <= '9':
			return false
		case sep == 0 && bytes.IndexByte([]byte(" -_.:/<"), c) >= 0:
			if sep = i; sep == 0 {
				return false
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
