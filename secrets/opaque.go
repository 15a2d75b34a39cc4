package secrets

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"

	"github.com/inovy/hardening"
)

// opaque gives whatever embeds it one face for every formatter and encoder:
// the redaction marker, or an error where no marker can stand.
type opaque struct{}

// String returns the redaction marker.
func (opaque) String() string { return hardening.Redacted }

// GoString returns the redaction marker.
func (opaque) GoString() string { return hardening.Redacted }

// Format writes the redaction marker, whatever the verb.
func (opaque) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, hardening.Redacted) }

// LogValue is the redaction marker.
func (opaque) LogValue() slog.Value { return slog.StringValue(hardening.Redacted) }

// MarshalText writes the redaction marker; encoding/json, encoding/xml and YAML
// encoders use it.
func (opaque) MarshalText() ([]byte, error) { return []byte(hardening.Redacted), nil }

// MarshalBinary refuses with [ErrNotEncodable]; encoding/gob uses it.
func (opaque) MarshalBinary() ([]byte, error) { return nil, ErrNotEncodable }

// UnmarshalBinary refuses with [ErrNotEncodable].
func (opaque) UnmarshalBinary([]byte) error { return ErrNotEncodable }

// escapedMarkers are the marker as URLs and JSON spell it.
var escapedMarkers = [...][]byte{[]byte("%5B" + redactedWord + "%5D"), []byte(`\u005b` + redactedWord + `\u005d`)}

const redactedWord = "REDACTED"

// holdsMarker finds the marker, in capitals or not, also inside a longer text:
// a URL whose password was redacted is as useless as a bare marker. It makes no
// copy of the text.
func holdsMarker(text []byte) bool {
	return holdsFold(text, []byte(hardening.Redacted)) || holdsFold(text, escapedMarkers[0]) || holdsFold(text, escapedMarkers[1])
}

// holdsFold finds a word, in capitals or not, whose first byte is no letter.
func holdsFold(text, word []byte) bool {
	for {
		i := bytes.IndexByte(text, word[0])
		if i < 0 || len(text)-i < len(word) {
			return false
		}
		text = text[i:]
		if bytes.EqualFold(text[:len(word)], word) {
			return true
		}
		text = text[1:]
	}
}
