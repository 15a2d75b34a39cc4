package session_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/session"
)

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

// panicking is a store that breaks down while a session is made.
type panicking struct{ session.Store }

func (panicking) Create(context.Context, session.Ref, session.Record, session.Quota) ([]session.Ref, error) {
	panic(http.ErrAbortHandler)
}

// A login that was announced and then panics is taken back, once.
func TestALoginThatPanicsIsTakenBack(t *testing.T) {
	audit := new(trail)
	m := newManager(t, session.Config{Audit: audit, Store: panicking{newMemory(t)}})
	func() {
		defer func() { _ = recover() }()
		call(m, "", func(_ http.ResponseWriter, r *http.Request) { _ = m.Login(r.Context(), "ada", session.Auth{}) })
	}()
	if want := []string{"session_created", "authn_login_success", "authn_login_fail"}; !slices.Equal(audit.names(), want) {
		t.Errorf("%v, want %v", audit.names(), want)
	}
}
