package redislimit_test

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/inovy/hardening/ratelimit"
	"github.com/inovy/hardening/ratelimit/redislimit"
)

func giveBack(s ratelimit.Store, t *testing.T, c ratelimit.Charge, st ratelimit.State) error {
	return s.Refund(t.Context(), []ratelimit.Charge{c}, []ratelimit.State{st})
}

// One node gives back what it took, and the others see it at once. No node
// takes what is missing then for a flush.
func TestARefundIsSeenByEveryNode(t *testing.T) {
	_, client, advance := mini(t)
	log := new(records)
	shared := func(c *redislimit.Config) { c.Namespace, c.Logger = "test", slog.New(log) }
	a, b := newStore(t, client, shared), newStore(t, client, shared)
	for _, c := range []ratelimit.Charge{charge(1), {Rule: "bursts", N: 1, Per: time.Hour, Burst: 1, Cost: 1}} {
		_, st := take(t, a, c)
		advance(10 * time.Minute)
		if ok, _ := take(t, b, c); ok {
			t.Fatal("a second one of one")
		}
		if err := giveBack(a, t, c, st); err != nil {
			t.Fatal(err)
		}
		advance(time.Second)
		if ok, _ := take(t, b, c); !ok {
			t.Errorf("%+v: refused after the refund", c)
		}
		advance(59 * time.Minute)
		if ok, _ := take(t, a, c); ok {
			t.Errorf("%+v: the refund made the second admission leave too early", c)
		}
	}
	if got := log.names(); len(got) != 0 {
		t.Errorf("events %q", got)
	}
}

// What was taken while Redis was away is given back to this node's memory, and
// what was taken from Redis never to that.
func TestARefundInAnOutage(t *testing.T) {
	srv, client, _ := mini(t)
	ns := "test-" + rand.Text()[:8]
	s := newStore(t, client, func(c *redislimit.Config) { c.Namespace, c.Nodes = ns, 3 })
	c := charge(9)
	_, before := take(t, s, c)
	srv.SetError("LOADING Redis is loading the dataset in memory")
	local := 0
	var during ratelimit.State
	for {
		ok, st := take(t, s, c)
		if !ok {
			break
		}
		during = st
		local++
	}
	if local != 3 { // ceil(8/3)
		t.Fatalf("%d admitted in the outage", local)
	}
	if err := giveBack(s, t, c, before); err == nil {
		t.Error("Redis, which is away, was given something back")
	}
	if ok, _ := take(t, s, c); ok {
		t.Error("memory was given what Redis had counted")
	}
	if err := giveBack(s, t, c, during); err != nil {
		t.Fatal(err)
	}
	if ok, _ := take(t, s, c); !ok {
		t.Error("refused after the refund")
	}
	for range 5 { // opens the breaker
		take(t, s, c)
	}
	if err := giveBack(s, t, c, before); !errors.Is(err, ratelimit.ErrOutage) {
		t.Errorf("with an open breaker: %v", err)
	}
}
