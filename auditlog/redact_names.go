package auditlog

import (
	"log/slog"
	"math"
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

// isCard reports whether a number that was logged as one is a payment card's. Of
// nine digits one number in eleven is a citizen's too: those are hidden as text
// only, or every count would be.
func (r *Redactor) isCard(n uint64) bool {
	if n < 1e12 || r.off&bit(PAN) != 0 {
		return false
	}
	var b [20]byte
	s := string(strconv.AppendUint(b[:0], n, 10))
	_, ok := pan(s, 0, len(s))
	return ok
}

func (r *Redactor) isCardInt(n int64) bool { return n > 0 && r.isCard(uint64(n)) }

// isCardFloat is isCard for what JSON made of a number.
func (r *Redactor) isCardFloat(f float64) bool {
	return f >= 1e12 && f < 1<<53 && f == math.Trunc(f) && r.isCard(uint64(f))
}

// isCardNumber is isCard for a number as JSON spells it: "4111...", "4111....0",
// "4.111...e15".
func (r *Redactor) isCardNumber(s string) bool {
	if n, err := strconv.ParseUint(s, 10, 64); err == nil {
		return r.isCard(n)
	}
	f, err := strconv.ParseFloat(s, 64)
	return err == nil && r.isCardFloat(f)
}
