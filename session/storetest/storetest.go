// Package storetest checks that a session.Store holds to its contract. An
// implementation runs it from its own tests:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, storetest.Subject{New: newStore, Advance: server.FastForward})
//	}
package storetest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/inovy/hardening/session"
)

// Subject is the store under test.
type Subject struct {
	// New returns an empty store. It is called once per test.
	New func(t *testing.T) session.Store
	// Advance moves the store's clock; time.Sleep for a store that runs in a
	// bubble. nil skips each clause where it would move the clock.
	Advance func(d time.Duration)
	// Around runs a test; synctest.Test for a store that lives in this process
	// and tells the time by time.Now. nil = the test is called directly.
	Around func(t *testing.T, test func(*testing.T))
}

// Run tests the store against every clause of the contract, each as a subtest.
func Run(t *testing.T, s Subject) {
	if s.Around == nil {
		s.Around = func(t *testing.T, test func(*testing.T)) { test(t) }
	}
	for _, c := range slices.Concat(records, revocations, users) {
		t.Run(c.name, func(t *testing.T) {
			s.Around(t, func(t *testing.T) {
				advance := s.Advance
				if advance == nil {
					advance = func(time.Duration) { t.Skip("the subject's clock cannot be moved") }
				}
				c.test(t, &subject{Store: s.New(t), advance: advance})
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
