package redissession

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening/internal/faults"
	"github.com/inovy/hardening/internal/redisconf"
	"github.com/inovy/hardening/session"
)

// Config configures a [Store].
type Config struct {
	_ [0]func()

	// Client talks to Redis 6.2 or later, to a Sentinel or to a Cluster; the
	// caller makes and closes it, and sets its TLS and user. It must have
	// ContextTimeoutEnabled, or no deadline holds when Redis hangs, and must not read
	// from replicas, which may not know of a logout. nil is a fault.
	Client redis.UniversalClient

	// Namespace is what every key begins with: 1 to 64 letters, digits, dots,
	// dashes and underscores. Services that share a Redis need one each, so
	// empty is a fault.
	Namespace string

	// WatchInterval is how often a session is looked at for which somebody
	// waits on Session.Done. Default: 1 s. At least 100 ms.
	WatchInterval time.Duration
}

// Store is a session.Store, session.Watcher and session.Ender in Redis. It is
// safe for concurrent use.
type Store struct {
	client redis.UniversalClient
	prefix string
	every  time.Duration
}

var (
	_ session.Store   = (*Store)(nil)
	_ session.Watcher = (*Store)(nil)
	_ session.Ender   = (*Store)(nil)
)

// New returns a Store, or every fault of cfg at once. It does not talk to Redis.
func New(cfg Config) (*Store, error) {
	c := faults.For("redissession")
	redisconf.Check(c, cfg.Client, cfg.Namespace, "of a logout")
	switch {
	case cfg.WatchInterval == 0:
		cfg.WatchInterval = time.Second
	case cfg.WatchInterval < 100*time.Millisecond:
		c.Add("WatchInterval", cfg.WatchInterval, "is less than 100ms", "leave it zero for one second")
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	return &Store{client: cfg.Client, prefix: cfg.Namespace + ":{", every: cfg.WatchInterval}, nil
}

// part is what the keys of a tag begin with. Its braces are the Cluster's hash
// tag: all keys that one script touches lie in one slot.
func (s *Store) part(first byte) string {
	return s.prefix + hex.EncodeToString([]byte{first}) + "}:"
}

func (s *Store) tagKey(kind string, t session.Tag) string {
	return s.part(t[0]) + kind + ":" + hex.EncodeToString(t[:])
}

func (s *Store) refKey(kind string, r session.Ref) string {
	return s.tagKey(kind, r.Tag) + ":" + hex.EncodeToString(r.Hash[:])
}

// keys are those of one session: itself, its user's index and mark, and
// everybody's mark.
func (s *Store) keys(r session.Ref) []string {
	return []string{s.refKey("s", r), s.tagKey("u", r.Tag), s.tagKey("m", r.Tag), s.part(r.Tag[0]) + "a"}
}

// stamped are keys, and the last stamp.
func (s *Store) stamped(r session.Ref) []string { return append(s.keys(r), s.part(r.Tag[0])+"l") }

// ttl is how long a key lives, in milliseconds, rounded up.
func ttl(until time.Time) int64 {
	return max(0, int64((time.Until(until)+time.Millisecond-1)/time.Millisecond))
}

// age is how long ago t was, in microseconds: what Redis reckons with.
func age(t time.Time) int64 { return time.Since(t).Microseconds() }

// Load implements session.Store.
func (s *Store) Load(ctx context.Context, ref session.Ref) (session.Record, error) {
	v, err := loadScript.run(ctx, s.client, s.keys(ref)).Slice()
	return record(v, err)
}

// Delete implements session.Store.
func (s *Store) Delete(ctx context.Context, ref session.Ref) (session.Record, error) {
	v, err := deleteScript.run(ctx, s.client, s.keys(ref), hex.EncodeToString(ref.Hash[:])).Slice()
	return record(v, err)
}

// record reads what a script returned of a session.
func record(v []any, err error) (session.Record, error) {
	if errors.Is(err, redis.Nil) {
		return session.Record{}, session.ErrNotFound
	}
	if err != nil {
		return session.Record{}, err
	}
	if len(v) != 5 {
		return session.Record{}, errShape
	}
	var n [3]int64
	for i := range n {
		text, _ := v[i].(string)
		if n[i], err = strconv.ParseInt(text, 10, 64); err != nil {
			return session.Record{}, errShape
		}
	}
	anonymous, _ := v[3].(string)
	blob, _ := v[4].(string)
	rec := session.Record{
		Version: uint64(n[0]), Born: time.UnixMicro(n[1]), Expires: time.UnixMicro(n[2]),
		Anonymous: anonymous == "1", Blob: []byte(blob),
	}
	if !rec.Expires.After(time.Now()) {
		return session.Record{}, session.ErrNotFound
	}
	return rec, nil
}

var errShape = errors.New("redissession: Redis holds something that is no session of this package")

// What the scripts answer beside records.
const (
	done     = 1
	gone     = -1
	conflict = -2
	exists   = -3
	tooMany  = -4
	revoked  = -5
)

func answer(n int64, err error) error {
	switch {
	case err != nil:
		return err
	case n == done:
		return nil
	case n == gone:
		return session.ErrNotFound
	case n == conflict:
		return session.ErrConflict
	case n == exists:
		return session.ErrExists
	case n == tooMany:
		return session.ErrTooMany
	case n == revoked:
		return session.ErrRevoked
	}
	return fmt.Errorf("%w: answer %d", errShape, n)
}

// Create implements session.Store.
func (s *Store) Create(ctx context.Context, ref session.Ref, rec session.Record, q session.Quota) ([]session.Ref, error) {
	life := ttl(rec.Expires)
	if life == 0 {
		return nil, nil // gone before it was there
	}
	v, err := createScript.run(ctx, s.client, s.stamped(ref),
		age(rec.Born), life, rec.Expires.UnixMicro(), flag(rec.Anonymous), rec.Blob,
		hex.EncodeToString(ref.Hash[:]), q.Max, flag(q.Deny)).Slice()
	if err != nil {
		return nil, err
	}
	if len(v) == 0 {
		return nil, errShape
	}
	n, _ := v[0].(int64)
	if err := answer(n, nil); err != nil {
		return nil, err
	}
	var dropped []session.Ref
	for _, h := range v[1:] {
		r := session.Ref{Tag: ref.Tag}
		if text, _ := h.(string); !unhex(r.Hash[:], text) {
			return nil, errShape
		}
		dropped = append(dropped, r)
	}
	return dropped, nil
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

func unhex(dst []byte, text string) bool {
	b, err := hex.DecodeString(text)
	return err == nil && copy(dst, b) == len(dst) && len(b) == len(dst)
}

// Update implements session.Store.
func (s *Store) Update(ctx context.Context, ref session.Ref, rec session.Record) error {
	var number [8]byte
	_, _ = rand.Read(number[:]) // never fails (Go 1.24)
	return answer(updateScript.run(ctx, s.client, s.stamped(ref),
		ttl(rec.Expires), rec.Expires.UnixMicro(), rec.Version, rec.Blob, number[:]).Int64())
}

// Touch implements session.Store.
func (s *Store) Touch(ctx context.Context, ref session.Ref, expires time.Time) error {
	return answer(touchScript.run(ctx, s.client, s.stamped(ref), ttl(expires), expires.UnixMicro()).Int64())
}

// List implements session.Store, with one round trip for each tag.
func (s *Store) List(ctx context.Context, tags []session.Tag) ([]session.Entry, error) {
	var all []session.Entry
	for _, t := range tags {
		v, err := listScript.run(ctx, s.client, s.keys(session.Ref{Tag: t})[1:], s.tagKey("s", t)+":").Slice()
		if err != nil {
			return nil, err
		}
		for ; len(v) >= 6; v = v[6:] {
			e := session.Entry{Ref: session.Ref{Tag: t}}
			if text, _ := v[0].(string); !unhex(e.Ref.Hash[:], text) {
				return nil, errShape
			}
			if e.Record, err = record(v[1:6], nil); errors.Is(err, session.ErrNotFound) {
				continue
			} else if err != nil {
				return nil, err
			}
			all = append(all, e)
		}
	}
	return all, nil
}

// Revoke implements session.Store, with one round trip for each tag.
func (s *Store) Revoke(ctx context.Context, r session.Revocation) (int, error) {
	total := 0
	for _, t := range r.Tags {
		keep := ""
		if r.Keep.Tag == t {
			keep = hex.EncodeToString(r.Keep.Hash[:])
		}
		n, err := revokeScript.run(ctx, s.client, append(s.keys(session.Ref{Tag: t})[1:], s.part(t[0])+"l"),
			s.tagKey("s", t)+":", age(r.At), ttl(r.Until), keep).Int()
		if err != nil {
			return total, err
		}
		total += n
	}
	return total, nil
}

// parts is how many parts the sessions fall into; RevokeAll marks each.
const parts = 256

// RevokeAll implements session.Store. It leaves a mark on each of the 256
// parts, in one round trip to each node; what the marks end is not there any
// more for anyone, and its keys go when their time has come.
func (s *Store) RevokeAll(ctx context.Context, at, until time.Time) error {
	_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range parts {
			p.Eval(ctx, markScript.source, []string{s.part(byte(i)) + "a", s.part(byte(i)) + "l"}, age(at), ttl(until))
		}
		return nil
	})
	return err
}

