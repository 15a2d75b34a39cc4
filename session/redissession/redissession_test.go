package redissession_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/session"
	"github.com/inovy/hardening/session/redissession"
	"github.com/inovy/hardening/session/storetest"
)

func TestStoreHoldsToTheContract(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.4.1")
	for name, open := range places {
		t.Run(name, func(t *testing.T) {
			p := open(t)
			storetest.Run(t, storetest.Subject{
				New:     func(t *testing.T) session.Store { wipe(p.admin); return newStore(t, p.client) },
				Advance: p.advance,
			})
			wantTidy(t, p)
		})
	}
}

// A slow request against a logout, a renewal and a revocation, on two nodes.
func TestTrap_ZombieRace(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.4.1")
	rounds := 1000
	if testing.Short() {
		rounds = 100
	}
	for name, open := range places {
		t.Run(name, func(t *testing.T) {
			p := open(t)
			a, b := newManager(t, newStore(t, p.client)), newManager(t, newStore(t, p.client))
			n := rounds
			if name == "Redis Cluster" {
				n /= 10 // the same scripts
			}
			for round := range n {
				id := login(t, a, "")
				start := make(chan struct{})
				var all sync.WaitGroup
				for _, m := range []*session.Manager[visit]{a, b} {
					all.Go(func() { <-start; increment(m, id) })
				}
				all.Go(func() {
					<-start
					switch round % 3 {
					case 0:
						call(b, id, func(_ http.ResponseWriter, r *http.Request) { _ = b.Logout(r.Context()) })
					case 1:
						call(b, id, func(_ http.ResponseWriter, r *http.Request) { _ = b.Login(r.Context(), "ada", session.Auth{}) })
					case 2:
						_, _ = b.RevokeUser(t.Context(), "ada")
					}
				})
				close(start)
				all.Wait()
				if user, _ := look(t, a, id); user != "" {
					t.Fatalf("round %d: the session is back", round)
				}
			}
		})
	}
}

func TestFiftyParallelIncrementsGiveFifty(t *testing.T) {
	for name, open := range places {
		t.Run(name, func(t *testing.T) {
			p := open(t)
			nodes := []*session.Manager[visit]{newManager(t, newStore(t, p.client)), newManager(t, newStore(t, p.client))}
			id := login(t, nodes[0], "")
			var all sync.WaitGroup
			for i := range 50 {
				all.Go(func() {
					if status := increment(nodes[i%2], id); status != 200 {
						t.Errorf("status %d", status)
					}
				})
			}
			all.Wait()
			if _, n := look(t, nodes[1], id); n != 50 {
				t.Errorf("%d increments", n)
			}
		})
	}
}

// Elsewhere a user whose index is lost cannot be revoked, and the answer is
// success all the same.
func TestTrap_ARevocationFindsNothingBecauseTheIndexIsLost(t *testing.T) {
	t.Attr("control", "ASVS v5.0.0-7.4.2")
	for name, open := range places {
		t.Run(name, func(t *testing.T) {
			p := open(t)
			m := newManager(t, newStore(t, p.client))
			id := login(t, m, "")
			for it := p.admin.Scan(t.Context(), 0, namespace+":*:u:*", 1000).Iterator(); it.Next(t.Context()); {
				if err := p.admin.Del(t.Context(), it.Val()).Err(); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := m.RevokeUser(t.Context(), "ada"); err != nil {
				t.Fatal(err)
			}
			if user, _ := look(t, m, id); user != "" {
				t.Error("the session outlives the revocation")
			}
			for it := p.admin.Scan(t.Context(), 0, namespace+":*:s:*", 1000).Iterator(); it.Next(t.Context()); {
				t.Errorf("its record is still there when its cookie has come: %s", it.Val())
			}
			if status := increment(m, id); status != 200 {
				t.Errorf("status %d", status)
			}
			if user, _ := look(t, m, id); user != "" {
				t.Error("the session is back")
			}
			if user, _ := look(t, m, login(t, m, "")); user != "ada" {
				t.Error("nobody can log in any more")
			}
			id = login(t, m, "")
			if err := m.RevokeAll(t.Context()); err != nil {
				t.Fatal(err)
			}
			if user, _ := look(t, m, id); user != "" {
				t.Error("the session outlives RevokeAll")
			}
			wantTidy(t, p)
		})
	}
}

// count counts round trips.
type count struct{ trips atomic.Int64 }

func (c *count) DialHook(next redis.DialHook) redis.DialHook { return next }
func (c *count) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { c.trips.Add(1); return next(ctx, cmd) }
}
func (c *count) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { c.trips.Add(1); return next(ctx, cmds) }
}

