package session_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/inovy/hardening/session"
)

// Elsewhere the stored form of an id is hashed once more on the way to its
// deletion, which then finds nothing and reports success.
func TestTrap_LogOutEverywhereDeletesNothingAndSaysItDid(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.4.2")
	for kind, store := range kinds(t) {
		m := newManager(t, session.Config{Store: store})
		ids := []string{login(t, m, "", "ada"), login(t, m, "", "ada"), login(t, m, "", "ada")}
		n, err := m.RevokeUser(t.Context(), "ada")
		if err != nil || kind != "cookies" && n != 3 {
			t.Errorf("%s: %d, %v", kind, n, err)
		}
		if dead := ended(t, m, ids...); dead != 3 {
			t.Errorf("%s: %d of 3 are dead", kind, dead)
		}
		if kind == "cookies" {
			continue
		}
		login(t, m, "", "ada")
		all, err := m.List(t.Context(), "ada")
		if err != nil || len(all) != 1 {
			t.Fatalf("%s: %d, %v", kind, len(all), err)
		}
		if found, err := m.RevokeOne(t.Context(), "ada", all[0].Handle); !found || err != nil {
			t.Errorf("%s: what List names cannot be ended: %t, %v", kind, found, err)
		}
		if all, err := m.List(t.Context(), "ada"); len(all) != 0 || err != nil {
			t.Errorf("%s: it is still there: %v, %v", kind, all, err)
		}
	}
}

// Elsewhere a change after the first byte is lost without a word.
func TestTrap_AChangeAfterTheFirstByteIsLostSilently(t *testing.T) {
	for kind, store := range kinds(t) {
		m := newManager(t, session.Config{Store: store})
		id := login(t, m, "", "ada")
		call(m, id, func(w http.ResponseWriter, r *http.Request) {
			s, _ := m.Get(r.Context())
			_, _ = w.Write([]byte("first byte"))
			for what, err := range map[string]error{
				"Update":       s.Update(func(v *visit) { v.Count++ }),
				"Login":        m.Login(r.Context(), "ada", session.Auth{}),
				"Logout":       m.Logout(r.Context()),
				"RevokeOthers": func() error { _, err := m.RevokeOthers(r.Context()); return err }(),
			} {
				if !errors.Is(err, session.ErrTooLate) {
					t.Errorf("%s: %s: %v", kind, what, err)
				}
			}
		})
	}
}

// Elsewhere the default cookie is SameSite=None, or readable by scripts, or
// travels over plain HTTP.
func TestTrap_TheDefaultCookieIsOpenToScriptsAndOtherSites(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-3.3.4")
	for kind, store := range kinds(t) {
		m := newManager(t, session.Config{Store: store})
		res := call(m, "", func(_ http.ResponseWriter, r *http.Request) { _ = m.Login(r.Context(), "ada", session.Auth{}) })
		lines := res.Header["Set-Cookie"]
		if len(lines) != 1 {
			t.Fatalf("%s: %q", kind, lines)
		}
		for _, want := range []string{"__Host-id=", "; Path=/", "; HttpOnly", "; Secure", "; SameSite=Lax"} {
			if !strings.Contains(lines[0], want) {
				t.Errorf("%s: %q lacks %q", kind, lines[0], want)
			}
		}
		if strings.Contains(lines[0], "Domain") || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %q, %q", kind, lines[0], res.Header.Get("Cache-Control"))
		}
	}
}

// securecookie encrypts in place: elsewhere the caller's data turns into
// ciphertext once the response is sent.
func TestTrap_SealingOverwritesWhatTheHandlerReads(t *testing.T) {
	for kind, store := range kinds(t) {
		m := newManager(t, session.Config{Store: store})
		id := login(t, m, "", "ada")
		call(m, id, func(w http.ResponseWriter, r *http.Request) {
			s, _ := m.Get(r.Context())
			if err := s.Update(func(v *visit) { v.Note = "plain" }); err != nil {
				t.Error(err)
			}
			w.WriteHeader(200)
			if d := s.Data(); d.Note != "plain" || s.User() != "ada" {
				t.Errorf("%s: after the response the session reads %+v of %q", kind, d, s.User())
			}
		})
	}
}

// Elsewhere a middleware of CSRF protection lets every GET pass, and with it
// the upgrade to a WebSocket from any site.
func TestTrap_AWebSocketFromAnotherSitePasses(t *testing.T) {
	m := newManager(t, session.Config{})
	id := login(t, m, "", "ada")
	opened := false
	h := m.Wrap(m.CSRF(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { opened = true })))
	for origin, want := range map[string]bool{"https://portal.example": true, "https://evil.example": false, "https://portal.example.evil": false, "https://sub.portal.example": false} {
		opened = false
		r := newRequest("__Host-id=" + id)
		r.Host = "portal.example"
		upgrade(r, origin)
		h.ServeHTTP(httptest.NewRecorder(), r)
		if opened != want {
			t.Errorf("from %s: opened %t", origin, opened)
		}
	}
}

type full struct{ session.Store }

func (full) Create(context.Context, session.Ref, session.Record, session.Quota) ([]session.Ref, error) {
	return nil, session.ErrFull
}

// A store that is full refuses the login, and the client is told to come back.
func TestAStoreThatIsFullIs503(t *testing.T) {
	m := newManager(t, session.Config{Store: full{newMemory(t)}})
	res := call(m, "", func(w http.ResponseWriter, r *http.Request) {
		if err := m.Login(r.Context(), "ada", session.Auth{}); !errors.Is(err, session.ErrUnavailable) || !errors.Is(err, session.ErrFull) {
			t.Errorf("Login: %v", err)
		}
		_, _ = w.Write([]byte("welcome"))
	})
	if res.StatusCode != 503 || issued(res) != "" {
		t.Errorf("status %d, cookie %q", res.StatusCode, issued(res))
	}
}
