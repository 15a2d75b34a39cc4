package redislimit

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/internal/faults"
	"github.com/inovy/hardening/ratelimit"
)

// KeySource gives the key that subjects are hashed with; *secrets.Ring is one.
type KeySource interface {
	Derive(purpose string, n int) [][]byte
	Generation() uint64
}

// Config configures a [Store].
type Config struct {
	_ [0]func()

	// Name is the instance in events. Default: "redislimit".
	Name string

	// Client talks to Redis 6.2 or later, to a Sentinel or to a Cluster; the
	// caller makes and closes it. It must have ContextTimeoutEnabled, or no
	// deadline would hold. nil is a fault.
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
	client  redis.UniversalClient
	prefix  string
	keys    KeySource
	nodes   int64
	timeout time.Duration
	local   *ratelimit.MemoryStore
	breaker breaker
	sink    event.Sink
	key     atomic.Pointer[derived]
	last    lastKnown
	blocks  blocks
}

type derived struct {
	generation uint64
	keys       [][]byte // the primary one first
}

var (
	_ ratelimit.BlockStore = (*Store)(nil)
	_ ratelimit.LeaseStore = (*Store)(nil)
)

// ErrKeys is returned when [Config.Keys] holds no key.
var ErrKeys = errors.New("redislimit: no key to hash subjects with")

