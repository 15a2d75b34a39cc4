package redislimit_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening/internal/testenv"
	"github.com/inovy/hardening/ratelimit"
	"github.com/inovy/hardening/ratelimit/redislimit"
)

// cable is the connection of one node to Redis, which can be pulled.
type cable struct {
	pulled atomic.Bool
	lasts  atomic.Int64 // so many calls; 0 is for ever
}

func (c *cable) Allow() error {
	if c.lasts.Load() > 0 && c.lasts.Add(-1) == 0 {
		defer c.pulled.Store(true)
	}
	if c.pulled.Load() {
		return errors.New("the cable is pulled")
	}
	return nil
}

func (c *cable) ReportResult(error) {}

// nodeOn is a node with a cable of its own, and its log.
func nodeOn(t *testing.T, addr, namespace string) (*ratelimit.Limiter, *cable, *records) {
	line, log := new(cable), new(records)
	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true, MaxRetries: -1, Limiter: line})
	t.Cleanup(func() { _ = client.Close() })
	return limiter(t, newStore(t, client, func(c *redislimit.Config) { c.Namespace, c.Logger = namespace, slog.New(log) })), line, log
}

// What an operator changes on a node that Redis is away from holds there at once,
// and everywhere when it is back; then it can be changed from anywhere.
func TestAChangeOfBlocksInAnOutageIsToldAfterwards(t *testing.T) {
	aChangeIsToldAfterwards(t, func(t *testing.T) string { return miniredis.RunT(t).Addr() })
	t.Run("by Redis", func(t *testing.T) { aChangeIsToldAfterwards(t, func(t *testing.T) string { return testenv.Redis(t) }) })
}

func aChangeIsToldAfterwards(t *testing.T, start func(*testing.T) string) {
	end := time.Now().Add(time.Hour)
	for _, tt := range []struct {
		name   string
		before bool // blocked before the outage
		until  time.Time
	}{
		{"a block", false, end}, {"a lift", true, time.Time{}}, {"a block of who is blocked for longer", true, end},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, ns := start(t), "test-"+rand.Text()[:8]
			a, line, log := nodeOn(t, addr, ns)
			b, _, _ := nodeOn(t, addr, ns)
			if tt.before {
				if err := b.Block(t.Context(), eve, end.Add(time.Hour), "phished"); err != nil {
					t.Fatal(err)
				}
			}
			until(t, "the nodes agree", func() bool { return admits(t, a, eve) != tt.before && admits(t, b, eve) != tt.before })
			after := tt.until.IsZero() // admitted after the change
			line.pulled.Store(true)
			if err := a.Block(t.Context(), eve, tt.until, "incident"); !errors.Is(err, ratelimit.ErrUntold) {
				t.Fatalf("%v, want ErrUntold", err)
			}
			for range 20 { // whether the breaker is closed or open
				if admits(t, a, eve) != after {
					t.Fatal("the node that was told does not answer by the change")
				}
			}
			if admits(t, b, eve) == tt.before {
				t.Error("the other node knows what nobody told it")
			}
			line.pulled.Store(false)
			until(t, "the other node is told", func() bool {
				if admits(t, a, eve) != after {
					t.Fatal("forgotten on the way")
				}
				left, err := b.Peek(t.Context(), ratelimit.Request{Identity: eve})
				return err == nil && left.Allowed == after && left.RetryAfter <= time.Hour
			})
			late, _, _ := nodeOn(t, addr, ns)
			if admits(t, late, eve) != after {
				t.Error("a node that starts later is not told")
			}
			if got := strings.Join(log.names(), " "); !strings.HasSuffix(got, "store_recovered") {
				t.Errorf("events %q", got)
			}
			// Nothing of it is left on the node that was away.
			other := time.Time{}
			if after {
				other = end
			}
			if err := b.Block(t.Context(), eve, other, "again"); err != nil {
				t.Fatal(err)
			}
			until(t, "the change of another node holds", func() bool { return admits(t, a, eve) != after })
		})
	}
}

// Two nodes change the same block while they do not hear of each other: what was
// changed last counts, though it may be told first.
func TestTheNewestOfTwoChangesCounts(t *testing.T) {
	end := time.Now().Add(time.Hour)
	for _, tt := range []struct {
		name      string
		away      time.Time // what the node that is away from Redis changes
		awayFirst bool
		admitted  bool // in the end
	}{
		{"blocked, then lifted elsewhere", end, true, true},
		{"lifted elsewhere, then blocked", end, false, false},
		{"lifted, then blocked elsewhere", time.Time{}, true, false},
		{"blocked elsewhere, then lifted", time.Time{}, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := miniredis.RunT(t)
			a, line, _ := nodeOn(t, srv.Addr(), "test")
			b, _, _ := nodeOn(t, srv.Addr(), "test")
			admits(t, a, eve)
			line.pulled.Store(true)
			away := func() {
				if err := a.Block(t.Context(), eve, tt.away, "here"); !errors.Is(err, ratelimit.ErrUntold) {
					t.Fatal(err)
				}
			}
			there := time.Time{}
			if tt.away.IsZero() {
				there = end
			}
			elsewhere := func() {
				if err := b.Block(t.Context(), eve, there, "there"); err != nil {
					t.Fatal(err)
				}
			}
			first, second := elsewhere, away
			if tt.awayFirst {
				first, second = away, elsewhere
			}
			first()
			done := time.Now()
			until(t, "time passes", func() bool { return time.Since(done) > 50*time.Millisecond })
			second()
			line.pulled.Store(false)
			asked := 0
			until(t, "the nodes agree, and go on to", func() bool {
				if admits(t, a, eve) == tt.admitted && admits(t, b, eve) == tt.admitted {
					asked++
				} else if asked > 0 && admits(t, a, eve) != tt.admitted {
					t.Fatal("the node that was away has changed its mind")
				}
				return asked > 75 // 1.5 s
			})
		})
	}
}