func TestReadAndWriteAreOneRoundTripEach(t *testing.T) {
	for name, open := range places {
		t.Run(name, func(t *testing.T) {
			p := open(t)
			trips := new(count)
			p.client.AddHook(trips)
			m := newManager(t, newStore(t, p.client))
			id := login(t, m, "")
			increment(m, id) // now Redis knows the scripts
			call(m, login(t, m, ""), func(_ http.ResponseWriter, r *http.Request) { _ = m.Logout(r.Context()) })
			_, _ = m.List(t.Context(), "eva")
			_, _ = m.RevokeUser(t.Context(), "eva")
			want := func(what string, most int64, f func()) {
				t.Helper()
				before := trips.trips.Load()
				f()
				if got := trips.trips.Load() - before; got != most {
					t.Errorf("%s: %d round trips, want %d", what, got, most)
				}
			}
			want("untouched", 0, func() { call(m, id, func(http.ResponseWriter, *http.Request) {}) })
			want("read", 1, func() { look(t, m, id) })
			want("read and write", 2, func() { increment(m, id) })
			want("login", 1, func() { login(t, m, "") })
			want("login over an old session", 3, func() { id = login(t, m, id) })
			want("forged", 0, func() { look(t, m, id[:len(id)-4]+"AAAA") })
			want("list", 1, func() { _, _ = m.List(t.Context(), "ada") })
			want("revoke", 1, func() { _, _ = m.RevokeUser(t.Context(), "ada") })
		})
	}
}

// again sends every command twice, as a client does that lost the first answer.
type again struct{}

func (again) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (again) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (again) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if err := next(ctx, cmds); err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		for _, cmd := range cmds {
			cmd.SetErr(nil)
		}
		return next(ctx, cmds)
	}
}

func TestTrap_ACommandThatIsSentAgainCountsTwice(t *testing.T) {
	for name, open := range places {
		t.Run(name, func(t *testing.T) {
			p := open(t)
			if name == "Redis Cluster" {
				t.Skip("its client hands commands on to clients of its own; the scripts are the same")
			}
			p.client.AddHook(again{})
			m := newManager(t, newStore(t, p.client))
			id := login(t, m, "")
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() {
					if status := increment(m, id); status != 200 {
						t.Errorf("status %d", status)
					}
				})
			}
			all.Wait()
			if user, n := look(t, m, id); user != "ada" || n != 20 {
				t.Errorf("20 increments of %q give %d", user, n)
			}
			call(m, id, func(_ http.ResponseWriter, r *http.Request) {
				if err := m.Logout(r.Context()); err != nil {
					t.Errorf("Logout: %v", err)
				}
			})
			if user, _ := look(t, m, id); user != "" {
				t.Error("still logged in")
			}
		})
	}
}

// One node ends a session; whoever waits for it on another is told.
func TestDoneIsToldAcrossNodes(t *testing.T) {
	for name, open := range places {
		t.Run(name, func(t *testing.T) {
			p := open(t)
			a, b := newManager(t, newStore(t, p.client)), newManager(t, newStore(t, p.client))
			id := login(t, a, "")
			call(a, id, func(_ http.ResponseWriter, r *http.Request) {
				s, _ := a.Get(r.Context())
				done := s.Done()
				if _, err := b.RevokeUser(t.Context(), "ada"); err != nil {
					t.Error(err)
				}
				select {
				case <-done:
				case <-time.After(5 * time.Second):
					t.Error("not told")
				}
			})
		})
	}
}

// A stream must not outlive its session because Redis is away.
func TestDoneClosesAtTheExpiryThoughRedisIsAway(t *testing.T) {
	srv, err := miniredis.Run()
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	c := redis.NewClient(&redis.Options{Addr: srv.Addr(), ContextTimeoutEnabled: true, MaxRetries: -1})
	defer func() { _ = c.Close() }()
	store, err := redissession.New(redissession.Config{Client: c, Namespace: namespace, WatchInterval: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	r := session.Ref{Hash: [32]byte{1}}
	now := time.Now()
	if _, err := store.Create(t.Context(), r, session.Record{Born: now, Expires: now.Add(1500 * time.Millisecond), Blob: []byte("x")}, session.Quota{}); err != nil {
		t.Fatal(err)
	}
	answered := make(chan struct{})
	c.AddHook(&firstAnswer{seen: answered})
	gone, stop := store.Watch(r)
	defer stop()
	<-answered
	srv.SetError("LOADING Redis is loading the dataset in memory")
	select {
	case <-gone:
		if time.Since(now) < 1400*time.Millisecond {
			t.Error("closed before its time because Redis is away")
		}
	case <-time.After(10 * time.Second):
		t.Error("not closed")
	}
}

// firstAnswer tells when a script was answered.
type firstAnswer struct {
	once sync.Once
	seen chan struct{}
}

func (f *firstAnswer) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (f *firstAnswer) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (f *firstAnswer) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if err == nil {
			f.once.Do(func() { close(f.seen) })
		}
		return err
	}
}

