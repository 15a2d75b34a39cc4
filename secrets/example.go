package secrets

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/inovy/hardening/internal/faults"
)

// exampleHead is what an example file begins with.
const exampleHead = `# The settings of this service, written by secrets.Example. For development, copy
# this file to .env and fill in what is empty. The values here are placeholders,
# which are refused outside Development. Never put a true secret in this file.
`

// Example writes a .env.example for the struct that dst points to (a nil
// pointer will do): for each field its name, what [Load] asks of it, how to
// make one, and a value. Public settings get their default. Tokens, passwords
// and URLs get a placeholder that Load refuses outside Development. Keys and PEM
// stay empty, since a key that is in everybody's example is not one, and Load
// checks keys alike everywhere.
//
// The text is the same for the same struct, so commit it and let a test call
// [CheckExample]. Faults of the tags come back as [*hardening.ConfigError].
func Example(w io.Writer, dst any) error {
	p, err := planOfPointer(dst)
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString(exampleHead)
	for _, f := range p.fields {
		fmt.Fprintf(&b, "\n%s%s\n", kindPrefix, f.asks())
		if hint := f.hint(); hint != "" {
			fmt.Fprintf(&b, "# %s\n", hint)
		}
		fmt.Fprintf(&b, "%s=%s\n", f.name, quoteDotEnv(f.example()))
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("secrets: the example was not written: %w", err)
	}
	return nil
}

// planOfPointer is planOf for what a caller passes.
func planOfPointer(dst any) (*plan, error) {
	c := faults.For("secrets")
	t := reflect.TypeOf(dst)
	if t == nil || t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		c.Missing("dst", "is not a pointer to a struct", "pass the address of the struct that Load fills: &cfg")
		return nil, c.Err()
	}
	p := planOf(t.Elem(), c)
	return p, c.Err()
}

// kindPrefix begins the line of an example that CheckExample compares.
const kindPrefix = "# kind: "

// asks says in one line what Load asks of a field. It stands in files that
// people commit, so a change of these words is a change of format.
func (f *field) asks() string {
	var b strings.Builder
	need := "required"
	if f.optional {
		need = "optional"
	}
	if f.preset != nil {
		need = "defaulted"
	}
	b.WriteString(need)
	if f.target == toPublic {
		fmt.Fprintf(&b, " public %s", publicWord(f.typ))
		return b.String() + f.ruleWord()
	}
	for word, k := range kindNames {
		if k == f.kind {
			b.WriteString(" " + word)
		}
	}
	switch {
	case f.target == toRing:
		fmt.Fprintf(&b, " ring, at least %d bits each", f.bits)
	case f.kind == kindKey:
		fmt.Fprintf(&b, ", at least %d bits", f.bits)
	}
	if f.prefix != "" {
		fmt.Fprintf(&b, ", begins with %s", oneLine(f.prefix))
	}
	if f.minLen > 0 {
		fmt.Fprintf(&b, ", at least %d bytes", f.minLen)
	}
	if f.maxAge > 0 {
		fmt.Fprintf(&b, ", renewed within %s", daysOf(f.maxAge))
	}
	return b.String() + f.ruleWord()
}

func (f *field) ruleWord() string {
	if f.rule == "" {
		return ""
	}
	return ", validate " + oneLine(f.rule)
}

// hint says how to make a value.
func (f *field) hint() string {
	switch {
	case f.target == toRing:
		return fmt.Sprintf("generate: openssl rand -base64 %d; to rotate, put the new one in front: v2@2026-11-01:NEW,v1@2026-08-01:OLD", f.bits/8)
	case f.kind == kindKey:
		return fmt.Sprintf("generate: openssl rand -base64 %d", f.bits/8)
	case f.kind == kindPassword:
		return fmt.Sprintf("generate: openssl rand -base64 %d", max(24, (f.minLen+3)/4*3))
	case f.kind == kindToken:
		return "get it from its issuer"
	case f.kind == kindURL:
		return "with user and password; write what is special in the password as %-escapes"
	case f.kind == kindPEM:
		return `in double quotes, with \n for each line end, or in a file of its own`
	}
	return ""
}

// example returns the value that stands in an example file.
func (f *field) example() string {
	switch {
	case f.preset != nil:
		return *f.preset
	case f.optional:
		return ""
	case f.kind == kindToken, f.kind == kindPassword:
		text := f.prefix + "changeme"
		for len(text) < f.minLen {
			text += "-changeme"
		}
		return text
	case f.kind == kindURL:
		return schemeFor(f.name) + "://user:changeme@localhost/name"
	}
	return ""
}

// schemeFor guesses the scheme of a URL from the words of its name.
func schemeFor(name string) string {
	name = strings.ToLower(name)
	for _, guess := range [][2]string{
		{"redis", "rediss"}, {"valkey", "rediss"}, {"amqp", "amqps"}, {"rabbit", "amqps"}, {"mongo", "mongodb"}, {"mysql", "mysql"}, {"nats", "tls"}, {"smtp", "smtps"},
		{"postgres", "postgres"}, {"pg", "postgres"}, {"database", "postgres"}, {"db", "postgres"},
	} {
		if strings.Contains(name, guess[0]) {
			return guess[1]
		}
	}
	return "https"
}

func publicWord(t reflect.Type) string {
	if t == durationType {
		return "duration"
	}
	return t.Kind().String()
}

// daysOf writes whole days as tags do: 90d.
func daysOf(d time.Duration) string {
	if d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return d.String()
}

// oneLine keeps a tag's text from ending its comment.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// quoteDotEnv writes a value so that a DotEnv source reads it back.
func quoteDotEnv(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_./:@%+,=-", r)
	}
	switch {
	case strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0:
		return s
	case !strings.ContainsAny(s, "'\r\n"):
		return "'" + s + "'"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s) + `"`
}
