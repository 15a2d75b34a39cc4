package session_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/securecookie"

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

// Elsewhere Flush sends the header before the cookie is in it, and a 103 counts as
// the header.
func TestTrap_AFlushSendsTheHeaderWithoutTheCookie(t *testing.T) {
	ways := map[string]http.HandlerFunc{
		"Flush":      func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() },
		"Controller": func(w http.ResponseWriter, _ *http.Request) { _ = http.NewResponseController(w).Flush() },
		"103":        func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); _, _ = io.WriteString(w, "page") },
		"304":        func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) },
		"ReadFrom":   func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, strings.NewReader("page")) },
		"nothing":    func(http.ResponseWriter, *http.Request) {},
	}
	for kind, store := range kinds(t) {
		m := newManager(t, session.Config{Store: store})
		for name, write := range ways {
			early := ""
			srv := serve(t, m, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := m.Login(r.Context(), "ada", session.Auth{}); err != nil {
					t.Error(err)
				}
				write(w, r)
			}))
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
				early = h.Get("Set-Cookie")
				return nil
			}})
			req, _ := http.NewRequestWithContext(ctx, "GET", srv.URL, nil)
			res, err := srv.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if user, _ := look(t, m, issued(res)); user != "ada" || early != "" {
				t.Errorf("%s, %s: the cookie is %q's, and in the 103: %t", kind, name, user, early != "")
			}
		}
	}
}

// Elsewhere logins at the same time lose entries of the user's index, and what is
// lost cannot be listed or revoked.
func TestTrap_LoginsAtOneTimeLoseEntriesOfTheIndex(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.4.2")
	const n = 20
	m := newManager(t, session.Config{})
	ids := make([]string, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { ids[i] = login(t, m, "", "ada") })
	}
	all.Wait()
	if list, err := m.List(t.Context(), "ada"); len(list) != n || err != nil {
		t.Errorf("%d of %d are listed, %v", len(list), n, err)
	}
	if ended, err := m.RevokeUser(t.Context(), "ada"); ended != n || err != nil {
		t.Errorf("%d of %d are revoked, %v", ended, n, err)
	}
	if dead := ended(t, m, ids...); dead != n {
		t.Errorf("%d of %d are dead", dead, n)
	}
}

// Elsewhere a cookie under a key that is gone is an error of every page, 500, until
// the browser forgets it.
func TestTrap_ACookieUnderAKeyThatIsGoneIsAnError(t *testing.T) {
	for kind, store := range kinds(t) {
		keys := newRing("one")
		m := newManager(t, session.Config{Store: store, Keys: keys})
		id := login(t, m, "", "ada")
		keys.set("two")
		if user, _ := look(t, m, id); user != "" { // look wants 200 and no error
			t.Errorf("%s: it is still %s's", kind, user)
		}
		if user, _ := look(t, m, login(t, m, id, "ada")); user != "ada" {
			t.Errorf("%s: nobody can log in over it", kind)
		}
	}
}

// Elsewhere a shorter lifetime reaches the cookie that is set and not what checks
// the ones there are.
func TestTrap_AShorterLifetimeDoesNotReachTheCookiesThereAre(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.3.2")
	for kind := range kinds(t) {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, keys := kinds(t)[kind], newRing("one")
				id := login(t, newManager(t, session.Config{Store: store, Keys: keys}), "", "ada")
				time.Sleep(13 * time.Hour)
				short := newManager(t, session.Config{Store: store, Keys: keys, Policy: session.PolicyAAL3()})
				if ended(t, short, id) != 1 {
					t.Error("a session of 13 hours lives under a policy of 12")
				}
			})
		})
	}
}

// securecookie decrypts with a wrong key without an error, and takes what is only
// signed for what is encrypted. Even who has the one key forges nothing.
func TestTrap_AWrongKeyDecryptsToGarbageThatIsBelieved(t *testing.T) {
	keys := newRing("one")
	m := newManager(t, session.Config{Store: mustCookieStore(t), Keys: keys})
	id := login(t, m, "", "ada")
	mac, enc := keys.Derive("session/cookie/mac", 32)[0], keys.Derive("session/cookie/enc", 32)[0]
	codec := func(enc []byte) *securecookie.SecureCookie {
		return securecookie.New(mac, enc).SetSerializer(securecookie.NopEncoder{})
	}
	var plain []byte
	if err := codec(enc).Decode("__Host-id", id[7:], &plain); err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string][]byte{"another key": keys.Derive("another", 32)[0], "none": nil, "the right one": enc} {
		value, err := codec(other).Encode("__Host-id", bytes.Clone(plain))
		if err != nil {
			t.Fatal(err)
		}
		want := ""
		if name == "the right one" { // so that the others fail for want of the key
			want = "ada"
		}
		if user, _ := look(t, m, id[:7]+value); user != want {
			t.Errorf("encrypted with %s: %q's", name, user)
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
