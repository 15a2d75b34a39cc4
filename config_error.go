package hardening

import (
	"iter"
	"strconv"
	"strings"

	"github.com/inovy/hardening/internal/text"
)

// Redacted stands where a value is not shown.
const Redacted = "[REDACTED]"

// ConfigError is one fault in a Config: which field of which room, what it
// held, why that is refused, and what to write instead. A room's New returns
// all faults of a Config joined into one error; [Faults] yields them one by
// one. Value never holds a secret: rooms put [Redacted] there.
type ConfigError struct {
	Room   string // package name: "headers"
	Field  string // Go path within the Config: "HSTS.MaxAge", "Tiers[2].Name"
	Value  string // what was found, shortened; "" if there is nothing to show
	Reason string // "is shorter than one year"
	Fix    string // "set at least 8760h, or leave it zero for the default"
}

// Error reads as one line: room, field, value, reason, fix. The value is
// quoted, so a line break in it cannot forge a second line.
func (e *ConfigError) Error() string {
	var b strings.Builder
	b.WriteString(e.Room)
	b.WriteString(": ")
	b.WriteString(e.Field)
	if e.Value != "" {
		b.WriteByte(' ')
		b.WriteString(strconv.Quote(e.Value))
	}
	b.WriteByte(' ')
	b.WriteString(e.Reason)
	if e.Fix != "" {
		b.WriteString("; fix: ")
		b.WriteString(e.Fix)
	}
	return b.String()
}

// Faults yields every [ConfigError] in err's tree, in the order in which they
// were found. A nil err yields nothing.
func Faults(err error) iter.Seq[*ConfigError] {
	return func(yield func(*ConfigError) bool) { eachFault(err, yield) }
}

func eachFault(err error, yield func(*ConfigError) bool) bool {
	switch e := err.(type) { //nolint:errorlint // this walks the tree that errors.As would
	case nil:
		return true
	case *ConfigError:
		return yield(e)
	case interface{ Unwrap() []error }:
		for _, child := range e.Unwrap() {
			if !eachFault(child, yield) {
				return false
			}
		}
		return true
	case interface{ Unwrap() error }:
		return eachFault(e.Unwrap(), yield)
	}
	return true
}

// clip shortens a value for an error: 80 bytes are enough to recognise it.
func clip(s string) string { return text.Clip(s, 80) }
