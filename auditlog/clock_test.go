package auditlog

import (
	"slices"
	"testing"
	"time"
)

// A clock that a time server puts right, or that somebody turns, jumps between
// two records. Their order is that of the tree and never that of the clock.
func TestAClockThatStepsLosesAndReordersNothing(t *testing.T) {
	t.Attr("control", "BIO2 8.17.01")
	cfg := testConfig(privateDir(t))
	l := open(t, cfg)
	now := time.Now()
	steps := []time.Duration{0, -10 * 365 * day, time.Nanosecond, 3 * 365 * day, -time.Hour, -time.Nanosecond, 0}
	want := make([]time.Time, 0, 2*len(steps))
	write := func() {
		for _, step := range steps {
			at := now.Add(step)
			e := read("jansen")
			s, err := l.subjects.of(e.Subject.ID)
			must(t, err)
			if _, err := l.commit(t.Context(), appendEvent(nil, &e, at, 0, nil, s), true); err != nil {
				t.Fatalf("%v from now: %v", step, err)
			}
			want = append(want, at)
		}
	}
	write()
	must(t, l.Close())
	l = open(t, cfg) // and a restart in between
	write()
	var got []time.Time
	last := int64(-1)
	for _, e := range entries(t, l, Filter{}) {
		if e.Seq <= last {
			t.Errorf("seq %d stands behind %d", e.Seq, last)
		}
		last = e.Seq
		got = append(got, e.Recorded)
	}
	if !slices.EqualFunc(got, want, func(a, b time.Time) bool { return a.Equal(b.Truncate(time.Microsecond)) || a.Equal(b) }) {
		t.Errorf("recorded at %v, want %v", got, want)
	}
	if n := len(entries(t, l, Filter{To: now.Add(-5 * 365 * day)})); n != 2 {
		t.Errorf("%d events of the time before, want 2", n)
	}
	must(t, l.Close())
	if r := verify(t, cfg.Dir, l.VerifierKey()); r.Status != StatusOK {
		t.Errorf("%v", r)
	}
}

// A segment is as old as the newest record in it or before it: a clock that was
// set back for a while does not have today's records pruned as old ones.
func TestAClockThatWasSetBackHasNothingPrunedEarly(t *testing.T) {
	cfg := testConfig(privateDir(t))
	cfg.SegmentBytes = minSegment
	l := open(t, cfg)
	record(t, l, read("today"))
	old := time.Now().Add(-2 * defaultRetention)
	for {
		e := read("jansen")
		e.Reason = string(slices.Repeat([]byte("r"), 2000))
		s, err := l.subjects.of(e.Subject.ID)
		must(t, err)
		if _, err := l.commit(t.Context(), appendEvent(nil, &e, old, 0, nil, s), true); err != nil {
			t.Fatal(err)
		}
		firsts, err := segments(cfg.Dir)
		must(t, err)
		if len(firsts) == 4 {
			break
		}
	}
	if r, err := l.Prune(t.Context()); err != nil || r.Segments != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}
