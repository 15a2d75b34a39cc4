// Package shapes knows what published tokens look like: API keys, personal
// access tokens, private keys. The redactor of the audit log and the scanner
// for committed secrets share it.
//
// A shape is a literal that its issuer chose to be recognised by, and runs of
// characters of known length. Matching walks the text once, compares literals
// where one can begin, and never backtracks, so its time is linear.
package shapes

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// class is a set of bytes.
type class [256]bool

func (c *class) add(from, to byte) {
	for b := int(from); b <= int(to); b++ {
		c[b] = true
	}
}

// classOf returns the set for the letter used in patterns.
func classOf(letter byte) *class {
	var c class
	switch letter {
	case 'd':
		c.add('0', '9')
	case 'h':
		c.add('0', '9')
		c.add('a', 'f')
	case 'x':
		c.add('0', '9')
		c.add('a', 'f')
		c.add('A', 'F')
	case 'l':
		c.add('0', '9')
		c.add('a', 'z')
	case 'u':
		c.add('0', '9')
		c.add('A', 'Z')
	case 'a':
		c.add('0', '9')
		c.add('a', 'z')
		c.add('A', 'Z')
	case 'w', 'b', 'c':
		c.add('0', '9')
		c.add('a', 'z')
		c.add('A', 'Z')
		switch letter {
		case 'w': // base64url
			c['_'], c['-'] = true, true
		case 'b': // base64
			c['+'], c['/'] = true, true
		case 'c': // any character of a credential that needs no escaping
			c['_'], c['-'], c['.'], c['~'], c['='], c['+'], c['/'] = true, true, true, true, true, true, true
		}
	default:
		panic("shapes: unknown class " + string(letter))
	}
	return &c
}

// part is a literal, or a run of least to most characters of a class.
type part struct {
	literal     string
	class       *class
	least, most int
	run         int // of a run without an end: its number among those of all patterns
}

// compile reads a pattern: literals, and runs written {a36} (exactly 36), {a20+}
// (at least 20) or {a8-10}. "{{" is not needed by any token and not supported.
func compile(pattern string) []part {
	var parts []part
	for pattern != "" {
		open := strings.IndexByte(pattern, '{')
		if open < 0 {
			return append(parts, part{literal: pattern})
		}
		if open > 0 {
			parts = append(parts, part{literal: pattern[:open]})
		}
		end := strings.IndexByte(pattern, '}')
		run := pattern[open+1 : end]
		parts = append(parts, compileRun(run))
		pattern = pattern[end+1:]
	}
	return parts
}

// unbounded marks a run that ends where its characters end.
const unbounded = math.MaxInt

func compileRun(run string) part {
	p := part{class: classOf(run[0])}
	from, to, ranged := strings.Cut(run[1:], "-")
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			panic(fmt.Sprintf("shapes: run %q: %v", run, err))
		}
		return n
	}
	switch {
	case ranged:
		p.least, p.most = number(from), number(to)
	case strings.HasSuffix(from, "+"):
		p.least, p.most = number(from[:len(from)-1]), unbounded
	default:
		p.least = number(from)
		p.most = p.least
	}
	return p
}

// match reports the end of the parts at s[i]. A run takes all it can get, and
// one that is longer than its shape allows does not match: those characters
// are something else.
func (sc *Scanner) match(parts []part, i int) (end int, ok bool) {
	s := sc.s
	for k := range parts {
		p := &parts[k]
		if p.class == nil {
			if !strings.HasPrefix(s[i:], p.literal) {
				return 0, false
			}
			i += len(p.literal)
			continue
		}
		if p.most == unbounded {
			end := sc.runEnd(p, i)
			if end-i < p.least {
				return 0, false
			}
			i = end
			continue
		}
		// A literal behind a run of fixed length may consist of the run's own
		// characters, so such a run takes its length and no more.
		limit := p.most
		if last := k == len(parts)-1; last || p.least != p.most {
			limit++
		}
		n := 0
		for n < limit && i+n < len(s) && p.class[s[i+n]] {
			n++
		}
		sc.steps += n
		if n < p.least || n > p.most {
			return 0, false
		}
		i += n
	}
	return i, true
}

// runEnd returns where the run of p's characters that holds i ends. What is
// known of a run is kept: a text in which a token begins every few characters,
// each reaching to the end of the same run, would else be read again for each
// of them, in quadratic time. As the beginnings move on, so does the place of
// each part, and no part reads a character twice.
func (sc *Scanner) runEnd(p *part, i int) int {
	if sc.runs != nil && i >= sc.runs[p.run].start && i < sc.runs[p.run].end {
		return sc.runs[p.run].end
	}
	end := i
	for end < len(sc.s) && p.class[sc.s[end]] {
		end++
	}
	sc.steps += end - i
	if sc.runs != nil {
		sc.runs[p.run] = span{i, end}
	}
	return end
}
