package benchmarks

import (
	"cmp"
	"crypto/sha256"
	"encoding/gob"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/gorilla/sessions"

	"github.com/inovy/hardening/session"
)

// visit is what every rig remembers in a session, besides the user's id.
type visit struct {
	Ward     string   `json:"ward"`
	Language string   `json:"language"`
	Patients []string `json:"patients"`
	Pages    int      `json:"pages"`
}

const sessionUser = "8f14e45f-ceea-4670-8a3e-000000000042"

func newVisit() visit {
	return visit{Ward: "cardiology", Language: "nl", Patients: []string{"999911120", "999990019", "999994785"}, Pages: 7}
}

// sessionRig is one implementation: a middleware, and handlers that log in,
// read and write what all rigs read and write.
type sessionRig struct {
	wrap    func(http.Handler) http.Handler
	login   http.HandlerFunc
	user    func(*http.Request) (string, error) // of the chains only
	visitOf func(*http.Request) (user string, v visit, ok bool)
	write   http.HandlerFunc // counts a page
}

// read is the handler that asks for the user's id and the whole visit.
func (rig sessionRig) read(w http.ResponseWriter, r *http.Request) {
	user, v, found := rig.visitOf(r)
	if !found {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	right(w, user, v)
}

// loggedIn returns a request that carries the cookie of a login.
func (rig sessionRig) loggedIn(tb testing.TB) *http.Request {
	tb.Helper()
	w := newResponse()
	rig.wrap(rig.login).ServeHTTP(w, httpsRequest("/login"))
	r := httpsRequest("/records/42")
	cookies := (&http.Response{Header: w.header}).Cookies()
	if len(cookies) == 0 {
		tb.Fatalf("the login set no cookie: status %d, %v", w.status, w.header)
	}
	for _, c := range cookies {
		r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	return r
}

// right answers 200 only when the session held what was put into it.
func right(w http.ResponseWriter, user string, v visit) {
	if user != sessionUser || v.Ward != "cardiology" || len(v.Patients) != 3 || v.Pages < 7 {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusOK)
}

func check(w http.ResponseWriter, err error) {
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// hardeningRig is our room with its memory store and a random key.
func hardeningRig(tb testing.TB) sessionRig {
	return rigOf(must(session.New[visit](session.Config{Logger: slog.New(slog.DiscardHandler)}))(tb))
}

func rigOf(m *session.Manager[visit]) sessionRig {
	return sessionRig{
		wrap: m.Wrap,
		login: func(w http.ResponseWriter, r *http.Request) {
			if err := m.Login(r.Context(), cmp.Or(r.Header.Get("X-User"), sessionUser), session.Auth{Methods: []string{"pwd"}}); err != nil {
				check(w, err)
				return
			}
			s, err := m.Get(r.Context())
			if err == nil {
				err = s.Update(func(v *visit) { *v = newVisit() })
			}
			check(w, err)
		},
		user: func(r *http.Request) (string, error) {
			s, err := m.Get(r.Context())
			return s.User(), err
		},
		visitOf: func(r *http.Request) (string, visit, bool) {
			s, err := m.Get(r.Context())
			return s.User(), s.Data(), err == nil && s.User() != ""
		},
		write: func(w http.ResponseWriter, r *http.Request) {
			s, err := m.Get(r.Context())
			if err != nil {
				check(w, err)
				return
			}
			var now visit
			if err := s.Update(func(v *visit) { v.Pages++; now = *v }); err != nil {
				check(w, err)
				return
			}
			right(w, s.User(), now)
		},
	}
}

// scsRig is scs with its own memory store and codec (gob), and no idle
// timeout: with one, it would write on every request.
func scsRig(testing.TB) sessionRig {
	rig, m := scsManager()
	m.Store = memstore.NewWithCleanupInterval(0)
	return rig
}

func scsManager() (sessionRig, *scs.SessionManager) {
	gob.Register(visit{})
	m := scs.New()
	m.Cookie.Secure = true
	return sessionRig{
		wrap: m.LoadAndSave,
		login: func(w http.ResponseWriter, r *http.Request) {
			if err := m.RenewToken(r.Context()); err != nil {
				check(w, err)
				return
			}
			m.Put(r.Context(), "user", cmp.Or(r.Header.Get("X-User"), sessionUser))
			m.Put(r.Context(), "visit", newVisit())
			check(w, nil)
		},
		user: func(r *http.Request) (string, error) { return m.GetString(r.Context(), "user"), nil },
		visitOf: func(r *http.Request) (string, visit, bool) {
			v, ok := m.Get(r.Context(), "visit").(visit)
			return m.GetString(r.Context(), "user"), v, ok
		},
		write: func(w http.ResponseWriter, r *http.Request) {
			v, _ := m.Get(r.Context(), "visit").(visit)
			v.Pages++
			m.Put(r.Context(), "visit", v)
			right(w, m.GetString(r.Context(), "user"), v)
		},
	}, m
}

// gorillaRig is gorilla/sessions with everything in a signed and encrypted
// cookie: it has no store in memory, and cannot end a session. It has no
// middleware either, so "untouched" does not exist for it.
func gorillaRig(testing.TB) sessionRig {
	gob.Register(visit{})
	hash, block := sha256.Sum256([]byte("hash")), sha256.Sum256([]byte("block"))
	store := sessions.NewCookieStore(hash[:], block[:])
	store.Options.Secure, store.Options.HttpOnly = true, true
	const name = "session"
	return sessionRig{
		wrap: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(w, r.WithContext(r.Context())) // its registry lives in the request's context: one request each
			})
		},
		login: func(w http.ResponseWriter, r *http.Request) {
			s, err := store.New(r, name)
			if err != nil {
				check(w, err)
				return
			}
			s.Values["user"], s.Values["visit"] = sessionUser, newVisit()
			check(w, s.Save(r, w))
		},
		visitOf: func(r *http.Request) (string, visit, bool) {
			s, err := store.Get(r, name)
			if err != nil {
				return "", visit{}, false
			}
			user, _ := s.Values["user"].(string)
			v, ok := s.Values["visit"].(visit)
			return user, v, ok
		},
		write: func(w http.ResponseWriter, r *http.Request) {
			s, err := store.Get(r, name)
			if err != nil {
				check(w, err)
				return
			}
			user, _ := s.Values["user"].(string)
			v, _ := s.Values["visit"].(visit)
			v.Pages++
			s.Values["visit"] = v
			if err := s.Save(r, w); err != nil {
				check(w, err)
				return
			}
			right(w, user, v)
		},
	}
}

