package session_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/inovy/hardening/session"
)

// The traps are failures of well-known session libraries.

// slow runs a request with the cookie that has read its session and changes
// it, and lets meanwhile run before it ends.
func slow(t *testing.T, m *session.Manager[visit], cookie string, meanwhile func()) *http.Response {
	t.Helper()
	return call(m, cookie, func(w http.ResponseWriter, r *http.Request) {
		s, err := m.Get(r.Context())
		if err != nil || s.User() != "ada" {
			t.Fatalf("%q, %v", s.User(), err)
		}
		if err := s.Update(func(v *visit) { v.Note = "from the grave" }); err != nil {
			t.Error(err)
		}
		meanwhile()
		_, _ = io.WriteString(w, "SECRET")
	})
}

func TestTrap_ASlowRequestBringsALoggedOutSessionBack(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.4.1")
	m := newManager(t, session.Config{})
	for name, end := range map[string]func(id string){
		"logout": func(id string) {
			call(m, id, func(_ http.ResponseWriter, r *http.Request) { _ = m.Logout(r.Context()) })
		},
		"renewal": func(id string) { login(t, m, id, "ada") },
		"revocation": func(string) {
			if _, err := m.RevokeUser(t.Context(), "ada"); err != nil {
				t.Error(err)
			}
		},
	} {
		id := login(t, m, "", "ada")
		res := slow(t, m, id, func() { end(id) })
		body, _ := io.ReadAll(res.Body)
		if res.StatusCode != 401 || strings.Contains(string(body), "SECRET") {
			t.Errorf("%s: the slow request got %d %q", name, res.StatusCode, body)
		}
		if issued(res) != "" || len(res.Header["Set-Cookie"]) != 0 {
			t.Errorf("%s: the slow response would overwrite the browser's cookie: %q", name, res.Header["Set-Cookie"])
		}
		if user, d := look(t, m, id); user != "" || d.Note != "" {
			t.Errorf("%s: the session is back, for %q", name, user)
		}
	}
}

func TestTrap_ASlowReadOnlyRequestBringsASessionBackOrResetsTheCookie(t *testing.T) {
	m := newManager(t, session.Config{})
	id := login(t, m, "", "ada")
	res := call(m, id, func(_ http.ResponseWriter, r *http.Request) {
		s, _ := m.Get(r.Context())
		login(t, m, id, "ada") // another tab renews
		_ = s.Data()
	})
	if len(res.Header["Set-Cookie"]) != 0 || res.StatusCode != 200 {
		t.Errorf("%d %q", res.StatusCode, res.Header["Set-Cookie"])
	}
	if user, _ := look(t, m, id); user != "" {
		t.Error("the old id is back")
	}
}

// The zombie race for real: a logout, renewal or revocation against requests
// that read, change and save, whatever the interleaving.
func TestTrap_ZombieRace(t *testing.T) {
	rounds := 1000
	if testing.Short() {
		rounds = 100
	}
	m := newManager(t, session.Config{})
	for round := range rounds {
		id := login(t, m, "", "ada")
		var all sync.WaitGroup
		start := make(chan struct{})
		for range 3 {
			all.Go(func() {
				<-start
				call(m, id, func(_ http.ResponseWriter, r *http.Request) {
					s, _ := m.Get(r.Context())
					if s.User() != "" { // an anonymous one may start a session of its own
						_ = s.Update(func(v *visit) { v.Count++ })
					}
				})
			})
		}
		all.Go(func() {
			<-start
			switch round % 3 {
			case 0:
				call(m, id, func(_ http.ResponseWriter, r *http.Request) { _ = m.Logout(r.Context()) })
			case 1:
				call(m, id, func(_ http.ResponseWriter, r *http.Request) { _ = m.Login(r.Context(), "ada", session.Auth{}) })
			case 2:
				_, _ = m.RevokeUser(t.Context(), "ada")
			}
		})
		close(start)
		all.Wait()
		if user, _ := look(t, m, id); user != "" {
			t.Fatalf("round %d: the session is back", round)
		}
	}
}

