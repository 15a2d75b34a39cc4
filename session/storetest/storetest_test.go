package storetest_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/session"
	"github.com/inovy/hardening/session/storetest"
)

// broken are stores that each miss one clause of the contract, and the clause.
var broken = map[string]struct {
	wrap   func(*session.MemoryStore) session.Store
	misses string
}{
	"an update at any version":    {func(m *session.MemoryStore) session.Store { return anyVersion{m} }, "Update_needs_the_version"},
	"an update that creates":      {func(m *session.MemoryStore) session.Store { return upsert{m} }, "the_end_is_final"},
	"a create that replaces":      {func(m *session.MemoryStore) session.Store { return replacing{m} }, "Create_never_replaces"},
	"a touch that goes backwards": {func(m *session.MemoryStore) session.Store { return backwards{m} }, "Touch_moves_the_expiry_forward_only"},
	"a revocation without a mark": {func(m *session.MemoryStore) session.Store { return markless{m} }, "a_login_that_began_before"},
	"a revocation of what is old": {func(m *session.MemoryStore) session.Store { return sparing{m} }, "claims_to_be_born_later"},
	"a keep that is not kept":     {func(m *session.MemoryStore) session.Store { return keepless{m} }, "Revoke_spares_Keep"},
	"all but nothing":             {func(m *session.MemoryStore) session.Store { return lazyAll{m} }, "RevokeAll_ends_everything"},
	"all but what is ahead":       {func(m *session.MemoryStore) session.Store { return sparingAll{m, new(sync.Map)} }, "says_that_it_is_born_later"},
	"no quota":                    {func(m *session.MemoryStore) session.Store { return boundless{m} }, "a_quota_drops"},
	"an empty list":               {func(m *session.MemoryStore) session.Store { return listless{m} }, "List_tells"},
	"an end that is forgotten":    {func(m *session.MemoryStore) session.Store { return forgetful{m} }, "an_Ender_remembers"},
}

// sparingAll compares the births of sessions with the time, and no more.
type sparingAll struct {
	*session.MemoryStore
	made *sync.Map
}

func (s sparingAll) Create(ctx context.Context, ref session.Ref, rec session.Record, q session.Quota) ([]session.Ref, error) {
	s.made.Store(ref, rec)
	return s.MemoryStore.Create(ctx, ref, rec, q)
}

func (s sparingAll) RevokeAll(ctx context.Context, at, until time.Time) error {
	err := s.MemoryStore.RevokeAll(ctx, at, until)
	s.made.Range(func(ref, rec any) bool {
		if rec := rec.(session.Record); rec.Born.After(at) {
			_, _ = s.MemoryStore.Create(ctx, ref.(session.Ref), rec, session.Quota{})
		}
		return true
	})
	return err
}

type (
	anyVersion struct{ *session.MemoryStore }
	upsert     struct{ *session.MemoryStore }
	replacing  struct{ *session.MemoryStore }
	backwards  struct{ *session.MemoryStore }
	markless   struct{ *session.MemoryStore }
	sparing    struct{ *session.MemoryStore }
	keepless   struct{ *session.MemoryStore }
	lazyAll    struct{ *session.MemoryStore }
	boundless  struct{ *session.MemoryStore }
	listless   struct{ *session.MemoryStore }
	forgetful  struct{ *session.MemoryStore }
)

func (s anyVersion) Update(ctx context.Context, ref session.Ref, rec session.Record) error {
	old, err := s.Load(ctx, ref)
	if err != nil {
		return err
	}
	rec.Version = old.Version
	return s.MemoryStore.Update(ctx, ref, rec)
}

func (s upsert) Update(ctx context.Context, ref session.Ref, rec session.Record) error {
	err := s.MemoryStore.Update(ctx, ref, rec)
	if err == session.ErrNotFound {
		rec.Born = time.Now()
		_, err = s.Create(ctx, ref, rec, session.Quota{})
	}
	return err
}

func (s replacing) Create(ctx context.Context, ref session.Ref, rec session.Record, q session.Quota) ([]session.Ref, error) {
	_, _ = s.Delete(ctx, ref)
	return s.MemoryStore.Create(ctx, ref, rec, q)
}

