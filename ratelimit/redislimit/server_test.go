package redislimit_test

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening/internal/testenv"
	"github.com/inovy/hardening/ratelimit"
	"github.com/inovy/hardening/ratelimit/redislimit"
	"github.com/inovy/hardening/ratelimit/storetest"
)

// server is a redis-server of this test's own.
type server struct {
	addr string
	cmd  *exec.Cmd
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// startServer runs redis-server on a free loopback port until the test ends.
func startServer(t testing.TB, options ...string) *server {
	t.Helper()
	program := testenv.Program(t, "apt-get install redis-server", "redis-server")
	port := freePort(t)
	args := append([]string{"--bind", "127.0.0.1", "--port", port, "--dir", t.TempDir(), "--save", "", "--appendonly", "no", "--daemonize", "no"}, options...)
	s := &server{addr: "127.0.0.1:" + port, cmd: exec.Command(program, args...)}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.cmd.Process.Signal(syscall.SIGCONT)
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	})
	c := s.client(t, func(o *redis.Options) { o.MaxRetries = 0 })
	until(t, "redis-server answers", func() bool { return c.Ping(t.Context()).Err() == nil })
	return s
}

func (s *server) client(t testing.TB, change ...func(*redis.Options)) *redis.Client {
	t.Helper()
	o := &redis.Options{Addr: s.addr, ContextTimeoutEnabled: true, MaxRetries: -1}
	for _, f := range change {
		f(o)
	}
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// until waits for what a process of its own does in its own time.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

// cluster is three masters that share the slots.
func cluster(t testing.TB) *redis.ClusterClient {
	t.Helper()
	const slots = 16384
	var addrs []string
	var nodes []*redis.Client
	for i := range 3 {
		s := startServer(t, "--cluster-enabled", "yes", "--cluster-port", freePort(t), "--cluster-config-file", fmt.Sprintf("nodes-%d.conf", i))
		c := s.client(t)
		if err := c.ClusterAddSlotsRange(t.Context(), i*slots/3, (i+1)*slots/3-1).Err(); err != nil {
			t.Fatal(err)
		}
		addrs, nodes = append(addrs, s.addr), append(nodes, c)
		if i > 0 {
			host, port, _ := net.SplitHostPort(s.addr)
			bus := s.cmd.Args[len(s.cmd.Args)-3]
			if err := nodes[0].Do(t.Context(), "CLUSTER", "MEET", host, port, bus).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, n := range nodes {
		until(t, "the cluster is up", func() bool {
			info, err := n.ClusterInfo(t.Context()).Result()
			return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3")
		})
	}
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, ContextTimeoutEnabled: true, MaxRedirects: 3})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestAClusterHoldsToTheContract(t *testing.T) {
	c := cluster(t)
	least := leastUserOfACluster(t, c)
	storetest.Run(t, nodes(least))
	blockOnEveryNode(t, least)
	t.Run("spread over 64 slots", func(t *testing.T) { spread(t, c, least) })
	// Namespaces are spread over the slots, and so over the nodes.
	masters := map[string]bool{}
	for i := range 40 {
		ns := fmt.Sprintf("test-%d", i)
		s := newStore(t, c, func(cfg *redislimit.Config) { cfg.Namespace = ns })
		if ok, st := take(t, s, charge(5)); !ok || st.Degraded {
			t.Fatalf("%t, %+v", ok, st)
		}
		m, err := c.MasterForKey(t.Context(), ns+":{"+ns+"}:ip")
		if err != nil {
			t.Fatal(err)
		}
		masters[m.Options().Addr] = true
	}
	if len(masters) != 3 {
		t.Errorf("40 namespaces lie on %d nodes", len(masters))
	}
}

// What a server that cannot write answers is an outage: marked, bounded, never
// an error and never open.
func TestAServerThatCannotWriteIsAnOutage(t *testing.T) {
	outage := func(t *testing.T, s ratelimit.Store) {
		t.Helper()
		admitted := 0
		for range 30 {
			ok, st := take(t, s, charge(10))
			if !st.Degraded {
				t.Fatalf("decided by a server that cannot: %+v", st)
			}
			if ok {
				admitted++
			}
		}
		if admitted != 10 {
			t.Errorf("%d of 10 admitted", admitted)
		}
	}
	t.Run("a read-only replica", func(t *testing.T) {
		host, port, _ := net.SplitHostPort(startServer(t).addr)
		replica := startServer(t, "--replicaof", host+" "+port)
		c := replica.client(t)
		until(t, "the replica follows", func() bool {
			info, err := c.Info(t.Context(), "replication").Result()
			return err == nil && strings.Contains(info, "master_link_status:up")
		})
		outage(t, newStore(t, c))
	})
	t.Run("a full server", func(t *testing.T) {
		c := startServer(t).client(t)
		if err := c.ConfigSet(t.Context(), "maxmemory-policy", "noeviction").Err(); err != nil {
			t.Fatal(err)
		}
		if err := c.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
			t.Fatal(err)
		}
		outage(t, newStore(t, c))
	})
	t.Run("a server that is stopped", func(t *testing.T) {
		srv := startServer(t)
		s := newStore(t, srv.client(t), func(c *redislimit.Config) { c.Timeout = 100 * time.Millisecond })
		if err := srv.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		outage(t, s)
	})
	t.Run("a server that is killed", func(t *testing.T) {
		srv := startServer(t)
		s := newStore(t, srv.client(t))
		if ok, st := take(t, s, charge(11)); !ok || st.Degraded {
			t.Fatalf("%t, %+v", ok, st)
		}
		if err := srv.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_, _ = srv.cmd.Process.Wait()
		admitted := 0
		for range 30 {
			if ok, _ := take(t, s, charge(11)); ok {
				admitted++
			}
		}
		if admitted != 10 {
			t.Errorf("%d admitted after 1 of 11", admitted)
		}
	})
}

// Scripts that are flushed while they are used are sent again: exactly N are
// admitted, and nobody is degraded.
func TestScriptFlushesInTheMiddleOfARun(t *testing.T) {
	for _, slots := range []int{1, 64} {
		t.Run(fmt.Sprint(slots, " slots"), func(t *testing.T) {
			srv := startServer(t)
			s := newStore(t, srv.client(t), func(c *redislimit.Config) { c.Slots, c.Timeout = slots, 5*time.Second })
			admin := srv.client(t)
			ctx, stop := context.WithCancel(t.Context())
			var flushing, users sync.WaitGroup
			flushing.Go(func() {
				for ctx.Err() == nil {
					if err := admin.ScriptFlush(context.WithoutCancel(ctx)).Err(); err != nil {
						t.Error(err)
						return
					}
				}
			})
			var admitted atomic.Int64
			for range 8 {
				users.Go(func() {
					for range 40 {
						st := make([]ratelimit.State, 4)
						ok, err := s.TakeAll(t.Context(), request(1, 100), st)
						if err != nil || st[0].Degraded {
							t.Errorf("%+v, %v", st[0], err)
							return
						}
						if ok {
							admitted.Add(1)
						}
					}
				})
			}
			users.Wait()
			stop()
			flushing.Wait()
			if n := admitted.Load(); n > 100 || slots == 1 && n != 100 { // over several slots what is given back may have refused others
				t.Errorf("%d of 320 admitted of a limit of 100", n)
			}
		})
	}
}

// By a server's own Lua, and its own clock: goroutines that hammer over the borders
// of sub-buckets are never admitted more than N in a window by their clocks.
func TestAServerKeepsTheWindow(t *testing.T) {
	const per = 96 * time.Millisecond // a sub-bucket of 3 ms
	for _, n := range []int64{20, 150} {
		client := redis.NewClient(&redis.Options{Addr: testenv.Redis(t), ContextTimeoutEnabled: true, MaxRetries: -1})
		t.Cleanup(func() { _ = client.Close() })
		s := newStore(t, client)
		c := charge(n)
		c.Per = per
		type hit struct{ before, after time.Duration }
		var mu sync.Mutex
		var hits []hit // guarded by mu
		var wg sync.WaitGroup
		start := time.Now()
		for range 3 {
			wg.Go(func() {
				for mine := int64(0); mine < 2*n && time.Since(start) < time.Minute; {
					before := time.Since(start)
					var st [1]ratelimit.State
					ok, err := s.TakeAll(t.Context(), []ratelimit.Charge{c}, st[:])
					switch {
					case err != nil || st[0].Degraded:
						t.Error(err, st)
						return
					case !ok && (st[0].RetryAfter <= 0 || st[0].RetryAfter > per+per/32):
						t.Errorf("%+v", st)
						return
					case ok:
						mine++
						mu.Lock()
						hits = append(hits, hit{before, time.Since(start)})
						mu.Unlock()
					}
				}
			})
		}
		wg.Wait()
		for _, first := range hits {
			inside := int64(0)
			for _, h := range hits {
				if h.before >= first.before && h.after < first.before+per {
					inside++
				}
			}
			if inside > n {
				t.Fatalf("%d admitted in a window of a limit of %d", inside, n)
			}
		}
		if int64(len(hits)) < 6*n {
			t.Errorf("only %d admitted", len(hits))
		}
	}
}
