package redislimit_test

import (
	"context"
	"fmt"
	"log/slog"
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
func spread(t *testing.T, admin, least *redis.ClusterClient) {
	storetest.Run(t, nodes(least, in64Slots))
	s := newStore(t, least, in64Slots, func(c *redislimit.Config) { c.Namespace = "test-spread" })
	for i := range 100 {
		if ok, err := s.TakeAll(t.Context(), request(i, 1), make([]ratelimit.State, 4)); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	var masters atomic.Int64
	err := admin.ForEachMaster(t.Context(), func(ctx context.Context, m *redis.Client) error {
		keys, err := m.Keys(ctx, "test-spread:*").Result()
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

// deaf is a server of a Cluster that does not answer for some slots.
type deaf struct {
	off   atomic.Bool
	asked atomic.Int64
	slots map[string]bool // their tags
}

func (d *deaf) hears(cmd redis.Cmder) error {
	for _, arg := range cmd.Args() {
		key, _ := arg.(string)
		if _, rest, found := strings.Cut(key, "{"); found {
			if tag, _, found := strings.Cut(rest, "}"); found && d.slots[tag] {
				d.asked.Add(1)
				if !d.off.Load() {
					return context.DeadlineExceeded
				}
			}
		}
	}
	return nil
}

func (d *deaf) DialHook(next redis.DialHook) redis.DialHook { return next }

func (d *deaf) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := d.hears(cmd); err != nil {
			cmd.SetErr(err)
			return err
		}
		return next(ctx, cmd)
	}
}

func (d *deaf) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		var heard []redis.Cmder
		for _, cmd := range cmds {
			if err := d.hears(cmd); err != nil {
				cmd.SetErr(err)
			} else {
				heard = append(heard, cmd)
			}
		}
		if len(heard) == 0 {
			return cmds[0].Err()
		}
		return next(ctx, heard)
	}
}

// One server of a Cluster hangs: whoever is counted elsewhere is counted there.
func TestAServerThatHangsTakesNoOtherAlong(t *testing.T) {
	_, client, _ := mini(t)
	log := new(records)
	d := &deaf{slots: map[string]bool{}}
	s := newStore(t, client, in64Slots, func(c *redislimit.Config) { c.Namespace, c.Logger = "test", slog.New(log) })
	for i := range 20 {
		d.slots[fmt.Sprint("test-", i)] = true
	}
	client.AddHook(d)
	of := func(i int) []ratelimit.Charge {
		return []ratelimit.Charge{{Rule: "user", Subject: ratelimit.Subject{Name: fmt.Sprint("user", i)}, N: 1000, Per: time.Hour, Cost: 1}}
	}
	away := func() (n int) {
		t.Helper()
		for i := range 200 {
			var st [1]ratelimit.State
			if ok, err := s.TakeAll(t.Context(), of(i), st[:]); !ok || err != nil {
				t.Fatal(i, ok, err)
			}
			if st[0].Degraded {
				n++
			}
		}
		return n
	}
	first := away()
	if first < 20 || first > 120 { // 62 of 200, but for chance
		t.Fatalf("%d of 200 users are counted on the server that hangs", first)
	}
	for range 4 {
		if again := away(); again != first {
			t.Fatalf("%d users are degraded, and %d belong to the server that hangs", again, first)
		}
	}
	// Three calls open a breaker; then there is a probe now and then.
	if n := d.asked.Load(); n > 20*(3+10) {
		t.Errorf("the server that hangs was asked %d times for 20 slots", n)
	}
	if got := log.names(); len(got) != 1 || got[0] != "store_degraded" {
		t.Errorf("events %q", got)
	}
	d.off.Store(true)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for away() > 0 {
		<-tick.C
	}
	if got := log.names(); len(got) != 2 || got[1] != "store_recovered" {
		t.Errorf("events %q", got)
	}
}

// A key that somebody else has made into a list says nothing about the server.
func TestAKeyOfAnotherTypeIsNoOutage(t *testing.T) {
	srv, client, _ := mini(t)
	log := new(records)
	s := newStore(t, client, func(c *redislimit.Config) { c.Namespace, c.Logger = "test", slog.New(log) })
	of := func(name string) []ratelimit.Charge {
		return []ratelimit.Charge{{Rule: "user", Subject: ratelimit.Subject{Name: name}, N: 5, Per: time.Hour, Cost: 1}}
	}
	var st [1]ratelimit.State
	if _, err := s.TakeAll(t.Context(), of("mallory"), st[:]); err != nil {
		t.Fatal(err)
	}
	for _, key := range srv.Keys() {
		srv.Del(key)
		if _, err := srv.Push(key, "a list, where a string belongs"); err != nil {
			t.Fatal(err)
		}
	}
	admitted := 0
	for range 20 {
		ok, err := s.TakeAll(t.Context(), of("mallory"), st[:])
		if err != nil || !st[0].Degraded {
			t.Fatalf("%+v, %v", st, err)
		}
		if ok {
			admitted++
		}
	}
	if admitted > 5 {
		t.Errorf("%d of 5 for whose key it is", admitted)
	}
	if ok, err := s.TakeAll(t.Context(), of("ada"), st[:]); !ok || err != nil || st[0].Degraded {
		t.Errorf("another user: %+v, %v", st, err)
	}
	if got := log.names(); len(got) != 0 {
		t.Errorf("events %q", got)
	}
}
