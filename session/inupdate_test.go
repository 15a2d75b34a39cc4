package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening/session"
)

func TestMutatorsMayAskTheSessionWhoTheUserIs(t *testing.T) {
	m := newManager(t, session.Config{})
	id := login(t, m, "", "ada")
	call(m, id, func(_ http.ResponseWriter, r *http.Request) {
		s, _ := m.Get(r.Context())
		if err := s.Update(func(v *visit) { v.Note = s.User() + fmt.Sprint(s.Data().Count) }); err != nil {
			t.Error(err)
		}
	})
	if _, d := look(t, m, id); d.Note != "ada0" {
		t.Errorf("note %q", d.Note)
	}
}

// What waits for an Update from inside it is told so and does not hang for ever;
// nothing of it has happened.
func TestWhatIsCalledInsideAnUpdateFailsAndHangsNobody(t *testing.T) {
	for name, f := range map[string]func(m *session.Manager[visit], s *session.Session[visit], w http.ResponseWriter, r *http.Request) error{
		"Update": func(_ *session.Manager[visit], s *session.Session[visit], _ http.ResponseWriter, _ *http.Request) error {
			return s.Update(func(*visit) {})
		},
		"Logout": func(m *session.Manager[visit], _ *session.Session[visit], _ http.ResponseWriter, r *http.Request) error {
			return m.Logout(r.Context())
		},
		"Login": func(m *session.Manager[visit], _ *session.Session[visit], _ http.ResponseWriter, r *http.Request) error {
			return m.Login(r.Context(), "ada", session.Auth{})
		},
		"RevokeOthers": func(m *session.Manager[visit], _ *session.Session[visit], _ http.ResponseWriter, r *http.Request) error {
			_, err := m.RevokeOthers(r.Context())
			return err
		},
		"CSRFToken": func(_ *session.Manager[visit], s *session.Session[visit], _ http.ResponseWriter, _ *http.Request) error {
			_, err := s.CSRFToken()
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, err := session.NewMemoryStore(session.MemoryConfig{})
				if err != nil {
					t.Fatal(err)
				}
				m := newManager(t, session.Config{Store: store})
				id := login(t, m, "", "ada")
				call(m, id, func(w http.ResponseWriter, r *http.Request) {
					s, _ := m.Get(r.Context())
					if err := s.Update(func(v *visit) {
						if err := f(m, s, w, r); !errors.Is(err, session.ErrInUpdate) {
							t.Errorf("inside: %v", err)
						}
					}); err != nil {
						t.Errorf("Update: %v", err)
					}
				})
				if user, _ := look(t, m, id); user != "ada" {
					t.Error("the session has ended")
				}
			})
		})
	}
}

// A revocation takes effect whatever the request that it comes from is doing:
// nobody waits for a mutator, and no mutator for itself.
func TestARevocationWaitsForNoUpdate(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.4.1")
	for how, revoke := range map[string]func(m *session.Manager[visit], ctx context.Context) error{
		"RevokeUser": func(m *session.Manager[visit], ctx context.Context) error {
			n, err := m.RevokeUser(ctx, "ada")
			if n != 1 {
				t.Errorf("RevokeUser ended %d sessions", n)
			}
			return err
		},
		"EraseUser": func(m *session.Manager[visit], ctx context.Context) error {
			_, err := m.EraseUser(ctx, "ada")
			return err
		},
		"RevokeAll": func(m *session.Manager[visit], ctx context.Context) error { return m.RevokeAll(ctx) },
		"RevokeOne": func(m *session.Manager[visit], ctx context.Context) error {
			all, err := m.List(ctx, "ada")
			if err != nil || len(all) != 1 || !all[0].Current {
				t.Errorf("List: %+v, %v", all, err)
				return err
			}
			_, err = m.RevokeOne(ctx, "ada", all[0].Handle)
			return err
		},
	} {
		for where, aside := range map[string]bool{"inside the Update": false, "in another goroutine": true} {
			t.Run(how+" "+where, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := newManager(t, session.Config{Store: newMemory(t)})
					id := login(t, m, "", "ada")
					res := call(m, id, func(_ http.ResponseWriter, r *http.Request) {
						s, _ := m.Get(r.Context())
						err := s.Update(func(v *visit) {
							v.Note = "must not outlive the session"
							began, done := time.Now(), make(chan error, 1)
							if aside {
								go func() { done <- revoke(m, r.Context()) }()
							} else {
								done <- revoke(m, r.Context())
							}
							if err := <-done; err != nil {
								t.Errorf("the revocation: %v", err)
							}
							if d := time.Since(began); d != 0 {
								t.Errorf("it waited %v", d)
							}
							if user, _ := look(t, m, id); user != "" {
								t.Error("the session lives")
							}
						})
						if !errors.Is(err, session.ErrRevoked) {
							t.Errorf("Update: %v", err)
						}
						if s.User() != "" || s.Data().Note != "" {
							t.Errorf("the request goes on as %q with %q", s.User(), s.Data().Note)
						}
					})
					if got := issued(res); res.StatusCode != 200 || got != "" {
						t.Errorf("status %d, a new session: %t", res.StatusCode, got != "")
					}
				})
			})
		}
	}
}

// A login that waits for an Update began when it was called, not when its turn
// came.
func TestTrap_ALoginThatWaitsSlipsPastARevocation(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.4.1")
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, session.Config{Store: newMemory(t)})
		res := call(m, "", func(_ http.ResponseWriter, r *http.Request) {
			s, _ := m.Get(r.Context())
			login := make(chan error, 1)
			if err := s.Update(func(*visit) {
				go func() { login <- m.Login(r.Context(), "ada", session.Auth{}) }()
				time.Sleep(time.Second)
				if _, err := m.RevokeUser(context.Background(), "ada"); err != nil {
					t.Error(err)
				}
			}); err != nil {
				t.Error(err)
			}
			if err := <-login; !errors.Is(err, session.ErrRevoked) {
				t.Errorf("Login: %v", err)
			}
		})
		if issued(res) != "" {
			t.Error("it got a session")
		}
	})
}

// A store that fails in such a revocation makes the request 503 once the mutator
// has returned.
func TestARevocationThatFailsInsideAnUpdateIs503(t *testing.T) {
	store := newSpy(t)
	m := newManager(t, session.Config{Store: store})
	id := login(t, m, "", "ada")
	res := call(m, id, func(w http.ResponseWriter, r *http.Request) {
		s, _ := m.Get(r.Context())
		err := s.Update(func(*visit) {
			store.down.Store(true)
			defer store.down.Store(false)
			if _, err := m.RevokeUser(r.Context(), "ada"); !errors.Is(err, session.ErrUnavailable) {
				t.Errorf("RevokeUser: %v", err)
			}
		})
		if !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("Update: %v", err)
		}
		_, _ = io.WriteString(w, "page")
	})
	if res.StatusCode != 503 {
		t.Errorf("status %d", res.StatusCode)
	}
}