// A failover to a server whose clock is behind: a change that was made after one
// that its node knew stays the newer one.
func TestAnUntoldChangeIsNewerThanWhatItsNodeKnew(t *testing.T) {
	srv := miniredis.RunT(t)
	a, line, _ := nodeOn(t, srv.Addr(), "test")
	b, _, _ := nodeOn(t, srv.Addr(), "test")
	if err := a.Block(t.Context(), eve, time.Now().Add(time.Hour), "phished"); err != nil {
		t.Fatal(err)
	}
	line.pulled.Store(true)
	if err := a.Block(t.Context(), eve, time.Time{}, "solved"); !errors.Is(err, ratelimit.ErrUntold) {
		t.Fatal(err)
	}
	srv.SetTime(time.Now().Add(-10 * time.Minute))
	line.pulled.Store(false)
	until(t, "the lift holds everywhere", func() bool { return admits(t, a, eve) && admits(t, b, eve) })
}

// A later change that is told takes the place of one that was not.
func TestAChangeThatIsToldEndsOneThatWasNot(t *testing.T) {
	srv := miniredis.RunT(t)
	a, line, _ := nodeOn(t, srv.Addr(), "test")
	line.pulled.Store(true)
	if err := a.Block(t.Context(), eve, time.Now().Add(time.Hour), "phished"); !errors.Is(err, ratelimit.ErrUntold) {
		t.Fatal(err)
	}
	line.pulled.Store(false)
	if err := a.Block(t.Context(), eve, time.Time{}, "solved"); err != nil {
		t.Fatal(err)
	}
	if b, _, _ := nodeOn(t, srv.Addr(), "test"); !admits(t, a, eve) || !admits(t, b, eve) {
		t.Error("the block came back")
	}
}

// Redis goes away after it was told of a change, and before it says who is blocked.
func TestAChangeThatRedisKnowsIsNoError(t *testing.T) {
	srv := miniredis.RunT(t)
	a, line, _ := nodeOn(t, srv.Addr(), "test")
	b, _, _ := nodeOn(t, srv.Addr(), "test")
	for _, end := range []time.Time{time.Now().Add(time.Hour), {}} {
		if err := b.Block(t.Context(), clinic, end, "the server knows the script"); err != nil {
			t.Fatal(err)
		}
		_ = admits(t, a, clinic) // it is connected
		line.lasts.Store(1)
		if err := a.Block(t.Context(), eve, end, "incident"); err != nil || !line.pulled.Load() {
			t.Errorf("%v; pulled %t", err, line.pulled.Load())
		}
		if admits(t, a, eve) != end.IsZero() {
			t.Error("the node that was told does not answer by the change")
		}
		until(t, "the other node knows", func() bool { return admits(t, b, eve) == end.IsZero() })
		line.pulled.Store(false)
		until(t, "the node hears from Redis", func() bool { return admits(t, a, clinic) == end.IsZero() })
		if admits(t, a, eve) != end.IsZero() {
			t.Error("forgotten")
		}
	}
}

func TestUntoldChangesAreBounded(t *testing.T) {
	srv, client, _ := mini(t)
	s := newStore(t, client)
	l := limiter(t, s)
	srv.SetError("LOADING Redis is loading the dataset in memory")
	who := func(i int) ratelimit.Identity { return ratelimit.Identity{User: fmt.Sprint(i)} }
	end := time.Now().Add(time.Hour)
	for i := range 1000 {
		if err := s.Block(t.Context(), who(i), end); !errors.Is(err, ratelimit.ErrUntold) {
			t.Fatalf("%d: %v", i, err)
		}
	}
	if err := s.Block(t.Context(), who(1000), end); err == nil || errors.Is(err, ratelimit.ErrUntold) || errors.Is(err, ratelimit.ErrBlocks) {
		t.Errorf("one more: %v", err)
	}
	if err := s.Block(t.Context(), who(7), time.Time{}); !errors.Is(err, ratelimit.ErrUntold) || !s.Blocked(t.Context(), who(7)).IsZero() {
		t.Errorf("a change of one that waits: %v", err)
	}
	if err := l.Block(t.Context(), who(1001), end, "incident"); err == nil || admits(t, l, who(1001)) {
		t.Errorf("what the store does not keep, the Limiter does: %v", err)
	}
}
