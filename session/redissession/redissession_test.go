package redissession_test

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/internal/testenv"
	"github.com/inovy/hardening/session"
	"github.com/inovy/hardening/session/redissession"
	"github.com/inovy/hardening/session/storetest"
)

// place is a Redis to test against.
type place struct {
	client  redis.UniversalClient // as the service connects
	admin   redis.UniversalClient // may look at everything
	advance func(time.Duration)
}

func mini(t testing.TB) place {
	t.Helper()
	srv, err := miniredis.Run()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	c := redis.NewClient(&redis.Options{Addr: srv.Addr()})
	t.Cleanup(func() { _ = c.Close() })
	return place{client: c, admin: c, advance: srv.FastForward}
}

// acl is what the package documentation gives the service's user.
var acl = strings.Fields("resetchannels resetkeys -@all +hello +ping +evalsha +eval +time +exists +del +get +set +mget +hget +hset +hmget +hincrby +pexpire +pttl +zadd +zrem +zrange")

// real connects to a real server as a user with least privilege.
func real(t testing.TB) place {
	t.Helper()
	addr := testenv.Redis(t)
	admin := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { _ = admin.Close() })
	user, password := "sessions-"+strings.ToLower(rand.Text()[:8]), rand.Text()
	args := []any{"ACL", "SETUSER", user, "on", ">" + password}
	for _, rule := range acl {
		args = append(args, rule)
	}
	for _, ns := range []string{namespace, "other"} {
		args = append(args, "~"+ns+":*")
	}
	if err := admin.Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(&redis.Options{Addr: addr, Username: user, Password: password})
	t.Cleanup(func() {
		_ = c.Close()
		wipe(admin)
		_ = admin.Do(context.Background(), "ACL", "DELUSER", user).Err()
	})
	if err := c.Get(t.Context(), "somebody-else").Err(); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Fatalf("the user may read what is not its own: %v", err)
	}
	return place{client: c, admin: admin, advance: age(t, admin)}
}

// cluster starts a Redis Cluster of one node: it refuses a script whose keys
// lie in several slots, as any does.
func cluster(t testing.TB) place {
	t.Helper()
	if clusterNode.addr == "" {
		startCluster(t)
	}
	node := redis.NewClient(&redis.Options{Addr: clusterNode.addr})
	t.Cleanup(func() { wipe(node); _ = node.Close() })
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{clusterNode.addr}})
	t.Cleanup(func() { _ = c.Close() })
	return place{client: c, admin: node, advance: age(t, node)}
}

// clusterNode is started by the first test that needs it; no test is parallel.
var clusterNode struct {
	dir, addr string
	cmd       *exec.Cmd
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "redissession")
	if err != nil {
		panic(err)
	}
	clusterNode.dir = dir
	code := m.Run()
	if clusterNode.cmd != nil {
		_ = clusterNode.cmd.Process.Kill()
		_ = clusterNode.cmd.Wait()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func startCluster(t testing.TB) {
	t.Helper()
	bin := testenv.Program(t, "apt-get install redis-server", "redis-server")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	bus, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, busPort, _ := net.SplitHostPort(bus.Addr().String())
	_ = bus.Close()
	clusterNode.cmd = exec.Command(bin, "--bind", "127.0.0.1", "--port", port, "--cluster-enabled", "yes", "--cluster-port", busPort, // #nosec G204 -- a test's own server
		"--cluster-config-file", clusterNode.dir+"/nodes.conf", "--save", "", "--appendonly", "no", "--dir", clusterNode.dir)
	if err := clusterNode.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	clusterNode.addr = "127.0.0.1:" + port
	node := redis.NewClient(&redis.Options{Addr: clusterNode.addr, MaxRetries: 50, MaxRetryBackoff: 100 * time.Millisecond})
	defer func() { _ = node.Close() }()
	if err := node.ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		info, err := node.ClusterInfo(t.Context()).Result()
		if err == nil && strings.Contains(info, "cluster_state:ok") {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("the cluster does not form: %v\n%s", err, info)
		}
	}
}

const namespace = "hardening-test"

func wipe(admin redis.UniversalClient) {
	ctx := context.Background()
	for it := admin.Scan(ctx, 0, namespace+":*", 1000).Iterator(); it.Next(ctx); {
		_ = admin.Del(ctx, it.Val()).Err()
	}
}

// age makes a real server's keys older, as miniredis can.
func age(t testing.TB, admin redis.UniversalClient) func(time.Duration) {
	return func(d time.Duration) {
		ctx := context.Background()
		for it := admin.Scan(ctx, 0, namespace+":*", 1000).Iterator(); it.Next(ctx); {
			left, err := admin.PTTL(ctx, it.Val()).Result()
			if err == nil && left > d {
				err = admin.PExpire(ctx, it.Val(), left-d).Err()
			} else if err == nil {
				err = admin.Del(ctx, it.Val()).Err()
			}
			if err != nil {
				t.Error(err)
			}
		}
	}
}

var places = map[string]func(testing.TB) place{"miniredis": mini, "Redis with least privilege": real, "Redis Cluster": cluster}

