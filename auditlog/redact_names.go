package auditlog

import (
	"log/slog"
	"slices"
	"strconv"
)

// A name stands once in a record: of two members with one name, readers of JSON
// take the first, the last, or refuse the line, and whoever may choose a name
// could forge what slog itself writes. The second "level" is "level#2".

// ownKeys are the names that slog's handlers write at the top.
var ownKeys = [...]string{slog.TimeKey, slog.LevelKey, slog.MessageKey, slog.SourceKey}

// names are those of one group, with how often each was wanted.
type names map[string]int

func namesOf(used []string) names {
	n := make(names, len(used)+8)
	for _, name := range used {
		n[name] = 1
	}
	return n
}

// free returns a name that is not taken yet, and takes it.
func (n names) free(name string) string {
	times, taken := n[name]
	if !taken {
		n[name] = 1
		return name
	}
	for {
		times++
		if other := name + "#" + strconv.Itoa(times); n[other] == 0 {
			n[name], n[other] = times, 1
			return other
		}
	}
}

// add appends a redacted attribute under a free name. The members of a group
// without a name stand beside it, as slog has it.
func (n names) add(out []slog.Attr, a slog.Attr) []slog.Attr {
	if a.Key == "" && a.Value.Kind() == slog.KindGroup {
		for _, m := range a.Value.Group() {
			out = n.add(out, m)
		}
		return out
	}
	if a.Equal(slog.Attr{}) {
		return out
	}
	a.Key = n.free(a.Key)
	return append(out, a)
}

// maxDistinct is how many names are compared with each other; records and groups
// with more are copied instead.
const maxDistinct = 24

// distinct collects names while they differ from each other and from those that
// are taken.
type distinct struct {
	taken []string
	seen  [maxDistinct]string
	n     int
}

// add reports whether the name is a new one.
func (d *distinct) add(name string) bool {
	if name == "" || d.n == maxDistinct {
		return false
	}
	if slices.Contains(d.taken, name) {
		return false
	}
	if slices.Contains(d.seen[:d.n], name) {
		return false
	}
	d.seen[d.n] = name
	d.n++
	return true
}
