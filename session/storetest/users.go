package storetest

import (
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/inovy/hardening/session"
)

// users are the clauses about what a user has: lists, quotas, watches.
var users = []clause{
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
		for _, tt := range []struct {
			name string
			end  func(session.Ref) error
		}{
			{"delete", func(r session.Ref) error { _, err := s.Delete(t.Context(), r); return err }},
			{"revocation", func(r session.Ref) error {
				_, err := revoke(t, s, []session.Tag{r.Tag}, now(), now().Add(time.Hour))
				return err
			}},
			{"expiry", func(session.Ref) error { s.advance(11 * time.Second); return nil }}, // last: it may skip
		} {
			r := ref()
			create(t, s, r, record(10*time.Second, "x"))
			gone, stop := w.Watch(r)
			defer stop()
			ignored, stopIgnored := w.Watch(r)
			stopIgnored()
			select {
			case <-gone:
				t.Errorf("%s: told before", tt.name)
			default:
			}
			if err := tt.end(r); err != nil {
				t.Fatal(err)
			}
			if !closed(gone) {
				t.Errorf("%s: not told", tt.name)
			}
			_ = ignored // a stopped watch may or may not be told
		}
	}},
}
