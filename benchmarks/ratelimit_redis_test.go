package benchmarks

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
	ulule "github.com/ulule/limiter/v3"
	ululeredis "github.com/ulule/limiter/v3/drivers/store/redis"

	"github.com/inovy/hardening/ratelimit"
	"github.com/inovy/hardening/ratelimit/redislimit"
)

// limitClient is redisClient with the deadlines that redislimit asks for.
func limitClient(tb testing.TB) (*redis.Client, *trips) {
	addr := os.Getenv("HARDENING_TEST_REDIS")
	if addr == "" {
		srv := must(miniredis.Run())(tb)
		tb.Cleanup(srv.Close)
		addr = srv.Addr()
	}
	c := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true, MaxRetries: -1})
	tb.Cleanup(func() { _ = c.Close() })
	counted := new(trips)
	c.AddHook(counted)
	return c, counted
}

type limitKeys struct{}

func (limitKeys) Generation() uint64              { return 1 }
func (limitKeys) Derive(_ string, n int) [][]byte { return [][]byte{make([]byte, n)} }

// benchmarkThreeLimits decides about the limits of the service, of an address
// and of a user. The peers know one limit a call; ours is all or nothing.
func benchmarkThreeLimits(b *testing.B) {
	ctx := context.Background()
	keys := []string{"bench:service", "bench:192.0.2.10", "bench:alice"}
	run := func(b *testing.B, counted *trips, decide func() bool) {
		b.Helper()
		if !decide() { // scripts are sent once
			b.Fatal("denied")
		}
		before, n := counted.n.Load(), 0
		b.ReportAllocs()
		for b.Loop() {
			n++
			if !decide() {
				b.Fatal("denied")
			}
		}
		b.ReportMetric(float64(counted.n.Load()-before)/float64(n), "roundtrips/op")
	}
	b.Run("hardening", func(b *testing.B) {
		client, counted := limitClient(b)
		store := must(redislimit.New(redislimit.Config{Client: client, Namespace: "bench", Keys: limitKeys{}, Timeout: 5 * time.Second, Logger: slog.New(slog.DiscardHandler)}))(b)
		l := must(ratelimit.New(ratelimit.Config{
			Store: store, Global: []ratelimit.Limit{ratelimit.PerHour(perHour)}, IP: []ratelimit.Limit{ratelimit.PerHour(perHour)},
			Tiers:  []ratelimit.Tier{{Name: "all", User: []ratelimit.Limit{ratelimit.PerHour(perHour)}}},
			Logger: slog.New(slog.DiscardHandler),
		}))(b)
		req := ratelimit.Request{Addr: netip.MustParseAddr("192.0.2.10"), Identity: ratelimit.Identity{User: "alice"}}
		run(b, counted, func() bool {
			d, err := l.Take(ctx, req)
			return err == nil && d.Allowed && !d.Degraded
		})
	})
	b.Run("redisrate", func(b *testing.B) {
		client, counted := limitClient(b)
		l := redis_rate.NewLimiter(client)
		limit := redis_rate.Limit{Rate: perHour, Burst: perHour, Period: time.Hour}
		run(b, counted, func() bool {
			for _, k := range keys {
				if r, err := l.Allow(ctx, k, limit); err != nil || r.Allowed == 0 {
					return false
				}
			}
			return true
		})
	})
	b.Run("ulule", func(b *testing.B) {
		client, counted := limitClient(b)
		s := must(ululeredis.NewStoreWithOptions(client, ulule.StoreOptions{Prefix: "bench"}))(b)
		run(b, counted, func() bool {
			for _, k := range keys {
				if c, err := s.Get(ctx, k, ulule.Rate{Period: time.Hour, Limit: perHour}); err != nil || c.Reached {
					return false
				}
			}
			return true
		})
	})
}
