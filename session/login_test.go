package session_test

import (
	"errors"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/session"
)

func TestLoginAlwaysIssuesANewIDAndKillsTheOldOne(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.2.4")
	m := newManager(t, session.Config{})
	res := call(m, "", func(_ http.ResponseWriter, r *http.Request) {
		s, _ := m.Get(r.Context())
		_ = s.Update(func(v *visit) { v.Note = "planted before login" })
	})
	anonymous := issued(res)
	first := login(t, m, anonymous, "ada")
	second := login(t, m, first, "ada") // proves again who she is
	third := login(t, m, second, "bob")
	ids := []string{anonymous, first, second, third}
	if slices.Sort(ids); len(slices.Compact(ids)) != 4 {
		t.Errorf("an id was issued twice")
	}
	for _, dead := range []string{anonymous, first, second} {
		if user, d := look(t, m, dead); user != "" || d.Note != "" {
			t.Errorf("an old id still opens the session of %q", user)
		}
	}
	if user, d := look(t, m, third); user != "bob" || d.Note != "" {
		t.Errorf("user %q, data %+v", user, d)
	}
}

func TestAUserWhoProvesAgainWhoTheyAreKeepsEveryChange(t *testing.T) {
	m := newManager(t, session.Config{})
	id := login(t, m, "", "ada")
	bump := func(_ http.ResponseWriter, r *http.Request) {
		s, _ := m.Get(r.Context())
		_ = s.Update(func(v *visit) { v.Count++ })
	}
	res := call(m, id, func(w http.ResponseWriter, r *http.Request) {
		bump(w, r)        // this request's own change
		call(m, id, bump) // another request's, saved meanwhile
		if err := m.Login(r.Context(), "ada", session.Auth{Methods: []string{"pwd", "otp"}, AAL: 2}); err != nil {
			t.Error(err)
		}
		s, _ := m.Get(r.Context())
		if s.AAL() != 2 || !slices.Equal(s.Methods(), []string{"pwd", "otp"}) || s.Data().Count != 2 {
			t.Errorf("AAL %d, methods %v, count %d", s.AAL(), s.Methods(), s.Data().Count)
		}
	})
	if _, d := look(t, m, issued(res)); d.Count != 2 {
		t.Errorf("count %d after step-up", d.Count)
	}
}

func TestLogout(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.4.1")
	m := newManager(t, session.Config{})
	id := login(t, m, "", "ada")
	res := call(m, id, func(w http.ResponseWriter, r *http.Request) {
		if err := m.Logout(r.Context()); err != nil {
			t.Error(err)
		}
		if s, _ := m.Get(r.Context()); s.User() != "" {
			t.Error("still logged in within the request")
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	lines := res.Header["Set-Cookie"]
	if len(lines) != 1 || lines[0] != "__Host-id=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax" {
		t.Errorf("Set-Cookie %q", lines)
	}
	if got := res.Header.Get("Clear-Site-Data"); got != `"cache", "cookies", "storage"` {
		t.Errorf("Clear-Site-Data %q", got)
	}
	if got := res.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q", got)
	}
	if res.StatusCode != 303 || res.Header.Get("Location") != "/" {
		t.Errorf("the handler's own answer is gone: %d", res.StatusCode)
	}
	if user, _ := look(t, m, id); user != "" {
		t.Error("the id still works")
	}
	if res := call(m, "", func(_ http.ResponseWriter, r *http.Request) { _ = m.Logout(r.Context()) }); len(res.Header["Set-Cookie"]) != 1 || res.StatusCode != 200 {
		t.Error("logging out without a session must clean up all the same")
	}
}

func TestLogoutThenLoginInOneResponse(t *testing.T) {
	m := newManager(t, session.Config{})
	id := login(t, m, "", "ada")
	res := call(m, id, func(_ http.ResponseWriter, r *http.Request) {
		if err := errors.Join(m.Logout(r.Context()), m.Login(r.Context(), "bob", session.Auth{})); err != nil {
			t.Error(err)
		}
	})
	if len(res.Header["Set-Cookie"]) != 1 || res.Header.Get("Clear-Site-Data") != "" {
		t.Errorf("headers %v: clearing would take the new cookie along", res.Header)
	}
	if user, _ := look(t, m, issued(res)); user != "bob" {
		t.Errorf("user %q", user)
	}
}

func TestChangingThePasswordRevokesAllAndLogsThisBrowserIn(t *testing.T) {
	m := newManager(t, session.Config{})
	here, there := login(t, m, "", "ada"), login(t, m, "", "ada")
	res := call(m, here, func(_ http.ResponseWriter, r *http.Request) {
		if _, err := m.Get(r.Context()); err != nil {
			t.Error(err)
		}
		if n, err := m.RevokeUser(r.Context(), "ada"); n != 2 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if err := m.Login(r.Context(), "ada", session.Auth{}); err != nil {
			t.Error(err)
		}
	})
	if user, _ := look(t, m, issued(res)); user != "ada" {
		t.Error("this browser is not logged in")
	}
	for _, id := range []string{here, there} {
		if user, _ := look(t, m, id); user != "" {
			t.Error("an old session lives")
		}
	}
}

func TestRequire(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.5.3")
	synctest.Test(t, func(t *testing.T) {
		var cause error
		m := newManager(t, session.Config{OnDeny: func(w http.ResponseWriter, _ *http.Request, p *hardening.Problem) {
			cause = p.Err
			w.WriteHeader(p.Status)
		}})
		weak := login(t, m, "", "ada")
		strong := issued(call(m, "", func(_ http.ResponseWriter, r *http.Request) {
			_ = m.Login(r.Context(), "eva", session.Auth{AAL: 2})
		}))
		time.Sleep(10 * time.Minute)
		for _, tt := range []struct {
			name   string
			id     string
			need   session.Need
			status int
			cause  error
		}{
			{"nobody", "", session.Need{}, 401, session.ErrAnonymous},
			{"anyone who is logged in", weak, session.Need{}, 200, nil},
			{"a weak login where a strong one is needed", weak, session.Need{AAL: 2}, 403, session.ErrStepUp},
			{"a strong login", strong, session.Need{AAL: 2}, 200, nil},
			{"a strong login too long ago", strong, session.Need{AAL: 2, Fresh: 5 * time.Minute}, 403, session.ErrStepUp},
			{"a login recent enough", strong, session.Need{Fresh: 10 * time.Minute}, 200, nil},
			{"a need that makes no sense lets nobody through", strong, session.Need{AAL: 4}, 500, nil},
			{"a negative need", strong, session.Need{Fresh: -1}, 500, nil},
		} {
			cause = nil
			reached := false
			h := m.Require(tt.need)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
			res := call(m, tt.id, h.ServeHTTP)
			if res.StatusCode != tt.status || reached != (tt.status == 200) {
				t.Errorf("%s: status %d, reached %t", tt.name, res.StatusCode, reached)
			}
			if tt.cause != nil && !errors.Is(cause, tt.cause) {
				t.Errorf("%s: cause %v", tt.name, cause)
			}
		}
	})
}
