package secrets

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"net/url"
	"unicode"
	"unicode/utf8"

	"github.com/inovy/hardening"
)

// maxBytes bounds one value, from whatever source.
const maxBytes = 1 << 20

// kind is what a secret is, and with that which rules it must meet.
type kind uint8

const (
	kindNone kind = iota // a public setting
	kindKey
	kindToken
	kindPassword
	kindURL
	kindPEM
)

var kindNames = map[string]kind{"key": kindKey, "token": kindToken, "password": kindPassword, "url": kindURL, "pem": kindPEM}

// cutNewline removes exactly one line end, which editors and shells add. More
// than one is someone's mistake and left for checkText to report.
func cutNewline(b []byte) []byte {
	if rest, ok := bytes.CutSuffix(b, []byte("\n")); ok {
		rest, _ = bytes.CutSuffix(rest, []byte("\r"))
		return rest
	}
	return b
}

// checkText returns the first flaw of a value as text, before anything is
// known about its meaning.
func checkText(k kind, b []byte) *flaw {
	if plain(b) {
		return nil
	}
	switch {
	case len(b) > maxBytes:
		return &flaw{reason: "is larger than 1 MiB", fix: "check what was put there"}
	case bytes.HasPrefix(b, []byte("\xef\xbb\xbf")):
		return &flaw{reason: "begins with a byte-order mark", fix: "save it as UTF-8 without BOM"}
	case bytes.IndexByte(b, 0) >= 0:
		return &flaw{reason: "holds a NUL byte", fix: "store text; encode binary keys as base64"}
	case !utf8.Valid(b):
		return &flaw{reason: "is not UTF-8 text", fix: "store text; encode binary keys as base64"}
	case holdsMarker(b):
		return &flaw{reason: "is a redaction marker, not a value", fix: "put the real value back: this was saved from redacted output"}
	case template(b), k == kindURL && holdsTemplate(b):
		return &flaw{reason: "is a template that nothing expanded", fix: "let the deployment expand it, or write the value itself"}
	case k != kindPEM && bytes.ContainsFunc(bytes.TrimRight(b, "\r\n"), unicode.IsControl):
		return &flaw{reason: "holds a control character", fix: "write it on one line without tabs or escapes"}
	case k != kindPEM && bytes.ContainsAny(b, "\r\n"):
		return &flaw{reason: "ends in more than one line end", fix: "write it with at most one, for example with printf %s"}
	case k != kindPEM && bytes.ContainsFunc(b, invisible):
		return &flaw{reason: "holds a character that nobody sees, such as a zero-width space", fix: "type it anew, or copy it from its issuer and not from a document or a chat"}
	case k != kindPassword && k != kindPEM && len(bytes.TrimSpace(b)) != len(b):
		return &flaw{reason: "begins or ends with white space", fix: "remove it"}
	}
	return nil
}

// invisible reports whether r is a format character: zero-width, joiner,
// direction, soft hyphen, byte-order mark.
func invisible(r rune) bool { return unicode.Is(unicode.Cf, r) }

// plain reports whether b is of printable ASCII without spaces, brackets and
// what begins a template, so that none of checkText's rules can refuse it. Most
// values are, and one look at each byte is all they cost.
func plain(b []byte) bool {
	if len(b) > maxBytes {
		return false
	}
	for _, c := range b {
		if !plainByte[c] {
			return false
		}
	}
	return true
}

// plainByte is never changed.
var plainByte = func() (t [256]bool) {
	for c := '!'; c <= '~'; c++ {
		t[c] = bytes.IndexByte([]byte("[${<%\\"), byte(c)) < 0
	}
	return t
}()

// checkSecret returns the flaws of a value that checkText let pass. Rings have
// rules of their own, see parseRing.
func (f *field) checkSecret(b []byte, env hardening.Environment) []flaw {
	switch f.kind {
	case kindKey:
		key, bad := checkKey(b, f.bits)
		clear(key)
		if bad != nil {
			return []flaw{*bad}
		}
	case kindToken, kindPassword:
		return f.checkPhrase(b, env)
	case kindURL:
		return checkURL(b)
	case kindPEM:
		if bad := checkPEM(b); bad != nil {
			return []flaw{*bad}
		}
	}
	return nil
}

func (f *field) checkPhrase(b []byte, env hardening.Environment) (bad []flaw) {
	rest, ok := bytes.CutPrefix(b, []byte(f.prefix))
	if !ok {
		bad = append(bad, flaw{reason: fmt.Sprintf("does not begin with %q", f.prefix), fix: "check that it is the secret meant for this field"})
	}
	if len(b) < f.minLen {
		bad = append(bad, flaw{soft: true, reason: fmt.Sprintf("is shorter than %d bytes", f.minLen), fix: "use a longer one, or set minlen= if its issuer makes them shorter"})
	}
	// Random: 20 digits have fewer than 5 distinct with probability 2.3e-6,
	// 15 letters and digits with less than 1e-12.
	if placeholder(rest) || fewer(rest, 5) || stepped(rest) {
		bad = append(bad, flaw{soft: true, reason: "is a placeholder or a pattern, not a secret", fix: "put the real value there; secrets.Generate(32) makes one"})
	}
	if isPublished(b) {
		bad = append(bad, flaw{soft: true, reason: "stands in public documentation", fix: "put the real value there"})
	}
	if wrong := f.checkWorld(b, env); wrong != nil {
		bad = append(bad, *wrong)
	}
	return bad
}

func checkURL(b []byte) []flaw {
	u, err := url.Parse(string(b)) // err quotes the value: never pass it on
	if err != nil || u.Scheme == "" || u.Host == "" {
		return []flaw{{reason: "is not a URL with a scheme and a host", fix: "write it as scheme://user:password@host/name, with %-escapes in the password"}}
	}
	pw, has := u.User.Password()
	switch {
	case !has || pw == "":
		return nil
	case pw == "xxxxx": // what url.URL.Redacted writes
		return []flaw{{reason: "holds a redacted password", fix: "put the real value back: this was saved from redacted output"}}
	case placeholder([]byte(pw)) || isPublished([]byte(pw)) || fewer([]byte(pw), 5) || stepped([]byte(pw)):
		return []flaw{{soft: true, reason: "holds a placeholder for a password", fix: "put the real password there"}}
	}
	return nil
}

func checkPEM(b []byte) *flaw {
	blocks := 0
	for rest := b; len(bytes.TrimSpace(rest)) > 0; blocks++ {
		if !bytes.HasPrefix(bytes.TrimSpace(rest), []byte("-----BEGIN ")) {
			return &flaw{reason: "holds something that is not PEM", fix: "keep the PEM blocks only, from BEGIN to END"}
		}
		block, after := pem.Decode(rest)
		if block == nil {
			return &flaw{reason: "is cut off or damaged PEM", fix: "copy it again, whole, with its line ends"}
		}
		clear(block.Bytes)
		rest = after
	}
	if blocks == 0 {
		return &flaw{reason: "holds no PEM block", fix: "copy it again, whole, with its line ends"}
	}
	return nil
}
