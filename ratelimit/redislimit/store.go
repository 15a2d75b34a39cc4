package redislimit

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/faults"
	"github.com/inovy/hardening/internal/redisconf"
	"github.com/inovy/hardening/ratelimit"
)

// Config configures a [Store].
type Config struct {
	_ [0]func()

	// Name is the instance in events. Default: "redislimit".
	Name string

	// Client talks to Redis 6.2 or later, to a Sentinel or to a Cluster; the
	// caller makes and closes it. It must have ContextTimeoutEnabled and no ReadTimeout
	// or WriteTimeout of -2, or no deadline would hold, and must not read from
	// replicas. nil is a fault.
	Client redis.UniversalClient

	// Namespace is what every key begins with: 1 to 64 letters, digits, dots,
	// dashes and underscores. Empty is a fault.
	Namespace string

	// Keys hashes who is counted. Every node needs the same one, so nil is a
	// fault.
	Keys KeySource

	// Nodes is how many instances share the load; while Redis is away each
	// admits its share. Default: 1, which is right for one node only.
	Nodes int

	// Slots is how many slots of a Cluster the counters are spread over, from 1
	// to 1024, the same on every node. Default: 1, so that one script decides about
	// a request. With more, the limits of one address, of one user and of one
	// organisation each stay together in one slot; those of a request may lie in
	// several. See the package documentation.
	Slots int

	// Timeout bounds each call. Default: 100 ms. At most 5 s.
	Timeout time.Duration

	// MaxBytes bounds the memory for counters while Redis is away. Default: as
	// in [ratelimit.MemoryConfig].
	MaxBytes int64

	// Logger gets store_degraded and its end, and store_reset. nil = slog.Default() then.
	Logger *slog.Logger
}

// Store is a [ratelimit.Store] in Redis. It is safe for concurrent use, and
// needs no Close: it has no goroutine.
type Store struct {
	client   redis.UniversalClient
	prefix   string // of what is not spread
	tag      string // of all keys, with the slot's number if there are several
	slots    uint32
	keys     KeySource
	nodes    int64
	timeout  time.Duration
	local    *ratelimit.MemoryStore
	breakers breakers
	sink     event.Sink
	key      atomic.Pointer[derived]
	last     lastKnown
	blocks   blocks
}

var (
	_ ratelimit.BlockStore = (*Store)(nil)
	_ ratelimit.LeaseStore = (*Store)(nil)
)