// End implements session.Ender.
func (s *Store) End(ctx context.Context, ref session.Ref, until time.Time) error {
	return answer(endScript.run(ctx, s.client, []string{s.refKey("e", ref)}, ttl(until)).Int64())
}

// ends are the keys that tell whether a session in a cookie has ended: its user's
// mark, everybody's mark, the last stamp, where this memory begins, and its end.
func (s *Store) ends(r session.Ref) []string {
	part := s.part(r.Tag[0])
	return []string{s.tagKey("m", r.Tag), part + "a", part + "l", part + "b", s.refKey("e", r)}
}

// Begin implements session.Ender.
func (s *Store) Begin(ctx context.Context, ref session.Ref, born, until time.Time) (time.Time, error) {
	return stamp(beginScript.run(ctx, s.client, s.ends(ref)[:4], age(born), ttl(until)), session.ErrRevoked)
}

// Ended implements session.Ender.
func (s *Store) Ended(ctx context.Context, ref session.Ref, stamp time.Time) (bool, error) {
	n, err := endedScript.run(ctx, s.client, s.ends(ref), stamp.UnixMicro()).Int64()
	return n == 1, err
}

// Spare implements session.Ender.
func (s *Store) Spare(ctx context.Context, r session.Revocation, old, until time.Time) (time.Time, error) {
	return stamp(spareScript.run(ctx, s.client, s.ends(r.Keep), old.UnixMicro(), age(r.At), ttl(r.Until), ttl(until)), session.ErrNotFound)
}

// stamp reads what a script gave, or refused.
func stamp(c *redis.Cmd, refusal error) (time.Time, error) {
	n, err := c.Int64()
	switch {
	case errors.Is(err, redis.Nil):
		return time.Time{}, refusal
	case err != nil:
		return time.Time{}, err
	}
	return time.UnixMicro(n), nil
}

// Watch implements session.Watcher by asking once per interval. What cannot be
// asked is taken to be gone when the time is over that Redis last gave it.
func (s *Store) Watch(ref session.Ref) (<-chan struct{}, func()) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		tick := time.NewTicker(s.every)
		defer tick.Stop()
		var until time.Time // zero while Redis has not answered yet
		for {
			left, err := aliveScript.run(ctx, s.client, s.keys(ref)).Int64()
			if err == nil && left > 0 {
				until = time.Now().Add(time.Duration(left) * time.Millisecond)
			}
			if err == nil && left == 0 || err != nil && !until.IsZero() && time.Now().After(until) {
				close(ended)
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return ended, stop
}
