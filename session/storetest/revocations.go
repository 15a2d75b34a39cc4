package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/inovy/hardening/session"
)

// revocations are the clauses about many ends at once, and about the marks that
// keep what ended from coming back.
var revocations = []clause{
	{"Revoke ends all records of its tags and no others", func(t *testing.T, s *subject) {
		a := ref()
		b, other := sameTag(a), ref()
		c := ref()
		for _, r := range []session.Ref{a, b, c, other} {
			create(t, s, r, record(time.Hour, "x"))
		}
		n, err := revoke(t, s, []session.Tag{a.Tag, c.Tag}, now(), now().Add(time.Hour))
		if n != 3 || err != nil {
			t.Errorf("Revoke: %d, %v; want 3", n, err)
		}
		for _, r := range []session.Ref{a, b, c} {
			wantGone(t, s, r)
		}
		wantLoad(t, s, other, "x", 1)
		if n, err := revoke(t, s, []session.Tag{a.Tag, ref().Tag}, now(), now().Add(time.Hour)); n != 0 || err != nil {
			t.Errorf("Revoke of nothing: %d, %v", n, err)
		}
	}},
	{"Revoke counts only what was alive", func(t *testing.T, s *subject) {
		a := ref()
		create(t, s, a, record(time.Second, "x"))
		create(t, s, sameTag(a), record(time.Hour, "x"))
		s.advance(2 * time.Second)
		if n, err := revoke(t, s, []session.Tag{a.Tag}, now().Add(2*time.Second), now().Add(time.Hour)); n != 1 || err != nil {
			t.Errorf("Revoke: %d, %v; want 1", n, err)
		}
	}},
	{"Revoke ends also what claims to be born later", func(t *testing.T, s *subject) {
		// Another node's clock may be ahead.
		r, rec := ref(), record(time.Hour, "x")
		rec.Born = rec.Born.Add(time.Minute)
		create(t, s, r, rec)
		if n, err := revoke(t, s, []session.Tag{r.Tag}, now(), now().Add(time.Hour)); n != 1 || err != nil {
			t.Errorf("Revoke: %d, %v; want 1", n, err)
		}
		wantGone(t, s, r)
	}},
	{"Revoke spares Keep, which counts as born at the mark", func(t *testing.T, s *subject) {
		keep, rec := ref(), record(time.Hour, "kept")
		rec.Born = rec.Born.Add(-time.Hour)
		create(t, s, keep, rec)
		var others []session.Ref
		for range 3 {
			r := sameTag(keep)
			others = append(others, r)
			create(t, s, r, rec)
		}
		n, err := s.Revoke(t.Context(), session.Revocation{Tags: []session.Tag{keep.Tag}, Keep: keep, At: now(), Until: now().Add(time.Hour)})
		if n != 3 || err != nil {
			t.Errorf("Revoke: %d, %v; want 3", n, err)
		}
		for _, r := range others {
			wantGone(t, s, r)
		}
		wantLoad(t, s, keep, "kept", 1)
		changed := record(time.Hour, "changed")
		changed.Version = 1
		if err := s.Update(t.Context(), keep, changed); err != nil {
			t.Errorf("Update of the record that was kept: %v", err)
		}
		wantErr(t, "Create born before the mark", try(t, s, sameTag(keep), rec), session.ErrRevoked)
		if n, err := revoke(t, s, []session.Tag{keep.Tag}, now(), now().Add(time.Hour)); n != 1 || err != nil {
			t.Errorf("Revoke of the one that was kept: %d, %v", n, err)
		}
		wantGone(t, s, keep)
	}},
	{"a Keep that is gone is not brought back", func(t *testing.T, s *subject) {
		r := ref()
		if _, err := s.Revoke(t.Context(), session.Revocation{Tags: []session.Tag{r.Tag}, Keep: r, At: now(), Until: now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		wantGone(t, s, r)
	}},
	{"RevokeAll ends everything, and what began before", func(t *testing.T, s *subject) {
		var all []session.Ref
		for i := range 40 {
			r, rec := ref(), record(time.Hour, "x")
			rec.Anonymous = i%2 == 0
			all = append(all, r)
			create(t, s, r, rec)
		}
		if err := s.RevokeAll(t.Context(), now(), now().Add(10*time.Second)); err != nil {
			t.Fatal(err)
		}
		for _, r := range all {
			wantGone(t, s, r)
		}
		if left, err := s.List(t.Context(), []session.Tag{all[1].Tag, all[3].Tag}); len(left) != 0 || err != nil {
			t.Errorf("List: %d, %v", len(left), err)
		}
		r, rec := ref(), record(time.Hour, "x")
		rec.Born = rec.Born.Add(-10 * time.Second)
		wantErr(t, "Create born before", try(t, s, r, rec), session.ErrRevoked)
		rec.Born = now()
		create(t, s, r, rec)
		wantLoad(t, s, r, "x", 1)
	}},
	{"RevokeAll ends also what says that it is born later", func(t *testing.T, s *subject) {
		// The clock of the node that logged in was ahead, or went back since.
		r, rec := ref(), record(time.Hour, "x")
		rec.Born = rec.Born.Add(time.Minute)
		create(t, s, r, rec)
		if err := s.RevokeAll(t.Context(), now(), now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		wantGone(t, s, r)
	}},
	{"an Ender remembers what ended, and for how long", func(t *testing.T, s *subject) {
		e, ok := s.Store.(session.Ender)
		if !ok {
			t.Skip("the store is no session.Ender")
		}
		a := ref()
		b := sameTag(a)
		stamps := map[session.Ref]time.Time{a: begin(t, e, a), b: begin(t, e, b)}
		ended := func(r session.Ref, want bool) {
			t.Helper()
			if got, err := e.Ended(t.Context(), r, stamps[r]); got != want || err != nil {
				t.Errorf("Ended: %t, %v; want %t", got, err, want)
			}
		}
		ended(a, false)
		if err := e.End(t.Context(), a, now().Add(10*time.Second)); err != nil {
			t.Fatal(err)
		}
		// The end only moves away, and only one of two learns that it was they.
		wantErr(t, "End of what was ended", e.End(t.Context(), a, now().Add(time.Second)), session.ErrNotFound)
		ended(a, true)
		ended(b, false)
		s.advance(9 * time.Second)
		ended(a, true)
		s.advance(2 * time.Second)
		ended(a, false)
	}},
	{"an Ender ends what was stamped before a revocation, whenever that was decided", func(t *testing.T, s *subject) {
		e, ok := s.Store.(session.Ender)
		if !ok {
			t.Skip("the store is no session.Ender")
		}
		for name, revoke := range map[string]func(session.Tag) error{
			"Revoke": func(tag session.Tag) error {
				_, err := revoke(t, s, []session.Tag{tag}, now().Add(-time.Minute), now().Add(time.Hour))
				return err
			},
			"RevokeAll": func(session.Tag) error {
				return e.RevokeAll(t.Context(), now().Add(-time.Minute), now().Add(time.Hour))
			},
		} {
			r := ref()
			// Many at once: a clock that stands still must not spare the last one.
			for range 20 {
				before := begin(t, e, r)
				if err := revoke(r.Tag); err != nil {
					t.Fatal(err)
				}
				if got, err := e.Ended(t.Context(), r, before); !got || err != nil {
					t.Fatalf("%s: Ended: %t, %v", name, got, err)
				}
				after := begin(t, e, r)
				if got, err := e.Ended(t.Context(), r, after); got || err != nil {
					t.Fatalf("%s: Ended of what began later: %t, %v", name, got, err)
				}
			}
			if _, err := e.Begin(t.Context(), r, now().Add(-time.Second), now().Add(time.Hour)); !errors.Is(err, session.ErrRevoked) {
				t.Errorf("%s: Begin of a login that began before: %v", name, err)
			}
		}
	}},
	{"an Ender spares one session in the step that ends the others", func(t *testing.T, s *subject) {
		e, ok := s.Store.(session.Ender)
		if !ok {
			t.Skip("the store is no session.Ender")
		}
		keep := ref()
		other := sameTag(keep)
		ended := func(what string, r session.Ref, stamp time.Time, want bool) {
			t.Helper()
			if got, err := e.Ended(t.Context(), r, stamp); got != want || err != nil {
				t.Errorf("Ended of %s: %t, %v; want %t", what, got, err, want)
			}
		}
		first, others := begin(t, e, keep), begin(t, e, other)
		r := session.Revocation{Tags: []session.Tag{keep.Tag}, Keep: keep, At: now(), Until: now().Add(time.Hour)}
		second, err := e.Spare(t.Context(), r, first, now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		ended("the one that was spared", keep, second, false)
		ended("its older cookie", keep, first, true)
		ended("another one", other, others, true)
		third := begin(t, e, other)
		if _, err := e.Spare(t.Context(), r, first, now().Add(time.Hour)); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("Spare of an older cookie: %v", err)
		}
		ended("a later login, after a Spare that was refused", other, third, false)
		if err := e.End(t.Context(), keep, now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Spare(t.Context(), r, second, now().Add(time.Hour)); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("Spare of what was ended: %v", err)
		}
		ended("the later login", other, third, false)
		r.At = r.At.Add(-time.Minute) // decided before, and late to arrive
		r.Keep = session.Ref{}
		if _, err := e.Revoke(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		ended("the later login", other, third, true)
	}},
	{"an Ender knows nothing of before its memory", func(t *testing.T, s *subject) {
		e, ok := s.Store.(session.Ender)
		if !ok {
			t.Skip("the store is no session.Ender")
		}
		r := ref()
		for what, stamp := range map[string]time.Time{"an hour ago": now().Add(-time.Hour), "no time": time.UnixMicro(0)} {
			for range 2 { // before and after this memory's first session
				if got, err := e.Ended(t.Context(), r, stamp); !got || err != nil {
					t.Errorf("Ended of a stamp of %s: %t, %v", what, got, err)
				}
				begin(t, e, r)
			}
		}
	}},
	{"a login that began before a revocation cannot end after it", func(t *testing.T, s *subject) {
		r, rec := ref(), record(time.Hour, "x")
		at := rec.Born
		rec.Born = at.Add(-10 * time.Second)
		if _, err := revoke(t, s, []session.Tag{r.Tag}, at, at.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if _, err := revoke(t, s, []session.Tag{r.Tag}, at.Add(-time.Hour), at.Add(time.Second)); err != nil { // marks only move forward
			t.Fatal(err)
		}
		wantErr(t, "Create born before the mark", try(t, s, r, rec), session.ErrRevoked)
		wantGone(t, s, r)
		rec.Born = now()
		create(t, s, r, rec)
		wantLoad(t, s, r, "x", 1)
	}},
	{"a revocation mark ends when it was told to", func(t *testing.T, s *subject) {
		r, rec := ref(), record(time.Hour, "x")
		at := rec.Born
		rec.Born = at.Add(-20 * time.Second)
		if _, err := revoke(t, s, []session.Tag{r.Tag}, at, at.Add(10*time.Second)); err != nil {
			t.Fatal(err)
		}
		s.advance(9 * time.Second)
		wantErr(t, "Create while the mark holds", try(t, s, r, rec), session.ErrRevoked)
		s.advance(2 * time.Second)
		create(t, s, r, rec)
	}},
}

// begin stamps a session whose login begins now.
func begin(t *testing.T, e session.Ender, r session.Ref) time.Time {
	t.Helper()
	stamp, err := e.Begin(t.Context(), r, now(), now().Add(time.Hour))
	if err != nil {
		t.Fatalf("Begin: %v", err)
	}
	return stamp
}