// New returns a Store, or every fault of cfg at once. It does not talk to Redis.
func New(cfg Config) (*Store, error) {
	f := faults.For("redislimit")
	if cfg.Name == "" {
		cfg.Name = "redislimit"
	}
	f.Name("Name", cfg.Name)
	if cfg.Client == nil {
		f.Missing("Client", "is nil", "pass a client from redis.NewClient or redis.NewClusterClient")
	} else {
		f.NilInside("Client", cfg.Client, "pass a client that was made")
		if f.Len() == 0 && !keepsDeadlines(cfg.Client) {
			f.Add("Client", "ContextTimeoutEnabled false", "waits for seconds when Redis hangs, whatever the deadline", "set ContextTimeoutEnabled in its options")
		}
	}
	switch {
	case cfg.Namespace == "":
		f.Missing("Namespace", "is empty", "name the service, so that two that share a Redis keep apart")
	case len(cfg.Namespace) > 64 || strings.Trim(cfg.Namespace, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") != "":
		f.Add("Namespace", cfg.Namespace, "is not 1 to 64 letters, digits, dots, dashes and underscores", "use the service's name")
	}
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
	return &Store{
		last:   lastKnown{hash: maphash.MakeSeed()},
		client: cfg.Client, prefix: cfg.Namespace + ":{" + cfg.Namespace + "}:", keys: cfg.Keys,
		nodes: int64(cfg.Nodes), timeout: cfg.Timeout, local: local,
		sink: event.Sink{Logger: cfg.Logger, Room: "ratelimit", Name: cfg.Name},
	}, nil
}

// keepsDeadlines reports whether calls end with their context. Of a client
// that is none of go-redis's own it must be believed.
func keepsDeadlines(c redis.UniversalClient) bool {
	switch c := c.(type) {
	case *redis.Client:
		return c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		return c.Options().ContextTimeoutEnabled
	case *redis.Ring:
		return c.Options().ContextTimeoutEnabled
	}
	return true
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
	if !s.breaker.admits(time.Now()) {
		return s.degraded(ctx, mode, keys, charges, states)
	}
	reply, err := s.run(ctx, mode, keys, charges, nil)
	s.noted(ctx, err)
	if err != nil && ctx.Err() != nil {
		return false, ctx.Err() // the caller has gone: that says nothing about Redis
	}
	if err != nil {
		return s.degraded(ctx, mode, keys, charges, states)
	}
	all := reply[0] == 1
	now, vanished := time.Now(), false
	for i := range charges {
		c := &charges[i]
		used, retry, reset, found := reply[2+4*i], reply[3+4*i], reply[4+4*i], reply[5+4*i]
		gone := s.last.note(keys[i], usage{used: used, n: c.Capacity(), server: reply[1], reset: reset, at: now}, found == 1)
		vanished = vanished || gone
		states[i] = ratelimit.State{
			Fits:       retry == 0,
			Remaining:  max(c.Capacity()-used, 0),
			RetryAfter: time.Duration(retry) * time.Microsecond,
			ResetAfter: time.Duration(reset) * time.Microsecond,
		}
		if all && mode == modeTake {
			states[i].At = reply[1]
		}
	}
	if vanished {
		_ = s.sink.Emit(ctx, event.StoreReset, slog.String(event.KeyReason, "counters that were still needed are gone from Redis: a flush, an eviction or a failover; limits begin anew"))
	}
	return all, nil
}

// Modes of the script.
const (
	modeTake     = "t"
	modePeek     = "p"
	modeGiveBack = "g"
	modeRenew    = "w"
	modeReset    = "z"
)

// run calls the script. taken says when the charges were taken, for modes that
// need it.
func (s *Store) run(ctx context.Context, mode string, keys []string, charges []ratelimit.Charge, taken []ratelimit.State) ([]int64, error) {
	argv := make([]any, 1, 1+6*len(charges))
	argv[0] = mode
	for i := range charges {
		c := &charges[i]
		per, width, at := int64((c.Per+time.Microsecond-1)/time.Microsecond), int64(0), int64(0)
		if c.N > exactMost {
			width = (per + subBuckets - 1) / subBuckets
		}
		if taken != nil {
			at = taken[i].At
		}
		argv = append(argv, c.N, per, min(c.Cost, never), width, c.Burst, at)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	reply, err := decide.Run(ctx, s.client, keys, argv...).Int64Slice()
	if err == nil && len(reply) != 2+4*len(charges) {
		err = fmt.Errorf("redislimit: an answer of %d numbers", len(reply))
	}
	return reply, err
}

const (
	exactMost  = 128 // as in package ratelimit
	subBuckets = 32
	never      = 2_000_000_000 // a cost above every N that Lua's numbers hold exactly
)

// note tells the breaker how a call went, and the log when that changes something.
func (s *Store) note(ctx context.Context, err error) {
	switch s.breaker.done(time.Now(), err == nil) {
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

// change gives back, renews or resets, and returns the server's time. It is
// never repeated: what timed out may have been done.
func (s *Store) change(ctx context.Context, mode string, keys []string, charges []ratelimit.Charge, taken []ratelimit.State) (int64, error) {
	if !s.breaker.admits(time.Now()) {
		return 0, ratelimit.ErrOutage
	}
	reply, err := s.run(ctx, mode, keys, charges, taken)
	if s.noted(ctx, err); err != nil {
		return 0, err
	}
	now := time.Now()
	for i := range charges {
		used, reset := reply[2+4*i], reply[4+4*i]
		s.last.note(keys[i], usage{used: used, n: charges[i].Capacity(), server: reply[1], reset: reset, at: now}, true)
	}
	return reply[1], nil
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
	now, err := s.change(ctx, modeRenew, keys, charges, taken)
	if err != nil {
		_, err = s.degraded(ctx, modeTake, keys, charges, taken)
		return err
	}
	for i := range taken {
		taken[i] = ratelimit.State{Fits: true, At: now}
	}
	return nil
}

// derived returns the keys that hash who is counted.
func (s *Store) derived() (*derived, error) {
	d := s.key.Load()
	if g := s.keys.Generation(); d == nil || d.generation != g {
		ks := s.keys.Derive("ratelimit/redislimit/v1", 32)
		if len(ks) == 0 || len(ks[0]) == 0 {
			return nil, ErrKeys
		}
		d = &derived{g, ks}
		s.key.Store(d)
	}
	return d, nil
}

// names are the keys of the charges.
func (s *Store) names(charges []ratelimit.Charge) ([]string, error) {
	d, err := s.derived()
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, d.keys[0])
	var sum [sha256.Size]byte
	keys := make([]string, len(charges))
	for i := range charges {
		c := &charges[i]
		b := make([]byte, 0, 64)
		if c.Burst > 0 {
			b = append(b, 0) // which no window's length is
		}
		b = binary.AppendUvarint(b, uint64(c.Per))
		addr := c.Subject.Addr.AsSlice()
		for _, part := range []string{c.Rule, string(addr), c.Subject.Name} {
			b = binary.AppendUvarint(b, uint64(len(part)))
			b = append(b, part...)
		}
		mac.Reset()
		mac.Write(b)
		keys[i] = s.prefix + c.Rule + ":" + base64.RawURLEncoding.EncodeToString(mac.Sum(sum[:0])[:16])
	}
	return keys, nil
}
