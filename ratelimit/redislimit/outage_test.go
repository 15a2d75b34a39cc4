package redislimit_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening/ratelimit"
	"github.com/inovy/hardening/ratelimit/redislimit"
)

// Of what was left when Redis went away each node admits its share, so a window
// that straddles the beginning of the outage holds.
func TestAWindowThatStraddlesTheBeginningOfAnOutageHolds(t *testing.T) {
	for _, before := range []int64{0, 1, 50, 99, 100} {
		srv, client, _ := mini(t)
		ns := "test-" + rand.Text()[:8]
		nodes := make([]*redislimit.Store, 3)
		for i := range nodes {
			nodes[i] = newStore(t, client, func(c *redislimit.Config) { c.Namespace, c.Nodes = ns, 3 })
		}
		const n = 100
		admitted := int64(0)
		for range before {
			if ok, _ := take(t, nodes[0], charge(n)); ok {
				admitted++
			}
		}
		st := make([]ratelimit.State, 1)
		for _, s := range nodes { // each node has heard of it
			if _, err := s.PeekAll(t.Context(), []ratelimit.Charge{charge(n)}, st); err != nil {
				t.Fatal(err)
			}
		}
		srv.SetError("LOADING Redis is loading the dataset in memory")
		for range 2 * n {
			for _, s := range nodes {
				ok, st := take(t, s, charge(n))
				if ok {
					admitted++
				} else if st.RetryAfter <= 0 || st.RetryAfter > time.Hour {
					t.Fatalf("%+v", st)
				}
			}
		}
		if admitted < n || admitted > n+2 {
			t.Errorf("%d before the outage: %d admitted in one window of a limit of %d", before, admitted, n)
		}
	}
}

// fake is a Redis on a pipe that counts nothing and admits everything, so that
// its outages can be timed in a bubble. It can refuse connections, or hang.
type fake struct {
	state atomic.Int32 // up, refusing, hanging
	slots bool         // it has all slots of a Cluster, and says so even while it hangs
	mu    sync.Mutex   // guards conns
	conns []net.Conn
	value atomic.Pointer[string] // what every key holds
	delay atomic.Int64           // of every answer, in nanoseconds
}

const (
	up = iota
	refusing
	hanging
	silent // no connection is made, and none refused
)

func (f *fake) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if f.state.Load() == silent {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if f.state.Load() == refusing {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	client, server := net.Pipe()
	f.mu.Lock()
	f.conns = append(f.conns, server)
	f.mu.Unlock()
	go f.serve(server)
	return client, nil
}

func (f *fake) turn(state int32) {
	f.state.Store(state)
	f.mu.Lock()
	defer f.mu.Unlock()
	if state == refusing || state == silent {
		for _, c := range f.conns {
			_ = c.Close()
		}
		f.conns = nil
	}
}

func (f *fake) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	in := bufio.NewReader(c)
	line := func() (string, error) {
		s, err := in.ReadString('\n')
		return strings.TrimRight(s, "\r\n"), err
	}
	for {
		head, err := line()
		if err != nil || !strings.HasPrefix(head, "*") {
			return
		}
		n, _ := strconv.Atoi(head[1:])
		args := make([]string, n)
		for i := range args {
			size, err := line()
			if err != nil {
				return
			}
			length, _ := strconv.Atoi(size[1:])
			b := make([]byte, length+2)
			if _, err := io.ReadFull(in, b); err != nil {
				return
			}
			args[i] = string(b[:length])
		}
		name := strings.ToLower(args[0])
		if f.state.Load() == hanging && !(f.slots && slices.Contains([]string{"hello", "client", "cluster"}, name)) {
			continue
		}
		time.Sleep(time.Duration(f.delay.Load()))
		reply := "+OK\r\n"
		switch name {
		case "cluster":
			id := strings.Repeat("a", 40)
			reply = "*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:6379\r\n$40\r\n" + id + "\r\n"
		case "hello":
			reply = "-ERR unknown command\r\n"
		case "get":
			reply = "$-1\r\n"
			if v := f.value.Load(); v != nil {
				reply = fmt.Sprintf("$%d\r\n%s\r\n", len(*v), *v)
			}
		case "evalsha", "eval":
			k, _ := strconv.Atoi(args[2])
			var b strings.Builder
			fmt.Fprintf(&b, "*%d\r\n:1\r\n:%d\r\n", 2+4*k, time.Now().UnixMicro())
			for range k {
				b.WriteString(":1\r\n:0\r\n:1000000\r\n:1\r\n")
			}
			reply = b.String()
		}
		if _, err := io.WriteString(c, reply); err != nil {
			return
		}
	}
}

