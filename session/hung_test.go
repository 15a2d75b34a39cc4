package session_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/session"
)

// hung hangs in every operation once it is told to.
type hung struct {
	*spy
	now bool
}

func (h *hung) wait(ctx context.Context) error {
	if !h.now {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (h *hung) Create(ctx context.Context, ref session.Ref, rec session.Record, q session.Quota) ([]session.Ref, error) {
	if err := h.wait(ctx); err != nil {
		return nil, err
	}
	return h.spy.Create(ctx, ref, rec, q)
}

func (h *hung) Update(ctx context.Context, ref session.Ref, rec session.Record) error {
	return errors.Join(h.wait(ctx), h.spy.Update(ctx, ref, rec))
}

func (h *hung) Delete(ctx context.Context, ref session.Ref) (session.Record, error) {
	if err := h.wait(ctx); err != nil {
		return session.Record{}, err
	}
	return h.spy.Delete(ctx, ref)
}

func (h *hung) Revoke(ctx context.Context, r session.Revocation) (int, error) {
	if err := h.wait(ctx); err != nil {
		return 0, err
	}
	return h.spy.Revoke(ctx, r)
}

func (h *hung) RevokeAll(ctx context.Context, at, until time.Time) error {
	return errors.Join(h.wait(ctx), h.spy.RevokeAll(ctx, at, until))
}

func (h *hung) List(ctx context.Context, tags []session.Tag) ([]session.Entry, error) {
	if err := h.wait(ctx); err != nil {
		return nil, err
	}
	return h.spy.List(ctx, tags)
}

// A store that hangs after it was read holds no request longer than one that hangs
// at once, though nobody sets a deadline, and what it leaves is what was there.
func TestAStoreThatHangsLaterIsGivenUpOn(t *testing.T) {
	for name, f := range map[string]func(*session.Manager[visit], context.Context) error{
		"save": func(m *session.Manager[visit], ctx context.Context) error {
			s, _ := m.Get(ctx)
			return errors.Join(s.Update(func(v *visit) { v.Count++ }), session.ErrUnavailable) // told by the response
		},
		"login":  func(m *session.Manager[visit], ctx context.Context) error { return m.Login(ctx, "ada", session.Auth{}) },
		"logout": func(m *session.Manager[visit], ctx context.Context) error { return m.Logout(ctx) },
		"revocation of the user": func(m *session.Manager[visit], ctx context.Context) error {
			_, err := m.RevokeUser(ctx, "ada")
			return err
		},
		"revocation of others": func(m *session.Manager[visit], ctx context.Context) error {
			_, err := m.RevokeOthers(ctx)
			return err
		},
		"revocation of all": func(m *session.Manager[visit], ctx context.Context) error { return m.RevokeAll(ctx) },
		"list":              func(m *session.Manager[visit], ctx context.Context) error { _, err := m.List(ctx, "ada"); return err },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &hung{spy: newSpy(t)}
				m := newManager(t, session.Config{Keys: newRing("one"), Store: store})
				id := login(t, m, "", "ada")
				start := time.Now()
				res := call(m, id, func(w http.ResponseWriter, r *http.Request) {
					if s, _ := m.Get(r.Context()); s.User() != "ada" {
						t.Error("not logged in")
					}
					store.now = true
					if err := f(m, r.Context()); !errors.Is(err, session.ErrUnavailable) {
						t.Errorf("error %v", err)
					}
					_, _ = w.Write([]byte("SECRET"))
				})
				if took := time.Since(start); res.StatusCode != 503 || took > 5*time.Second {
					t.Errorf("%d after %v", res.StatusCode, took)
				}
				store.now = false
				if user, d := look(t, m, id); user != "ada" || d.Count != 0 {
					t.Errorf("half done: %q, %d", user, d.Count)
				}
			})
		})
	}
}
