package shapes

import "slices"

// Match is one token in a text.
type Match struct {
	ID         string // of the shape: "github-token"
	Start, End int    // byte offsets; for a private key, of its whole PEM block
}

type shape struct {
	id    string
	parts []part
}

// byFirst holds, for each first byte, the shapes that can begin with it.
var byFirst = index()

func index() *[256][]shape {
	var t [256][]shape
	runs := 0
	for _, p := range patterns {
		s := shape{p.id, compile(p.pattern)}
		for k := range s.parts {
			if s.parts[k].most == unbounded {
				s.parts[k].run = runs
				runs++
			}
		}
		if first := s.parts[0]; first.class == nil {
			t[first.literal[0]] = append(t[first.literal[0]], s)
		} else {
			for b := range first.class {
				if first.class[b] {
					t[b] = append(t[b], s)
				}
			}
		}
	}
	if runs > maxRuns {
		panic("shapes: more runs without an end than a Scanner remembers")
	}
	return &t
}

// maxRuns is how many runs without an end the patterns may have in all.
const maxRuns = 48

type span struct{ start, end int }

// Scanner finds the tokens of one text, in time linear in its length however
// often [Scanner.Next] is called with a growing position. The zero value scans
// the empty text.
type Scanner struct {
	s     string
	runs  *Runs
	steps int // characters read ahead of the walk, for the proof of linear time
}

// Runs is what a Scanner remembers of its text.
type Runs [maxRuns]span

// NewScanner returns a Scanner of s that remembers in runs, which must be zero.
// runs may be nil for a text of a few hundred bytes, to save clearing it.
func NewScanner(s string, runs *Runs) Scanner { return Scanner{s: s, runs: runs} }

// IDs lists the ids of all shapes, sorted.
func IDs() []string {
	var ids []string
	for _, p := range patterns {
		ids = append(ids, p.id)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// alnum is what a token cannot stand directly behind, since those characters
// would belong to it.
var alnum = classOf('a')

// Next returns the first token in s at or after from. It allocates nothing.
// For all tokens of a text use a [Scanner].
func Next(s string, from int) (Match, bool) {
	var runs Runs
	sc := Scanner{s: s, runs: &runs}
	return sc.Next(from)
}

// Next returns the first token at or after from. It allocates nothing.
func (sc *Scanner) Next(from int) (Match, bool) {
	s := sc.s
	inWord := from > 0 && alnum[s[from-1]]
	for i := from; i < len(s); i++ {
		b := s[i]
		if candidates := byFirst[b]; candidates != nil && (!inWord || !alnum[b] || escaped(s, i)) {
			for k := range candidates {
				if end, ok := sc.match(candidates[k].parts, i); ok {
					return Match{candidates[k].id, i, blockEnd(candidates[k].id, s, i, end)}, true
				}
			}
		}
		inWord = alnum[b]
	}
	return Match{}, false
}

// escaped reports whether an escape ends before s[i], whose last character is
// no part of what follows: "\n" in JSON and source code, "%3D" in a URL,
// "\u003d" in JSON.
func escaped(s string, i int) bool {
	switch {
	case i >= 2 && s[i-2] == '\\' && (s[i-1] == 'n' || s[i-1] == 'r' || s[i-1] == 't'),
		i >= 3 && s[i-3] == '%' && hexDigit[s[i-2]] && hexDigit[s[i-1]]:
		return true
	}
	return i >= 6 && s[i-6] == '\\' && s[i-5] == 'u' && hexDigit[s[i-4]] && hexDigit[s[i-3]] && hexDigit[s[i-2]] && hexDigit[s[i-1]]
}

var hexDigit = classOf('x')