// New returns a Store, or every fault of cfg at once. It does not talk to Redis.
func New(cfg Config) (*Store, error) {
	f := faults.For("redislimit")
	if cfg.Name == "" {
		cfg.Name = "redislimit"
	}
	f.Name("Name", cfg.Name)
	redisconf.Check(f, cfg.Client, cfg.Namespace, "who is blocked")
	if cfg.Keys == nil {
		f.Missing("Keys", "is nil", "pass a *secrets.Ring, the same on every node")
	} else {
		f.NilInside("Keys", cfg.Keys, "pass a ring that was made")
	}
	if cfg.Nodes == 0 {
		cfg.Nodes = 1
	}
	if cfg.Nodes < 1 || cfg.Nodes > 10000 {
		f.Add("Nodes", cfg.Nodes, "is not between 1 and 10000", "set the number of instances behind the load balancer")
	}
	if cfg.Slots == 0 {
		cfg.Slots = 1
	}
	if cfg.Slots < 1 || cfg.Slots > 1024 {
		f.Add("Slots", cfg.Slots, "is not between 1 and 1024", "leave it zero for 1, or set some for each node of the Cluster, such as 64")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 100 * time.Millisecond
	}
	if cfg.Timeout < time.Millisecond || cfg.Timeout > 5*time.Second {
		f.Add("Timeout", cfg.Timeout, "is not between 1ms and 5s", "leave it zero for 100ms")
	}
	local, err := ratelimit.NewMemoryStore(ratelimit.MemoryConfig{MaxBytes: cfg.MaxBytes})
	if err != nil {
		f.Add("MaxBytes", cfg.MaxBytes, "is less than 1 MiB", "leave it zero for 256 MiB")
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	each := 1
	if cfg.Slots > 1 {
		each = cfg.Slots + 1
	}
	return &Store{
		breakers: breakers{each: make([]breaker, each)},
		tag:      cfg.Namespace, slots: uint32(cfg.Slots),
		last:   lastKnown{hash: maphash.MakeSeed()},
		client: cfg.Client, prefix: cfg.Namespace + ":{" + cfg.Namespace + "}:", keys: cfg.Keys,
		nodes: int64(cfg.Nodes), timeout: cfg.Timeout, local: local,
		sink: event.Sink{Logger: cfg.Logger, Room: "ratelimit", Name: cfg.Name},
	}, nil
}

// Nodes is how many instances share the load: [Config.Nodes]. A nil Store has 0.
func (s *Store) Nodes() int {
	if s == nil {
		return 0
	}
	return int(s.nodes)
}

// TakeAll implements [ratelimit.Store].
func (s *Store) TakeAll(ctx context.Context, charges []ratelimit.Charge, states []ratelimit.State) (bool, error) {
	return s.decide(ctx, modeTake, charges, states)
}

// PeekAll implements [ratelimit.Store].
func (s *Store) PeekAll(ctx context.Context, charges []ratelimit.Charge, states []ratelimit.State) (bool, error) {
	return s.decide(ctx, modePeek, charges, states)
}

func (s *Store) decide(ctx context.Context, mode string, charges []ratelimit.Charge, states []ratelimit.State) (bool, error) {
	if err := ratelimit.CheckCharges(charges, states); err != nil || len(charges) == 0 {
		return err == nil, err
	}
	keys, err := s.names(charges)
	if err != nil {
		return false, err
	}
	answers, all, err := s.run(ctx, mode, keys, charges, nil)
	if err != nil && ctx.Err() != nil && !errors.Is(err, ratelimit.ErrOutage) {
		return false, ctx.Err() // the caller has gone: that says nothing about Redis
	}
	if err != nil {
		return s.degraded(ctx, mode, keys, charges, states)
	}
	now, vanished := time.Now(), false
	for i := range charges {
		c, a := &charges[i], &answers[i]
		gone := s.last.note(keys[i], a.usage(c, now), a.found)
		vanished = vanished || gone
		states[i] = ratelimit.State{
			Fits:       a.retry == 0,
			Remaining:  max(c.Capacity()-a.used, 0),
			RetryAfter: time.Duration(a.retry) * time.Microsecond,
			ResetAfter: time.Duration(a.reset) * time.Microsecond,
		}
		if all && mode == modeTake {
			states[i].At = a.server
		}
	}
	if vanished {
		_ = s.sink.Emit(ctx, event.StoreReset, slog.String(event.KeyReason, "counters that were still needed are gone from Redis: a flush, an eviction or a failover; limits begin anew"))
	}
	return all, nil
}

// noted tells a breaker how a call went, if its caller is still there, and the log
// when that changes something. A key of another type is an answer: it says
// nothing about the server, and one such key must not take all limits along.
func (s *Store) noted(ctx context.Context, breaker int, err error) {
	if err != nil && ctx.Err() != nil {
		s.breakers.abandoned(breaker)
		return
	}
	switch s.breakers.done(time.Now(), breaker, err == nil || strings.Contains(err.Error(), "WRONGTYPE")) {
	case opened:
		_ = s.sink.Emit(ctx, event.StoreDegraded, slog.String(event.KeyReason, "Redis is away; each node admits its share"), slog.String(event.KeyError, err.Error()))
	case closed:
		_ = s.sink.Emit(ctx, event.StoreRecovered, slog.String(event.KeyReason, "Redis is back; limits are shared again"), slog.String(event.KeyOutcome, event.OutcomeSuccess))
	}
}

// Reset implements [ratelimit.Store]. Unlike decisions it needs Redis.
func (s *Store) Reset(ctx context.Context, charges []ratelimit.Charge) error {
	if err := s.local.Reset(ctx, charges); err != nil || len(charges) == 0 {
		return err
	}
	keys, err := s.names(charges)
	if err != nil {
		return err
	}
	_, err = s.change(ctx, modeReset, keys, charges, nil)
	return err
}

// change gives back, renews or resets. It is never repeated: what timed out may
// have been done.
func (s *Store) change(ctx context.Context, mode string, keys []string, charges []ratelimit.Charge, taken []ratelimit.State) ([]answer, error) {
	answers, _, err := s.run(ctx, mode, keys, charges, taken)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	for i := range charges {
		s.last.note(keys[i], answers[i].usage(&charges[i], now), true)
	}
	return answers, nil
}

// Refund implements [ratelimit.Store]. What was taken while Redis was away is
// given back to this node's memory; what was taken from Redis only while Redis
// answers: else the error is [ratelimit.ErrOutage] or the client's.
func (s *Store) Refund(ctx context.Context, charges []ratelimit.Charge, taken []ratelimit.State) error {
	if err := ratelimit.CheckCharges(charges, taken); err != nil || len(charges) == 0 {
		return err
	}
	var local, shared []ratelimit.Charge
	var here, there []ratelimit.State
	for i := range charges {
		c := charges[i]
		switch {
		case taken[i].At == 0:
		case taken[i].Degraded:
			c.Cost = min(c.Cost, never) * s.nodes
			local, here = append(local, c), append(here, taken[i])
		default:
			shared, there = append(shared, c), append(there, taken[i])
		}
	}
	err := s.local.Refund(ctx, local, here)
	if err != nil || len(shared) == 0 {
		return err
	}
	keys, err := s.names(shared)
	if err != nil {
		return err
	}
	_, err = s.change(ctx, modeGiveBack, keys, shared, there)
	return err
}

// Renew implements [ratelimit.LeaseStore]. While Redis is away the charges are
// counted in this node's memory, as far as they fit there.
func (s *Store) Renew(ctx context.Context, charges []ratelimit.Charge, taken []ratelimit.State) error {
	if err := ratelimit.CheckCharges(charges, taken); err != nil || len(charges) == 0 {
		return err
	}
	keys, err := s.names(charges)
	if err != nil {
		return err
	}
	for i := range charges {
		if taken[i].Degraded {
			if err := s.Refund(ctx, charges[i:i+1], taken[i:i+1]); err != nil {
				return err
			}
			taken[i] = ratelimit.State{Fits: true}
		}
	}
	answers, err := s.change(ctx, modeRenew, keys, charges, taken)
	if err != nil {
		_, err = s.degraded(ctx, modeTake, keys, charges, taken)
		return err
	}
	for i := range taken {
		taken[i] = ratelimit.State{Fits: true, At: answers[i].server}
	}
	return nil
}
