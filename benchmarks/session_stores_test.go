package benchmarks

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/gob"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/alicebob/miniredis/v2"
	"github.com/gorilla/securecookie"
	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening/session"
	"github.com/inovy/hardening/session/redissession"
)

// trips counts what is sent to Redis and waited for.
type trips struct{ n atomic.Int64 }

func (*trips) DialHook(next redis.DialHook) redis.DialHook { return next }
func (c *trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { c.n.Add(1); return next(ctx, cmd) }
}
func (c *trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { c.n.Add(1); return next(ctx, cmds) }
}

// redisClient connects to the server that the environment names. Without one,
// round trips are counted on miniredis, and times say nothing.
func redisClient(tb testing.TB) (*redis.Client, *trips) {
	addr := os.Getenv("HARDENING_TEST_REDIS")
	if addr == "" {
		srv := must(miniredis.Run())(tb)
		tb.Cleanup(srv.Close)
		addr = srv.Addr()
	}
	c := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
	tb.Cleanup(func() { _ = c.Close() })
	counted := new(trips)
	c.AddHook(counted)
	return c, counted
}

func hardeningRigOn(tb testing.TB, store session.Store) sessionRig {
	return rigOf(must(session.New[visit](session.Config{Store: store, Logger: slog.New(slog.DiscardHandler)}))(tb))
}

func scsRigOn(store scs.Store) sessionRig {
	rig, m := scsManager()
	m.Store = store
	return rig
}

// kept is a session that its cookie holds.
type kept struct {
	User  string
	Until time.Time
	Visit visit
}

// aesRig is the least that keeps a session in its cookie: AES-256-GCM and one
// layer of base64. It has no key rotation and cannot end a session.
func aesRig(tb testing.TB) sessionRig {
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	gcm := must(cipher.NewGCMWithRandomNonce(must(aes.NewCipher(key))(tb)))(tb)
	return inCookieRig(func(k kept) (string, error) {
		plain, err := json.Marshal(k)
		if err != nil {
			return "", err
		}
		return base64.RawURLEncoding.EncodeToString(gcm.Seal(nil, nil, plain, []byte("__Host-id"))), nil
	}, func(value string) (k kept, err error) {
		sealed, err := base64.RawURLEncoding.DecodeString(value)
		if err != nil {
			return k, err
		}
		plain, err := gcm.Open(nil, nil, sealed, []byte("__Host-id"))
		if err != nil {
			return k, err
		}
		return k, json.Unmarshal(plain, &k)
	})
}

// securecookieRig is gorilla/securecookie as its users call it, encrypted and
// signed, with the encoding of Go's JSON. It cannot end a session either.
func securecookieRig() sessionRig {
	codec := securecookie.New(securecookie.GenerateRandomKey(32), securecookie.GenerateRandomKey(32))
	codec.SetSerializer(securecookie.JSONEncoder{})
	return inCookieRig(func(k kept) (string, error) { return codec.Encode("__Host-id", k) },
		func(value string) (k kept, err error) { return k, codec.Decode("__Host-id", value, &k) })
}

