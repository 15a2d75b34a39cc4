package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/inovy/hardening/session"
)

// records are the clauses about one record: what it is, what changes it, and
// how it ends.
var records = []clause{
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
}
