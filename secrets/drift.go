package secrets

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
)

// DriftKind is in what way an example file and a struct differ.
type DriftKind string

// The kinds of drift.
const (
	DriftMissing DriftKind = "missing" // the struct asks for it, the file does not name it
	DriftExtra   DriftKind = "extra"   // the file names it, the struct does not ask for it
	DriftChanged DriftKind = "changed" // the file says of another kind than the struct asks for
	DriftReal    DriftKind = "real"    // the file holds what may be a true secret, not a placeholder
)

// Drift is one difference between an example file and a struct. It never holds
// a value of the file.
type Drift struct {
	Name string // of the variable; "" for an extra one that may itself be a secret
	Line int    // in the file, from 1; 0 if missing
	Kind DriftKind
	Want string // what the struct asks for; "" for an extra one
}

// String reads as "line 7: SESSION_KEY: changed, the struct asks for: required ...".
func (d Drift) String() string {
	var b strings.Builder
	if d.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", d.Line)
	}
	if d.Name != "" {
		fmt.Fprintf(&b, "%s: ", d.Name)
	}
	switch d.Kind {
	case DriftMissing:
		b.WriteString("missing")
	case DriftExtra:
		b.WriteString("no field asks for it")
	case DriftChanged:
		b.WriteString("changed")
	case DriftReal:
		b.WriteString("its value is no placeholder; if it is a true secret, replace that secret everywhere")
	}
	if d.Kind == DriftMissing || d.Kind == DriftChanged {
		fmt.Fprintf(&b, ", the struct asks for: %s", d.Want)
	}
	return b.String()
}

// CheckExample compares an example file with the struct that dst points to (a
// nil pointer will do) and returns what differs: names that are missing, extra,
// or of another kind, and values that are no placeholders. Order, further
// comments and the values of public settings are the file's own. No drift is an
// empty slice.
//
// Call it in a test, so that a field that nobody documented fails the build:
//
//	drift, err := secrets.CheckExample(file, &Config{})
//
// The error tells of tags or a file that can not be read. Neither it nor a Drift
// holds a value.
func CheckExample(r io.Reader, dst any) ([]Drift, error) {
	p, err := planOfPointer(dst)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(r, maxBytes+1))
	defer func() { clear(text) }()
	switch {
	case err != nil:
		return nil, fmt.Errorf("secrets: the example could not be read: %w", err)
	case len(text) > maxBytes:
		return nil, errors.New("secrets: the example is larger than 1 MiB")
	}
	pairs, bad := parseDotEnv(text)
	if bad != nil {
		return nil, fmt.Errorf("secrets: the example can not be understood: %s; %s", bad.reason, bad.fix)
	}
	defer wipePairs(pairs)
	return compareExample(p, linesOf(text, pairs)), nil
}

// exampleLine is what an example file says about one name.
type exampleLine struct {
	pair
	line int
	asks string // behind kindPrefix, above the name
}

// linesOf finds where the pairs of a file stand, which are in its order, and
// the kind that stands above each.
func linesOf(text []byte, pairs []pair) []exampleLine {
	out := make([]exampleLine, 0, len(pairs))
	asks := ""
	for n := 1; len(text) > 0 && len(out) < len(pairs); n++ {
		var here []byte
		here, text = cutLine(text)
		if rest, ok := bytes.CutPrefix(here, []byte(kindPrefix)); ok {
			asks = string(bytes.TrimSpace(rest))
			continue
		}
		switch _, name, _ := parseLine(bytes.TrimPrefix(here, []byte("\xef\xbb\xbf"))); name {
		case pairs[len(out)].name:
			out = append(out, exampleLine{pairs[len(out)], n, asks})
			asks = ""
		case "":
			if len(trimBlank(here)) == 0 {
				asks = "" // an empty line ends what belongs to a name
			}
		}
	}
	return out
}

func compareExample(p *plan, lines []exampleLine) []Drift {
	drift := []Drift{}
	for _, f := range p.fields {
		at := slices.IndexFunc(lines, func(l exampleLine) bool { return l.name == f.name })
		if at < 0 {
			drift = append(drift, Drift{Name: f.name, Kind: DriftMissing, Want: f.asks()})
			continue
		}
		l := lines[at]
		lines = slices.Delete(slices.Clone(lines), at, at+1)
		if l.asks != f.asks() {
			drift = append(drift, Drift{Name: f.name, Line: l.line, Kind: DriftChanged, Want: f.asks()})
		}
		if f.target != toPublic && !f.stoodFor(l.value) {
			drift = append(drift, Drift{Name: f.name, Line: l.line, Kind: DriftReal, Want: f.asks()})
		}
	}
	for _, l := range lines {
		name := l.name
		if likelySecret("", name) {
			name = "" // the last line of a key in base64 reads as NAME=
		}
		drift = append(drift, Drift{Name: name, Line: l.line, Kind: DriftExtra})
	}
	return drift
}

// stoodFor reports whether a value of an example file stands for a secret and
// is none. A weak one is a true one too.
func (f *field) stoodFor(value []byte) bool {
	switch {
	case len(value) == 0, template(value), holdsMarker(value):
		return true
	case f.kind == kindURL:
		u, err := url.Parse(string(value))
		if err != nil {
			return false
		}
		password, _ := u.User.Password()
		if password == "" && likelySecret("", u.User.Username()) { // git and others take a token as the user
			return false
		}
		return (password == "" || placeholder([]byte(password)) || template([]byte(password))) && CheckURL(withoutUser(u)) == nil
	}
	rest, _ := bytes.CutPrefix(value, []byte(f.prefix))
	return placeholder(rest) || fewer(rest, 5) || stepped(rest)
}
