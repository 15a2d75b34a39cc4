package redislimit_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening/internal/testenv"
	"github.com/inovy/hardening/ratelimit"
	"github.com/inovy/hardening/ratelimit/redislimit"
)

func limiter(t testing.TB, s ratelimit.Store) *ratelimit.Limiter {
	t.Helper()
	l, err := ratelimit.New(ratelimit.Config{
		Store: s, Logger: slog.New(slog.DiscardHandler),
		IP: []ratelimit.Limit{ratelimit.PerHour(1_000_000)}, Tiers: []ratelimit.Tier{{Name: "t", User: []ratelimit.Limit{ratelimit.PerHour(1_000_000)}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

var (
	eve    = ratelimit.Identity{User: "eve@example.com"}
	clinic = ratelimit.Identity{Org: "eve@example.com"}
)

func admits(t testing.TB, l *ratelimit.Limiter, who ratelimit.Identity) bool {
	t.Helper()
	d, err := l.Take(t.Context(), ratelimit.Request{Identity: who})
	if err != nil {
		t.Fatal(err)
	}
	return d.Allowed
}

// Of two nodes the one that is told refuses at once, and the other one knows
// when it asks next.
func TestABlockHoldsOnEveryNode(t *testing.T) {
	srv, client, _ := mini(t)
	srv.SetTime(time.Now())
	blockOnEveryNode(t, client)
	t.Run("for the least user", func(t *testing.T) {
		addr := testenv.Redis(t)
		admin := redis.NewClient(&redis.Options{Addr: addr})
		t.Cleanup(func() { _ = admin.Close() })
		blockOnEveryNode(t, leastUser(t, admin))
	})
}

func blockOnEveryNode(t *testing.T, client redis.UniversalClient) {
	ns := "test-" + rand.Text()[:8]
	shared := func(c *redislimit.Config) { c.Namespace = ns }
	a, b := limiter(t, newStore(t, client, shared)), limiter(t, newStore(t, client, shared))
	if !admits(t, a, eve) || !admits(t, b, eve) {
		t.Fatal("refused without a block")
	}
	end := time.Now().Add(time.Hour)
	if err := a.Block(t.Context(), eve, end, "phished"); err != nil {
		t.Fatal(err)
	}
	if admits(t, a, eve) {
		t.Error("the node that was told admits")
	}
	until(t, "the other node refuses", func() bool { return !admits(t, b, eve) })
	if !admits(t, b, clinic) || !admits(t, b, ratelimit.Identity{}) {
		t.Error("someone else is refused")
	}
	if later := limiter(t, newStore(t, client, shared)); admits(t, later, eve) {
		t.Error("a node that starts later admits")
	}
	if err := b.Block(t.Context(), clinic, end, "phished too"); err != nil {
		t.Fatal(err)
	}
	if admits(t, b, ratelimit.Identity{User: "bob", Org: clinic.Org}) {
		t.Error("a member of a blocked organisation is admitted")
	}
	if err := b.Block(t.Context(), eve, time.Time{}, "solved"); err != nil {
		t.Fatal(err)
	}
	if !admits(t, b, eve) {
		t.Error("not lifted where it was lifted")
	}
	until(t, "the other node admits again", func() bool { return admits(t, a, eve) })
}

// Redis sees neither names nor reasons, and keeps no block for ever.
func TestBlocksInRedisNameNobodyAndExpire(t *testing.T) {
	srv, client, _ := mini(t)
	s := newStore(t, client, func(c *redislimit.Config) { c.Namespace = "test" })
	l := limiter(t, s)
	srv.SetTime(time.Now())
	if err := l.Block(t.Context(), eve, time.Now().Add(time.Hour), "phished"); err != nil {
		t.Fatal(err)
	}
	value, err := srv.Get("test:{test}:blocked")
	if err != nil || strings.Contains(value, "eve") || strings.Contains(value, "phished") || !strings.HasPrefix(value, "1 ") {
		t.Errorf("%q, %v", value, err)
	}
	if ttl := srv.TTL("test:{test}:blocked"); ttl < time.Hour || ttl > 26*time.Hour {
		t.Errorf("expires after %v", ttl)
	}
	srv.FlushAll()
	asked := 0
	until(t, "the list is asked for again", func() bool { // once in 500 ms, of 20 ms each
		if admits(t, l, eve) {
			t.Fatal("a flush released a blocked user on a node that knew")
		}
		asked++
		return asked > 40
	})
}

func TestBlocksOfANamespaceAreBounded(t *testing.T) {
	srv, client, _ := mini(t)
	srv.SetTime(time.Now())
	s := newStore(t, client, func(c *redislimit.Config) { c.Namespace = "test" })
	block := func(name string, end time.Duration) error {
		return s.Block(t.Context(), ratelimit.Identity{User: name}, time.Now().Add(end))
	}
	var full strings.Builder
	full.WriteString("1")
	for i := range 999 {
		fmt.Fprintf(&full, " token%d:%d:%d", i, time.Now().Add(time.Hour).UnixMilli(), time.Now().UnixMilli())
	}
	if err := srv.Set("test:{test}:blocked", full.String()); err != nil {
		t.Fatal(err)
	}
	if err := block("a", time.Hour); err != nil {
		t.Errorf("the last of 1000: %v", err)
	}
	if err := block("b", time.Hour); !errors.Is(err, ratelimit.ErrBlocks) {
		t.Errorf("one more: %v", err)
	}
	if err := block("a", 3*time.Hour); err != nil {
		t.Errorf("a block that is prolonged: %v", err)
	}
	srv.SetTime(time.Now().Add(2 * time.Hour))
	if err := block("b", 3*time.Hour); err != nil {
		t.Errorf("after the others ended: %v", err)
	}
	srv.SetTime(time.Now().Add(100 * time.Hour))
	if err := block("c", 200*time.Hour); err != nil {
		t.Error(err)
	}
	value, _ := srv.Get("test:{test}:blocked")
	if n := len(strings.Fields(value)); n != 2 {
		t.Errorf("%d changes are kept for ever", n-1)
	}
}

// A node that cannot tell the others says so, and refuses itself.
func TestABlockInAnOutageHoldsHere(t *testing.T) {
	srv, client, _ := mini(t)
	l := limiter(t, newStore(t, client))
	srv.SetError("LOADING Redis is loading the dataset in memory")
	if err := l.Block(t.Context(), eve, time.Now().Add(time.Hour), "phished"); err == nil {
		t.Error("no error")
	}
	if admits(t, l, eve) {
		t.Error("admitted")
	}
	srv.SetError("")
	if err := l.Block(t.Context(), eve, time.Time{}, "solved"); err != nil || !admits(t, l, eve) {
		t.Errorf("not lifted: %v", err)
	}
}

// token is what a node writes for who is blocked.
func token(t testing.TB, who ratelimit.Identity) string {
	srv, client, _ := mini(t)
	srv.SetTime(time.Now())
	if err := newStore(t, client, func(c *redislimit.Config) { c.Namespace = "test" }).Block(t.Context(), who, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	value, _ := srv.Get("test:{test}:blocked")
	return strings.Split(strings.TrimPrefix(value, "1 "), ":")[0]
}

// A request whose client has gone asks for those that come after it: who is
// blocked cannot keep a node from hearing of it by breaking requests off.
func TestARequestThatIsBrokenOffAsksWhoIsBlocked(t *testing.T) {
	token := token(t, eve)
	synctest.Test(t, func(t *testing.T) {
		srv := new(fake)
		client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379", Dialer: srv.dial, ContextTimeoutEnabled: true, MaxRetries: -1})
		defer func() { _ = client.Close(); srv.turn(refusing); time.Sleep(5 * time.Second) }() // until its dialler has ended
		s := newStore(t, client, func(c *redislimit.Config) { c.Timeout = 0 })
		if end := s.Blocked(t.Context(), eve); !end.IsZero() {
			t.Fatalf("blocked until %v by nobody", end)
		}
		value := fmt.Sprintf("1 %s:%d:%d", token, time.Now().Add(time.Hour).UnixMilli(), time.Now().UnixMilli())
		srv.value.Store(&value)
		time.Sleep(time.Second)
		gone, leave := context.WithCancel(t.Context())
		leave()
		if end := s.Blocked(gone, eve); end.IsZero() {
			t.Error("nobody has heard of the block")
		}
	})
}

// A Redis that is slow, but in time for decisions, is in time for blocks.
func TestASlowRedisTellsWhoIsBlocked(t *testing.T) {
	token := token(t, eve)
	synctest.Test(t, func(t *testing.T) {
		srv := new(fake)
		client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379", Dialer: srv.dial, ContextTimeoutEnabled: true, MaxRetries: -1})
		defer func() { _ = client.Close(); srv.turn(refusing); time.Sleep(5 * time.Second) }() // until its dialler has ended
		s := newStore(t, client, func(c *redislimit.Config) { c.Timeout = 0 })
		l := limiter(t, s)
		if !admits(t, l, eve) {
			t.Fatal("refused without a block")
		}
		srv.delay.Store(int64(90 * time.Millisecond))
		if _, st := take(t, s, charge(1000)); st.Degraded {
			t.Fatal("too slow for decisions")
		}
		value := fmt.Sprintf("1 %s:%d:%d", token, time.Now().Add(time.Hour).UnixMilli(), time.Now().UnixMilli())
		srv.value.Store(&value)
		time.Sleep(time.Second)
		if admits(t, l, eve) {
			t.Error("a second later it is not known")
		}
	})
}

// By the clock of a bubble: a block that another node wrote holds here within a
// second, in whatever millisecond a request comes, and what was known holds
// when Redis goes away.
func TestABlockIsKnownWithinASecond(t *testing.T) {
	token := token(t, eve)
	for _, pause := range []time.Duration{time.Millisecond, 37 * time.Millisecond, 499 * time.Millisecond, 700 * time.Millisecond, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			srv := new(fake)
			client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379", Dialer: srv.dial, ContextTimeoutEnabled: true, MaxRetries: -1})
			defer func() { _ = client.Close(); srv.turn(refusing); time.Sleep(5 * time.Second) }() // until its dialler has ended
			l := limiter(t, newStore(t, client, func(c *redislimit.Config) { c.Timeout = 0 }))
			for range 3 {
				if !admits(t, l, eve) {
					t.Fatal("refused without a block")
				}
				time.Sleep(pause)
			}
			value := fmt.Sprintf("1 %s:%d:%d", token, time.Now().Add(24*time.Hour).UnixMilli(), time.Now().UnixMilli())
			srv.value.Store(&value)
			written := time.Now()
			for admits(t, l, eve) {
				if time.Since(written) > time.Second {
					t.Fatal("a second later it is not known")
				}
				time.Sleep(min(pause, 100*time.Millisecond))
			}
			for range 50 { // what was decided before it was read came within the second
				if admits(t, l, eve) {
					t.Fatal("known, and forgotten again")
				}
				time.Sleep(pause / 10)
			}
			srv.turn(refusing)
			for range 50 {
				if admits(t, l, eve) {
					t.Fatal("an outage released a blocked user")
				}
				time.Sleep(pause / 10)
			}
		})
	}
}

// However a blocked list looks, it never panics and blocks nobody by accident.
func TestABrokenListBlocksNobody(t *testing.T) {
	srv, client, _ := mini(t)
	for _, value := range []string{"", "1", "1 ", "2 x:1", "1 :1", "1 x", "1 x:y", "1 x:99999999999999999999", "1 x:99999999999999999999:1", "1 x:9999999999999:", "1 x:9999999999999:-1", "1 x:-9999999999999:1", strings.Repeat("x:1:1 ", 5000)} {
		s := newStore(t, client, func(c *redislimit.Config) { c.Namespace = "test" })
		if err := srv.Set("test:{test}:blocked", value); err != nil {
			t.Fatal(err)
		}
		if end := s.Blocked(context.Background(), eve); !end.IsZero() {
			t.Errorf("%.20q blocks until %v", value, end)
		}
	}
}

// So many are lifted that the list leaves the lift of eve out. A node that slept
// meanwhile does not take its block for one that Redis has lost.
func TestALiftThatIsLeftOutOfTheListIsNotUndone(t *testing.T) {
	var lifts strings.Builder
	lifts.WriteString("1")
	for i := range 1000 {
		fmt.Fprintf(&lifts, " token%d:0:%d", i, time.Now().Add(time.Second).UnixMilli()+int64(i))
	}
	for name, wakes := range map[string]func(s *redislimit.Store) error{
		"a request": func(*redislimit.Store) error { return nil },
		"a block of someone else": func(s *redislimit.Store) error {
			return s.Block(t.Context(), clinic, time.Now().Add(time.Hour))
		},
	} {
		srv, client, _ := mini(t)
		srv.SetTime(time.Now())
		s := newStore(t, client, func(c *redislimit.Config) { c.Namespace = "test" })
		if err := s.Block(t.Context(), eve, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if err := srv.Set("test:{test}:blocked", lifts.String()); err != nil {
			t.Fatal(err)
		}
		srv.SetTime(time.Now().Add(10 * time.Second))
		if err := wakes(s); err != nil {
			t.Fatal(err)
		}
		until(t, "the lift is known", func() bool { return s.Blocked(t.Context(), eve).IsZero() })
		if other := newStore(t, client, func(c *redislimit.Config) { c.Namespace = "test" }); !other.Blocked(t.Context(), eve).IsZero() {
			t.Errorf("%s brought the block back", name)
		}
	}
}

// A block holds until its time by the clocks of the nodes, whatever the server's
// clock says meanwhile: changes are ordered by that, and nothing else.
func TestABlockHoldsWhateverTheServersClockSays(t *testing.T) {
	for _, skew := range []time.Duration{-48 * time.Hour, -10 * time.Minute, 10 * time.Minute, 20 * time.Hour} {
		srv, client, _ := mini(t)
		srv.SetTime(time.Now().Add(skew))
		shared := func(c *redislimit.Config) { c.Namespace = "test" }
		node := func() *ratelimit.Limiter { return limiter(t, newStore(t, client, shared)) }
		a := node()
		if err := a.Block(t.Context(), eve, time.Now().Add(5*time.Minute), "phished"); err != nil {
			t.Fatal(err)
		}
		if err := a.Block(t.Context(), clinic, time.Now().Add(5*time.Minute), "phished too"); err != nil {
			t.Fatal(err)
		}
		if b := node(); admits(t, a, eve) || admits(t, b, eve) || admits(t, b, clinic) {
			t.Errorf("a server whose clock is off by %v released who is blocked", skew)
		}
		if err := a.Block(t.Context(), eve, time.Time{}, "solved"); err != nil {
			t.Fatal(err)
		}
		if b := node(); !admits(t, a, eve) || !admits(t, b, eve) || admits(t, b, clinic) {
			t.Errorf("off by %v: the wrong one was lifted", skew)
		}
	}
}
