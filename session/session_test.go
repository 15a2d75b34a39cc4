package session_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/inovy/hardening/session"
)

func TestAnUntouchedRequestAsksTheStoreNothing(t *testing.T) {
	store := newSpy(t)
	m := newManager(t, session.Config{Store: store})
	id := login(t, m, "", "ada")
	store.loads.Store(0)
	res := call(m, id, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) })
	if n := store.loads.Load(); n != 0 {
		t.Errorf("%d loads", n)
	}
	if len(res.Header) != 0 {
		t.Errorf("an untouched response got headers: %v", res.Header)
	}
}

func TestARequestIsAnonymousUntilLoginOrUpdate(t *testing.T) {
	store := newSpy(t)
	m := newManager(t, session.Config{Store: store})
	res := call(m, "", func(_ http.ResponseWriter, r *http.Request) {
		s, err := m.Get(r.Context())
		if err != nil || s == nil {
			t.Fatalf("Get: %v, %v", s, err)
		}
		if s.User() != "" || s.AAL() != 0 || !s.AuthTime().IsZero() || s.Data().Count != 0 || s.Done() != nil {
			t.Error("an anonymous session claims something")
		}
	})
	if issued(res) != "" || store.writes.Load() != 0 {
		t.Error("a session was made for someone who only looked")
	}
	if got := res.Header.Get("Vary"); got != "Cookie" {
		t.Errorf("a page that asked for the session must vary on it, got Vary %q", got)
	}
	res = call(m, "", func(_ http.ResponseWriter, r *http.Request) {
		s, _ := m.Get(r.Context())
		if err := s.Update(func(v *visit) { v.Note = "basket" }); err != nil {
			t.Error(err)
		}
	})
	if user, d := look(t, m, issued(res)); user != "" || d.Note != "basket" {
		t.Errorf("user %q, data %+v", user, d)
	}
}

func TestErrNotWrappedAndErrUnavailableAreDistinct(t *testing.T) {
	m := newManager(t, session.Config{})
	other := newManager(t, session.Config{})
	s, err := m.Get(t.Context())
	if !errors.Is(err, session.ErrNotWrapped) || errors.Is(err, session.ErrUnavailable) || s == nil {
		t.Errorf("outside Wrap: %v, %v", s, err)
	}
	if err := s.Update(func(*visit) {}); !errors.Is(err, session.ErrNotWrapped) {
		t.Errorf("Update: %v", err)
	}
	if s.User() != "" || s.Done() != nil || s.Data().Note != "" {
		t.Error("a session outside Wrap claims something")
	}
	for name, f := range map[string]func(context.Context) error{
		"Login":  func(ctx context.Context) error { return m.Login(ctx, "ada", session.Auth{}) },
		"Logout": m.Logout,
	} {
		if err := f(t.Context()); !errors.Is(err, session.ErrNotWrapped) {
			t.Errorf("%s: %v", name, err)
		}
	}
	call(other, "", func(_ http.ResponseWriter, r *http.Request) {
		if _, err := m.Get(r.Context()); !errors.Is(err, session.ErrNotWrapped) {
			t.Errorf("another manager's Wrap is not this one's: %v", err)
		}
	})
}

func TestDataIsDecodedAfresh(t *testing.T) {
	m := newManager(t, session.Config{})
	res := call(m, "", func(_ http.ResponseWriter, r *http.Request) {
		s, _ := m.Get(r.Context())
		if err := s.Update(func(v *visit) { v.Tags = map[string][]string{"a": {"1"}} }); err != nil {
			t.Fatal(err)
		}
		d := s.Data()
		d.Tags["a"][0] = "changed"
		d.Tags["b"] = nil
		if again := s.Data(); again.Tags["a"][0] != "1" || len(again.Tags) != 1 {
			t.Errorf("a caller's change shows: %+v", again)
		}
	})
	if _, d := look(t, m, issued(res)); d.Tags["a"][0] != "1" || len(d.Tags) != 1 {
		t.Errorf("a caller's change was saved: %+v", d)
	}
}

func TestFiftyParallelIncrementsGiveFifty(t *testing.T) {
	m := newManager(t, session.Config{})
	id := login(t, m, "", "ada")
	const n = 50
	ready := make(chan struct{})
	var all, read sync.WaitGroup
	read.Add(n)
	for range n {
		all.Go(func() {
			res := call(m, id, func(_ http.ResponseWriter, r *http.Request) {
				s, err := m.Get(r.Context())
				read.Done()
				<-ready // every request has read the session before any saves
				if err := errors.Join(err, s.Update(func(v *visit) { v.Count++ })); err != nil {
					t.Error(err)
				}
			})
			if res.StatusCode != 200 {
				t.Errorf("status %d", res.StatusCode)
			}
		})
	}
	read.Wait()
	close(ready)
	all.Wait()
	if _, d := look(t, m, id); d.Count != n {
		t.Errorf("%d parallel increments gave %d", n, d.Count)
	}
}

func TestUpdateWritesOnlyWhenSomethingChanged(t *testing.T) {
	store := newSpy(t)
	m := newManager(t, session.Config{Store: store})
	id := login(t, m, "", "ada")
	bump := func(by int) {
		call(m, id, func(_ http.ResponseWriter, r *http.Request) {
			s, _ := m.Get(r.Context())
			if err := s.Update(func(v *visit) { v.Count += by }); err != nil {
				t.Error(err)
			}
		})
	}
	bump(1)
	store.writes.Store(0)
	bump(0)
	if n := store.writes.Load(); n != 0 {
		t.Errorf("%d writes for no change", n)
	}
	bump(1)
	if n := store.writes.Load(); n != 1 {
		t.Errorf("%d writes for one change", n)
	}
}

