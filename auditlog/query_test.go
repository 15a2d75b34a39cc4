package auditlog

import (
	"errors"
	"fmt"
	"testing"
)

func TestQueryChooses(t *testing.T) {
	l := open(t, testConfig(privateDir(t)))
	for i := range 10 {
		e := read(fmt.Sprintf("p%d", i%2))
		e.Actor.ID = fmt.Sprintf("a%d", i%3)
		record(t, l, e)
	}
	all := entries(t, l, Filter{})
	for _, c := range []struct {
		name string
		f    Filter
		want int
	}{
		{"all", Filter{}, 10},
		{"by subject", Filter{Subject: "p1"}, 5},
		{"by actor", Filter{Actor: "a0"}, 4},
		{"by both", Filter{Subject: "p0", Actor: "a0"}, 2},
		{"at most", Filter{Limit: 3}, 3},
		{"from a time on", Filter{From: all[4].Time}, 6},
		{"before a time", Filter{To: all[4].Time}, 4},
		{"of another type", Filter{Type: Export}, 0},
	} {
		if got := entries(t, l, c.f); len(got) != c.want {
			t.Errorf("%s: %d entries, want %d", c.name, len(got), c.want)
		}
	}
	for range l.Query(t.Context(), Filter{}) {
		break // stopping early must not panic
	}
	for _, f := range []Filter{{Limit: -1}, {From: all[4].Time, To: all[2].Time}} {
		n := 0
		for _, err := range l.Query(t.Context(), f) {
			if n++; err == nil {
				t.Errorf("%+v was accepted", f)
			}
		}
		if n != 1 {
			t.Errorf("%+v: %d results", f, n)
		}
	}
}

// The file of the subjects' keys is closed with the log.
func TestAQueryAfterCloseSaysSo(t *testing.T) {
	l := open(t, testConfig(privateDir(t)))
	record(t, l, read("jansen"))
	clear(l.subjects.open)
	must(t, l.Close())
	for _, f := range []Filter{{}, {Subject: "jansen"}} {
		var got error
		for _, err := range l.Query(t.Context(), f) {
			got = err
		}
		if !errors.Is(got, ErrClosed) {
			t.Errorf("%+v: %v", f, got)
		}
	}
}
