package main

import "slices"

// results holds every round of every benchmark, in the order of measurement.
type results struct {
	order  []bench
	rounds map[bench][]sample
}

func (r *results) add(b bench, s sample) {
	if r.rounds == nil {
		r.rounds = map[bench][]sample{}
	}
	if r.rounds[b] == nil {
		r.order = append(r.order, b)
	}
	r.rounds[b] = append(r.rounds[b], s)
}

// values returns one value per round, or nil if a round lacks the unit.
func (r *results) values(b bench, unit string) []float64 {
	var v []float64
	for _, s := range r.rounds[b] {
		x, ok := s[unit]
		if !ok {
			return nil
		}
		v = append(v, x)
	}
	return v
}

// spread is a median and the extremes around it.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func spreadOf(v []float64) spread {
	return spread{median(v), slices.Min(v), slices.Max(v)}
}

// ratio compares two implementations round by round, so that a machine that
// grows slower during the run slows both sides of each quotient.
func (r *results) ratio(num, den bench, unit string) (spread, bool) {
	n, d := r.values(num, unit), r.values(den, unit)
	if len(n) == 0 || len(n) != len(d) {
		return spread{}, false
	}
	q := make([]float64, len(n))
	for i := range n {
		if d[i] == 0 {
			return spread{}, false
		}
		q[i] = n[i] / d[i]
	}
	return spreadOf(q), true
}
