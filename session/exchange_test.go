package session_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/inovy/hardening/session"
)

// meeting runs something else at the moment when a store is about to be asked,
// once.
type meeting struct {
	session.Store
	at   string
	then func()
}

func (s *meeting) meet(at string) {
	if then := s.then; s.at == at && then != nil {
		s.then = nil
		then()
	}
}

func (s *meeting) Create(ctx context.Context, ref session.Ref, rec session.Record, q session.Quota) ([]session.Ref, error) {
	s.meet("create")
	return s.Store.Create(ctx, ref, rec, q)
}

func (s *meeting) Delete(ctx context.Context, ref session.Ref) (session.Record, error) {
	s.meet("delete")
	return s.Store.Delete(ctx, ref)
}

func meetingStore(t *testing.T) *meeting {
	inner := storeOfThisRun(t)
	if inner == nil {
		m, err := session.NewMemoryStore(session.MemoryConfig{})
		if err != nil {
			t.Fatal(err)
		}
		inner = m
	}
	return &meeting{Store: inner}
}

// stepUp logs ada in again and returns the new cookie, or "".
func stepUp(t *testing.T, m *session.Manager[visit], cookie string, want error) string {
	t.Helper()
	return issued(call(m, cookie, func(_ http.ResponseWriter, r *http.Request) {
		if err := m.Login(r.Context(), "ada", session.Auth{AAL: 2}); !errors.Is(err, want) {
			t.Errorf("Login: %v, want %v", err, want)
		}
	}))
}

// A renewal under DenyNewest that frees its place before it takes the new one
// can lose it to a login of that moment: refused, and logged out.
func TestTrap_ARenewalLosesItsPlaceToALogin(t *testing.T) {
	for _, at := range []string{"create", "delete"} {
		t.Run(at, func(t *testing.T) {
			store := meetingStore(t)
			m := newManager(t, session.Config{Store: store, MaxPerUser: 1, OnLimit: session.DenyNewest})
			id := login(t, m, "", "ada")
			write(t, m, id, "kept")
			store.at, store.then = at, func() {
				if other := stepUp(t, m, "", session.ErrTooMany); other != "" {
					t.Error("a login beyond the limit got a session")
				}
			}
			renewed := stepUp(t, m, id, nil)
			if user, d := look(t, m, renewed); user != "ada" || d.Note != "kept" {
				t.Errorf("%q, %q", user, d.Note)
			}
			if ended(t, m, id) != 1 {
				t.Error("the old id lives")
			}
			if l, err := m.List(t.Context(), "ada"); err != nil || len(l) != 1 {
				t.Errorf("%d sessions, %v", len(l), err)
			}
			stepUp(t, m, "", session.ErrTooMany)
		})
	}
}

// Two renewals at one time may be one too many. Then the session that was goes on.
func TestLoginTwoRenewalsAtOneTimeLogNobodyOut(t *testing.T) {
	store := meetingStore(t)
	audit := new(trail)
	m := newManager(t, session.Config{Store: store, MaxPerUser: 2, OnLimit: session.DenyNewest, Audit: audit})
	one, two := login(t, m, "", "ada"), login(t, m, "", "ada")
	store.at, store.then = "delete", func() {
		if issued := stepUp(t, m, two, session.ErrTooMany); issued != "" {
			t.Error("a cookie for a refused login")
		}
		if names := audit.names(); names[len(names)-1] != "authn_login_fail" {
			t.Errorf("the refusal is not recorded: %v", names)
		}
	}
	one = stepUp(t, m, one, nil)
	if n := ended(t, m, one, two); n != 0 {
		t.Errorf("%d sessions have ended", n)
	}
	if two = stepUp(t, m, two, nil); ended(t, m, one, two) != 0 {
		t.Error("the second renewal ended a session")
	}
}

func TestLoginOfARenewalSeesWhatOthersDoMeanwhile(t *testing.T) {
	for _, at := range []string{"create", "delete"} {
		t.Run("a revocation before "+at, func(t *testing.T) {
			store := meetingStore(t)
			m := newManager(t, session.Config{Store: store, MaxPerUser: 1, OnLimit: session.DenyNewest})
			id := login(t, m, "", "ada")
			store.at, store.then = at, func() {
				if _, err := m.RevokeUser(t.Context(), "ada"); err != nil {
					t.Error(err)
				}
			}
			if renewed := stepUp(t, m, id, session.ErrRevoked); renewed != "" && ended(t, m, renewed) != 1 {
				t.Error("a renewal outlives the revocation")
			}
			if l, err := m.List(t.Context(), "ada"); err != nil || len(l) != 0 {
				t.Errorf("%d sessions, %v", len(l), err)
			}
		})
		t.Run("a logout before "+at, func(t *testing.T) {
			store := meetingStore(t)
			m := newManager(t, session.Config{Store: store, MaxPerUser: 1, OnLimit: session.DenyNewest})
			id := login(t, m, "", "ada")
			store.at, store.then = at, func() {
				call(m, id, func(_ http.ResponseWriter, r *http.Request) {
					if err := m.Logout(r.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			if renewed := stepUp(t, m, id, session.ErrRevoked); renewed != "" && ended(t, m, renewed) != 1 {
				t.Error("a renewal outlives the logout")
			}
			if l, err := m.List(t.Context(), "ada"); err != nil || len(l) != 0 {
				t.Errorf("%d sessions, %v", len(l), err)
			}
		})
		t.Run("a change before "+at, func(t *testing.T) {
			store := meetingStore(t)
			m := newManager(t, session.Config{Store: store, MaxPerUser: 1, OnLimit: session.DenyNewest})
			id := login(t, m, "", "ada")
			store.at, store.then = at, func() { write(t, m, id, "written meanwhile") }
			renewed := stepUp(t, m, id, nil)
			if user, d := look(t, m, renewed); user != "ada" || d.Note != "written meanwhile" {
				t.Errorf("%q, %q", user, d.Note)
			}
			write(t, m, renewed, "and later")
			if _, d := look(t, m, renewed); d.Note != "and later" {
				t.Errorf("%q", d.Note)
			}
		})
	}
}
