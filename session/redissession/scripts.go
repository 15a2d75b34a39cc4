package redissession

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// script is a Lua script and its SHA-1, by which Redis knows it. The digest is
// written down rather than computed, because SHA-1 panics under
// GODEBUG=fips140=only; a test holds it to the source.
type script struct{ source, sha1 string }

// run asks Redis to run the script, and sends it only if Redis lacks it. Each
// call is a pipeline of one: before a plain command a client of a Cluster asks a
// server about all commands, for up to 5 s whatever the deadline, which it does
// not before pipelines (go-redis 9.23).
func (s script) run(ctx context.Context, c redis.UniversalClient, keys []string, args ...any) (cmd *redis.Cmd) {
	_, _ = c.Pipelined(ctx, func(p redis.Pipeliner) error { // cmd has its error
		cmd = p.EvalSha(ctx, s.sha1, keys, args...)
		return nil
	})
	if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
		_, _ = c.Pipelined(ctx, func(p redis.Pipeliner) error {
			cmd = p.Eval(ctx, s.source, keys, args...)
			return nil
		})
	}
	return cmd
}

// Every script that looks at a session begins with live(), which answers its
// fields, or nil if it is gone: absent, or born before one of the two marks. One that
// a mark has ended is deleted when it is met, if Redis takes writes: the index may not
// have known of it.
// All times are microseconds of Redis's own clock, but x (expires), which is
// the nodes' own affair: the key's time to live ends the session. A mark is later
// than every stamp that was given, even if the clock was set back.
const live = `
local function clock() local t = redis.call('TIME'); return t[1] * 1000000 + t[2] end
local function text(n) return string.format('%.0f', n) end
local function marked(born, mark, all)
	local m = redis.call('MGET', mark, all)
	return (m[1] and born < tonumber(m[1])) or (m[2] and born < tonumber(m[2]))
end
local function live(key, mark, all)
	local v = redis.call('HMGET', key, 'v', 'b', 'x', 'a', 'd')
	if not v[1] then return nil end
	if marked(tonumber(v[2]), mark, all) then redis.pcall('DEL', key) return nil end
	return v
end
local function atleast(key, ttl)
	if redis.call('PTTL', key) < ttl then redis.call('PEXPIRE', key, ttl) end
end
local function put(key, n, ttl)
	ttl = math.max(ttl, redis.call('PTTL', key))
	if ttl > 0 then redis.call('SET', key, text(n), 'PX', ttl) end
end
local function move(key, last, age, ttl)
	local now, m = clock(), redis.call('MGET', key, last)
	local at = math.max(now - age, now + 1, (m[1] or 0) + 1, (m[2] or 0) + 1)
	put(key, at, ttl)
	return at
end
`

