// Package storetest checks that a session.Store holds to its contract. An
// implementation runs it from its own tests:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, storetest.Subject{New: newStore, Advance: server.FastForward})
//	}
package storetest

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/inovy/hardening/session"
)

// Subject is the store under test.
type Subject struct {
	// New returns an empty store. It is called once per test.
	New func(t *testing.T) session.Store
	// Advance moves the store's clock. nil = time.Sleep, which is right for a
	// store that runs in a bubble.
	Advance func(d time.Duration)
	// Around runs a test; synctest.Test for a store that lives in this process
	// and tells the time by time.Now. nil = the test is called directly.
	Around func(t *testing.T, test func(*testing.T))
}

// Run tests the store against every clause of the contract, each as a subtest.
func Run(t *testing.T, s Subject) {
	if s.Advance == nil {
		s.Advance = time.Sleep
	}
	if s.Around == nil {
		s.Around = func(t *testing.T, test func(*testing.T)) { test(t) }
	}
	for _, c := range clauses {
		t.Run(c.name, func(t *testing.T) {
			s.Around(t, func(t *testing.T) {
				c.test(t, &subject{Store: s.New(t), advance: s.Advance})
			})
		})
	}
}

type subject struct {
	session.Store
	advance func(time.Duration)
}

type clause struct {
	name string
	test func(*testing.T, *subject)
}

func ref() session.Ref {
	var r session.Ref
	_, _ = rand.Read(r.Tag[:])
	_, _ = rand.Read(r.Hash[:])
	return r
}

func sameTag(r session.Ref) session.Ref {
	other := ref()
	other.Tag = r.Tag
	return other
}

func now() time.Time { return time.Now().Truncate(time.Microsecond) }

// near allows for a store with a clock of its own.
func near(a, b time.Time) bool { return a.Sub(b).Abs() < 10*time.Second }

func record(life time.Duration, blob string) session.Record {
	return session.Record{Born: now(), Expires: now().Add(life), Blob: []byte(blob)}
}

func create(t *testing.T, s *subject, r session.Ref, rec session.Record) {
	t.Helper()
	if _, err := s.Create(t.Context(), r, rec, session.Quota{}); err != nil {
		t.Fatalf("Create: %v", err)
	}
}

func try(t *testing.T, s *subject, r session.Ref, rec session.Record) error {
	t.Helper()
	_, err := s.Create(t.Context(), r, rec, session.Quota{})
	return err
}

func revoke(t *testing.T, s *subject, tags []session.Tag, at, until time.Time) (int, error) {
	t.Helper()
	return s.Revoke(t.Context(), session.Revocation{Tags: tags, At: at, Until: until})
}

func wantLoad(t *testing.T, s *subject, r session.Ref, blob string, version uint64) {
	t.Helper()
	got, err := s.Load(t.Context(), r)
	if err != nil || string(got.Blob) != blob || got.Version != version {
		t.Errorf("Load: %q at version %d, %v; want %q at %d", got.Blob, got.Version, err, blob, version)
	}
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v; want %v", what, got, want)
	}
}

// wantGone checks that nothing but Create could bring the record back.
func wantGone(t *testing.T, s *subject, r session.Ref) {
	t.Helper()
	for v := range uint64(4) {
		rec := record(time.Hour, "zombie")
		rec.Version = v
		wantErr(t, fmt.Sprintf("Update at version %d of a record that is gone", v), s.Update(t.Context(), r, rec), session.ErrNotFound)
	}
	wantErr(t, "Touch of a record that is gone", s.Touch(t.Context(), r, now().Add(time.Hour)), session.ErrNotFound)
	_, err := s.Delete(t.Context(), r)
	wantErr(t, "Delete of a record that is gone", err, session.ErrNotFound)
	_, err = s.Load(t.Context(), r)
	wantErr(t, "Load of a record that is gone", err, session.ErrNotFound)
}

