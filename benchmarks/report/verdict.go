package main

import (
	"fmt"
	"regexp"
)

// The verdicts on a budget.
const (
	held        = "held"
	missed      = "MISSED"
	notMeasured = "not measured"
)

// verdict is a budget and what the run says about it.
type verdict struct {
	Budget  budget   `json:"budget"`
	Verdict string   `json:"verdict"`
	Ratio   *spread  `json:"ratio,omitempty"`
	Reasons []string `json:"reasons,omitempty"` // why it was missed or not measured
}

// judge holds a budget against the results. wanted is the selection of the
// run: what it excludes was not asked for and is not missed.
func judge(b budget, r *results, wanted *regexp.Regexp) verdict {
	v := verdict{Budget: b, Verdict: held}
	var absent []string
	needs := []bench{b.numerator()}
	if b.Denominator != "" {
		needs = append(needs, b.denominator())
	}
	for _, n := range needs {
		if len(r.rounds[n]) > 0 {
			continue
		}
		if !wanted.MatchString(n.String()) {
			v.Verdict = notMeasured
			v.Reasons = []string{n.String() + " is not selected by -run"}
			return v
		}
		absent = append(absent, "no benchmark "+n.String())
	}
	if len(absent) > 0 {
		v.Reasons = absent
		if len(absent) == 2 {
			v.Reasons = []string{"no benchmark " + b.numerator().scenario()}
		}
		v.Verdict = missed
		if b.Pending {
			v.Verdict = notMeasured
		}
		return v
	}

	miss := func(format string, args ...any) {
		v.Verdict = missed
		v.Reasons = append(v.Reasons, fmt.Sprintf(format, args...))
	}
	if b.Denominator != "" {
		ratio, ok := r.ratio(b.numerator(), b.denominator(), b.Unit)
		switch {
		case !ok:
			miss("the two sides do not both report %s", b.Unit)
		case ratio.Median > b.Limit:
			v.Ratio = &ratio
			miss("ratio %.3g is over %.3g", ratio.Median, b.Limit)
		default:
			v.Ratio = &ratio
		}
	}
	for _, count := range []struct {
		most *float64
		unit string
	}{{b.MaxAllocs, "allocs/op"}, {b.MaxRoundTrips, "roundtrips/op"}} {
		if count.most == nil {
			continue
		}
		got := r.values(b.numerator(), count.unit)
		if len(got) == 0 {
			miss("%s does not report %s", b.numerator(), count.unit)
		} else if m := median(got); m > *count.most {
			miss("%.3g %s is over %.3g", m, count.unit, *count.most)
		}
	}
	return v
}