// KEYS of these: session, index, mark, everybody's mark, and for what creates or
// prolongs a session the last stamp of its part, which is no earlier than the birth of
// any: when the clock was set back, a mark that is later than now alone would miss
// those that are alive.
var (
	// It is live() written out, because every request that reads pays for it.
	loadScript = script{`
local v = redis.call('HMGET', KEYS[1], 'v', 'b', 'x', 'a', 'd')
if not v[1] then return false end
local m = redis.call('MGET', KEYS[3], KEYS[4])
if not m[1] and not m[2] then return v end
local born = tonumber(v[2])
if (m[1] and born < tonumber(m[1])) or (m[2] and born < tonumber(m[2])) then redis.pcall('DEL', KEYS[1]) return false end
return v`, "f0ea39c69acdafb65b23d60ef9320291a07ba44b"}

	aliveScript = script{live + `return live(KEYS[1], KEYS[3], KEYS[4]) and math.max(1, redis.call('PTTL', KEYS[1])) or 0`, "5d603f60360327576a2c3f5ed067cb3ff0ad73a8"}

	deleteScript = script{live + `
local v = live(KEYS[1], KEYS[3], KEYS[4])
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return v or false`, "6036485ece264b8fd5457a8da70cbdc5ee11f2da"}

	// The client sends a command again whose answer it lost. Ids are never the
	// same twice, nor are sealed blobs, so the one that is there tells whether
	// this very command was done already.
	//
	// ARGV: age, ttl, expires, anonymous, blob, hash, max, deny.
	createScript = script{live + `
local now, ttl, most = clock(), tonumber(ARGV[2]), tonumber(ARGV[7])
local born = math.min(now, now - tonumber(ARGV[1])) -- no node's clock makes a stamp of the future
if marked(born, KEYS[3], KEYS[4]) then return {-5} end
local there = redis.call('HGET', KEYS[1], 'd')
if there then return {there == ARGV[5] and 1 or -3} end
local prefix = string.sub(KEYS[1], 1, -65)
local answer = {1}
if most > 0 then
	local alive = {}
	for _, h in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
		if live(prefix .. h, KEYS[3], KEYS[4]) then table.insert(alive, h) else
			redis.call('DEL', prefix .. h)
			redis.call('ZREM', KEYS[2], h)
		end
	end
	if ARGV[8] == '1' and #alive >= most then return {-4} end
	while #alive >= most do
		local h = table.remove(alive, 1)
		redis.call('DEL', prefix .. h)
		redis.call('ZREM', KEYS[2], h)
		table.insert(answer, h)
	end
end
redis.call('HSET', KEYS[1], 'v', '1', 'b', text(born), 'x', ARGV[3], 'a', ARGV[4], 'd', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ttl)
if ARGV[4] == '0' then
	redis.call('ZADD', KEYS[2], text(born), ARGV[6])
	atleast(KEYS[2], ttl)
end
put(KEYS[5], math.max(born, tonumber(redis.call('GET', KEYS[5]) or 0)), ttl)
return answer`, "44ae733ef7c61e18b127dc0790a55fa4eeb08147"}

	// For the same reason w holds the numbers of the last 32 updates, 8 random
	// bytes each: an update that was done must not be met as a conflict, or the
	// room would replay it.
	//
	// ARGV: ttl, expires, version, blob, number.
	updateScript = script{live + `
local v = live(KEYS[1], KEYS[3], KEYS[4])
if not v then return -1 end
local done = redis.call('HGET', KEYS[1], 'w') or ''
if v[1] ~= ARGV[3] then
	for i = 1, #done, 8 do
		if string.sub(done, i, i + 7) == ARGV[5] then return 1 end
	end
	return -2
end
local ttl = tonumber(ARGV[1])
redis.call('HSET', KEYS[1], 'x', ARGV[2], 'd', ARGV[4], 'w', string.sub(ARGV[5] .. done, 1, 256))
redis.call('HINCRBY', KEYS[1], 'v', 1)
redis.call('PEXPIRE', KEYS[1], ttl)
atleast(KEYS[2], ttl)
atleast(KEYS[5], ttl)
return 1`, "db2fcc0f440ce949eb67321652865d708913916e"}

	// ARGV: ttl, expires.
	touchScript = script{live + `
local v = live(KEYS[1], KEYS[3], KEYS[4])
if not v then return -1 end
if tonumber(ARGV[2]) > tonumber(v[3]) then
	local ttl = tonumber(ARGV[1])
	redis.call('HSET', KEYS[1], 'x', ARGV[2])
	redis.call('PEXPIRE', KEYS[1], ttl)
	atleast(KEYS[2], ttl)
	atleast(KEYS[5], ttl)
end
return 1`, "d87899ec6fcda7b7c17bb0f80356e93973b95c54"}
)

