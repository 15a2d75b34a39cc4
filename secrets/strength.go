package secrets

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
)

// flaw is what is wrong with a value, in words that hold nothing of it.
type flaw struct {
	reason, fix string
	// soft flaws are let through in Development and reported by Check.
	soft bool
}

const (
	minKeyBits = 256
	maxKeyBits = 4096
	fixKey     = "generate one with secrets.Generate(32) or: openssl rand -base64 32"
)

// decodeKey turns the text of a key into its bytes: hex if all of it is hex
// and its length even, else strict base64 of either alphabet, padded or not. A
// prefix "hex:" or "base64:" decides instead. Canonical text only: what
// decodes has one spelling per encoding.
func decodeKey(text []byte) (key []byte, ok bool) {
	return decodeKeyInto(make([]byte, len(text)), text)
}

// decodeKeyInto is decodeKey into a buffer at least as long as the text. What is
// no key leaves nothing in it.
func decodeKeyInto(buf, text []byte) (key []byte, ok bool) {
	if rest, found := bytes.CutPrefix(text, []byte("hex:")); found {
		return decodeHex(buf, rest)
	}
	rest, base := bytes.CutPrefix(text, []byte("base64:"))
	if !base {
		if key, ok := decodeHex(buf, text); ok {
			return key, true
		}
	}
	return decodeBase64(buf, rest)
}

func decodeHex(buf, text []byte) ([]byte, bool) {
	n, err := hex.Decode(buf[:hex.DecodedLen(len(text))], text)
	if err != nil || n == 0 {
		clear(buf)
		return nil, false
	}
	return buf[:n], true
}

// The strict forms of base64: either alphabet, padded or not.
var strictBase64 = [2][2]*base64.Encoding{
	{base64.RawStdEncoding.Strict(), base64.StdEncoding.Strict()},
	{base64.RawURLEncoding.Strict(), base64.URLEncoding.Strict()},
}

func decodeBase64(buf, text []byte) ([]byte, bool) {
	if bytes.ContainsAny(text, "\r\n") { // the decoder would skip them
		return nil, false
	}
	url, padded := 0, 0
	if bytes.ContainsAny(text, "-_") {
		url = 1
	}
	if bytes.HasSuffix(text, []byte("=")) {
		padded = 1
	}
	n, err := strictBase64[url][padded].Decode(buf[:], text)
	if err != nil || n == 0 {
		clear(buf)
		return nil, false
	}
	return buf[:n], true
}

// checkKey decodes the text of a key and returns its first flaw. Each rule
// lets a uniformly random key fail with a probability below 1e-9; together they
// refuse what people write by hand. The caller wipes the key.
func checkKey(text []byte, minBits int) ([]byte, *flaw) {
	key, ok := decodeKey(text)
	if !ok {
		return nil, &flaw{reason: "is neither hex nor base64, as a random key is", fix: fixKey}
	}
	weak := func(reason string) ([]byte, *flaw) {
		clear(key)
		return nil, &flaw{reason: reason, fix: fixKey}
	}
	switch {
	case len(key)*8 < minBits:
		return weak("holds fewer bits than it must")
	// Random: P(< 20 distinct of 32) = 1.4e-10, P(< 41 of 64) = 2.1e-10.
	case fewer(key[:32], 20), len(key) >= 64 && fewer(key[:64], 41):
		return weak("repeats its bytes more than a random key does")
	case stepped(key):
		return weak("counts up or down instead of being random")
	// Random: P(32 bytes of printable ASCII) = 2e-14.
	case printable(key):
		return weak("encodes readable text, not random bytes")
	// A sentence with dashes is valid base64url. Random: P(43 characters
	// without a capital, or without a small letter) = 4e-10.
	case !isHex(text) && (!mixedCase(text) || wordy(text)):
		return weak("reads as words, not as random bytes")
	case !isHex(text) && holdsPhrase(text):
		return weak("holds a placeholder")
	case isPublished(text):
		return weak("stands in public documentation")
	}
	return key, nil
}

func isHex(text []byte) bool {
	text, _ = bytes.CutPrefix(text, []byte("hex:"))
	for _, c := range text {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
			return false
		}
	}
	return true
}

func mixedCase(text []byte) bool {
	text, _ = bytes.CutPrefix(text, []byte("base64:"))
	upper, lower := false, false
	for _, c := range text {
		upper = upper || c >= 'A' && c <= 'Z'
		lower = lower || c >= 'a' && c <= 'z'
	}
	return upper && lower
}

// fewer reports whether b has fewer than n distinct bytes. It stops as soon as
// it knows.
func fewer(b []byte, n int) bool {
	var seen [4]uint64
	for _, c := range b {
		bit := uint64(1) << (c & 63)
		if seen[c>>6]&bit == 0 {
			if n--; n <= 0 {
				return false
			}
			seen[c>>6] |= bit
		}
	}
	return n > 0
}

// stepped reports whether one difference between neighbours makes up more than
// half of all differences: 0123..., aaaa..., 2468...
func stepped(b []byte) bool {
	if len(b) <= 255 { // counters of a byte are a quarter to clear
		return steppedBy[uint8](b)
	}
	return steppedBy[uint32](b)
}

func steppedBy[N uint8 | uint32](b []byte) bool {
	var count [256]N
	most := N(0)
	half := len(b)/2 + 4 // most random texts are known to be that by then
	for i := 1; i < len(b); i++ {
		if i == half && (int(most)+len(b)-i)*2 <= len(b)-1 {
			return false
		}
		d := b[i] - b[i-1]
		count[d]++
		most = max(most, count[d])
	}
	return int(most)*2 > len(b)-1
}

func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' || c > '~' {
			return false
		}
	}
	return true
}