func TestRedisIsAskedAgainWithin5sOfItsReturnAndEachChangeIsToldOnce(t *testing.T) {
	for name, down := range map[string]int32{"refusing": refusing, "hanging": hanging} {
		for _, away := range []time.Duration{time.Second, 17 * time.Second, 10 * time.Minute} {
			t.Run(fmt.Sprintf("%s for %v", name, away), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					srv := new(fake)
					client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379", Dialer: srv.dial, ContextTimeoutEnabled: true, MaxRetries: -1})
					defer func() { _ = client.Close(); srv.turn(refusing) }()
					log := new(records)
					s := newStore(t, client, func(c *redislimit.Config) { c.Timeout, c.Logger = 0, slog.New(log) })
					degraded := func() bool { _, st := take(t, s, charge(1000)); return st.Degraded }
					if degraded() {
						t.Fatal("degraded while the server is up")
					}
					srv.turn(down)
					for end := time.Now().Add(away); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
						if !degraded() {
							t.Fatal("decided by a server that is away")
						}
					}
					srv.turn(up)
					back := time.Now()
					for degraded() {
						if time.Since(back) > 5*time.Second {
							t.Fatal("5 s after its return Redis is not asked")
						}
						time.Sleep(50 * time.Millisecond)
					}
					for range 20 {
						if degraded() {
							t.Error("degraded again")
						}
					}
					if got := strings.Join(log.names(), " "); got != "store_degraded store_recovered" {
						t.Errorf("events %q", got)
					}
				})
			})
		}
	}
}

// A server of a Cluster that still says which slots it has, and nothing else, as
// a process finds it that starts in the middle of an outage: no call takes longer
// than it may.
func TestAHungServerOfAClusterCosts100ms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &fake{slots: true}
		srv.turn(hanging)
		client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:6379"}, Dialer: srv.dial, ContextTimeoutEnabled: true})
		defer func() { _ = client.Close(); srv.turn(refusing) }()
		s := newStore(t, client, func(c *redislimit.Config) { c.Timeout = 0 })
		for name, call := range map[string]func(){
			"a decision": func() {
				if ok, st := take(t, s, charge(10)); !ok || !st.Degraded {
					t.Errorf("%t, %+v", ok, st)
				}
			},
			"a look at the blocks": func() { s.Blocked(t.Context(), eve) },
			"a block": func() {
				if err := s.Block(t.Context(), eve, time.Now().Add(time.Hour)); err == nil {
					t.Error("no error")
				}
			},
		} {
			start := time.Now()
			if call(); time.Since(start) != 100*time.Millisecond {
				t.Errorf("%s took %v", name, time.Since(start))
			}
		}
		start := time.Now()
		if take(t, s, charge(10)); time.Since(start) != 0 {
			t.Errorf("after three failures a decision took %v", time.Since(start))
		}
	})
}

