package redislimit

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/inovy/hardening/internal/event"
	"github.com/inovy/hardening/ratelimit"
)

const (
	maxBlocks = 1000
	maxEnded  = 1000 // remembered changes that block nobody
	maxUntold = 1000 // tokens of changes that Redis has not heard of

	// A node asks for the blocks again when what it knows is this old, and lets
	// no request pass on what is older than blocksStale while Redis answers.
	blocksFresh = 500 * time.Millisecond
	blocksStale = 900 * time.Millisecond

	// A change is remembered for a day and an hour, also when it blocks nobody any
	// more, and what a node knew a day ago or earlier it does not write back: so a
	// node that slept never brings back a block that was lifted meanwhile.
	blocksRemembered = blocksTrusted + time.Hour
	blocksTrusted    = 24 * time.Hour
)

// blocks is what this node knows about who is blocked.
type blocks struct {
	mu    sync.Mutex // held by who asks Redis; guards asked, and changes of known
	asked time.Time
	known atomic.Pointer[blocked]
}

// blocked is what is known at one time; it is never changed.
type blocked struct {
	at     time.Time         // when Redis was asked, or never
	all    map[string]block  // by token
	untold map[string]untold // by token: newer than all, since it was made here
}

// block is the last change of one user or organisation, in milliseconds since
// 1970: until when it is blocked, 0 if that was lifted, and when it was changed.
type block struct{ until, changed int64 }

// untold is a change that was made on this node while Redis was away. When it is
// back the change is dated by how long ago it was made, so that whatever the other
// nodes changed since counts.
type untold struct {
	until int64
	after int64 // the last change that this node knew then
	made  time.Time
}

// ago is how long ago the change was made, in milliseconds.
func (u untold) ago(now time.Time) int64 {
	return changedAgo(now.Sub(u.made), now.Round(0).Sub(u.made.Round(0)), u.until <= now.UnixMilli())
}

// changedAgo is ago by the two clocks of this machine, which differ if it slept or
// was set: a lift is as old as it may be, and a block as young.
func changedAgo(monotonic, wall time.Duration, lifts bool) int64 {
	ago := monotonic
	if lifts {
		ago = max(ago, wall)
	}
	return max(ago.Milliseconds(), 1)
}

// changeBlocks is the script that blocks, lifts and restores: KEYS[1] holds the
// changes of the namespace as "1" (the format's version) and token:until:changed
// for each. ARGV: what the caller knows in the same form, which counts where it is
// newer or has been lost, and of changes that were not told yet token:until:-ago:after;
// then, for a change, until when (0 lifts) and the tokens,
// of which the first one is blocked. Whether that is over each node judges by its
// own clock, as it does where it is told: the server's may be minutes ahead.
// Answer: 0 if there are too many.
var changeBlocks = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local all = {}
local function ends(b) return math.max(b.till, b.at + ` + strconv.FormatInt(blocksRemembered.Milliseconds(), 10) + `) end
local function merge(list, after)
  for token, till, at, known in string.gmatch(list, '([^ :]+):(%d+):(-?%d+):?(%d*)') do
    local b, had = {token = token, till = tonumber(till), at = tonumber(at)}, all[token]
    if b.at < 0 then b.at = math.max(now + b.at, (tonumber(known) or 0) + 1) end
    if ends(b) > now and b.at > (had and had.at or after) then all[token] = b end
  end
end
local value = redis.call('GET', KEYS[1])
if value and string.sub(value, 1, 2) == '1 ' then merge(string.sub(value, 3), -1) end
-- In a full list what is older than all that has ended was left out, not lost.
local count, oldest = 0, now
for _, b in pairs(all) do
  if b.till <= now then count, oldest = count + 1, math.min(oldest, b.at) end
end
merge(ARGV[1], count >= ` + strconv.Itoa(maxEnded) + ` and oldest or -1)
if #ARGV > 1 then
  local till, at = tonumber(ARGV[2]), now
  for i = 3, #ARGV do
    if all[ARGV[i]] then at = math.max(at, all[ARGV[i]].at + 1) end
  end
  for i = 3, #ARGV do all[ARGV[i]] = {token = ARGV[i], till = 0, at = at} end
  all[ARGV[3]].till = till
