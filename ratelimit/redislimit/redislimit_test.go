package redislimit_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening"
	"github.com/inovy/hardening/ratelimit"
	"github.com/inovy/hardening/ratelimit/redislimit"
	"github.com/inovy/hardening/ratelimit/storetest"
)

type ring struct{}

func (ring) Generation() uint64 { return 1 }
func (ring) Derive(purpose string, n int) [][]byte {
	return [][]byte{[]byte(purpose + strings.Repeat("k", n))[:n]}
}

func newStore(t testing.TB, client redis.UniversalClient, change ...func(*redislimit.Config)) *redislimit.Store {
	t.Helper()
	cfg := redislimit.Config{Client: client, Namespace: "test-" + rand.Text()[:8], Keys: ring{}, Timeout: 5 * time.Second, Logger: slog.New(slog.DiscardHandler)}
	for _, c := range change {
		c(&cfg)
	}
	s, err := redislimit.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// mini is a miniredis whose clock stands still until it is moved.
func mini(t testing.TB) (*miniredis.Miniredis, *redis.Client, func(time.Duration)) {
	t.Helper()
	srv := miniredis.RunT(t)
	now := time.Unix(1_800_000_000, 0)
	srv.SetTime(now)
	c := redis.NewClient(&redis.Options{Addr: srv.Addr(), ContextTimeoutEnabled: true, MaxRetries: -1})
	t.Cleanup(func() { _ = c.Close() })
	return srv, c, func(d time.Duration) {
		now = now.Add(d)
		srv.SetTime(now)
		srv.FastForward(d)
	}
}

func TestMiniredisHoldsToTheContract(t *testing.T) {
	t.Run("in one slot", func(t *testing.T) { miniredisHolds(t, 1) })
	t.Run("in 16 slots", func(t *testing.T) { miniredisHolds(t, 16) })
}

func miniredisHolds(t *testing.T, slots int) {
	_, client, advance := mini(t)
	if slots > 1 {
		advance = nil // what needs the clock is about one subject, which lies in one slot
	}
	subject := nodes(client, func(c *redislimit.Config) { c.Slots = slots })
	subject.Advance = advance
	storetest.Run(t, subject)
}

// nodes are stores that share a namespace, another one for each test.
func nodes(client redis.UniversalClient, change ...func(*redislimit.Config)) storetest.Subject {
	var namespace string
	join := func(t *testing.T) ratelimit.Store {
		return newStore(t, client, append(change, func(c *redislimit.Config) { c.Namespace = namespace })...)
	}
	return storetest.Subject{New: func(t *testing.T) ratelimit.Store {
		namespace = "test-" + rand.Text()[:8]
		return join(t)
	}, Join: join}
}

func charge(n int64) ratelimit.Charge {
	return ratelimit.Charge{Rule: "ip", Subject: ratelimit.Subject{Addr: netip.MustParseAddr("192.0.2.77")}, N: n, Per: time.Hour, Cost: 1}
}

func take(t testing.TB, s ratelimit.Store, c ratelimit.Charge) (bool, ratelimit.State) {
	t.Helper()
	st := make([]ratelimit.State, 1)
	ok, err := s.TakeAll(t.Context(), []ratelimit.Charge{c}, st)
	if err != nil {
		t.Fatal(err)
	}
	return ok, st[0]
}

func TestEveryFaultIsNamed(t *testing.T) {
	_, err := redislimit.New(redislimit.Config{Namespace: "a b", Nodes: -1, Slots: 5000, Timeout: -1, MaxBytes: 5, Name: strings.Repeat("n", 65)})
	got := map[string]bool{}
	for f := range hardening.Faults(err) {
		got[f.Field] = true
	}
	for _, want := range []string{"Client", "Namespace", "Keys", "Nodes", "Slots", "Timeout", "MaxBytes", "Name"} {
		if !got[want] {
			t.Errorf("no fault for %s in %v", want, err)
		}
	}
	deaf := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = deaf.Close() })
	if _, err := redislimit.New(redislimit.Config{Client: deaf, Namespace: "n", Keys: ring{}}); err == nil {
		t.Error("a client that keeps no deadline was accepted")
	}
	for name, o := range map[string]*redis.ClusterOptions{"ReadOnly": {ReadOnly: true}, "RouteByLatency": {RouteByLatency: true}, "RouteRandomly": {RouteRandomly: true}} {
		o.Addrs, o.ContextTimeoutEnabled = []string{"127.0.0.1:1"}, true
		stale := redis.NewClusterClient(o)
		t.Cleanup(func() { _ = stale.Close() })
		if _, err := redislimit.New(redislimit.Config{Client: stale, Namespace: "n", Keys: ring{}}); err == nil {
			t.Errorf("a client that reads from replicas was accepted: %s", name)
		}
	}
}

