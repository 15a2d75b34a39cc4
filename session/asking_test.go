package session_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/session"
)

// asking is a handler that adds the user to each record, as many services have
// one.
type asking struct {
	trail
	t     *testing.T
	m     *session.Manager[visit]
	users []string
}

func (a *asking) Handle(ctx context.Context, r slog.Record) error {
	user := make(chan string, 1)
	go func() {
		s, _ := a.m.Get(ctx)
		user <- s.User()
	}()
	select {
	case u := <-user:
		a.users = append(a.users, u)
	case <-time.After(10 * time.Second):
		a.t.Errorf("%s: who asks for the session waits for ever", r.Message)
	}
	return a.trail.Handle(ctx, r)
}

// logs is a store whose client writes records with the context it is called with.
type logs struct {
	session.Store
	log *slog.Logger
}

func (l logs) Load(ctx context.Context, ref session.Ref) (session.Record, error) {
	l.log.InfoContext(ctx, "load")
	rec, err := l.Store.Load(ctx, ref)
	rec.Expires = rec.Expires.Add(-time.Hour) // so that use is written
	return rec, err
}

func (l logs) Touch(ctx context.Context, ref session.Ref, expires time.Time) error {
	l.log.InfoContext(ctx, "touch")
	return l.Store.Touch(ctx, ref, expires)
}

// Whoever sends a forged cookie must not be able to make a request wait for
// itself, whatever a record's handler asks.
func TestTrap_ARecordThatAsksWhoTheUserIsHangsTheRequest(t *testing.T) {
	store, h := newSpy(t), &asking{t: t}
	h.m = newManager(t, session.Config{Store: logs{store, slog.New(h)}, Audit: h, Logger: slog.New(h)})
	m := h.m
	id, gone, other := login(t, m, "", "ada"), login(t, m, "", "bob"), login(t, m, "", "eva")
	if _, err := m.RevokeUser(t.Context(), "bob"); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name, cookie, want string
		down               bool
		status             int
	}{
		{"a forged cookie", id[:79] + map[bool]string{true: "BAA", false: "AAA"}[id[79] == 'A'], "session_forged", false, 200},
		{"two genuine ones", id + "; __Host-id=" + other, "session_forged", false, 200},
		{"a dead one", gone, "session_use_after_expire", false, 200},
		{"a live one", id, "touch", false, 200},
		{"a store that is down", id, "store_degraded", true, 503},
		{"a store that is back", id, "store_recovered", false, 200},
	} {
		store.down.Store(step.down)
		res := call(m, step.cookie, func(_ http.ResponseWriter, r *http.Request) { _, _ = m.Get(r.Context()) })
		if names := h.names(); res.StatusCode != step.status || names[len(names)-1] != step.want {
			t.Errorf("%s: status %d, records %v", step.name, res.StatusCode, names)
		}
	}
	if last := h.users[len(h.users)-1]; last != "ada" {
		t.Errorf("the record of a request with a session is about %q", last)
	}
}

// changing is a handler that changes the session whose change it is to record.
type changing struct {
	trail
	do func(context.Context)
}

func (c *changing) Handle(ctx context.Context, r slog.Record) error {
	if c.do != nil {
		c.do(ctx)
	}
	return c.trail.Handle(ctx, r)
}

