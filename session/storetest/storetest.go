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

func record(life time.Duration, blob string) session.Record {
	return session.Record{Born: now(), Expires: now().Add(life), Blob: []byte(blob)}
}

func create(t *testing.T, s *subject, r session.Ref, rec session.Record) {
	t.Helper()
	if err := s.Create(t.Context(), r, rec); err != nil {
		t.Fatalf("Create: %v", err)
	}
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
		if got.Version != 1 || !got.Born.Equal(rec.Born) || !got.Expires.Equal(rec.Expires) || !got.Anonymous || string(got.Blob) != blob {
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
		wantErr(t, "second Create", s.Create(t.Context(), r, record(time.Hour, "second")), session.ErrExists)
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
		if err != nil || !got.Born.Equal(rec.Born) || !got.Anonymous || !got.Expires.Equal(changed.Expires) {
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
		n, err := s.Revoke(t.Context(), []session.Tag{a.Tag, c.Tag}, now(), now().Add(time.Hour))
		if n != 3 || err != nil {
			t.Errorf("Revoke: %d, %v; want 3", n, err)
		}
		for _, r := range []session.Ref{a, b, c} {
			wantGone(t, s, r)
		}
		wantLoad(t, s, other, "x", 1)
		if n, err := s.Revoke(t.Context(), []session.Tag{a.Tag, ref().Tag}, now(), now().Add(time.Hour)); n != 0 || err != nil {
			t.Errorf("Revoke of nothing: %d, %v", n, err)
		}
	}},
	{"Revoke counts only what was alive", func(t *testing.T, s *subject) {
		a := ref()
		create(t, s, a, record(time.Second, "x"))
		create(t, s, sameTag(a), record(time.Hour, "x"))
		s.advance(2 * time.Second)
		if n, err := s.Revoke(t.Context(), []session.Tag{a.Tag}, now().Add(2*time.Second), now().Add(time.Hour)); n != 1 || err != nil {
			t.Errorf("Revoke: %d, %v; want 1", n, err)
		}
	}},
	{"Revoke spares what was born later", func(t *testing.T, s *subject) {
		older := ref()
		newer := sameTag(older)
		at := now()
		create(t, s, older, record(time.Hour, "older"))
		rec := record(time.Hour, "newer")
		rec.Born = at.Add(time.Minute)
		create(t, s, newer, rec)
		if n, err := s.Revoke(t.Context(), []session.Tag{older.Tag}, at.Add(time.Second), at.Add(time.Hour)); n != 1 || err != nil {
			t.Errorf("Revoke: %d, %v; want 1", n, err)
		}
		wantGone(t, s, older)
		wantLoad(t, s, newer, "newer", 1)
	}},
	{"a login that began before a revocation cannot end after it", func(t *testing.T, s *subject) {
		r, rec := ref(), record(time.Hour, "x")
		at := rec.Born.Add(time.Millisecond)
		if _, err := s.Revoke(t.Context(), []session.Tag{r.Tag}, at, at.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Revoke(t.Context(), []session.Tag{r.Tag}, at.Add(-time.Hour), at); err != nil { // marks only move forward
			t.Fatal(err)
		}
		wantErr(t, "Create born before the mark", s.Create(t.Context(), r, rec), session.ErrRevoked)
		wantGone(t, s, r)
		rec.Born = at
		create(t, s, r, rec) // at the very moment is after: the revocation was first
		wantLoad(t, s, r, "x", 1)
	}},
	{"a revocation mark ends when it was told to", func(t *testing.T, s *subject) {
		r, rec := ref(), record(time.Hour, "x")
		at := rec.Born.Add(time.Millisecond)
		if _, err := s.Revoke(t.Context(), []session.Tag{r.Tag}, at, at.Add(10*time.Second)); err != nil {
			t.Fatal(err)
		}
		s.advance(9 * time.Second)
		wantErr(t, "Create while the mark holds", s.Create(t.Context(), r, rec), session.ErrRevoked)
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
				_, err := s.Revoke(t.Context(), []session.Tag{r.Tag}, now(), now().Add(time.Hour))
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