end
local parts, ended, last = {'1'}, {}, now
local function keep(b)
  parts[#parts + 1] = b.token .. ':' .. string.format('%.0f', b.till) .. ':' .. string.format('%.0f', b.at)
  last = math.max(last, ends(b))
end
for _, b in pairs(all) do
  if b.till > now then keep(b) else ended[#ended + 1] = b end
end
if #ARGV > 1 and tonumber(ARGV[2]) > now and #parts > ` + strconv.Itoa(maxBlocks+1) + ` then return 0 end
table.sort(ended, function(a, b) return a.at > b.at end)
for i = 1, math.min(#ended, ` + strconv.Itoa(maxEnded) + `) do keep(ended[i]) end
if #parts == 1 then parts[2] = '' end
redis.call('SET', KEYS[1], table.concat(parts, ' '), 'PX', string.format('%.0f', last - now + 1000))
return 1
`)

// changeBlocks runs the script.
func (s *Store) changeBlocks(ctx context.Context, argv ...any) (int64, error) {
	one := []call{{keys: []string{s.blocksKey()}, argv: argv}}
	s.send(ctx, changeBlocks, one)
	return one[0].cmd.Int64()
}

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
	made := time.Now()
	err = s.tellBlock(ctx, tokens, end)
	s.blocks.mu.Lock()
	defer s.blocks.mu.Unlock()
	if errors.Is(err, ratelimit.ErrBlocks) {
		return err
	}
	if err != nil {
		if s.blocks.keep(tokens, end, made) {
			return fmt.Errorf("%w: %w", ratelimit.ErrUntold, err)
		}
		return err
	}
	err = s.askBlocks(ctx)
	if err != nil && s.blocks.keep(tokens, end, made) {
		return nil // the others are told, and this node answers by the change
	}
	return err
}

// tellBlock writes a change to Redis.
func (s *Store) tellBlock(ctx context.Context, tokens []string, end int64) error {
	argv := []any{s.blocks.remembered(), end}
	for _, t := range tokens {
		argv = append(argv, t)
	}
	if !s.breakers.admits(time.Now(), s.blocksBreaker()) {
		return ratelimit.ErrOutage
	}
	call, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	written, err := s.changeBlocks(call, argv...)
	if s.noted(ctx, s.blocksBreaker(), err); err != nil {
		return err
	}
	if written == 0 {
		return ratelimit.ErrBlocks
	}
	return nil
}

// keep remembers a change that could not be told, unless there are too many.
// blocks.mu is held.
func (b *blocks) keep(tokens []string, end int64, made time.Time) bool {
	next := b.copied()
	for i, token := range tokens {
		if next.untold[token].made.After(made) {
			continue
		}
		until := end
		if i > 0 {
			until = 0 // under the primary key only
		}
		next.untold[token] = untold{until, next.all[token].changed, made}
	}
	if len(next.untold) > maxUntold {
		return false
	}
	b.known.Store(next)
	return true
}

// copied is what is known, for a change.
func (b *blocks) copied() *blocked {
	next := blocked{untold: map[string]untold{}}
	if known := b.known.Load(); known != nil {
		next.at, next.all = known.at, known.all
		maps.Copy(next.untold, known.untold)
	}
	return &next
}

// until is until when a token is blocked.
func (b *blocked) until(token string) int64 {
	if u, found := b.untold[token]; found {
		return u.until
	}
	return b.all[token].until
}

// Blocked implements [ratelimit.BlockStore]. While Redis is away it answers with
// what it knew last.
func (s *Store) Blocked(ctx context.Context, who ratelimit.Identity) time.Time {
	known := s.blocks.current(ctx, s)
	if known == nil || len(known.all) == 0 && len(known.untold) == 0 {
		return time.Time{}
	}
	var until int64
	for _, one := range [2][2]string{{"user", who.User}, {"org", who.Org}} {
		if one[1] == "" {
			continue
		}
		tokens, err := s.tokens(one[0], one[1])
		if err != nil {
			continue // decisions fail by the same error
		}
		for _, token := range tokens {
			until = max(until, known.until(token))
		}
	}
	if until <= time.Now().UnixMilli() {
		return time.Time{}
	}
	return time.UnixMilli(until)
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

func (s *Store) blocksBreaker() int { return len(s.breakers.each) - 1 }

// askBlocks asks Redis who is blocked, for all who wait: a caller who leaves
// does not end it. blocks.mu is held.
func (s *Store) askBlocks(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	asked := time.Now()
	s.blocks.asked = asked
	if !s.breakers.admits(asked, s.blocksBreaker()) {
		return ratelimit.ErrOutage
	}
	waiting := 0
	if known := s.blocks.known.Load(); known != nil {
		waiting = len(known.untold)
	}
	if waiting > 0 {
		call, cancel := context.WithTimeout(ctx, s.timeout)
		defer cancel()
		_, err := s.changeBlocks(call, s.blocks.remembered())
		if s.noted(ctx, s.blocksBreaker(), err); err != nil {
			return err
		}
	}
	call, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var value *redis.StringCmd
	_, err := s.client.Pipelined(call, func(p redis.Pipeliner) error { // see send
		value = p.Get(call, s.blocksKey())
		return nil
	})
	if errors.Is(err, redis.Nil) {
		err = nil
	}
	if s.noted(ctx, s.blocksBreaker(), err); err != nil {
		return err
	}
	list := parseBlocks(value.Val())
	next, lost := s.blocks.merged(list, asked)
	s.blocks.known.Store(&blocked{at: asked, all: next})
	if waiting > 0 {
		_ = s.sink.Emit(ctx, event.StoreRecovered, slog.String(event.KeyReason, "Redis has been told of the changes of blocks that were made here while it was away"), slog.String(event.KeyOutcome, event.OutcomeSuccess))
	}
	if !lost {
		return nil
	}
	// A flush, or a failover to a server that did not know. What was not lifted
	// holds here; now the other nodes and those that start later learn of it.
	call, cancel = context.WithTimeout(ctx, s.timeout)
	defer cancel()
	_, err = s.changeBlocks(call, s.blocks.remembered())
	if s.noted(ctx, s.blocksBreaker(), err); err == nil {
		_ = s.sink.Emit(ctx, event.StoreReset, slog.String(event.KeyReason, "changes of blocks were gone from Redis, after a flush or a failover; what this node knew is written back"))
	}
	return err
}

// merged is the list with what this node knows and the list has lost, and
// whether it has lost anything that tells who is blocked.
func (b *blocks) merged(list map[string]block, now time.Time) (all map[string]block, lost bool) {
	known := b.known.Load()
	if known == nil || now.Sub(known.at) > blocksTrusted {
		return list, false
	}
	all, ms := list, now.UnixMilli()
	ended, oldest := 0, int64(math.MaxInt64)
	for _, one := range list {
		if one.until <= ms {
			ended, oldest = ended+1, min(oldest, one.changed)
		}
	}
	for token, mine := range known.all {
		theirs, found := list[token]
		if found && theirs.changed >= mine.changed || !mine.remembered(ms) {
			continue
		}
		if !found && ended >= maxEnded && (mine.until <= ms || mine.changed <= oldest) {
			continue // the list has left it, or its lift, out
		}
		if all[token] = mine; max(mine.until, ms) != max(theirs.until, ms) {
			lost = true
		}
	}
	return all, lost
}

// remembered reports whether the change still says anything.
func (b block) remembered(ms int64) bool {
	return max(b.until, b.changed+blocksRemembered.Milliseconds()) > ms
}

// remembered is what this node knows and may write back, as changeBlocks reads it.
func (b *blocks) remembered() string {
	known, now := b.known.Load(), time.Now()
	if known == nil {
		return ""
	}
	var out []byte
	add := func(token string, numbers ...int64) {
		out = append(out, token...)
		for _, n := range numbers {
			out = strconv.AppendInt(append(out, ':'), n, 10)
		}
		out = append(out, ' ')
	}
	for token, one := range known.all {
		if now.Sub(known.at) <= blocksTrusted && one.remembered(now.UnixMilli()) {
			add(token, one.until, one.changed)
		}
	}
	for token, one := range known.untold {
		add(token, one.until, -one.ago(now), one.after)
	}
	return string(out)
}

// parseBlocks reads what changeBlocks writes; what it cannot read it leaves out.
func parseBlocks(value string) map[string]block {
	all := map[string]block{}
	rest, ok := strings.CutPrefix(value, "1 ")
	if !ok {
		return all
	}
	for entry := range strings.FieldsSeq(rest) {
		token, times, _ := strings.Cut(entry, ":")
		until, changed, _ := strings.Cut(times, ":")
		u, err1 := strconv.ParseUint(until, 10, 53)
		c, err2 := strconv.ParseUint(changed, 10, 53)
		if err1 == nil && err2 == nil && token != "" {
			all[token] = block{int64(u), int64(c)}
		}
	}
	return all
}
