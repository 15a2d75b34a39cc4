package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening"
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

func TestExpiry(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.3.1")
	t.Attr("control", "ASVS v5.0.0-7.3.2")
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, session.Config{Policy: session.PolicyAAL2()})
		alive := func(id string) bool { user, _ := look(t, m, id); return user == "ada" }

		idle := login(t, m, "", "ada")
		time.Sleep(time.Hour - time.Second)
		if !alive(idle) {
			t.Error("ended before it was idle for an hour")
		}
		time.Sleep(time.Hour)
		if alive(idle) {
			t.Error("lives after an hour idle")
		}

		busy := login(t, m, "", "ada")
		for range 47 { // every half hour, for 23 and a half hours
			time.Sleep(30 * time.Minute)
			if !alive(busy) {
				t.Fatal("a session in use ended")
			}
		}
		time.Sleep(30*time.Minute + time.Microsecond)
		if alive(busy) {
			t.Error("no use may carry a session beyond 24 hours")
		}
	})
}

func TestTouchWritesAtMostOncePerInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newSpy(t)
		m := newManager(t, session.Config{Store: store}) // touch every 5 minutes
		id := login(t, m, "", "ada")
		store.writes.Store(0)
		for range 60 {
			time.Sleep(10 * time.Second)
			look(t, m, id)
		}
		if n := store.writes.Load(); n != 2 {
			t.Errorf("%d writes in ten minutes of use, want 2", n)
		}
	})
}

func TestAShorterPolicyTakesEffectOnTheSessionsThereAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, keys := newSpy(t), newRing("one")
		long := newManager(t, session.Config{Store: store, Keys: keys})
		id := login(t, long, "", "ada")
		time.Sleep(13 * time.Hour)
		short := newManager(t, session.Config{Store: store, Keys: keys, Policy: session.PolicyAAL3()})
		if user, _ := look(t, short, id); user != "" {
			t.Error("a session of 13 hours lives under a policy of 12")
		}
	})
}

func TestDone(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(*testing.T, *session.Manager[visit], string)
		want time.Duration
	}{
		{"revocation", func(t *testing.T, m *session.Manager[visit], _ string) { _, _ = m.RevokeUser(t.Context(), "ada") }, 0},
		{"logout elsewhere", func(_ *testing.T, m *session.Manager[visit], id string) {
			call(m, id, func(_ http.ResponseWriter, r *http.Request) { _ = m.Logout(r.Context()) })
		}, 0},
		{"renewal", func(t *testing.T, m *session.Manager[visit], id string) { login(t, m, id, "ada") }, 0},
		{"expiry", func(*testing.T, *session.Manager[visit], string) {}, time.Hour},
		{"expiry after use elsewhere", func(t *testing.T, m *session.Manager[visit], id string) {
			time.Sleep(30 * time.Minute)
			look(t, m, id)
		}, 90 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newManager(t, session.Config{Policy: session.PolicyAAL2()})
				id := login(t, m, "", "ada")
				start := time.Now()
				call(m, id, func(w http.ResponseWriter, r *http.Request) {
					s, _ := m.Get(r.Context())
					done := s.Done()
					w.WriteHeader(200)
					select {
					case <-done:
						t.Fatal("closed before the end")
					default:
					}
					go tt.end(t, m, id)
					<-done
				})
				if took := time.Since(start); took != tt.want {
					t.Errorf("closed after %v, want %v", took, tt.want)
				}
			})
		})
	}
}

func TestDoneLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails if a goroutine stays
		m := newManager(t, session.Config{})
		id := login(t, m, "", "ada")
		for range 3 {
			call(m, id, func(_ http.ResponseWriter, r *http.Request) {
				s, _ := m.Get(r.Context())
				_ = s.Done()
			})
		}
		time.Sleep(8 * 24 * time.Hour)
		if user, _ := look(t, m, id); user != "" {
			t.Error("lives after a week")
		}
	})
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
