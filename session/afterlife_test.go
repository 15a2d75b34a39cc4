package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/session"
)

// cookieManager returns a manager whose sessions travel in cookies, on ends.
func cookieManager(t testing.TB, ends session.Ender, keys session.KeySource) *session.Manager[visit] {
	t.Helper()
	store, err := session.NewCookieStore(session.CookieStoreConfig{Ended: ends})
	if err != nil {
		t.Fatal(err)
	}
	return newManager(t, session.Config{Store: store, Keys: keys})
}

// begun runs a request that has read its session before during happens.
func begun(m *session.Manager[visit], cookie string, during func(), h func(*http.Request)) *http.Response {
	return call(m, cookie, func(_ http.ResponseWriter, r *http.Request) {
		s, _ := m.Get(r.Context())
		_ = s.User()
		during()
		h(r)
	})
}

func TestTrap_ADeadSessionSparesItselfAndEndsTheOthers(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.4.1")
	for name, open := range map[string]func(*testing.T) *session.Manager[visit]{
		"kept": func(t *testing.T) *session.Manager[visit] { return newManager(t, session.Config{Store: newMemory(t)}) },
		"in cookie": func(t *testing.T) *session.Manager[visit] {
			return cookieManager(t, newMemory(t).(*session.MemoryStore), nil)
		},
	} {
		for how, revoke := range map[string]func(*session.Manager[visit]) error{
			"user": func(m *session.Manager[visit]) error {
				_, err := m.RevokeUser(context.Background(), "ada")
				return err
			},
			"all": func(m *session.Manager[visit]) error { return m.RevokeAll(context.Background()) },
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := open(t)
					stolen, fresh := login(t, m, "", "ada"), ""
					res := begun(m, stolen, func() {
						time.Sleep(time.Second)
						if err := revoke(m); err != nil {
							t.Error(err)
						}
						time.Sleep(time.Second)
						fresh = login(t, m, "", "ada")
						time.Sleep(time.Second)
					}, func(r *http.Request) {
						if _, err := m.RevokeOthers(r.Context()); !errors.Is(err, session.ErrRevoked) {
							t.Errorf("RevokeOthers of a dead session: %v", err)
						}
					})
					for _, id := range []string{stolen, issued(res)} {
						if user, _ := look(t, m, id); id != "" && user != "" {
							t.Errorf("it came back as %s", user)
						}
					}
					if user, _ := look(t, m, fresh); user != "ada" {
						t.Error("it ended the new login")
					}
				})
			})
		}
	}
}

// meddler lets something happen just before an end is written.
type meddler struct {
	session.Ender
	before func()
}

func (e *meddler) End(ctx context.Context, ref session.Ref, until time.Time) error {
	if f := e.before; f != nil {
		e.before = nil
		f()
	}
	return e.Ender.End(ctx, ref, until)
}

