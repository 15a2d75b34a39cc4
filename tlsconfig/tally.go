package tlsconfig

import (
	"sync"
	"time"
)

// tally counts what anybody can cause as fast as they like, by a few fixed
// reasons, and reports the counts at most once a minute. It is safe for
// concurrent use.
type tally struct {
	report func(reason string, n int, last string)

	mu       sync.Mutex // guards the fields below
	counts   map[string]int
	reported time.Time
}

const tallyEvery = time.Minute

func newTally(report func(reason string, n int, last string)) *tally {
	return &tally{report: report, counts: map[string]int{}}
}

// add counts one; last says who or what it was, in safe text.
func (t *tally) add(reason, last string) {
	now := time.Now()

	t.mu.Lock()
	t.counts[reason]++
	if !t.reported.IsZero() && now.Sub(t.reported) < tallyEvery {
		t.mu.Unlock()
		return
	}
	t.reported = now
	counts := t.counts
	t.counts = map[string]int{}
	t.mu.Unlock()

	for reason, n := range counts {
		t.report(reason, n, last)
	}
}