// A handler of records that changes the session waits for itself, and not for ever.
func TestARecordThatChangesTheSessionHangsNobody(t *testing.T) {
	changes := map[string]func(*session.Manager[visit], context.Context) error{
		"Login":  func(m *session.Manager[visit], ctx context.Context) error { return m.Login(ctx, "ada", session.Auth{}) },
		"Logout": func(m *session.Manager[visit], ctx context.Context) error { return m.Logout(ctx) },
		"RevokeOthers": func(m *session.Manager[visit], ctx context.Context) error {
			_, err := m.RevokeOthers(ctx)
			return err
		},
	}
	inside := map[string]func(*session.Manager[visit], context.Context) error{
		"Update": func(m *session.Manager[visit], ctx context.Context) error {
			s, err := m.Get(ctx)
			if err != nil {
				return err
			}
			return s.Update(func(v *visit) { v.Count++ })
		},
		"CSRFToken": func(m *session.Manager[visit], ctx context.Context) error {
			s, err := m.Get(ctx)
			if err != nil {
				return err
			}
			_, err = s.CSRFToken()
			return err
		},
	}
	maps.Copy(inside, changes)
	for outer, change := range changes {
		for inner, f := range inside {
			t.Run(inner+" in the record of "+outer, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := new(changing)
					m := newManager(t, session.Config{Audit: h, Store: newMemory(t)})
					id := login(t, m, "", "ada")
					asked := 0
					h.do = func(ctx context.Context) {
						h.do = nil // what it starts is recorded as well
						asked++
						if err := f(m, ctx); !errors.Is(err, session.ErrInUpdate) {
							t.Errorf("inside: %v", err)
						}
					}
					call(m, id, func(_ http.ResponseWriter, r *http.Request) {
						if err := change(m, r.Context()); err != nil {
							t.Error(err)
						}
					})
					if asked != 1 {
						t.Errorf("the record was handled %d times", asked)
					}
				})
			})
		}
	}
}

// A handler of records that revokes waits for nothing: what it ends has ended.
func TestTrap_ARecordThatRevokesHangsTheRequest(t *testing.T) {
	type operation = func(*session.Manager[visit], context.Context) error
	changes := map[string]operation{
		"Login":  func(m *session.Manager[visit], ctx context.Context) error { return m.Login(ctx, "ada", session.Auth{}) },
		"Logout": func(m *session.Manager[visit], ctx context.Context) error { return m.Logout(ctx) },
		"RevokeOthers": func(m *session.Manager[visit], ctx context.Context) error {
			_, err := m.RevokeOthers(ctx)
			return err
		},
	}
	revocations := map[string]operation{
		"RevokeUser": func(m *session.Manager[visit], ctx context.Context) error {
			_, err := m.RevokeUser(ctx, "ada")
			return err
		},
		"EraseUser": func(m *session.Manager[visit], ctx context.Context) error {
			_, err := m.EraseUser(ctx, "ada")
			return err
		},
		"RevokeAll": func(m *session.Manager[visit], ctx context.Context) error { return m.RevokeAll(ctx) },
		"RevokeOne": func(m *session.Manager[visit], ctx context.Context) error {
			l, err := m.List(ctx, "ada")
			if err != nil {
				return err
			}
			_, err = m.RevokeOne(ctx, "ada", l[0].Handle)
			return err
		},
	}
	for outer, change := range changes {
		for inner, revoke := range revocations {
			t.Run(inner+" in the record of "+outer, func(t *testing.T) {
				h := new(changing)
				m := newManager(t, session.Config{Audit: h, Store: newMemory(t)})
				id := login(t, m, "", "ada")
				h.do = func(ctx context.Context) {
					h.do = nil // the revocation is recorded as well
					if err := revoke(m, ctx); err != nil {
						t.Errorf("inside: %v", err)
					}
				}
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					call(m, id, func(_ http.ResponseWriter, r *http.Request) {
						err := change(m, r.Context())
						if want := map[bool]error{true: session.ErrRevoked}[outer == "Login"]; !errors.Is(err, want) {
							t.Errorf("outside: %v, want %v", err, want)
						}
						if s, _ := m.Get(r.Context()); s.User() != "" {
							t.Errorf("%q is still logged in", s.User())
						}
					})
				}()
				select {
				case <-ended:
				case <-time.After(10 * time.Second):
					t.Fatal("who revokes waits for ever")
				}
				if l, err := m.List(t.Context(), "ada"); err != nil || len(l) != 0 {
					t.Errorf("%d sessions live, %v", len(l), err)
				}
			})
		}
	}
}
