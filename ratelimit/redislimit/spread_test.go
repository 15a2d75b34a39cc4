package redislimit_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening/ratelimit"
	"github.com/inovy/hardening/ratelimit/redislimit"
	"github.com/inovy/hardening/ratelimit/storetest"
)

func in64Slots(c *redislimit.Config) { c.Slots = 64 }

// request is what one request of a user is held against.
func request(i int, n int64) []ratelimit.Charge {
	addr := ratelimit.Subject{Addr: netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)})}
	user := ratelimit.Subject{Name: fmt.Sprint("user", i)}
	cs := []ratelimit.Charge{{Rule: "global", N: 1_000_000}, {Rule: "ip", Subject: addr, N: 1000}, {Rule: "user", Subject: user, N: n}, {Rule: "route", Subject: user, N: 1000}}
	for i := range cs {
		cs[i].Per, cs[i].Cost = time.Hour, 1
	}
	return cs
}

// spread holds the contract on a cluster, and each of its nodes holds keys.
func spread(t *testing.T, c *redis.ClusterClient) {
	storetest.Run(t, storetest.Subject{New: func(t *testing.T) ratelimit.Store { return newStore(t, c, in64Slots) }})
	s := newStore(t, c, in64Slots, func(c *redislimit.Config) { c.Namespace = "spread" })
	for i := range 100 {
		if ok, err := s.TakeAll(t.Context(), request(i, 1), make([]ratelimit.State, 4)); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	var masters atomic.Int64
	err := c.ForEachMaster(t.Context(), func(ctx context.Context, m *redis.Client) error {
		keys, err := m.Keys(ctx, "spread:*").Result()
		if len(keys) >= 30 { // of 301
			masters.Add(1)
		}
		return err
	})
	if err != nil || masters.Load() != 3 {
		t.Errorf("keys lie on %d nodes: %v", masters.Load(), err)
	}
}

func TestASubjectStaysInOneSlotAndManyAreSpread(t *testing.T) {
	srv, client, _ := mini(t)
	s := newStore(t, client, in64Slots, func(c *redislimit.Config) { c.Namespace = "test" })
	tags := map[string]bool{}
	for i := range 300 {
		srv.FlushAll()
		if ok, err := s.TakeAll(t.Context(), request(i, 5), make([]ratelimit.State, 4)); !ok || err != nil {
			t.Fatal(ok, err)
		}
		of := map[string]string{}
		for _, key := range srv.Keys() {
			tag, rest, found := strings.Cut(strings.TrimPrefix(key, "test:{"), "}:")
			rule, _, _ := strings.Cut(rest, ":")
			if !found || !strings.HasPrefix(tag, "test-") {
				t.Fatalf("key %q", key)
			}
			of[rule] = tag
		}
		if len(of) != 4 || of["user"] != of["route"] {
			t.Fatalf("the limits of a user lie apart: %v", of)
		}
		tags[of["user"]] = true
	}
	if len(tags) < 55 { // all 64 but for chance
		t.Errorf("300 users lie in %d slots", len(tags))
	}
}

func TestSpreadLimitsAreOneRoundTripToo(t *testing.T) {
	srv := miniredis.RunT(t)
	var writes atomic.Int64
	client := redis.NewClient(&redis.Options{Addr: srv.Addr(), ContextTimeoutEnabled: true, MaxRetries: -1, PoolSize: 1, Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return counter{c, &writes}, err
	}})
	t.Cleanup(func() { _ = client.Close() })
	s := newStore(t, client, in64Slots)
	st := make([]ratelimit.State, 4)
	for i, want := range []int64{-1, 1, 1, 2, 2} { // the first connects and loads the script; what is refused is given back
		before := writes.Load()
		if ok, err := s.TakeAll(t.Context(), request(1, 3), st); ok != (i < 3) || err != nil {
			t.Fatal(i, ok, err)
		}
		if got := writes.Load() - before; want >= 0 && got != want {
			t.Errorf("request %d: %d writes, want %d", i+1, got, want)
		}
	}
	if st[0].Remaining != 1_000_000-3 || st[0].At != 0 || !st[0].Fits || st[2].Fits {
		t.Errorf("after two refusals: %+v", st)
	}
}

// A part that fails is an outage of the whole, and gives back what others took.
func TestAPartThatFailsTakesNothingElsewhere(t *testing.T) {
	srv, client, _ := mini(t)
	s := newStore(t, client, in64Slots, func(c *redislimit.Config) { c.Namespace = "test" })
	st := make([]ratelimit.State, 4)
	take := func() bool {
		t.Helper()
		ok, err := s.TakeAll(t.Context(), request(1, 3), st)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	take()
	var global string
	for _, key := range srv.Keys() {
		if strings.Contains(key, ":global:") {
			global = key
		}
	}
	before, _ := srv.Get(global)
	for _, key := range srv.Keys() {
		if strings.Contains(key, ":ip:") {
			srv.Del(key)
			if _, err := srv.Push(key, "a list, where a string belongs"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if take(); !st[0].Degraded {
		t.Errorf("%+v", st)
	}
	if after, _ := srv.Get(global); after != before {
		t.Errorf("the global counter went from %q to %q", before, after)
	}
}