// KEYS of these: index, mark, everybody's mark, last stamp. ARGV[1]: what the sessions'
// keys begin with.
var (
	listScript = script{live + `
local answer = {}
for _, h in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
	local v = live(ARGV[1] .. h, KEYS[2], KEYS[3])
	if v then
		table.insert(answer, h)
		for i = 1, 5 do table.insert(answer, v[i]) end
	end
end
return answer`, "43ada25bbb634cf5c3941618f5d48137f0cb0085"}

	// ARGV: prefix, age of the mark, ttl of the mark, hash to keep.
	revokeScript = script{live + `
local n, kept = 0, false
for _, h in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
	local key = ARGV[1] .. h
	local v = live(key, KEYS[2], KEYS[3])
	if v and h == ARGV[4] then kept = true else
		if v then n = n + 1 end
		redis.call('DEL', key)
		redis.call('ZREM', KEYS[1], h)
	end
end
if ARGV[4] ~= '' and not kept then kept = live(ARGV[1] .. ARGV[4], KEYS[2], KEYS[3]) ~= nil end
local at = move(KEYS[2], KEYS[4], tonumber(ARGV[2]), tonumber(ARGV[3]))
if kept then
	redis.call('HSET', ARGV[1] .. ARGV[4], 'b', text(at))
	put(KEYS[4], at, redis.call('PTTL', ARGV[1] .. ARGV[4]))
end
return n`, "c7583ec91f385e2a283deb1d4f3f74486212b665"}
)

var (
	// KEYS: a mark, last stamp. ARGV: age, ttl.
	markScript = script{live + `
move(KEYS[1], KEYS[2], tonumber(ARGV[1]), tonumber(ARGV[2]))
return 1`, "18d286d3dca5e6c33fa5ef67e1b1883a5914b539"}

	// KEYS: an end. ARGV: ttl.
	endScript = script{live + `
local ttl, left = tonumber(ARGV[1]), redis.call('PTTL', KEYS[1])
if left < ttl and ttl > 0 then redis.call('SET', KEYS[1], '1', 'PX', ttl) end
return left > 0 and -1 or 1`, "d6e446483b97f02f3a563e4628656aedc9bb5cf9"}

	// KEYS: mark, everybody's mark, last stamp, where the memory begins. ARGV: age, ttl.
	beginScript = script{live + stamps + `
local now, ttl = clock(), tonumber(ARGV[2])
if marked(now - tonumber(ARGV[1]), KEYS[1], KEYS[2]) then return false end
put(KEYS[4], tonumber(redis.call('GET', KEYS[4]) or now), ttl)
return stamp(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ttl)`, "b16708374afa784f46db1740a64a9e96e607f8ee"}

	// KEYS: mark, everybody's mark, last stamp, where the memory begins, an end. ARGV: stamp.
	endedScript = script{live + stamps + `
return ended(ARGV[1], KEYS[1], KEYS[2], KEYS[4], KEYS[5]) and 1 or 0`, "a20e425f60147b461eea6cd4013570933998a246"}

	// KEYS: those of endedScript. ARGV: stamp, age of the mark, ttl of the mark, ttl.
	spareScript = script{live + stamps + `
if ended(ARGV[1], KEYS[1], KEYS[2], KEYS[4], KEYS[5]) then return false end
move(KEYS[1], KEYS[3], tonumber(ARGV[2]), tonumber(ARGV[3]))
atleast(KEYS[4], tonumber(ARGV[4]))
return stamp(KEYS[1], KEYS[2], KEYS[3], KEYS[4], tonumber(ARGV[4]))`, "d3054d0f35da32c31b4816e072e5cdd035c3fb1a"}
)

// stamps is what the scripts for sessions in cookies begin with, beside live. A
// stamp is not before any other, nor before a mark that it is to outlive.
const stamps = `
local function stamp(mark, all, last, begins, ttl)
	local now, m = clock(), redis.call('MGET', mark, all, last, begins)
	for i = 1, 4 do now = math.max(now, tonumber(m[i] or 0)) end
	put(last, now, ttl)
	return text(now)
end
local function ended(stamp, mark, all, begins, finish)
	if redis.call('EXISTS', finish) == 1 then return true end
	local since = redis.call('GET', begins)
	if not since or tonumber(stamp) < tonumber(since) then return true end
	return marked(tonumber(stamp), mark, all)
end
`