// limitSessions is the least that keeps a session on the server and hands out
// data that requests do not share: a cookie, a hash of it so that the table is
// worth nothing to a thief, a lock, an expiry, and JSON. No signature, no
// rotation, no compare-and-swap.
type limitSessions struct {
	mu sync.RWMutex
	m  map[[32]byte]limitSession // guarded by mu
}

type limitSession struct {
	user    string
	expires time.Time
	data    []byte
}

func (l *limitSessions) load(r *http.Request) (id [32]byte, s limitSession, ok bool) {
	c, err := r.Cookie("__Host-id")
	if err != nil {
		return id, s, false
	}
	id = sha256.Sum256([]byte(c.Value))
	l.mu.RLock()
	s, ok = l.m[id]
	l.mu.RUnlock()
	return id, s, ok && time.Now().Before(s.expires)
}

func limitRig(testing.TB) sessionRig {
	l := &limitSessions{m: map[[32]byte]limitSession{}}
	const token = "q6Xv0oY3l0w4b3mJ3S5lqR1j0m1nq2m3o4p5q6r7s8t"
	return sessionRig{
		wrap: func(next http.Handler) http.Handler { return next },
		login: func(w http.ResponseWriter, r *http.Request) {
			data, err := json.Marshal(newVisit())
			l.mu.Lock()
			l.m[sha256.Sum256([]byte(token))] = limitSession{sessionUser, time.Now().Add(time.Hour), data}
			l.mu.Unlock()
			http.SetCookie(w, &http.Cookie{Name: "__Host-id", Value: token, Path: "/", Secure: true, HttpOnly: true})
			check(w, err)
		},
		user: func(r *http.Request) (string, error) {
			_, s, found := l.load(r)
			if !found {
				return "", http.ErrNoCookie
			}
			return s.user, nil
		},
		visitOf: func(r *http.Request) (string, visit, bool) {
			var v visit
			_, s, found := l.load(r)
			return s.user, v, found && json.Unmarshal(s.data, &v) == nil
		},
		write: func(w http.ResponseWriter, r *http.Request) {
			var v visit
			id, s, found := l.load(r)
			if !found || json.Unmarshal(s.data, &v) != nil {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			v.Pages++
			data, err := json.Marshal(v)
			if err != nil {
				check(w, err)
				return
			}
			s.data = data
			l.mu.Lock()
			l.m[id] = s
			l.mu.Unlock()
			right(w, s.user, v)
		},
	}
}

// The requests of all cases carry the cookie of a user who is logged in.
func BenchmarkSession(b *testing.B) {
	rigs := []struct {
		name string
		rig  func(testing.TB) sessionRig
	}{
		{"hardening", hardeningRig}, {"limit", limitRig}, {"scs", scsRig}, {"gorilla", gorillaRig},
	}
	b.Run("untouched", func(b *testing.B) {
		for _, r := range rigs {
			if r.name == "scs" || r.name == "hardening" {
				b.Run(r.name, func(b *testing.B) { rig := r.rig(b); serve(b, rig.wrap(ok), rig.loggedIn(b)) })
			}
		}
	})
	b.Run("read", func(b *testing.B) {
		for _, r := range rigs {
			b.Run(r.name, func(b *testing.B) { rig := r.rig(b); serve(b, rig.wrap(http.HandlerFunc(rig.read)), rig.loggedIn(b)) })
		}
	})
	b.Run("write", func(b *testing.B) {
		for _, r := range rigs {
			b.Run(r.name, func(b *testing.B) { rig := r.rig(b); serve(b, rig.wrap(rig.write), rig.loggedIn(b)) })
		}
	})
	benchmarkStores(b)
	b.Run("heap100k", benchmarkHeap)
}

// What is written must be read by the next request, else a rig measures
// nothing.
func TestSessionRigsRemember(t *testing.T) {
	for name, rig := range map[string]sessionRig{"hardening": hardeningRig(t), "limit": limitRig(t), "scs": scsRig(t), "gorilla": gorillaRig(t)} {
		t.Run(name, func(t *testing.T) {
			r := rig.loggedIn(t)
			for _, h := range []http.HandlerFunc{rig.read, rig.write, rig.read} {
				w := newResponse()
				rig.wrap(h).ServeHTTP(w, r)
				if w.status != http.StatusOK {
					t.Fatalf("status %d", w.status)
				}
			}
			w := newResponse()
			rig.wrap(http.HandlerFunc(rig.read)).ServeHTTP(w, httpsRequest("/"))
			if w.status == http.StatusOK {
				t.Error("a request without a cookie read the session")
			}
		})
	}
}