// What is stored names nobody, expires, and heals when its expiry is lost.
func TestKeysNameNobodyAndExpire(t *testing.T) {
	srv, client, advance := mini(t)
	s := newStore(t, client)
	c := charge(2)
	c.Subject.Name = "alice@example.com"
	for range 3 {
		take(t, s, c)
	}
	keys := srv.Keys()
	if len(keys) != 1 {
		t.Fatalf("keys %q", keys)
	}
	for _, secret := range []string{"192.0.2.77", "alice"} {
		if strings.Contains(keys[0], secret) {
			t.Errorf("the key %q names %s", keys[0], secret)
		}
	}
	if ttl := srv.TTL(keys[0]); ttl <= 0 || ttl > time.Hour+time.Second {
		t.Errorf("expires after %v", ttl)
	}
	if err := client.Persist(t.Context(), keys[0]).Err(); err != nil {
		t.Fatal(err)
	}
	take(t, s, c) // refused
	if ttl := srv.TTL(keys[0]); ttl <= 0 {
		t.Error("a key without expiry was left so")
	}
	advance(time.Hour)
	if ok, _ := take(t, s, c); !ok {
		t.Error("blocked for longer than the window")
	}
	if err := client.Set(t.Context(), keys[0], "nonsense of another program", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if ok, st := take(t, s, c); !ok || st.Degraded {
		t.Errorf("a foreign value: %t, %+v", ok, st)
	}
}

func TestAServerClockSetBackNeitherReleasesNorBlocksForEver(t *testing.T) {
	srv, client, _ := mini(t)
	s := newStore(t, client)
	c := charge(2)
	take(t, s, c)
	take(t, s, c)
	back := time.Unix(1_800_000_000, 0).Add(-24 * time.Hour)
	srv.SetTime(back)
	if ok, st := take(t, s, c); ok || st.RetryAfter > time.Hour {
		t.Errorf("after the clock was set back: %t, %+v", ok, st)
	}
	srv.SetTime(back.Add(time.Hour))
	if ok, st := take(t, s, c); !ok {
		t.Errorf("an hour later: %+v", st)
	}
}

// counter counts the writes of a client: what go-redis sends at once is one.
type counter struct {
	net.Conn
	writes *atomic.Int64
}

func (c counter) Write(b []byte) (int, error) { c.writes.Add(1); return c.Conn.Write(b) }

func TestManyLimitsAreOneRoundTrip(t *testing.T) {
	srv := miniredis.RunT(t)
	var writes atomic.Int64
	client := redis.NewClient(&redis.Options{Addr: srv.Addr(), ContextTimeoutEnabled: true, PoolSize: 1, Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return counter{c, &writes}, err
	}})
	t.Cleanup(func() { _ = client.Close() })
	s := newStore(t, client)
	take(t, s, charge(1000)) // connects and loads the script
	before := writes.Load()
	cs := []ratelimit.Charge{charge(100), charge(1000), charge(5000)}
	cs[1].Rule, cs[2].Rule = "user", "global"
	for range 10 {
		if ok, err := s.TakeAll(t.Context(), cs, make([]ratelimit.State, 3)); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if got := writes.Load() - before; got != 10 {
		t.Errorf("%d writes for 10 decisions about three limits each", got)
	}
}

// hung is a server that takes everything and answers nothing.
func hung(dials *atomic.Int64) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		dials.Add(1)
		client, server := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, server); _ = server.Close() }()
		return client, nil
	}
}