// A step-up that rests on a session revoked meanwhile must not turn into a
// login, or the second factor alone would open the account.
func TestTrap_AStepUpOutlivesTheRevocationOfWhatItRestsOn(t *testing.T) {
	m := newManager(t, session.Config{})
	id := login(t, m, "", "ada")
	res := call(m, id, func(_ http.ResponseWriter, r *http.Request) {
		if s, _ := m.Get(r.Context()); s.User() != "ada" {
			t.Fatal("not logged in")
		}
		if _, err := m.RevokeUser(t.Context(), "ada"); err != nil { // by an administrator
			t.Fatal(err)
		}
		if err := m.Login(r.Context(), "ada", session.Auth{AAL: 2}); !errors.Is(err, session.ErrRevoked) {
			t.Errorf("Login: %v", err)
		}
		if s, err := m.Get(r.Context()); s.User() != "" || err != nil {
			t.Errorf("user %q, %v", s.User(), err)
		}
	})
	if issued(res) != "" {
		t.Error("a cookie was issued")
	}
}

// A login that has checked the old password must not survive "log out
// everywhere" that comes before it is stored.
func TestTrap_ALoginUnderWaySurvivesRevokeAll(t *testing.T) {
	store := newSpy(t)
	m := newManager(t, session.Config{Store: store})
	var once sync.Once
	store.hook = func(op string) {
		if op == "create" {
			once.Do(func() {
				if _, err := m.RevokeUser(context.Background(), "ada"); err != nil {
					t.Error(err)
				}
			})
		}
	}
	call(m, "", func(_ http.ResponseWriter, r *http.Request) {
		if err := m.Login(r.Context(), "ada", session.Auth{}); !errors.Is(err, session.ErrRevoked) {
			t.Errorf("Login: %v", err)
		}
	})
	if n := store.Store.(*session.MemoryStore).Len(); n != 0 {
		t.Errorf("%d sessions stored", n)
	}
}

func TestTrap_TheBodyIsSentThoughTheSessionCouldNotBeSaved(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-16.5.3")
	store := newSpy(t)
	m := newManager(t, session.Config{Store: store})
	id := login(t, m, "", "ada")
	for name, write := range map[string]func(http.ResponseWriter){
		"Write":       func(w http.ResponseWriter) { _, _ = io.WriteString(w, "SECRET") },
		"WriteHeader": func(w http.ResponseWriter) { w.WriteHeader(201); _, _ = io.WriteString(w, "SECRET") },
		"Flush":       func(w http.ResponseWriter) { w.(http.Flusher).Flush(); _, _ = io.WriteString(w, "SECRET") },
		"Controller": func(w http.ResponseWriter) {
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, "SECRET")
		},
		"ReadFrom":  func(w http.ResponseWriter) { _, _ = io.Copy(w, struct{ io.Reader }{strings.NewReader("SECRET")}) },
		"103 first": func(w http.ResponseWriter) { w.WriteHeader(103); _, _ = io.WriteString(w, "SECRET") },
		"Redirect": func(w http.ResponseWriter) {
			http.Redirect(w, &http.Request{Method: "GET"}, "https://portal.example/SECRET", 303)
		},
		"Trailer": func(w http.ResponseWriter) { w.Header().Set("Trailer", "X-Late"); _, _ = io.WriteString(w, "SECRET") },
		"nothing": func(http.ResponseWriter) {},
	} {
		for _, when := range []string{"at the load", "at the save", "at the logout", "at the login"} {
			t.Run(name+" "+when, func(t *testing.T) {
				store.down.Store(when == "at the load")
				defer store.down.Store(false)
				srv := serve(t, m, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					s, err := m.Get(r.Context())
					switch when {
					case "at the load":
						if !errors.Is(err, session.ErrUnavailable) || !errors.Is(err, errDown) || s == nil || s.User() != "" {
							t.Errorf("Get: %v, %v", s, err)
						}
					case "at the save":
						if err := s.Update(func(v *visit) { v.Count++ }); err != nil {
							t.Error(err)
						}
						store.down.Store(true)
					case "at the logout":
						store.down.Store(true)
						if err := m.Logout(r.Context()); !errors.Is(err, session.ErrUnavailable) {
							t.Errorf("Logout: %v", err)
						}
					case "at the login":
						store.down.Store(true)
						if err := m.Login(r.Context(), "ada", session.Auth{}); !errors.Is(err, session.ErrUnavailable) {
							t.Errorf("Login: %v", err)
						}
					}
					write(w)
				}))
				req, _ := http.NewRequestWithContext(t.Context(), "GET", srv.URL, nil)
				req.Header.Set("Cookie", "__Host-id="+id)
				client := *srv.Client()
				client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
				res, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				body, _ := io.ReadAll(res.Body)
				if res.StatusCode != 503 || strings.Contains(string(body), "SECRET") || res.Header.Get("Location") != "" {
					t.Errorf("%d %q %v", res.StatusCode, body, res.Header)
				}
				if strings.Contains(string(body), "10.9.8.7") {
					t.Errorf("the cause reached the client: %q", body)
				}
				if len(res.Header["Set-Cookie"]) != 0 {
					t.Errorf("a refused response set %q", res.Header["Set-Cookie"])
				}
			})
		}
	}
	store.down.Store(false)
	if user, _ := look(t, m, id); user != "ada" {
		t.Error("an outage ended a session")
	}
}