func TestTrap_ARenewalOutlivesTheLogoutThatOvertookIt(t *testing.T) {
	e := &meddler{Ender: newMemory(t).(*session.MemoryStore)}
	m := cookieManager(t, e, nil)
	id := login(t, m, "", "ada")
	e.before = func() {
		call(m, id, func(_ http.ResponseWriter, r *http.Request) {
			if err := m.Logout(r.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	res := call(m, id, func(_ http.ResponseWriter, r *http.Request) {
		if err := m.Login(r.Context(), "ada", session.Auth{AAL: 2}); !errors.Is(err, session.ErrRevoked) {
			t.Errorf("Login: %v", err)
		}
	})
	if issued(res) != "" {
		t.Error("it got a session")
	}
}

func TestTrap_ASlowReadPutsTheOldCookieBack(t *testing.T) {
	keys := newRing("a root key", "another root key")
	m := cookieManager(t, newMemory(t).(*session.MemoryStore), keys)
	id := login(t, m, "", "ada")
	keys.set("another root key", "a root key") // a cookie to be sealed anew
	if res := begun(m, id, func() {}, func(*http.Request) {}); issued(res) == "" {
		t.Error("the cookie of a live session is not sealed anew")
	}
	res := begun(m, id, func() { login(t, m, id, "ada") }, func(*http.Request) {})
	if res.StatusCode != 200 || issued(res) != "" {
		t.Errorf("status %d; the dead session's cookie takes the place of the new one: %t", res.StatusCode, issued(res) != "")
	}
}

func TestTrap_OneUserFillsTheListOfEnds(t *testing.T) {
	ends, err := session.NewMemoryStore(session.MemoryConfig{MaxSessions: 1024})
	if err != nil {
		t.Fatal(err)
	}
	m := cookieManager(t, ends, nil)
	leave := func(id string) int {
		return call(m, id, func(_ http.ResponseWriter, r *http.Request) { _ = m.Logout(r.Context()) }).StatusCode
	}
	var gone []string
	for range 300 {
		id := login(t, m, "", "eve")
		gone = append(gone, id)
		if status := leave(id); status != 200 {
			t.Fatalf("a logout of the user who fills it: %d", status)
		}
	}
	for i := range 256 { // four to a part of the list
		user := fmt.Sprint("user", i)
		id := login(t, m, "", user)
		if status := leave(id); status != 200 {
			t.Errorf("%s cannot log out: %d", user, status)
		}
		gone = append(gone, id)
	}
	for _, id := range gone {
		if user, _ := look(t, m, id); user != "" {
			t.Fatalf("%s is back", user)
		}
	}
}

func TestCSRFAsksForATokenWhateverTheUpgrade(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-3.5.1")
	m := newManager(t, session.Config{})
	id := login(t, m, "", "ada")
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "CONNECT"} {
		r := httptest.NewRequest(method, "https://portal.example/x", nil)
		r.Header.Set("Cookie", "__Host-id="+id)
		r.Header.Set("Upgrade", "h2c")
		w := httptest.NewRecorder()
		m.Wrap(m.CSRF(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Errorf("%s passes without a token", method) }))).ServeHTTP(w, r)
		if w.Code != 403 {
			t.Errorf("%s: status %d", method, w.Code)
		}
	}
}

func TestALogoutIsFinalThoughTheClientHungUpBeforeIt(t *testing.T) {
	m := newManager(t, session.Config{Store: newSpy(t)})
	id := login(t, m, "", "ada")
	ctx, cancel := context.WithCancel(t.Context())
	r := httptest.NewRequest("POST", "https://portal.example/logout", nil).WithContext(ctx)
	r.Header.Set("Cookie", "__Host-id="+id)
	callWith(m, r, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		if err := m.Logout(r.Context()); err != nil {
			t.Error(err)
		}
	})
	if user, _ := look(t, m, id); user != "" {
		t.Error("still logged in")
	}
}

// What the handler said about its page must not cut short, garble or cache
// the page that is sent in its place.
func TestARefusalOfOnesOwnIsNotDescribedByTheHandlersHeaders(t *testing.T) {
	st := newSpy(t)
	m := newManager(t, session.Config{Store: st, OnDeny: func(w http.ResponseWriter, _ *http.Request, p *hardening.Problem) {
		w.WriteHeader(p.Status)
		_, _ = io.WriteString(w, "our own page for trouble")
	}})
	srv := serve(t, m, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := m.Get(r.Context())
		_ = s.Update(func(v *visit) { v.Count++ })
		st.down.Store(true)
		for name, value := range map[string]string{
			"Content-Length": "3", "Content-Encoding": "gzip", "ETag": `"x"`, "Cache-Control": "public, max-age=3600",
			"Content-Disposition": "attachment", "Content-Type": "image/png", "Location": "/next",
		} {
			w.Header().Set(name, value)
		}
		_, _ = io.WriteString(w, "abc")
	}))
	res, body := newBrowser(t, srv).do("/")
	if res.StatusCode != 503 || body != "our own page for trouble" {
		t.Errorf("status %d, body %q", res.StatusCode, body)
	}
	for _, name := range []string{"Content-Encoding", "Etag", "Cache-Control", "Content-Disposition", "Location"} {
		if v := res.Header.Get(name); v != "" {
			t.Errorf("%s: %s", name, v)
		}
	}
}

