package redislimit

import "github.com/redis/go-redis/v9"

// decide holds one request against all of its limits, in one round trip and by
// the clock of the server.
//
// A window's value is "1" (the format's version) and its admissions, oldest
// first: the time of the first in microseconds, of each further one the
// distance, and "x" and the cost where that is not 1. A cost of 0 is a reset:
// what comes after it never joins what came before. A leaky bucket's value is
// "2", its level in units of 2^-20, when that was, since when it has not been
// empty, and the lowest level since.
//
// Every value is written with PX, and its times say themselves when they are
// over, so that a value that lost its expiry blocks nobody for longer than its
// window; a refusal gives it a new one.
//
// ARGV: the mode, then for each key N, the window, the cost, the width of a
// sub-bucket in microseconds (0 to count exactly), the burst (0 for a window)
// and the time at which it was taken. Modes: "t" takes, if all fit, "p" peeks,
// "g" gives back what was taken at that time, "w" does so and takes again,
// whether it fits or not, "z" forgets all.
// Admissions in one sub-bucket become one, at the time of the newest, and
// levels are rounded up: an error is on the strict side. A time in the future,
// after the clock was set back, is now.
//
// Answer: 1 if all fit, the time, then for each key what is used, the
// microseconds until the cost fits and those until nothing is counted, and 1 if
// the key was there.
var decide = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local mode = ARGV[1]
local unit, top = 1048576, 4503599627370496
-- leak is how long a bucket takes to lose a level. Where numbers are too large
-- for Lua to be exact it is longer than that by what rounding may cost.
local function leak(s, level)
  if s.most * s.period <= 2 * top then return math.ceil(level * s.period / (s.pace * unit)) end
  return math.ceil((level + 1) * s.period / (s.pace * unit)) + 1
end
local all, out, states = 1, {1, now}, {}
for i, key in ipairs(KEYS) do
  local a = 6 * i - 4
  local n, per, cost, width, burst, at = tonumber(ARGV[a]), tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4]), tonumber(ARGV[a + 5])
  local s = {key = key, per = per, cost = cost, width = width, burst = burst, dirty = false}
  local value = redis.call('GET', key)
  local used, retry, reset = 0, 0, 0
  if burst > 0 then
    s.level, s.since, s.low = 0, now, top
    local x, y = n, per -- in lowest terms products stay whole numbers for longer
    while y > 0 do x, y = y, x % y end
    s.pace, s.period, s.most = n / x, per / x, burst * unit
    if value then
      local level, was, since, low = string.match(value, '^2 (%d+) (%d+) (%d+) (%d+)$')
      if level then
        level, was = tonumber(level), tonumber(was)
        if was > now then was, s.dirty = now, true end
        local lost = (now - was) * s.pace * unit
        local exact = lost <= 2 * top
        lost = math.floor(lost / s.period)
        if not exact then lost = math.max(0, lost - 1) end
        s.level = math.max(0, level - lost)
        s.since, s.low = tonumber(since), tonumber(low)
      end
    end
    if mode == 'z' then
      s.level, s.since, s.low = 0, now, 0
    elseif (mode == 'g' or mode == 'w') and at >= s.since then
      local low = math.min(s.low, s.level)
      local back = math.min(cost * unit, low)
      s.level, s.low = s.level - back, low - back
    end
    used = math.ceil(s.level / unit)
    if used + cost > burst then
      retry = -1
      if cost <= burst then
        retry = leak(s, s.level - (burst - cost) * unit)
      end
    end
    if s.level > 0 then reset = leak(s, s.level) end
  else
    local log, hit = {}, 0
    if value and string.sub(value, 1, 2) == '1 ' then
      for d, c in string.gmatch(string.sub(value, 3), '(%d+)x?(%d*)') do
        hit = hit + tonumber(d)
        local e = math.min(hit, now)
        if e + per > now then
          c = tonumber(c) or 1
          log[#log + 1] = {e, c}
          used = used + c
        end
      end
    end
    if #log > 0 and log[#log][1] == now then s.dirty = true end
    if mode == 'z' then
      log, used = {{now, 0}}, 0
    elseif mode == 'g' or mode == 'w' then
      for j, e in ipairs(log) do
        if e[1] >= at then
          if e[2] > 0 and (e[1] == at or width > 0 and math.floor(e[1] / width) == math.floor(at / width)) then
            local back = math.min(cost, e[2])
            e[2], used = e[2] - back, used - back
            if e[2] == 0 then table.remove(log, j) end
          end
          break
        end
      end
    end
    if used + cost > n then
      retry = -1
      local excess = used + cost - n
      for _, e in ipairs(log) do
        excess = excess - e[2]
        if excess <= 0 then
          retry = e[1] + per - now
          break
        end
      end
    end
    if #log > 0 then reset = log[#log][1] + per - now end
    s.log = log
  end
  if retry ~= 0 then all = 0 end
  local o = 4 * i - 1
  out[o], out[o + 1], out[o + 2], out[o + 3] = used, retry, reset, value and 1 or 0
  states[i] = s
end
out[1] = all
if mode == 'p' then return out end
for i, s in ipairs(states) do
  local per, cost, o = s.per, s.cost, 4 * i - 1
  local add = mode == 't' and all == 1 or mode == 'w'
  if add or mode ~= 't' or s.dirty or out[o + 3] == 1 and redis.call('PTTL', s.key) == -1 then
    local value, ttl
    if s.burst > 0 then
      if add then
        if s.level == 0 then s.since, s.low = now, top else s.low = math.min(s.low, s.level) end
        s.level = s.level + cost * unit
        out[o] = math.ceil(s.level / unit)
        out[o + 2] = leak(s, s.level)
      end
      ttl = out[o + 2]
      value = string.format('2 %.0f %.0f %.0f %.0f', s.level, now, s.since, s.low)
    else
      local log = s.log
      if add then
        local last = log[#log]
        if last and last[2] > 0 and (last[1] == now or s.width > 0 and math.floor(last[1] / s.width) == math.floor(now / s.width)) then
          last[1], last[2] = now, last[2] + cost
        else
          log[#log + 1] = {now, cost}
        end
        out[o] = out[o] + cost
        out[o + 2] = per
      end
      local parts, before = {'1'}, 0
      for _, e in ipairs(log) do
        local hit = string.format('%.0f', e[1] - before)
        if e[2] ~= 1 then hit = hit .. 'x' .. string.format('%.0f', e[2]) end
        parts[#parts + 1] = hit
        before = e[1]
      end
      ttl = 0
      if #log > 0 then ttl = before + per - now else parts[2] = '' end
      value = table.concat(parts, ' ')
    end
    if ttl == 0 then ttl = per end
    local px = math.ceil(ttl / 1000) + 1
    -- A key that went sooner than its nodes expect would look like a flush.
    if mode ~= 't' then px = math.max(px, redis.call('PTTL', s.key)) end
    redis.call('SET', s.key, value, 'PX', px)
  end
end
return out
`)