func TestTrap_APanicSavesWhatTheHandlerHalfDid(t *testing.T) {
	store := newSpy(t)
	m := newManager(t, session.Config{Store: store})
	id := login(t, m, "", "ada")
	boom := func(h http.HandlerFunc) {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		call(m, id, h)
	}
	boom(func(_ http.ResponseWriter, r *http.Request) {
		s, _ := m.Get(r.Context())
		_ = s.Update(func(v *visit) { v.Note = "half" })
		panic("x")
	})
	if _, d := look(t, m, id); d.Note != "" {
		t.Error("a panic saved the change")
	}
	boom(func(_ http.ResponseWriter, r *http.Request) {
		if err := m.Login(r.Context(), "bob", session.Auth{}); err != nil {
			t.Error(err)
		}
		panic("x")
	})
	if n := store.Store.(*session.MemoryStore).Len(); n != 0 {
		t.Errorf("%d sessions are left whose id nobody has", n)
	}
}

func TestTrap_TwoCookiesOfOneName(t *testing.T) {
	store := newSpy(t)
	m := newManager(t, session.Config{Store: store})
	mine, planted := login(t, m, "", "ada"), login(t, m, "", "mallory")
	for _, tt := range []struct{ name, header, user string }{
		{"a forged one before the genuine one", "__Host-id=forged; __Host-id=" + mine, "ada"},
		{"a forged one after it", "__Host-id=" + mine + "; __Host-id=forged", "ada"},
		{"the genuine one twice", "__Host-id=" + mine + "; __Host-id=" + mine, "ada"},
		{"two genuine ones: nobody can tell whose browser this is", "__Host-id=" + planted + "; __Host-id=" + mine, ""},
		{"more than a browser sends", strings.Repeat("__Host-id=a; __Host-id=b; __Host-id=c; __Host-id=d; ", 9) + "__Host-id=" + mine, ""},
	} {
		var user string
		r := newRequest(tt.header)
		callWith(m, r, func(_ http.ResponseWriter, r *http.Request) {
			s, err := m.Get(r.Context())
			if err != nil {
				t.Error(err)
			}
			user = s.User()
		})
		if user != tt.user {
			t.Errorf("%s: %q, want %q", tt.name, user, tt.user)
		}
	}
}

// The registry of one request was a map without a lock elsewhere: a fatal
// "concurrent map writes".
func TestTrap_GoroutinesOfOneRequestShareItsSession(t *testing.T) {
	m := newManager(t, session.Config{})
	id := login(t, m, "", "ada")
	call(m, id, func(_ http.ResponseWriter, r *http.Request) {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				s, err := m.Get(r.Context())
				if err != nil || s.User() != "ada" {
					t.Errorf("%q, %v", s.User(), err)
				}
				_ = s.Update(func(v *visit) { v.Count++ })
				_, _, _ = s.Data(), s.AAL(), s.Done()
			})
		}
		all.Wait()
	})
	if _, d := look(t, m, id); d.Count != 8 {
		t.Errorf("count %d", d.Count)
	}
}