// The race detector is what looks here.
func TestARevocationThatFailsBesideAnUpdate(t *testing.T) {
	st := newSpy(t)
	m := newManager(t, session.Config{Store: st})
	id := login(t, m, "", "ada")
	for range 20 {
		st.down.Store(false)
		res := call(m, id, func(_ http.ResponseWriter, r *http.Request) {
			s, _ := m.Get(r.Context())
			st.down.Store(true)
			var wg sync.WaitGroup
			wg.Go(func() {
				for range 20 {
					_ = s.Update(func(v *visit) { v.Count++ })
				}
			})
			wg.Go(func() { _, _ = m.RevokeUser(r.Context(), "eva") })
			wg.Wait()
		})
		if res.StatusCode != 503 {
			t.Errorf("status %d", res.StatusCode)
		}
	}
}

// watched counts the watches that are open.
type watched struct {
	*session.MemoryStore
	open int
}

func (w *watched) Watch(ref session.Ref) (<-chan struct{}, func()) {
	ch, stop := w.MemoryStore.Watch(ref)
	w.open++
	return ch, func() { w.open--; stop() }
}

func TestDoneAfterTheRequestLeavesNoWatchBehind(t *testing.T) {
	w := &watched{MemoryStore: newMemory(t).(*session.MemoryStore)}
	m := newManager(t, session.Config{Store: w})
	id := login(t, m, "", "ada")
	var late *session.Session[visit]
	call(m, id, func(_ http.ResponseWriter, r *http.Request) {
		late, _ = m.Get(r.Context())
		if late.Done(); w.open != 1 {
			t.Error("Done does not watch")
		}
	})
	if late.Done(); w.open != 0 {
		t.Errorf("%d watches are left", w.open)
	}
	call(m, id, func(_ http.ResponseWriter, r *http.Request) { late, _ = m.Get(r.Context()) })
	if late.Done(); w.open != 0 {
		t.Errorf("%d watches were begun after the request", w.open)
	}
}

func TestAShorterIdleTimeTakesEffectAtTheNextUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys, store := newRing("a root key"), newSpy(t)
		long := newManager(t, session.Config{Keys: keys, Store: store})
		short := newManager(t, session.Config{Keys: keys, Store: store, Policy: session.PolicyAAL3()})
		id := login(t, long, "", "ada")
		if user, _ := look(t, short, id); user != "ada" {
			t.Fatal("the session ended at once")
		}
		before := store.writes.Load()
		look(t, short, id)
		if n := store.writes.Load() - before; n != 0 {
			t.Errorf("the next read writes %d times", n)
		}
		time.Sleep(16 * time.Minute)
		if user, _ := look(t, short, id); user != "" {
			t.Error("it outlives the idle time in force")
		}
	})
}

// quoted encodes and decodes itself by its pointer only.
type quoted struct{ text string }

func (q *quoted) MarshalJSON() ([]byte, error) { return []byte(`"` + q.text + `"`), nil }
func (q *quoted) UnmarshalJSON(b []byte) error {
	if len(b) >= 2 && b[0] == '"' {
		q.text = string(b[1 : len(b)-1])
	}
	return nil
}

func TestDataThatLosesItselfInAMapIsAFault(t *testing.T) {
	type inMap struct{ M map[string]quoted }
	type inArrayInMap struct {
		M map[string][2]struct{ Q quoted }
	}
	type well struct {
		Q quoted
		S []quoted
		P map[string]*quoted
		L map[string][]quoted
	}
	_, err := session.New[inMap](session.Config{})
	_, err2 := session.New[inArrayInMap](session.Config{})
	if err == nil || err2 == nil {
		t.Errorf("no fault: %v, %v", err, err2)
	}
	if _, err := session.New[well](session.Config{}); err != nil {
		t.Errorf("a fault where JSON does call the method: %v", err)
	}
}
