package redislimit_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening/ratelimit"
	"github.com/inovy/hardening/ratelimit/redislimit"
)

// node is one of several that serve at most n requests at a time.
func node(t *testing.T, client redis.UniversalClient, n int) *ratelimit.Limiter {
	t.Helper()
	s := newStore(t, client, func(c *redislimit.Config) { c.Namespace, c.Nodes = "test", 3 })
	l, err := ratelimit.New(ratelimit.Config{
		Store: s, Nodes: 3, Logger: slog.New(slog.DiscardHandler), IP: []ratelimit.Limit{ratelimit.PerHour(100_000)},
		Tiers: []ratelimit.Tier{{Name: "t", IP: []ratelimit.Limit{ratelimit.PerHour(100_000)}, Concurrent: n}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// hold serves requests on the node until it refuses, and returns how many it
// serves at a time and what ends them.
func hold(t *testing.T, l *ratelimit.Limiter, most int) (held int, end func()) {
	t.Helper()
	entered, leave := make(chan struct{}), make(chan struct{})
	h := l.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-leave
	}))
	var wg sync.WaitGroup
	for range most {
		refused := make(chan int, 1)
		wg.Go(func() {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			refused <- w.Code
		})
		select {
		case <-entered:
			held++
		case code := <-refused:
			if code != 429 {
				t.Errorf("answered with %d", code)
			}
			return held, sync.OnceFunc(func() { close(leave); wg.Wait() })
		}
	}
	return held, sync.OnceFunc(func() { close(leave); wg.Wait() })
}

func TestNodesShareTheSlots(t *testing.T) {
	_, client, advance := mini(t)
	a, b := node(t, client, 5), node(t, client, 5)
	one, endOne := hold(t, a, 3)
	defer endOne()
	two, endTwo := hold(t, b, 9)
	defer endTwo()
	if one != 3 || two != 2 {
		t.Fatalf("%d and %d of 5 slots", one, two)
	}
	endOne()
	three, endThree := hold(t, b, 9)
	defer endThree()
	if three != 3 {
		t.Errorf("%d slots, of which 3 were given back", three)
	}
	// Nobody renews in the time of this test: the clock of the server runs 30 s
	// ahead, as after all nodes were killed.
	advance(30 * time.Second)
	four, endFour := hold(t, a, 9)
	defer endFour()
	if four != 5 {
		t.Errorf("%d of 5 slots came back", four)
	}
	endTwo() // what is over releases nothing of others
	endThree()
	if five, end := hold(t, b, 9); five != 0 {
		t.Errorf("%d more than 5", five)
		end()
	}
}

func TestSlotsInAnOutageAreThisNodesShare(t *testing.T) {
	srv, client, _ := mini(t)
	a := node(t, client, 7)
	srv.SetError("LOADING Redis is loading the dataset in memory")
	n, end := hold(t, a, 20)
	if n != 3 { // ceil(7/3)
		t.Errorf("%d slots of 7 on one node of three", n)
	}
	end()
	n, end = hold(t, a, 20)
	if n != 3 {
		t.Errorf("%d slots after they were given back", n)
	}
	end()
}

// Limits and slot are one round trip, and the end of the request another.
func TestASlotCostsOneRoundTripMore(t *testing.T) {
	srv := miniredis.RunT(t)
	var writes atomic.Int64
	client := redis.NewClient(&redis.Options{Addr: srv.Addr(), ContextTimeoutEnabled: true, MaxRetries: -1, PoolSize: 1, Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return counter{c, &writes}, err
	}})
	t.Cleanup(func() { _ = client.Close() })
	h := node(t, client, 2).Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	serve := func() {
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil)); w.Code != 200 {
			t.Fatal(w.Code)
		}
	}
	serve() // connects and loads the script
	before := writes.Load()
	for range 10 {
		serve()
	}
	if got := writes.Load() - before; got != 20 {
		t.Errorf("%d writes for 10 requests", got)
	}
}

// A slot whose request outlives Redis is renewed in this node's memory, and in
// Redis again when that is back: it is counted in one of them at a time.
func TestARenewalInAnOutage(t *testing.T) {
	srv, client, advance := mini(t)
	s := newStore(t, client, func(c *redislimit.Config) { c.Namespace, c.Nodes = "test", 3 })
	c := charge(9)
	renew := func(c ratelimit.Charge, st []ratelimit.State) error {
		return s.Renew(t.Context(), []ratelimit.Charge{c}, st)
	}
	_, taken := take(t, s, c)
	held := []ratelimit.State{taken}

	srv.SetError("LOADING Redis is loading the dataset in memory")
	if err := renew(c, held); err != nil || !held[0].Degraded || held[0].At == 0 {
		t.Fatalf("%+v, %v", held[0], err)
	}
	closed := c
	closed.OnOutage = ratelimit.Closed
	if err := renew(closed, []ratelimit.State{taken}); !errors.Is(err, ratelimit.ErrOutage) {
		t.Errorf("a limit that is closed in an outage: %v", err)
	}
	if err := renew(c, held); err != nil || !held[0].Degraded {
		t.Fatalf("renewed again: %+v, %v", held[0], err)
	}
	local := 0
	for {
		if ok, _ := take(t, s, c); !ok {
			break
		}
		local++
	}
	if local != 2 { // ceil(8/3) without the one that is held
		t.Errorf("%d admitted beside the slot that is held", local)
	}

	srv.SetError("")
	advance(c.Per + c.Per/16) // what Redis counted before is over
	until(t, "it is renewed in Redis", func() bool { return renew(c, held) == nil && !held[0].Degraded })
	if held[0].At == 0 {
		t.Fatalf("%+v", held[0])
	}
	peek := func() int64 {
		var st [1]ratelimit.State
		if _, err := s.PeekAll(t.Context(), []ratelimit.Charge{c}, st[:]); err != nil || st[0].Degraded {
			t.Fatalf("%+v, %v", st[0], err)
		}
		return st[0].Remaining
	}
	if left := peek(); left != 8 {
		t.Errorf("%d of 9 are left beside the slot", left)
	}
	if err := giveBack(s, t, c, held[0]); err != nil {
		t.Fatal(err)
	}
	if left := peek(); left != 9 {
		t.Errorf("%d of 9 are left after the slot was given back", left)
	}
}
