package redislimit

import "github.com/redis/go-redis/v9"

// decide holds one request against all of its limits, in one round trip and by
// the clock of the server.
//
// A key's value is "1" (the format's version) and its admissions, oldest first:
// the time of the first in microseconds, of each further one the distance, and
// "x" and the cost where that is not 1. Every value is written with PX, and its
// times say themselves when they are over, so that a value that lost its expiry
// blocks nobody for longer than its window; a refusal gives it a new one.
//
// ARGV: "t" to take or "p" to peek; for each key N, the window, the cost and
// the width of a sub-bucket in microseconds, 0 to count exactly. Admissions in
// one sub-bucket become one, at the time of the newest: an error is on the
// strict side. A time in the future, after the clock was set back, is now.
//
// Answer: 1 if all fit, the time, then for each key what is used, the
// microseconds until the cost fits and those until nothing is counted, and 1 if
// the key was there.
var decide = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local take = ARGV[1] == 't'
local all, out, logs = 1, {1, now}, {}
for i, key in ipairs(KEYS) do
  local a = 4 * i - 2
  local n, per, cost = tonumber(ARGV[a]), tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2])
  local log, used, at = {}, 0, 0
  local value = redis.call('GET', key)
  if value and string.sub(value, 1, 2) == '1 ' then
    for d, c in string.gmatch(string.sub(value, 3), '(%d+)x?(%d*)') do
      at = at + tonumber(d)
      local hit = math.min(at, now)
      if hit + per > now then
        c = tonumber(c) or 1
        log[#log + 1] = {hit, c}
        used = used + c
      end
    end
  end
  local retry = 0
  if used + cost > n then
    all = 0
    local excess = used + cost - n
    for _, e in ipairs(log) do
      excess = excess - e[2]
      if excess <= 0 then
        retry = e[1] + per - now
        break
      end
    end
    if excess > 0 then retry = -1 end
  end
  local reset = 0
  if #log > 0 then reset = log[#log][1] + per - now end
  local o = 4 * i - 1
  out[o], out[o + 1], out[o + 2], out[o + 3] = used, retry, reset, value and 1 or 0
  logs[i] = log
end
out[1] = all
if not take then return out end
for i, key in ipairs(KEYS) do
  local a = 4 * i - 2
  local per, cost, width = tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])
  local log = logs[i]
  if all == 1 then
    local last = log[#log]
    if last and (last[1] == now or width > 0 and math.floor(last[1] / width) == math.floor(now / width)) then
      last[1], last[2] = now, last[2] + cost
    else
      log[#log + 1] = {now, cost}
    end
    out[4 * i - 1] = out[4 * i - 1] + cost
    out[4 * i + 1] = per
  end
  if #log > 0 and (all == 1 or redis.call('PTTL', key) < 0 or log[#log][1] == now) then
    local parts, before = {'1'}, 0
    for _, e in ipairs(log) do
      local s = string.format('%.0f', e[1] - before)
      if e[2] ~= 1 then s = s .. 'x' .. string.format('%.0f', e[2]) end
      parts[#parts + 1] = s
      before = e[1]
    end
    redis.call('SET', key, table.concat(parts, ' '), 'PX', math.ceil((before + per - now) / 1000) + 1)
  end
end
return out
`)
