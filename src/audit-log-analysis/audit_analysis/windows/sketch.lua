-- Take events into a window that counts more different values than can be kept, and report the
-- sightings that they can have changed. windows/spec.py defines it; windows/sketch.py is the same in
-- Python. The arguments and the answer are those of window.lua.
--
-- KEYS  1 slices: sorted set of numbers, by their start (ms)   2 hits: sorted set, slice by start
--       3 raws: hash, bytes of the first and the last event of slices ("f7", "l7")
--       4 notes: hash, published signatures by bucket, those events' times and ids, the newest time
--       5 is the beginning of the keys of HyperLogLogs, of tags ("t7") and of event ids ("n7")

local slices, hits, raws, notes = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local threshold, timespan, dedup = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local lateness, idle, most_named = tonumber(ARGV[5]), tonumber(ARGV[7]), tonumber(ARGV[9])
local reports = ARGV[10] == '1'
local FIRST, EACH = 12, 5
-- Slices of a timespan (SLICES in spec.py).
local PARTS = 32
local width = math.ceil(timespan / PARTS)

local function whole(number)
  return string.format('%.0f', number)
end

local function sketch(kind, number)
  return KEYS[5] .. ':' .. kind .. whole(number)
end

-- Slices that exist, of a range of numbers.
local function existing(from, to)
  return redis.call('ZRANGEBYSCORE', slices, whole(from * width), whole(to * width))
end

local function estimate(kind, from, to)
  local keys = {}
  for _, number in ipairs(existing(from, to)) do
    keys[#keys + 1] = KEYS[5] .. ':' .. kind .. number
  end
  return #keys > 0 and redis.call('PFCOUNT', unpack(keys)) or 0
end

local newest = tonumber(redis.call('HGET', notes, 'newest'))

-- An event is kept whole when it is the first or the last of its slice.
local function keep(name, before, moment, id, raw)
  local known = redis.call('HGET', notes, name)
  local this = string.format('%020.0f', moment) .. id
  if known and (known == this or (known < this) == before) then
    return
  end
  redis.call('HSET', notes, name, this)
  redis.call('HSET', raws, name, raw)
end

local function forget(oldest)
  for _, number in ipairs(redis.call('ZRANGEBYSCORE', slices, '-inf', oldest)) do
    redis.call('DEL', KEYS[5] .. ':t' .. number, KEYS[5] .. ':n' .. number)
    redis.call('HDEL', notes, 'f' .. number, 'l' .. number)
    redis.call('HDEL', raws, 'f' .. number, 'l' .. number)
  end
  redis.call('ZREMRANGEBYSCORE', slices, '-inf', oldest)
  for _, number in ipairs(redis.call('ZRANGEBYSCORE', hits, '-inf', oldest)) do
    redis.call('HDEL', notes, whole(math.floor(number * width / dedup)))
  end
  redis.call('ZREMRANGEBYSCORE', hits, '-inf', oldest)
end

-- Says whether the event is in time.
local function take(id, tag, moment, raw)
  newest = newest or moment
  if moment < newest - lateness then
    return false
  end
  local slice = math.floor(moment / width)
  local number = whole(slice)
  if moment >= newest then
    newest = moment
    redis.call('HSET', notes, 'newest', whole(moment))
  end
  redis.call('ZADD', slices, whole(slice * width), number)
  redis.call('PFADD', sketch('n', slice), id)
  redis.call('EXPIRE', sketch('n', slice), idle)
  keep('f' .. number, true, moment, id, raw)
  keep('l' .. number, false, moment, id, raw)
  -- A value that changes no register can change no count.
  if redis.call('PFADD', sketch('t', slice), tag) == 1 then
    redis.call('EXPIRE', sketch('t', slice), idle)
    for _, text in ipairs(existing(slice, slice + PARTS - 1)) do
      local at = tonumber(text)
      if not redis.call('ZSCORE', hits, text)
          and estimate('t', at - PARTS + 1, at) >= threshold then
        redis.call('ZADD', hits, whole(at * width), text)
      end
    end
  end
  return true
end

local sightings = {}
local function look(bucket, place)
  local low, high = whole(bucket * dedup), '(' .. whole((bucket + 1) * dedup)
  local first = tonumber(redis.call('ZRANGEBYSCORE', hits, low, high, 'LIMIT', 0, 1)[1])
  if not first then
    return
  end
  local last = tonumber(redis.call('ZREVRANGEBYSCORE', hits, high, low, 'LIMIT', 0, 1)[1])
  local numbers = existing(first - PARTS + 1, last)
  local count = estimate('n', first - PARTS + 1, last)
  local named = {}
  for _, number in ipairs(numbers) do
    for _, name in ipairs({'f' .. number, 'l' .. number}) do
      local event = redis.call('HGET', notes, name)
      local time = whole(tonumber(string.sub(event, 1, 20)))
      local member = string.sub(event, 21)
      if #named < 2 * most_named and named[#named - 1] ~= member then
        named[#named + 1], named[#named + 2] = member, time
      end
    end
  end
  local final = 'l' .. numbers[#numbers]
  local event = redis.call('HGET', notes, final)
  local last_id, last_time = string.sub(event, 21), whole(tonumber(string.sub(event, 1, 20)))
  local signature = table.concat(
    {count, whole(last * width), named[2], named[1], last_time, last_id}, ':')
  if redis.call('HGET', notes, whole(bucket)) ~= signature then
    sightings[#sightings + 1] = {place, whole(bucket), whole(last * width), count, named, last_id,
      last_time, redis.call('HGET', raws, 'f' .. numbers[1]), redis.call('HGET', raws, final), 1}
  end
end

local late, touched = {}, {}
-- Of what is about to be forgotten it is told at once.
local function report()
  for bucket, place in pairs(reports and touched or {}) do
    look(bucket, place)
  end
  touched = {}
end

for place = 1, (#ARGV - FIRST + 1) / EACH do
  local at = FIRST + EACH * (place - 1)
  local moment = tonumber(ARGV[at + 2])
  local bound = moment - lateness - timespan - dedup - width
  local oldest = tonumber(redis.call('ZRANGE', slices, 0, 0, 'WITHSCORES')[2])
  if oldest and oldest < bound then
    report()
    forget('(' .. whole(bound))
  end
  if take(ARGV[at], ARGV[at + 1], moment, ARGV[at + 3]) then
    local start = math.floor(moment / width) * width
    for bucket = math.floor(start / dedup), math.floor((start + (PARTS - 1) * width) / dedup) do
      touched[bucket] = place
    end
  else
    late[#late + 1] = place
  end
end
report()
for i = 1, 4 do
  redis.call('EXPIRE', KEYS[i], idle)
end
return {late, sightings, {}}
