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

// What a byte can be to the walk.
const (
	inToken = 1 << iota // a token cannot begin directly behind it: it would belong to it
	begins              // a shape can begin with it
	escapes             // '\\' or '%'
)

// kinds and byPair save the walk most of its work: byPair holds, for the first
// two bytes, which of groups are the shapes that can begin with them; groups[0]
// is empty.
var kinds, byPair, groups = walkTables()

func walkTables() (k *[256]uint8, p *[256]*[256]uint16, groups [][]shape) {
	k, p, groups = new([256]uint8), new([256]*[256]uint16), [][]shape{nil}
	for b := range 256 {
		if alnum[b] {
			k[b] |= inToken
		}
		if byFirst[b] == nil {
			continue
		}
		k[b] |= begins
		p[b] = new([256]uint16)
		for _, s := range byFirst[b] {
			for _, second := range s.seconds() {
				group := &p[b][second]
				if *group == 0 {
					*group = uint16(len(groups)) // #nosec G115 -- at most 65536 pairs, few of them in use
					groups = append(groups, nil)
				}
				groups[*group] = append(groups[*group], s)
			}
		}
	}
	k['\\'] |= escapes
	k['%'] |= escapes
	return k, p, groups
}

// seconds lists what the second byte of a token can be.
func (s *shape) seconds() []byte {
	possible := func(byte) bool { return true } // a run that may end before it or not: not looked into
	rest := s.parts
	for n := 1; len(rest) > 0; rest = rest[1:] { // n bytes come before the second one
		p := &rest[0]
		if p.class == nil && len(p.literal) > n {
			return []byte{p.literal[n]}
		}
		if p.class != nil && p.least > n {
			possible = func(b byte) bool { return p.class[b] }
			break
		}
		if p.class != nil && p.most != p.least {
			break
		}
		n -= len(p.literal) + p.least
	}
	var all []byte
	for b := range 256 {
		if possible(byte(b)) {
			all = append(all, byte(b))
		}
	}
	return all
}

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
const maxRuns = 56

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
	before := uint8(0) // what the byte before i is
	if from > 0 {
		before = kinds[s[from-1]]
	}
	escape := from - 1 // the newest place where an escape may have begun
	for escape >= 0 && escape >= from-maxEscape && kinds[s[escape]]&escapes == 0 {
		escape--
	}
	for i := from; i < len(s); i++ {
		b := s[i]
		kind := kinds[b]
		if kind&begins != 0 && i+1 < len(s) && (before&kind&inToken == 0 || i-escape <= maxEscape && BehindEscape(s, i, "nrt")) {
			candidates := groups[byPair[b][s[i+1]]] // no token is a single byte
			for k := range candidates {
				if end, ok := sc.match(candidates[k].parts, i); ok {
					return Match{candidates[k].id, i, blockEnd(candidates[k].id, s, i, end)}, true
				}
			}
		}
		if kind&escapes != 0 {
			escape = i
		}
		before = kind
	}
	return Match{}, false
}

const maxEscape = len("%25255Cu003d")

var hexDigit = classOf('x')