func TestUpdateAfterTheHeaderIsAnError(t *testing.T) {
	m := newManager(t, session.Config{})
	id := login(t, m, "", "ada")
	call(m, id, func(w http.ResponseWriter, r *http.Request) {
		s, _ := m.Get(r.Context())
		w.WriteHeader(http.StatusEarlyHints) // not the header yet
		if err := s.Update(func(v *visit) { v.Count = 1 }); err != nil {
			t.Errorf("after 103: %v", err)
		}
		_, _ = w.Write([]byte("x"))
		if err := s.Update(func(v *visit) { v.Count = 2 }); !errors.Is(err, session.ErrTooLate) {
			t.Errorf("Update: %v", err)
		}
		if err := m.Login(r.Context(), "bob", session.Auth{}); !errors.Is(err, session.ErrTooLate) {
			t.Errorf("Login: %v", err)
		}
		if err := m.Logout(r.Context()); !errors.Is(err, session.ErrTooLate) {
			t.Errorf("Logout: %v", err)
		}
	})
	if user, d := look(t, m, id); d.Count != 1 || user != "ada" {
		t.Errorf("user %q, count %d", user, d.Count)
	}
}

func TestUpdateRefusesDataThatIsTooLarge(t *testing.T) {
	m := newManager(t, session.Config{MaxDataBytes: 64})
	id := login(t, m, "", "ada")
	res := call(m, id, func(_ http.ResponseWriter, r *http.Request) {
		s, _ := m.Get(r.Context())
		if err := s.Update(func(v *visit) { v.Note = strings.Repeat("x", 64) }); !errors.Is(err, session.ErrTooLarge) || !strings.HasSuffix(err.Error(), "75 bytes of JSON, and Config.MaxDataBytes is 64") {
			t.Errorf("Update: %v", err)
		}
	})
	if _, d := look(t, m, id); res.StatusCode != 200 || d.Note != "" {
		t.Errorf("status %d, data %+v", res.StatusCode, d)
	}
}

func TestRevokeUserActsAtOnce(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.4.5")
	m := newManager(t, session.Config{})
	phone, laptop, bob := login(t, m, "", "ada"), login(t, m, "", "ada"), login(t, m, "", "bob")
	n, err := m.RevokeUser(t.Context(), "ada")
	if n != 2 || err != nil {
		t.Errorf("revoked %d, %v", n, err)
	}
	for _, id := range []string{phone, laptop} {
		if user, _ := look(t, m, id); user != "" {
			t.Errorf("a revoked session opens for %q", user)
		}
	}
	if user, _ := look(t, m, bob); user != "bob" {
		t.Error("someone else was logged out")
	}
	if user, _ := look(t, m, login(t, m, "", "ada")); user != "ada" {
		t.Error("the user cannot log in any more")
	}
	if _, err := m.RevokeUser(t.Context(), ""); !errors.Is(err, session.ErrInvalid) {
		t.Errorf("no user: %v", err)
	}
}

func TestAUserWhoRevokesThemselvesForgetsTheCookie(t *testing.T) {
	m := newManager(t, session.Config{})
	id := login(t, m, "", "ada")
	res := call(m, id, func(_ http.ResponseWriter, r *http.Request) {
		s, _ := m.Get(r.Context())
		if _, err := m.RevokeUser(r.Context(), "ada"); err != nil || s.User() != "" {
			t.Errorf("%v, still %q", err, s.User())
		}
	})
	if c := res.Cookies(); len(c) != 1 || c[0].MaxAge >= 0 {
		t.Errorf("cookies %v", c)
	}
}

func TestWrapTwiceIsWrapOnce(t *testing.T) {
	m := newManager(t, session.Config{})
	res := call(m, "", func(w http.ResponseWriter, r *http.Request) {
		m.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if err := m.Login(r.Context(), "ada", session.Auth{}); err != nil {
				t.Error(err)
			}
		})).ServeHTTP(w, r)
	})
	if n := len(res.Header["Set-Cookie"]); n != 1 {
		t.Errorf("%d Set-Cookie", n)
	}
}

func TestTwoManagersSideBySide(t *testing.T) {
	staff := newManager(t, session.Config{Cookie: session.Cookie{Name: "staff"}})
	care := newManager(t, session.Config{Cookie: session.Cookie{Name: "care"}})
	w := httptest.NewRecorder()
	staff.Wrap(care.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if err := errors.Join(staff.Login(r.Context(), "nurse", session.Auth{}), care.Login(r.Context(), "patient", session.Auth{})); err != nil {
			t.Error(err)
		}
		a, _ := staff.Get(r.Context())
		b, _ := care.Get(r.Context())
		if a.User() != "nurse" || b.User() != "patient" {
			t.Errorf("%q, %q", a.User(), b.User())
		}
	}))).ServeHTTP(w, httptest.NewRequest("GET", "https://portal.example/", nil))
	if n := len(w.Result().Cookies()); n != 2 {
		t.Errorf("%d cookies", n)
	}
}