func newStore(t testing.TB, client redis.UniversalClient) *redissession.Store {
	t.Helper()
	s, err := redissession.New(redissession.Config{Client: client, Namespace: namespace, WatchInterval: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wantTidy checks that every key has the namespace and a time to live.
func wantTidy(t *testing.T, p place) {
	t.Helper()
	n := 0
	for it := p.admin.Scan(t.Context(), 0, namespace+"*", 1000).Iterator(); it.Next(t.Context()); {
		n++
		key := it.Val()
		if left, err := p.admin.PTTL(t.Context(), key).Result(); err != nil || left <= 0 && left != -2 {
			t.Errorf("%s lives for %v, %v", key, left, err)
		}
		if !strings.HasPrefix(key, namespace+":{") {
			t.Errorf("%s has not the namespace", key)
		}
	}
	if n == 0 {
		t.Error("no key was looked at")
	}
	total, err := p.admin.DBSize(t.Context()).Result()
	if _, ok := p.admin.(*redis.Client); err == nil && ok && strings.HasPrefix(t.Name(), "TestStoreHoldsToTheContract/mini") && int(total) != n {
		t.Errorf("%d keys, of which %d have the namespace", total, n)
	}
}

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

type visit struct{ Count int }

// ring is one fixed key.
type ring struct{}

func (ring) Generation() uint64 { return 1 }
func (ring) Derive(purpose string, n int) [][]byte {
	h := hmac.New(sha256.New, []byte("root"))
	h.Write([]byte(purpose))
	return [][]byte{h.Sum(nil)[:n]}
}

func newManager(t testing.TB, store session.Store) *session.Manager[visit] {
	t.Helper()
	m, err := session.New[visit](session.Config{Keys: ring{}, Store: store, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func call(m *session.Manager[visit], cookie string, h http.HandlerFunc) *http.Response {
	r := httptest.NewRequest("GET", "https://portal.example/", nil)
	if cookie != "" {
		r.Header.Set("Cookie", "__Host-id="+cookie)
	}
	w := httptest.NewRecorder()
	m.Wrap(h).ServeHTTP(w, r)
	return w.Result()
}

func login(t testing.TB, m *session.Manager[visit], cookie string) string {
	t.Helper()
	res := call(m, cookie, func(_ http.ResponseWriter, r *http.Request) {
		if err := m.Login(r.Context(), "ada", session.Auth{}); err != nil {
			t.Errorf("Login: %v", err)
		}
	})
	for _, c := range res.Cookies() {
		if c.Name == "__Host-id" {
			return c.Value
		}
	}
	t.Fatal("no cookie")
	return ""
}

func look(t testing.TB, m *session.Manager[visit], cookie string) (user string, count int) {
	t.Helper()
	res := call(m, cookie, func(_ http.ResponseWriter, r *http.Request) {
		s, err := m.Get(r.Context())
		if err != nil {
			t.Errorf("Get: %v", err)
		}
		user, count = s.User(), s.Data().Count
	})
	if res.StatusCode != 200 {
		t.Errorf("status %d", res.StatusCode)
	}
	return user, count
}

func increment(m *session.Manager[visit], cookie string) int {
	return call(m, cookie, func(_ http.ResponseWriter, r *http.Request) {
		s, _ := m.Get(r.Context())
		if s.User() != "" {
			_ = s.Update(func(v *visit) { v.Count++ })
		}
	}).StatusCode
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

func (again) DialHook(next redis.DialHook) redis.DialHook { return next }
func (again) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := next(ctx, cmd); err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		cmd.SetErr(nil)
		return next(ctx, cmd)
	}
}
func (again) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
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

func TestAServerThatIsDownOrFullOrReadOnly(t *testing.T) {
	srv, err := miniredis.Run()
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	c := redis.NewClient(&redis.Options{Addr: srv.Addr(), MaxRetries: -1})
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
		if _, err := redissession.New(redissession.Config{Client: redis.NewClient(&redis.Options{}), Namespace: ns}); err == nil {
			t.Errorf("namespace %q is accepted", ns)
		}
	}
	if _, err := redissession.New(redissession.Config{Client: (*redis.Client)(nil), Namespace: "a"}); err == nil {
		t.Error("a nil client is accepted")
	}
}

func Example() {
	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"}) // in a service, with TLS and a user of its own
	store, err := redissession.New(redissession.Config{Client: client, Namespace: "portal"})
	if err != nil {
		fmt.Println(err)
		return
	}
	sessions, err := session.New[visit](session.Config{Keys: ring{}, Store: store})
	if err != nil {
		fmt.Println(err)
		return
	}
	http.Handle("/", sessions.Wrap(http.NotFoundHandler()))
}

func BenchmarkRedis(b *testing.B) {
	p := real(b)
	m := newManager(b, newStore(b, p.client))
	id := login(b, m, "")
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if user, _ := look(b, m, id); user != "ada" {
				b.Fatal("no session")
			}
		}
	})
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			increment(m, id)
		}
	})
}
