package redislimit

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening/ratelimit"
)

const (
	maxBlocks = 1000

	// A node asks for the blocks again when what it knows is this old, and lets
	// no request pass on what is older than blocksStale while Redis answers.
	blocksFresh = 500 * time.Millisecond
	blocksStale = 900 * time.Millisecond
)

// blocks is what this node knows about who is blocked.
type blocks struct {
	mu    sync.Mutex // held by who asks Redis; guards asked
	asked time.Time
	known atomic.Pointer[blocked]
}

// blocked is one answer; it is never changed.
type blocked struct {
	at    time.Time
	until map[string]time.Time // by token
}

// changeBlocks is the script that blocks or lifts: KEYS[1] holds all blocks of
// the namespace as "1" (the format's version) and token:end, in milliseconds
// since 1970. ARGV: the end, and the tokens that it replaces, of which the first
// one is written if the end is to come. The key outlives every block that was
// in it, so that a key that is gone means a flush. Answer: 0 if there are too many.
var changeBlocks = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local mine, parts, last = {}, {'1'}, now
for i = 2, #ARGV do mine[ARGV[i]] = true end
local function keep(token, till)
  parts[#parts + 1] = token .. ':' .. string.format('%.0f', till)
  last = math.max(last, till)
end
local value = redis.call('GET', KEYS[1])
if value and string.sub(value, 1, 2) == '1 ' then
  for token, till in string.gmatch(string.sub(value, 3), '([^ :]+):(%d+)') do
    till = tonumber(till)
    if till > now and not mine[token] then keep(token, till) end
  end
end
local till = tonumber(ARGV[1])
if till > now then
  if #parts > ` + strconv.Itoa(maxBlocks) + ` then return 0 end
  keep(ARGV[2], till)
end
if #parts == 1 then parts[2] = '' end
local px = math.max(last - now, redis.call('PTTL', KEYS[1])) + 1000
redis.call('SET', KEYS[1], table.concat(parts, ' '), 'PX', string.format('%.0f', px))
return 1
`)

func (s *Store) blocksKey() string { return s.prefix + "blocked" }

// tokens name a user or organisation in Redis, under the primary key first.
func (s *Store) tokens(kind, name string) ([]string, error) {
	d, err := s.derived()
	if err != nil {
		return nil, err
	}
	out := make([]string, len(d.keys))
	for i, key := range d.keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte("block:" + kind + ":" + name))
		out[i] = base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
	}
	return out, nil
}

// Block implements [ratelimit.BlockStore].
func (s *Store) Block(ctx context.Context, who ratelimit.Identity, until time.Time) error {
	kind, name := "user", who.User
	if name == "" {
		kind, name = "org", who.Org
	}
	tokens, err := s.tokens(kind, name)
	if err != nil {
		return err
	}
	end := int64(0)
	if now := time.Now(); until.After(now) {
		if latest := now.AddDate(100, 0, 0); until.After(latest) {
			until = latest
		}
		end = until.Add(time.Millisecond - 1).UnixMilli()
	}
	argv := []any{end}
	for _, t := range tokens {
		argv = append(argv, t)
	}
	if !s.breaker.admits(time.Now()) {
		return ratelimit.ErrOutage
	}
	call, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	written, err := changeBlocks.Run(call, s.client, []string{s.blocksKey()}, argv...).Int64()
	if s.noted(ctx, err); err != nil {
		return err
	}
	if written == 0 {
		return ratelimit.ErrBlocks
	}
	s.blocks.mu.Lock()
	defer s.blocks.mu.Unlock()
	return s.askBlocks(ctx)
}

// Blocked implements [ratelimit.BlockStore]. While Redis is away it answers with
// what it knew last.
func (s *Store) Blocked(ctx context.Context, who ratelimit.Identity) time.Time {
	known := s.blocks.current(ctx, s)
	if known == nil || len(known.until) == 0 {
		return time.Time{}
	}
	var until time.Time
	for _, one := range [2][2]string{{"user", who.User}, {"org", who.Org}} {
		if one[1] == "" {
			continue
		}
		tokens, err := s.tokens(one[0], one[1])
		if err != nil {
			continue // decisions fail by the same error
		}
		for _, token := range tokens {
			if end := known.until[token]; end.After(until) {
				until = end
			}
		}
	}
	return until
}

// current is what is known, not older than a second while Redis answers. One
// request asks while the others go on with what is half a second old.
func (b *blocks) current(ctx context.Context, s *Store) *blocked {
	age := func() time.Duration {
		if known := b.known.Load(); known != nil {
			return time.Since(known.at)
		}
		return time.Hour
	}
	switch old := age(); {
	case old < blocksFresh:
	case b.mu.TryLock():
		_ = s.askBlocks(ctx) // the breaker tells
		b.mu.Unlock()
	case old >= blocksStale:
		since := time.Now()
		b.mu.Lock()
		if b.asked.Before(since) { // who was before us has tried for all of us
			_ = s.askBlocks(ctx)
		}
		b.mu.Unlock()
	}
	return b.known.Load()
}

// askBlocks asks Redis who is blocked. blocks.mu is held.
func (s *Store) askBlocks(ctx context.Context) error {
	asked := time.Now()
	s.blocks.asked = asked
	if !s.breaker.admits(asked) {
		return ratelimit.ErrOutage
	}
	timeout := s.timeout
	if s.blocks.known.Load() != nil {
		timeout /= 4 // the decision that follows waits too
	}
	call, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	value, err := s.client.Get(call, s.blocksKey()).Result()
	gone := errors.Is(err, redis.Nil)
	if gone {
		err = nil
	}
	if s.noted(ctx, err); err != nil {
		return err
	}
	next := &blocked{at: asked, until: parseBlocks(value)}
	if before := s.blocks.known.Load(); gone && before != nil {
		next.until = before.until // a flush: what was not lifted still holds
	}
	s.blocks.known.Store(next)
	return nil
}

// parseBlocks reads what changeBlocks writes; what it cannot read it leaves out.
func parseBlocks(value string) map[string]time.Time {
	rest, ok := strings.CutPrefix(value, "1 ")
	if !ok {
		return nil
	}
	until := map[string]time.Time{}
	for entry := range strings.FieldsSeq(rest) {
		token, end, _ := strings.Cut(entry, ":")
		if ms, err := strconv.ParseInt(end, 10, 64); err == nil && token != "" {
			until[token] = time.UnixMilli(ms)
		}
	}
	return until
}

// noted tells the breaker how a call went, if its caller is still there.
func (s *Store) noted(ctx context.Context, err error) {
	if err != nil && ctx.Err() != nil {
		s.breaker.abandoned()
		return
	}
	s.note(ctx, err)
}
