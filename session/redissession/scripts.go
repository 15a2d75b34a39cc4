package redissession

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// script is a Lua script and its SHA-1, by which Redis knows it. The digest is
// written down rather than computed, because SHA-1 panics under
// GODEBUG=fips140=only; a test holds it to the source.
type script struct{ source, sha1 string }

// run asks Redis to run the script, and sends it only if Redis lacks it.
func (s script) run(ctx context.Context, c redis.Scripter, keys []string, args ...any) *redis.Cmd {
	cmd := c.EvalSha(ctx, s.sha1, keys, args...)
	if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
		return c.Eval(ctx, s.source, keys, args...)
	}
	return cmd
}

// Every script that looks at a session begins with live(), which answers its
// fields, or nil if it is gone: absent, or born before one of the two marks.
// All times are microseconds of Redis's own clock, but x (expires), which is
// the nodes' own affair: the key's time to live ends the session.
const live = `
local function clock() local t = redis.call('TIME'); return t[1] * 1000000 + t[2] end
local function text(n) return string.format('%.0f', n) end
local function marked(born, mark, all)
	local m = redis.call('MGET', mark, all)
	return (m[1] and born < tonumber(m[1])) or (m[2] and born < tonumber(m[2]))
end
local function live(key, mark, all)
	local v = redis.call('HMGET', key, 'v', 'b', 'x', 'a', 'd')
	if not v[1] or marked(tonumber(v[2]), mark, all) then return nil end
	return v
end
local function atleast(key, ttl)
	if redis.call('PTTL', key) < ttl then redis.call('PEXPIRE', key, ttl) end
end
local function move(key, at, ttl)
	local old = redis.call('GET', key)
	if old and tonumber(old) > at then at = tonumber(old) end
	local left = redis.call('PTTL', key)
	if left > ttl then ttl = left end
	if ttl > 0 then redis.call('SET', key, text(at), 'PX', ttl) end
	return at
end
`

// KEYS of these: session, index, mark, everybody's mark.
var (
	// It is live() written out, because every request that reads pays for it.
	loadScript = script{`
local v = redis.call('HMGET', KEYS[1], 'v', 'b', 'x', 'a', 'd')
if not v[1] then return false end
local m = redis.call('MGET', KEYS[3], KEYS[4])
if not m[1] and not m[2] then return v end
local born = tonumber(v[2])
if (m[1] and born < tonumber(m[1])) or (m[2] and born < tonumber(m[2])) then return false end
return v`, "9bedb67a5ffd124b692d17cfd1f0345e3a7dcbff"}

	aliveScript = script{live + `return live(KEYS[1], KEYS[3], KEYS[4]) and math.max(1, redis.call('PTTL', KEYS[1])) or 0`, "0b356635cfe9be8ff947edf2828aff7ce9779da7"}

	deleteScript = script{live + `
local v = live(KEYS[1], KEYS[3], KEYS[4])
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return v or false`, "a31492e6da1d4381cd302ec8e04affd118150ab9"}

	// The client sends a command again whose answer it lost. Ids are never the
	// same twice, nor are sealed blobs, so the one that is there tells whether
	// this very command was done already.
	//
	// ARGV: age, ttl, expires, anonymous, blob, hash, max, deny.
	createScript = script{live + `
local now, ttl, most = clock(), tonumber(ARGV[2]), tonumber(ARGV[7])
local born = now - tonumber(ARGV[1])
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
return answer`, "41bedaafd6ce06250960f8cf8f4e2921b0e14e76"}

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
return 1`, "240fe3a08833d8778eda4f78204113513ed1bc31"}

	// ARGV: ttl, expires.
	touchScript = script{live + `
local v = live(KEYS[1], KEYS[3], KEYS[4])
if not v then return -1 end
if tonumber(ARGV[2]) > tonumber(v[3]) then
	local ttl = tonumber(ARGV[1])
	redis.call('HSET', KEYS[1], 'x', ARGV[2])
	redis.call('PEXPIRE', KEYS[1], ttl)
	atleast(KEYS[2], ttl)
end
return 1`, "27f5ecb7a77e4af50a54141d737ee8a098f87b76"}
)

// KEYS of these: index, mark, everybody's mark. ARGV[1]: what the sessions'
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
return answer`, "6eac3e8aa474946e4a9106d528eb6e21859e2598"}

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
local at = move(KEYS[2], clock() - tonumber(ARGV[2]), tonumber(ARGV[3]))
if kept then redis.call('HSET', ARGV[1] .. ARGV[4], 'b', text(at)) end
return n`, "e9a8d85f3330de6910c484a8b8604975bc908d2c"}
)

var (
	// KEYS: a mark. ARGV: age, ttl.
	markScript = script{live + `
move(KEYS[1], clock() - tonumber(ARGV[1]), tonumber(ARGV[2]))
return 1`, "9edeeb999bbcd363adf6b278a6e69c284e7331ea"}

	// KEYS: an end. ARGV: ttl.
	endScript = script{live + `
local ttl, left = tonumber(ARGV[1]), redis.call('PTTL', KEYS[1])
if left < ttl and ttl > 0 then redis.call('SET', KEYS[1], '1', 'PX', ttl) end
return left > 0 and -1 or 1`, "eaf2c95ecb5a66946526fcdb17b0236ea2d6f704"}

	// KEYS: an end, mark, everybody's mark. ARGV: age.
	endedScript = script{live + `
if redis.call('EXISTS', KEYS[1]) == 1 or marked(clock() - tonumber(ARGV[1]), KEYS[2], KEYS[3]) then return 1 end
return 0`, "01a7241dcd934bc081b05a5a6ab12675a6463352"}
)
