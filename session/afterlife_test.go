package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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

// meddler lets something happen just before a step of an Ender.
type meddler struct {
	session.Ender
	mu     sync.Mutex
	before map[string]func()
}

func meddle(t *testing.T) *meddler {
	return &meddler{Ender: newMemory(t).(*session.MemoryStore), before: map[string]func(){}}
}

// on lets f happen once.
func (e *meddler) on(step string, f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.before[step] = f
}

func (e *meddler) step(name string) {
	e.mu.Lock()
	f := e.before[name]
	delete(e.before, name)
	e.mu.Unlock()
	if f != nil {
		f()
	}
}

func (e *meddler) End(ctx context.Context, ref session.Ref, until time.Time) error {
	e.step("End")
	return e.Ender.End(ctx, ref, until)
}

func (e *meddler) Begin(ctx context.Context, ref session.Ref, born, until time.Time) (time.Time, error) {
	e.step("Begin")
	return e.Ender.Begin(ctx, ref, born, until)
}

func (e *meddler) Spare(ctx context.Context, r session.Revocation, stamp, until time.Time) (time.Time, error) {
	e.step("Spare")
	defer e.step("after Spare")
	return e.Ender.Spare(ctx, r, stamp, until)
}

func (e *meddler) Revoke(ctx context.Context, r session.Revocation) (int, error) {
	e.step("Revoke")
	return e.Ender.Revoke(ctx, r)
}

// A revocation and a RevokeOthers of a session that it ends run at the same
// time. Whichever was decided and whichever arrives first: no session is left.
func TestTrap_ASessionSparesItselfFromARevocationOnItsWay(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.4.1")
	for _, arrives := range []string{"Spare", "after Spare"} {
		for _, early := range []bool{true, false} {
			t.Run(fmt.Sprintf("it arrives %q, decided before: %t", arrives, early), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					e := meddle(t)
					m := cookieManager(t, e, nil)
					id := login(t, m, "", "ada")
					arrive, done := make(chan struct{}), make(chan struct{})
					revoke := func() {
						defer close(done)
						e.on("Revoke", func() { <-arrive })
						if _, err := m.RevokeUser(context.Background(), "ada"); err != nil {
							t.Error(err)
						}
					}
					if early {
						go revoke()
						synctest.Wait()
						time.Sleep(time.Second)
					}
					e.on(arrives, func() {
						time.Sleep(time.Second)
						if !early {
							go revoke()
							synctest.Wait()
						}
						close(arrive)
						<-done
					})
					res := call(m, id, func(_ http.ResponseWriter, r *http.Request) {
						if _, err := m.RevokeOthers(r.Context()); arrives == "Spare" && !errors.Is(err, session.ErrRevoked) {
							t.Errorf("RevokeOthers: %v", err)
						}
					})
					for _, cookie := range []string{id, issued(res)} {
						if user, _ := look(t, m, cookie); cookie != "" && user != "" {
							t.Error("a session outlived the revocation")
						}
					}
					if user, _ := look(t, m, login(t, m, "", "ada")); user != "ada" {
						t.Error("ada cannot log in any more")
					}
				})
			})
		}
	}
}

// A login that rests on a session, and began after a revocation was decided but
// before it took effect.
func TestTrap_ARenewalSlipsPastARevocationOnItsWay(t *testing.T) {
	for name, open := range map[string]func(*testing.T) (m *session.Manager[visit], on func(string, func())){
		"in cookie": func(t *testing.T) (*session.Manager[visit], func(string, func())) {
			e := meddle(t)
			return cookieManager(t, e, nil), e.on
		},
		"kept": func(t *testing.T) (*session.Manager[visit], func(string, func())) {
			store := newSpy(t)
			steps := map[string]func(){}
			store.hook = func(op string) {
				if f := steps[op]; f != nil {
					delete(steps, op)
					f()
				}
			}
			return newManager(t, session.Config{Store: store}), func(step string, f func()) {
				steps[map[string]string{"Begin": "create", "Revoke": "revoke"}[step]] = f
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, on := open(t)
				id := login(t, m, "", "ada")
				arrive, done := make(chan struct{}), make(chan struct{})
				on("Revoke", func() { <-arrive })
				go func() {
					defer close(done)
					if _, err := m.RevokeUser(context.Background(), "ada"); err != nil {
						t.Error(err)
					}
				}()
				synctest.Wait()
				time.Sleep(time.Second)
				on("Begin", func() {
					time.Sleep(time.Second)
					close(arrive)
					<-done
				})
				res := call(m, id, func(_ http.ResponseWriter, r *http.Request) {
					if err := m.Login(r.Context(), "ada", session.Auth{}); !errors.Is(err, session.ErrRevoked) {
						t.Errorf("Login: %v", err)
					}
				})
				if issued(res) != "" {
					t.Error("it got a session")
				}
			})
		})
	}
}

// What forgets the ends forgets the sessions: a flushed Redis, a new process.
func TestTrap_ALostListOfEndsBringsLogoutsBack(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.4.1")
	synctest.Test(t, func(t *testing.T) {
		keys := newRing("a root key")
		m := cookieManager(t, newMemory(t).(*session.MemoryStore), keys)
		left, alive := login(t, m, "", "ada"), login(t, m, "", "bob")
		call(m, left, func(_ http.ResponseWriter, r *http.Request) {
			if err := m.Logout(r.Context()); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Second)
		m = cookieManager(t, newMemory(t).(*session.MemoryStore), keys)
		for _, id := range []string{left, alive} {
			if user, _ := look(t, m, id); user != "" {
				t.Errorf("the session of %s outlived the knowledge of its end", user)
			}
		}
		if user, _ := look(t, m, login(t, m, left, "ada")); user != "ada" {
			t.Error("ada cannot log in any more")
		}
	})
}

func TestTrap_ARenewalOutlivesTheLogoutThatOvertookIt(t *testing.T) {
	e := meddle(t)
	m := cookieManager(t, e, nil)
	id := login(t, m, "", "ada")
	e.on("End", func() {
		call(m, id, func(_ http.ResponseWriter, r *http.Request) {
			if err := m.Logout(r.Context()); err != nil {
				t.Error(err)
			}
		})
	})
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
