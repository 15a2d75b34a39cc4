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

// normalise keeps letters and digits, letters in lower case.
func normalise(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for _, c := range text {
		switch {
		case c >= 'A' && c <= 'Z':
			out = append(out, c|0x20)
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			out = append(out, c)
		}
	}
	return out
}

// phrasesByFirst has the phrases by their first byte. It is never changed.
var phrasesByFirst = func() (by [256][]string) {
	for _, p := range phrases {
		by[p[0]] = append(by[p[0]], p)
	}
	return by
}()

// holdsPhrase looks for the phrases in what normalise returned.
func holdsPhrase(normal []byte) bool {
	for i, c := range normal {
		for _, p := range phrasesByFirst[c] {
			if len(normal)-i >= len(p) && string(normal[i:i+len(p)]) == p {
				return true
			}
		}
	}
	return false
}

// placeholder reports whether text stands for a secret instead of being one.
// It is for texts that are not keys: tokens and passwords.
func placeholder(text []byte) bool {
	normal := normalise(text)
	defer clear(normal)
	if slices.Contains(wholes, string(bytes.TrimRight(normal, "0123456789"))) {
		return true
	}
	if i := bytes.IndexAny(text, " -_.:/<"); i > 0 && !bytes.ContainsAny(text, "0123456789") && slices.Contains(openers, string(bytes.ToLower(text[:i]))) {
		return true
	}
	return holdsPhrase(normal)
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