var clauses = []clause{
	{"what was never created is gone", func(t *testing.T, s *subject) { wantGone(t, s, ref()) }},
	{"a record comes back as it was created, at version 1", func(t *testing.T, s *subject) {
		r, blob := ref(), string([]byte{0, 0xff, '\n', '"', 0x80})
		rec := record(time.Hour, blob)
		rec.Version = 7
		rec.Anonymous = true
		create(t, s, r, rec)
		got, err := s.Load(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if got.Version != 1 || !near(got.Born, rec.Born) || !got.Expires.Equal(rec.Expires) || !got.Anonymous || string(got.Blob) != blob {
			t.Errorf("got %+v, want %+v", got, rec)
		}
		_, err = s.Load(t.Context(), sameTag(r))
		wantErr(t, "Load by the tag alone", err, session.ErrNotFound)
		other := r
		other.Tag[0] ^= 1
		_, err = s.Load(t.Context(), other)
		wantErr(t, "Load under another tag", err, session.ErrNotFound)
	}},
	{"a record of a megabyte survives", func(t *testing.T, s *subject) {
		r, big := ref(), bytes.Repeat([]byte("x"), 1<<20)
		create(t, s, r, record(time.Hour, string(big)))
		wantLoad(t, s, r, string(big), 1)
	}},
	{"Create never replaces", func(t *testing.T, s *subject) {
		r := ref()
		create(t, s, r, record(time.Hour, "first"))
		wantErr(t, "second Create", try(t, s, r, record(time.Hour, "second")), session.ErrExists)
		wantLoad(t, s, r, "first", 1)
	}},
	{"Update needs the version that is there, and moves it by one", func(t *testing.T, s *subject) {
		r := ref()
		create(t, s, r, record(time.Hour, "one"))
		for v, blob := range []string{"two", "three"} {
			rec := record(2*time.Hour, blob)
			rec.Version = uint64(v + 1)
			if err := s.Update(t.Context(), r, rec); err != nil {
				t.Fatal(err)
			}
		}
		for _, v := range []uint64{0, 1, 2, 4} {
			rec := record(time.Hour, "stale")
			rec.Version = v
			wantErr(t, fmt.Sprintf("Update at version %d of 3", v), s.Update(t.Context(), r, rec), session.ErrConflict)
		}
		wantLoad(t, s, r, "three", 3)
	}},
	{"Update replaces Blob and Expires and nothing else", func(t *testing.T, s *subject) {
		r, rec := ref(), record(time.Hour, "one")
		rec.Anonymous = true
		create(t, s, r, rec)
		changed := session.Record{Version: 1, Born: rec.Born.Add(time.Hour), Expires: rec.Expires.Add(time.Hour), Blob: []byte("two")}
		if err := s.Update(t.Context(), r, changed); err != nil {
			t.Fatal(err)
		}
		got, err := s.Load(t.Context(), r)
		if err != nil || !near(got.Born, rec.Born) || !got.Anonymous || !got.Expires.Equal(changed.Expires) {
			t.Errorf("got %+v, %v", got, err)
		}
	}},
	{"of many updates at one version exactly one goes through", func(t *testing.T, s *subject) {
		r := ref()
		create(t, s, r, record(time.Hour, "0"))
		for version := uint64(1); version <= 5; version++ {
			var won atomic.Int64
			var all sync.WaitGroup
			for i := range 20 {
				all.Go(func() {
					rec := record(time.Hour, fmt.Sprint(i))
					rec.Version = version
					switch err := s.Update(t.Context(), r, rec); {
					case err == nil:
						won.Add(1)
					case !errors.Is(err, session.ErrConflict):
						t.Errorf("Update: %v", err)
					}
				})
			}
			all.Wait()
			if n := won.Load(); n != 1 {
				t.Errorf("%d updates went through", n)
			}
		}
	}},
	{"Delete returns what it ended, and the end is final", func(t *testing.T, s *subject) {
		r := ref()
		create(t, s, r, record(time.Hour, "last words"))
		got, err := s.Delete(t.Context(), r)
		if err != nil || string(got.Blob) != "last words" {
			t.Errorf("Delete: %q, %v", got.Blob, err)
		}
		wantGone(t, s, r)
	}},
	{"of many deletes exactly one ends the record", func(t *testing.T, s *subject) {
		r := ref()
		create(t, s, r, record(time.Hour, "x"))
		var won atomic.Int64
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if _, err := s.Delete(t.Context(), r); err == nil {
					won.Add(1)
				} else if !errors.Is(err, session.ErrNotFound) {
					t.Errorf("Delete: %v", err)
				}
			})
		}
		all.Wait()
		if n := won.Load(); n != 1 {
			t.Errorf("%d deletes won", n)
		}
	}},
	{"a delete against updates leaves nothing alive", func(t *testing.T, s *subject) {
		for range 50 {
			r := ref()
			create(t, s, r, record(time.Hour, "x"))
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					for v := uint64(1); v < 5; v++ {
						rec := record(time.Hour, "y")
						rec.Version = v
						_ = s.Update(t.Context(), r, rec)
						_ = s.Touch(t.Context(), r, now().Add(2*time.Hour))
					}
				})
			}
			if _, err := s.Delete(t.Context(), r); err != nil {
				t.Errorf("Delete: %v", err)
			}
			all.Wait()
			if _, err := s.Load(t.Context(), r); !errors.Is(err, session.ErrNotFound) {
				t.Fatalf("a deleted record came back: %v", err)
			}
		}
	}},
	{"a record that expired is gone", func(t *testing.T, s *subject) {
		r := ref()
		create(t, s, r, record(10*time.Second, "x"))
		s.advance(9 * time.Second)
		wantLoad(t, s, r, "x", 1)
		s.advance(time.Second)
		wantGone(t, s, r)
	}},
	{"Update moves the expiry", func(t *testing.T, s *subject) {
		r := ref()
		create(t, s, r, record(10*time.Second, "x"))
		s.advance(9 * time.Second)
		rec := record(10*time.Second, "y")
		rec.Expires = rec.Expires.Add(9 * time.Second) // a clock that only the store has moved
		rec.Version = 1
		if err := s.Update(t.Context(), r, rec); err != nil {
			t.Fatal(err)
		}
		s.advance(9 * time.Second)
		wantLoad(t, s, r, "y", 2)
	}},
	{"Touch moves the expiry forward only, and not the version", func(t *testing.T, s *subject) {
		r, rec := ref(), record(10*time.Second, "x")
		create(t, s, r, rec)
		for _, d := range []time.Duration{time.Minute, time.Second} {
			if err := s.Touch(t.Context(), r, rec.Born.Add(d)); err != nil {
				t.Fatal(err)
			}
		}
		s.advance(59 * time.Second)
		wantLoad(t, s, r, "x", 1)
		s.advance(time.Second)
		wantGone(t, s, r)
	}},
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
	{"List tells what is alive", func(t *testing.T, s *subject) {
		a, b, other := ref(), ref(), ref()
		short := sameTag(a)
		create(t, s, a, record(time.Hour, "a"))
		create(t, s, b, record(time.Hour, "b"))
		create(t, s, other, record(time.Hour, "other"))
		create(t, s, short, record(time.Second, "short"))
		gone := sameTag(b)
		create(t, s, gone, record(time.Hour, "gone"))
		if _, err := s.Delete(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
		s.advance(2 * time.Second)
		all, err := s.List(t.Context(), []session.Tag{a.Tag, b.Tag, ref().Tag})
		if err != nil {
			t.Fatal(err)
		}
		got := map[session.Ref]string{}
		for _, e := range all {
			got[e.Ref] = string(e.Record.Blob)
			if e.Record.Version != 1 || e.Record.Expires.IsZero() || !near(e.Record.Born, now()) {
				t.Errorf("%+v", e.Record)
			}
		}
		if want := (map[session.Ref]string{a: "a", b: "b"}); !maps.Equal(got, want) {
			t.Errorf("List: %d records %q, want 2", len(all), got)
		}
	}},
	{"a quota drops the oldest, or refuses", func(t *testing.T, s *subject) {
		var all []session.Ref
		for i := range 3 {
			r, rec := ref(), record(time.Hour, "x")
			if i > 0 {
				r.Tag = all[0].Tag
			}
			rec.Born = rec.Born.Add(time.Duration(i-30) * time.Second)
			all = append(all, r)
			create(t, s, r, rec)
		}
		newest := sameTag(all[0])
		_, err := s.Create(t.Context(), newest, record(time.Hour, "x"), session.Quota{Max: 3, Deny: true})
		wantErr(t, "Create over the quota", err, session.ErrTooMany)
		wantLoad(t, s, all[0], "x", 1)
		dropped, err := s.Create(t.Context(), newest, record(time.Hour, "x"), session.Quota{Max: 2})
		if err != nil || len(dropped) != 2 || dropped[0] != all[0] || dropped[1] != all[1] {
			t.Errorf("Create: dropped %d, %v", len(dropped), err)
		}
		wantGone(t, s, all[0])
		wantGone(t, s, all[1])
		wantLoad(t, s, all[2], "x", 1)
		wantLoad(t, s, newest, "x", 1)
		if _, err := s.Create(t.Context(), ref(), record(time.Hour, "x"), session.Quota{Max: 1, Deny: true}); err != nil {
			t.Errorf("another user: %v", err)
		}
		if dropped, err := s.Create(t.Context(), sameTag(newest), record(time.Hour, "x"), session.Quota{Max: 3, Deny: true}); err != nil || len(dropped) != 0 {
			t.Errorf("within the quota: dropped %d, %v", len(dropped), err)
		}
	}},
	{"what is gone does not count towards a quota", func(t *testing.T, s *subject) {
		first := ref()
		create(t, s, first, record(time.Second, "x"))
		second := sameTag(first)
		create(t, s, second, record(time.Hour, "x"))
		if _, err := s.Delete(t.Context(), second); err != nil {
			t.Fatal(err)
		}
		s.advance(2 * time.Second)
		dropped, err := s.Create(t.Context(), sameTag(first), record(time.Hour, "x"), session.Quota{Max: 1, Deny: true})
		if err != nil || len(dropped) != 0 {
			t.Errorf("dropped %d, %v", len(dropped), err)
		}
	}},
	{"a quota holds whoever logs in at once", func(t *testing.T, s *subject) {
		first := ref()
		create(t, s, first, record(time.Hour, "x"))
		var all sync.WaitGroup
		for range 12 {
			all.Go(func() {
				if _, err := s.Create(t.Context(), sameTag(first), record(time.Hour, "x"), session.Quota{Max: 5}); err != nil {
					t.Errorf("Create: %v", err)
				}
			})
		}
		all.Wait()
		if left, err := s.List(t.Context(), []session.Tag{first.Tag}); len(left) != 5 || err != nil {
			t.Errorf("%d records, %v; want 5", len(left), err)
		}
	}},
	{"an Ender remembers what ended, and for how long", func(t *testing.T, s *subject) {
		e, ok := s.Store.(session.Ender)
		if !ok {
			t.Skip("the store is no session.Ender")
		}
		ended := func(r session.Ref, born time.Time, want bool) {
			t.Helper()
			if got, err := e.Ended(t.Context(), r, born); got != want || err != nil {
				t.Errorf("Ended: %t, %v; want %t", got, err, want)
			}
		}
		a := ref()
		b := sameTag(a)
		ended(a, now(), false)
		for _, d := range []time.Duration{10 * time.Second, time.Second} { // the end only moves away
			if err := e.End(t.Context(), a, now().Add(d)); err != nil {
				t.Fatal(err)
			}
		}
		ended(a, now(), true)
		ended(b, now(), false)
		s.advance(9 * time.Second)
		ended(a, now(), true)
		s.advance(2 * time.Second)
		ended(a, now(), false)
		born := now().Add(-10 * time.Second)
		if _, err := revoke(t, s, []session.Tag{a.Tag}, now(), now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		ended(b, born, true)
		ended(b, now(), false)
		other := ref()
		ended(other, born, false)
		if err := e.RevokeAll(t.Context(), now(), now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		ended(other, born, true)
		ended(other, now(), false)
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
	{"what a caller does to a slice it got or gave stays with the caller", func(t *testing.T, s *subject) {
		// The contract forbids writing to a Blob. Growing one is allowed.
		r := ref()
		blob := append(make([]byte, 0, 64), "abc"...)
		create(t, s, r, session.Record{Born: now(), Expires: now().Add(time.Hour), Blob: blob})
		got, err := s.Load(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		_ = append(got.Blob, "zzz"...)
		wantLoad(t, s, r, "abc", 1)
	}},
	{"a Watcher tells the end of a record at once", func(t *testing.T, s *subject) {
		w, ok := s.Store.(session.Watcher)
		if !ok {
			t.Skip("the store is no session.Watcher")
		}
		closed := func(gone <-chan struct{}) bool {
			select {
			case <-gone:
				return true
			case <-time.After(time.Second):
				return false
			}
		}
		gone, stop := w.Watch(ref())
		if !closed(gone) {
			t.Error("of what never was")
		}
		stop()
		for name, end := range map[string]func(session.Ref) error{
			"delete": func(r session.Ref) error { _, err := s.Delete(t.Context(), r); return err },
			"revocation": func(r session.Ref) error {
				_, err := revoke(t, s, []session.Tag{r.Tag}, now(), now().Add(time.Hour))
				return err
			},
			"expiry": func(session.Ref) error { s.advance(11 * time.Second); return nil },
		} {
			r := ref()
			create(t, s, r, record(10*time.Second, "x"))
			gone, stop := w.Watch(r)
			ignored, stopIgnored := w.Watch(r)
			stopIgnored()
			select {
			case <-gone:
				t.Errorf("%s: told before", name)
			default:
			}
			if err := end(r); err != nil {
				t.Fatal(err)
			}
			if !closed(gone) {
				t.Errorf("%s: not told", name)
			}
			stop()
			_ = ignored // a stopped watch may or may not be told
		}
	}},
}