func TestAHungRedisCosts100msAndThenNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials atomic.Int64
		client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379", Dialer: hung(&dials), ContextTimeoutEnabled: true})
		defer func() { _ = client.Close() }()
		log := new(records)
		s := newStore(t, client, func(c *redislimit.Config) { c.Timeout, c.Nodes, c.Logger = 0, 3, slog.New(log) })
		for i := range 3 {
			start := time.Now()
			if _, st := take(t, s, charge(10)); !st.Degraded {
				t.Fatal("decided by a server that is hung")
			}
			if took := time.Since(start); took != 100*time.Millisecond {
				t.Errorf("call %d took %v", i+1, took)
			}
		}
		before, start := dials.Load(), time.Now()
		admitted := 3
		for range 1000 {
			if ok, st := take(t, s, charge(10)); ok {
				admitted++
			} else if !st.Degraded || st.RetryAfter <= 0 {
				t.Fatalf("%+v", st)
			}
		}
		if dials.Load() != before || time.Since(start) != 0 {
			t.Errorf("%d calls in %v while the breaker is open", dials.Load()-before, time.Since(start))
		}
		if admitted != 4 { // ceil(10/3)
			t.Errorf("%d admitted by one node of three, of a limit of 10", admitted)
		}
		if got := log.names(); len(got) != 1 || got[0] != "store_degraded" {
			t.Errorf("events %q", got)
		}
	})
}

// records keeps the names of records.
type records struct {
	mu   sync.Mutex
	list []string
}

func (r *records) names() []string                          { r.mu.Lock(); defer r.mu.Unlock(); return r.list }
func (r *records) Enabled(context.Context, slog.Level) bool { return true }
func (r *records) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *records) WithGroup(string) slog.Handler            { return r }
func (r *records) Handle(_ context.Context, x slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, x.Message)
	return nil
}

// Redis goes away mid-run: three nodes together admit at most N + 2 more.
func TestAnOutageIsBounded(t *testing.T) {
	srv, client, _ := mini(t)
	log := new(records)
	nodes := make([]*redislimit.Store, 3)
	ns := "test-" + rand.Text()[:8]
	for i := range nodes {
		nodes[i] = newStore(t, client, func(c *redislimit.Config) { c.Namespace, c.Nodes, c.Logger = ns, 3, slog.New(log) })
	}
	const n = 100
	if ok, st := take(t, nodes[0], charge(n)); !ok || st.Degraded {
		t.Fatal(ok, st)
	}
	srv.SetError("READONLY You can't write against a read only replica.")
	admitted := 0
	for range 2 * n {
		for _, s := range nodes {
			ok, st := take(t, s, charge(n))
			if !st.Degraded {
				t.Fatal("not marked as degraded")
			}
			if ok {
				admitted++
			}
		}
	}
	if admitted < n || admitted > n+3 {
		t.Errorf("%d admitted during the outage of a limit of %d", admitted, n)
	}
	got := strings.Join(log.names(), " ")
	if strings.Count(got, "store_degraded") != 3 || strings.Count(got, "store_") != 3 {
		t.Errorf("events of three nodes: %s", got)
	}
}

func TestAFlushAdmitsAtMostNMore(t *testing.T) {
	srv, client, _ := mini(t)
	s := newStore(t, client)
	for range 20 {
		take(t, s, charge(10))
	}
	srv.FlushAll()
	admitted := 0
	for range 50 {
		if ok, _ := take(t, s, charge(10)); ok {
			admitted++
		}
	}
	if admitted != 10 {
		t.Errorf("%d admitted since the flush", admitted)
	}
}

func TestACallerWhoLeavesIsNoOutage(t *testing.T) {
	_, client, _ := mini(t)
	s := newStore(t, client)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 {
		if _, err := s.TakeAll(ctx, []ratelimit.Charge{charge(5)}, make([]ratelimit.State, 1)); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if ok, st := take(t, s, charge(5)); !ok || st.Degraded {
		t.Errorf("%t, %+v", ok, st)
	}
}

// Redis away, each node would else admit the share of another number of nodes.
func TestTheLimiterAndItsStoreAreMadeForAsManyNodes(t *testing.T) {
	_, client, _ := mini(t)
	store := newStore(t, client, func(c *redislimit.Config) { c.Nodes = 3 })
	for name, tt := range map[string]struct {
		store ratelimit.Store
		nodes int
		good  bool
	}{
		"the store's":  {store, 0, true},
		"the same":     {store, 3, true},
		"another":      {store, 2, false},
		"a zero Store": {new(redislimit.Store), 0, false},
	} {
		if _, err := ratelimit.New(ratelimit.Config{Store: tt.store, Nodes: tt.nodes}); (err == nil) != tt.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}