func inCookieRig(seal func(kept) (string, error), open func(string) (kept, error)) sessionRig {
	load := func(r *http.Request) (k kept, ok bool) {
		c, err := r.Cookie("__Host-id")
		if err != nil {
			return k, false
		}
		k, err = open(c.Value)
		return k, err == nil && time.Now().Before(k.Until)
	}
	save := func(w http.ResponseWriter, k kept) error {
		v, err := seal(k)
		if err != nil {
			return err
		}
		http.SetCookie(w, &http.Cookie{Name: "__Host-id", Value: v, Path: "/", Secure: true, HttpOnly: true})
		return nil
	}
	return sessionRig{
		wrap: func(next http.Handler) http.Handler { return next },
		login: func(w http.ResponseWriter, _ *http.Request) {
			check(w, save(w, kept{sessionUser, time.Now().Add(time.Hour), newVisit()}))
		},
		visitOf: func(r *http.Request) (string, visit, bool) { k, ok := load(r); return k.User, k.Visit, ok },
		write: func(w http.ResponseWriter, r *http.Request) {
			k, found := load(r)
			k.Visit.Pages++
			if !found || save(w, k) != nil {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			right(w, k.User, k.Visit)
		},
	}
}

func cookieRig(tb testing.TB) sessionRig {
	ended := must(session.NewMemoryStore(session.MemoryConfig{}))(tb)
	return hardeningRigOn(tb, must(session.NewCookieStore(session.CookieStoreConfig{Ended: ended}))(tb))
}

// storeCases are the sessions that are not in memory.
func storeCases(tb testing.TB) map[string]map[string]func() (sessionRig, *trips) {
	return map[string]map[string]func() (sessionRig, *trips){
		"redis": {
			"hardening": func() (sessionRig, *trips) {
				c, n := redisClient(tb)
				return hardeningRigOn(tb, must(redissession.New(redissession.Config{Client: c, Namespace: "hardening-bench"}))(tb)), n
			},
			"scs": func() (sessionRig, *trips) {
				c, n := redisClient(tb)
				return scsRigOn(goredisstore.NewWithPrefix(c, "hardening-bench:scs:")), n
			},
		},
		"cookie": {
			"hardening": func() (sessionRig, *trips) { return cookieRig(tb), nil },
			"limit":     func() (sessionRig, *trips) { return aesRig(tb), nil },
			"gorilla":   func() (sessionRig, *trips) { return gorillaRig(tb), nil },

			"securecookie": func() (sessionRig, *trips) { return securecookieRig(), nil },
		},
	}
}

// benchmarkStores are the cases of [BenchmarkSession] that are not in memory.
func benchmarkStores(b *testing.B) {
	for where, rigs := range storeCases(b) {
		for _, what := range []string{"read", "write"} {
			b.Run(where+"/"+what, func(b *testing.B) {
				for _, name := range []string{"hardening", "limit", "scs", "gorilla", "securecookie"} {
					if rigs[name] == nil {
						continue
					}
					b.Run(name, func(b *testing.B) {
						rig, counted := rigs[name]()
						h := map[string]http.HandlerFunc{"read": rig.read, "write": rig.write}[what]
						r := rig.loggedIn(b)
						warm := newResponse()
						rig.wrap(h).ServeHTTP(warm, r) // Redis is sent each script once
						n := 0
						var before int64
						if counted != nil {
							before = counted.n.Load()
						}
						wrapped := rig.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { n++; h(w, r) }))
						serve(b, wrapped, r)
						if counted != nil {
							each := float64(counted.n.Load()-before) / float64(n)
							if what == "write" {
								each-- // the read before it
							}
							b.ReportMetric(each, "roundtrips/op")
						}
					})
				}
			})
		}
	}
}

// benchmarkHeap reports what one of 100 000 sessions takes of the heap.
func benchmarkHeap(b *testing.B) {
	const sessions = 100_000
	for name, rig := range map[string]func(testing.TB) sessionRig{
		"hardening": func(tb testing.TB) sessionRig {
			// The parts of the store are not filled evenly.
			return hardeningRigOn(tb, must(session.NewMemoryStore(session.MemoryConfig{MaxSessions: 2 * sessions}))(tb))
		},
		"scs": func(testing.TB) sessionRig { return scsRigOn(memstore.NewWithCleanupInterval(0)) },
	} {
		b.Run(name, func(b *testing.B) {
			var held float64
			for b.Loop() {
				before := heap()
				rig := rig(b)
				h := rig.wrap(rig.login)
				r := httpsRequest("/login")
				for i := range sessions {
					r.Header.Set("X-User", strconv.Itoa(i))
					w := newResponse()
					h.ServeHTTP(w, r)
					if w.status != http.StatusOK {
						b.Fatalf("login %d: status %d", i, w.status)
					}
				}
				held = float64(heap()-before) / sessions
				runtime.KeepAlive(rig)
			}
			b.ReportMetric(held, "B/session")
		})
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestStoreRigsRemember(t *testing.T) {
	gob.Register(visit{})
	for where, rigs := range storeCases(t) {
		for name, rig := range rigs {
			t.Run(where+"/"+name, func(t *testing.T) {
				rig, _ := rig()
				r := rig.loggedIn(t)
				for _, h := range []http.HandlerFunc{rig.read, rig.write, rig.read} {
					w := newResponse()
					rig.wrap(h).ServeHTTP(w, r)
					if w.status != http.StatusOK {
						t.Fatalf("status %d", w.status)
					}
				}
			})
		}
	}
}