func TestAServerThatIsDownOrFullOrReadOnly(t *testing.T) {
	srv, err := miniredis.Run()
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	c := redis.NewClient(&redis.Options{Addr: srv.Addr(), ContextTimeoutEnabled: true, MaxRetries: -1})
	defer func() { _ = c.Close() }()
	m := newManager(t, newStore(t, c))
	id := login(t, m, "")
	for _, answer := range []string{
		"OOM command not allowed when used memory > 'maxmemory'.",
		"READONLY You can't write against a read only replica.",
		"LOADING Redis is loading the dataset in memory",
		"NOPERM this user has no permissions",
	} {
		srv.SetError(answer)
		for what, h := range map[string]http.HandlerFunc{
			"read":   func(_ http.ResponseWriter, r *http.Request) { _, _ = m.Get(r.Context()) },
			"login":  func(_ http.ResponseWriter, r *http.Request) { _ = m.Login(r.Context(), "eva", session.Auth{}) },
			"logout": func(_ http.ResponseWriter, r *http.Request) { _ = m.Logout(r.Context()) },
		} {
			res := call(m, id, func(w http.ResponseWriter, r *http.Request) { h(w, r); _, _ = w.Write([]byte("SECRET")) })
			if res.StatusCode != 503 {
				t.Errorf("%s, %s: status %d", answer, what, res.StatusCode)
			}
		}
		if err := m.RevokeAll(t.Context()); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("%s: RevokeAll: %v", answer, err)
		}
		srv.SetError("")
		if user, _ := look(t, m, id); user != "ada" {
			t.Errorf("%s: something was half-done", answer)
		}
	}
}

func TestWhatOthersWroteIsAnErrorAndNoSession(t *testing.T) {
	p := mini(t)
	m := newManager(t, newStore(t, p.client))
	id := login(t, m, "")
	keys, err := p.admin.Keys(t.Context(), namespace+":*:s:*").Result()
	if err != nil || len(keys) != 1 {
		t.Fatalf("%q, %v", keys, err)
	}
	for name, spoil := range map[string]func() error{
		"another type": func() error {
			p.admin.Del(t.Context(), keys[0])
			return p.admin.Set(t.Context(), keys[0], "x", 0).Err()
		},
		"no numbers": func() error {
			p.admin.Del(t.Context(), keys[0])
			return p.admin.HSet(t.Context(), keys[0], "v", "x", "b", "1", "x", "y", "a", "0", "d", "").Err()
		},
		"fields missing": func() error {
			p.admin.Del(t.Context(), keys[0])
			return p.admin.HSet(t.Context(), keys[0], "v", "1").Err()
		},
		"no session": func() error {
			p.admin.Del(t.Context(), keys[0])
			return p.admin.HSet(t.Context(), keys[0], "v", "1", "b", time.Now().UnixMicro(), "x", time.Now().Add(time.Hour).UnixMicro(), "a", "0", "d", "rubbish").Err()
		},
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		call(m, id, func(_ http.ResponseWriter, r *http.Request) {
			if s, _ := m.Get(r.Context()); s.User() != "" {
				t.Errorf("%s opens the session of %q", name, s.User())
			}
		})
	}
}

func TestConfigFaults(t *testing.T) {
	_, err := redissession.New(redissession.Config{WatchInterval: -1})
	want := map[string]bool{"Client": true, "Namespace": true, "WatchInterval": true}
	for f := range hardening.Faults(err) {
		if !want[f.Field] || f.Room != "redissession" || f.Fix == "" {
			t.Errorf("%+v", f)
		}
		delete(want, f.Field)
	}
	if len(want) != 0 {
		t.Errorf("not reported: %v", want)
	}
	for _, ns := range []string{"a:b", "a{b", "a b", strings.Repeat("x", 65), "é", "*"} {
		if _, err := redissession.New(redissession.Config{Client: redis.NewClient(&redis.Options{ContextTimeoutEnabled: true}), Namespace: ns}); err == nil {
			t.Errorf("namespace %q is accepted", ns)
		}
	}
	if _, err := redissession.New(redissession.Config{Client: (*redis.Client)(nil), Namespace: "a"}); err == nil {
		t.Error("a nil client is accepted")
	}
}