func (s backwards) Touch(ctx context.Context, ref session.Ref, expires time.Time) error {
	rec, err := s.Load(ctx, ref)
	if err != nil {
		return err
	}
	if expires.Before(rec.Expires) {
		if _, err := s.Delete(ctx, ref); err != nil {
			return err
		}
		rec.Expires = expires
		_, err = s.Create(ctx, ref, rec, session.Quota{})
		return err
	}
	return s.MemoryStore.Touch(ctx, ref, expires)
}

func (s markless) Revoke(ctx context.Context, r session.Revocation) (int, error) {
	r.Until = time.Now()
	return s.MemoryStore.Revoke(ctx, r)
}

func (s sparing) Revoke(ctx context.Context, r session.Revocation) (int, error) {
	var later []session.Entry
	all, _ := s.List(ctx, r.Tags)
	for _, e := range all {
		if e.Record.Born.After(r.At) {
			later = append(later, e)
		}
	}
	n, err := s.MemoryStore.Revoke(ctx, r)
	for _, e := range later {
		_, _ = s.Create(ctx, e.Ref, e.Record, session.Quota{})
		n--
	}
	return n, err
}

func (s keepless) Revoke(ctx context.Context, r session.Revocation) (int, error) {
	r.Keep = session.Ref{}
	return s.MemoryStore.Revoke(ctx, r)
}

func (lazyAll) RevokeAll(context.Context, time.Time, time.Time) error { return nil }

func (s boundless) Create(ctx context.Context, ref session.Ref, rec session.Record, _ session.Quota) ([]session.Ref, error) {
	return s.MemoryStore.Create(ctx, ref, rec, session.Quota{})
}

func (listless) List(context.Context, []session.Tag) ([]session.Entry, error) { return nil, nil }

func (forgetful) End(context.Context, session.Ref, time.Time) error { return nil }

func newMemory(t *testing.T) *session.MemoryStore {
	t.Helper()
	m, err := session.NewMemoryStore(session.MemoryConfig{MaxSessions: 64_000})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The conformance test must fail a store that does not conform, or it proves
// nothing. Each runs in a process of its own, because its failure is the wish.
func TestABrokenStoreDoesNotConform(t *testing.T) {
	if name := os.Getenv("STORETEST_BROKEN"); name != "" {
		storetest.Run(t, storetest.Subject{Advance: time.Sleep, Around: synctest.Test, New: func(t *testing.T) session.Store { return broken[name].wrap(newMemory(t)) }})
		return
	}
	for name, b := range broken {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestABrokenStoreDoesNotConform$")
			cmd.Env = append(os.Environ(), "STORETEST_BROKEN="+name)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatal("it conforms")
			}
			for line := range strings.Lines(string(out)) {
				if strings.Contains(line, "--- FAIL") && strings.Contains(line, b.misses) {
					return
				}
			}
			t.Errorf("the clause %s does not fail:\n%s", b.misses, out)
		})
	}
}

func TestTheMemoryStoreConforms(t *testing.T) {
	storetest.Run(t, storetest.Subject{Advance: time.Sleep, Around: synctest.Test, New: func(t *testing.T) session.Store { return newMemory(t) }})
}

// A store whose clock cannot be moved is tested as far as that goes, and what
// is left out says so. It runs itself, since a skip cannot be seen from outside.
func TestWithoutAClockTheRestIsTested(t *testing.T) {
	if os.Getenv("STORETEST_CLOCKLESS") != "" {
		storetest.Run(t, storetest.Subject{New: func(t *testing.T) session.Store { return newMemory(t) }})
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run=^TestWithoutAClockTheRestIsTested$")
	cmd.Env = append(os.Environ(), "STORETEST_CLOCKLESS=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
	for _, want := range []string{
		"--- PASS: TestWithoutAClockTheRestIsTested/Create_never_replaces (",
		"--- SKIP: TestWithoutAClockTheRestIsTested/a_record_that_expired_is_gone (",
		"the subject's clock cannot be moved",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}