// Whatever a client that New takes may do by its own options, such as retries by
// default and long times between them, a call ends with the deadline of the store.
func TestNoOptionOfAClientMakesACallLonger(t *testing.T) {
	for name, options := range map[string]redis.Options{
		"the defaults":        {},
		"many retries":        {MaxRetries: 100, MinRetryBackoff: 50 * time.Millisecond, MaxRetryBackoff: 10 * time.Second},
		"long times":          {DialTimeout: time.Minute, ReadTimeout: time.Minute, WriteTimeout: time.Minute, PoolTimeout: time.Minute},
		"no times":            {ReadTimeout: -1, WriteTimeout: -1},
		"many dials":          {DialerRetries: 100, DialerRetryTimeout: time.Second},
		"a single connection": {PoolSize: 1, MaxActiveConns: 1, PoolTimeout: time.Minute},
	} {
		for what, fails := range map[string]func(srv *fake){
			"hangs":             func(srv *fake) { srv.turn(hanging) },
			"refuses":           func(srv *fake) { srv.turn(refusing) },
			"cannot be reached": func(srv *fake) { srv.turn(silent) },
			"is slow":           func(srv *fake) { srv.delay.Store(int64(time.Minute)) },
		} {
			for _, connected := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/connected %t", name, what, connected), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						srv := new(fake)
						options := options
						options.Addr, options.Dialer, options.ContextTimeoutEnabled = "127.0.0.1:6379", srv.dial, true
						client := redis.NewClient(&options)
						defer func() { // until its diallers have ended
							srv.delay.Store(0)
							_ = client.Close()
							srv.turn(refusing)
							time.Sleep(10 * time.Minute)
						}()
						s := newStore(t, client, func(c *redislimit.Config) { c.Timeout = 0 })
						if connected {
							if _, st := take(t, s, charge(1000)); st.Degraded {
								t.Fatal("degraded while the server is up")
							}
						}
						fails(srv)
						var wg sync.WaitGroup
						for range 5 { // at once, and one after the other
							wg.Go(func() {
								for range 5 {
									start := time.Now()
									if ok, st := take(t, s, charge(1000)); !ok || !st.Degraded || time.Since(start) > 100*time.Millisecond {
										t.Errorf("%t, %+v, after %v", ok, st, time.Since(start))
									}
								}
							})
						}
						wg.Wait()
						start := time.Now()
						if s.Blocked(t.Context(), eve); time.Since(start) > 100*time.Millisecond {
							t.Errorf("who is blocked, after %v", time.Since(start))
						}
					})
				})
			}
		}
	}
}

func TestEachLimitHasItsOwnPolicyForAnOutage(t *testing.T) {
	srv, client, _ := mini(t)
	s := newStore(t, client)
	local, closed, open := charge(3), charge(3), charge(3)
	closed.Rule, closed.OnOutage = "closed", ratelimit.Closed
	open.Rule, open.OnOutage = "open", ratelimit.DangerouslyOpen
	st := make([]ratelimit.State, 2)
	if ok, err := s.TakeAll(t.Context(), []ratelimit.Charge{closed, local}, st); !ok || err != nil || st[0].Degraded {
		t.Fatal(ok, err, st)
	}
	srv.SetError("MISCONF Redis is configured to save RDB snapshots")
	if ok, err := s.TakeAll(t.Context(), []ratelimit.Charge{local, closed}, st); ok || !errors.Is(err, ratelimit.ErrOutage) {
		t.Errorf("closed: %t, %v", ok, err)
	}
	if _, err := s.PeekAll(t.Context(), []ratelimit.Charge{closed}, st); !errors.Is(err, ratelimit.ErrOutage) {
		t.Errorf("a peek at what is closed: %v", err)
	}
	for range 10 {
		if ok, st := take(t, s, open); !ok || !st.Degraded {
			t.Fatalf("open: %t, %+v", ok, st)
		}
	}
	open.Cost = 4
	if ok, st := take(t, s, open); ok || st.RetryAfter >= 0 {
		t.Errorf("a cost above N where an outage is open: %t, %+v", ok, st)
	}
	open.Cost = 1
	for i := range 4 { // one of three was used before
		ok, err := s.TakeAll(t.Context(), []ratelimit.Charge{open, local}, st)
		if err != nil || ok != (i < 2) || !st[0].Fits || st[1].Fits != (i < 2) {
			t.Errorf("request %d beside an open one: %t, %+v, %v", i+1, ok, st, err)
		}
	}
}

func TestAFlushIsToldOnceAndAResetIsNone(t *testing.T) {
	srv, client, advance := mini(t)
	log := new(records)
	s := newStore(t, client, func(c *redislimit.Config) { c.Logger = slog.New(log) })
	a, b := charge(10), charge(10)
	b.Rule = "user"
	use := func() {
		for range 3 {
			advance(time.Millisecond)
			take(t, s, a)
			take(t, s, b)
		}
	}
	use()
	other := newStore(t, client, func(c *redislimit.Config) { c.Logger = slog.New(log) })
	take(t, other, a)
	if err := s.Reset(t.Context(), []ratelimit.Charge{a}); err != nil {
		t.Fatal(err)
	}
	use()
	advance(time.Hour)
	use()
	if got := log.names(); len(got) != 0 {
		t.Fatalf("events without a flush: %q", got)
	}
	for flushes := 1; flushes <= 2; flushes++ {
		srv.FlushAll()
		use()
		if got := log.names(); len(got) != flushes || got[flushes-1] != "store_reset" {
			t.Fatalf("after flush %d: %q", flushes, got)
		}
	}
}
