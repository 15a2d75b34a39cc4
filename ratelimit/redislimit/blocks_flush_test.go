package redislimit_test

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening/internal/testenv"
	"github.com/inovy/hardening/ratelimit"
	"github.com/inovy/hardening/ratelimit/redislimit"
)

// A flush takes a block from nobody who was told of it: what is blocked is
// written back, by whichever node looks first or makes a change, and what was
// lifted stays lifted.
func TestBlocksSurviveAFlush(t *testing.T) {
	srv, client, _ := mini(t)
	srv.SetTime(time.Now())
	blocksSurviveAFlush(t, client, func() error { srv.FlushAll(); return nil })
	t.Run("for the least user", func(t *testing.T) {
		addr := testenv.Redis(t)
		admin := redis.NewClient(&redis.Options{Addr: addr})
		t.Cleanup(func() { _ = admin.Close() })
		ctx := context.WithoutCancel(t.Context())
		blocksSurviveAFlush(t, leastUser(t, admin), func() error {
			keys, err := admin.Keys(ctx, "test-*:blocked").Result()
			if err != nil || len(keys) == 0 {
				return err
			}
			return admin.Del(ctx, keys...).Err()
		})
	})
}

func blocksSurviveAFlush(t *testing.T, client redis.UniversalClient, flush func() error) {
	mallory, trent := ratelimit.Identity{User: "mallory"}, ratelimit.Identity{User: "trent"}
	end := time.Now().Add(time.Hour)
	for _, first := range []struct {
		name string
		does func(l *ratelimit.Limiter) error
	}{
		{"a request", func(*ratelimit.Limiter) error { return nil }},
		{"a block of someone else", func(l *ratelimit.Limiter) error {
			return l.Block(t.Context(), clinic, end, "phished too")
		}},
		{"a lift of one that was lifted", func(l *ratelimit.Limiter) error {
			return l.Block(t.Context(), trent, time.Time{}, "solved again")
		}},
		{"a lift of one that it does not know", func(l *ratelimit.Limiter) error {
			return l.Block(t.Context(), ratelimit.Identity{User: "nobody"}, time.Time{}, "never was")
		}},
	} {
		t.Run(first.name, func(t *testing.T) {
			ns := "test-" + rand.Text()[:8]
			shared := func(c *redislimit.Config) { c.Namespace = ns }
			node := func() *ratelimit.Limiter { return limiter(t, newStore(t, client, shared)) }
			a, b := node(), node()
			for _, who := range []ratelimit.Identity{eve, mallory, trent} {
				if err := a.Block(t.Context(), who, end, "phished"); err != nil {
					t.Fatal(err)
				}
			}
			until(t, "the other node knows", func() bool { return !admits(t, b, eve) && !admits(t, b, trent) })
			if err := a.Block(t.Context(), trent, time.Time{}, "solved"); err != nil {
				t.Fatal(err)
			}
			if err := flush(); err != nil {
				t.Fatal(err)
			}
			stranger := node() // started after the flush: it knows nobody
			if err := first.does(stranger); err != nil {
				t.Fatal(err)
			}
			// b may not have heard yet that trent was let go; a has, and is right.
			until(t, "the flush is mended", func() bool {
				known := true
				for _, l := range []*ratelimit.Limiter{a, b, stranger, node()} {
					known = !admits(t, l, eve) && !admits(t, l, mallory) && admits(t, l, trent) && known
				}
				return known
			})
			if err := b.Block(t.Context(), eve, time.Time{}, "solved"); err != nil {
				t.Fatal(err)
			}
			if err := flush(); err != nil {
				t.Fatal(err)
			}
			if !admits(t, b, eve) {
				t.Error("a flush blocked again who was lifted here")
			}
			until(t, "the lift holds everywhere", func() bool {
				return admits(t, b, eve) && admits(t, a, eve) && admits(t, stranger, eve) && !admits(t, a, mallory) && !admits(t, node(), mallory)
			})
		})
	}
}

// Whoever lifts a block on a node that has lost the list is obeyed by those that
// still know the block.
func TestALiftAfterAFlushIsNotUndone(t *testing.T) {
	srv, client, _ := mini(t)
	srv.SetTime(time.Now())
	shared := func(c *redislimit.Config) { c.Namespace = "test" }
	old := limiter(t, newStore(t, client, shared))
	if err := old.Block(t.Context(), eve, time.Now().Add(time.Hour), "phished"); err != nil {
		t.Fatal(err)
	}
	srv.FlushAll()
	srv.SetTime(time.Now().Add(time.Second))
	fresh := limiter(t, newStore(t, client, shared))
	if err := fresh.Block(t.Context(), eve, time.Time{}, "solved"); err != nil {
		t.Fatal(err)
	}
	until(t, "the lift is known", func() bool { return admits(t, old, eve) })
	if later := limiter(t, newStore(t, client, shared)); !admits(t, later, eve) || !admits(t, fresh, eve) {
		t.Error("the block came back")
	}
}
