-- Take one event into a window and report the sightings that it can have changed.
-- windows/spec.py defines the words; this is the same algorithm as windows/memory.py.
--
-- KEYS  1 events: sorted set, event id by time (ms)      2 hits: sorted set, time by time
--       3 raws: hash, event id to bytes                   4 notes: hash, published signatures
--                                                           by bucket, and "lost" (see capacity)
-- ARGV  1 event id  2 time  3 threshold  4 timespan  5 dedup  6 lateness  7 capacity
--       8 idle seconds until the window is forgotten  9 most raws kept  10 most events named
--       11 the event's bytes
-- Returns 'late', or a list of sightings, each
--       {bucket, last hit, count, {id, time, ...}, last id, last time, first raw, last raw, approximate}

local events, hits, raws, notes = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local id = ARGV[1]
local threshold, timespan, dedup = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local lateness, capacity = tonumber(ARGV[6]), tonumber(ARGV[7])
local idle, most_raws, most_named = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])

-- Times go to Redis as whole numbers: Lua would write 1.7e+12 otherwise.
local function whole(number)
  return string.format('%.0f', number)
end

local function forget(ids)
  for start = 1, #ids, 1000 do
    redis.call('HDEL', raws, unpack(ids, start, math.min(start + 999, #ids)))
  end
end

local moment = tonumber(redis.call('ZSCORE', events, id))
if not moment then
  moment = tonumber(ARGV[2])
  local newest = tonumber(redis.call('ZREVRANGE', events, 0, 0, 'WITHSCORES')[2]) or moment
  if moment < newest - lateness then
    return 'late'
  end
  redis.call('ZADD', events, whole(moment), id)
  if redis.call('HLEN', raws) < most_raws then
    redis.call('HSET', raws, id, ARGV[11])
  end
  local oldest = '(' .. whole(math.max(newest, moment) - lateness - timespan - dedup)
  local old = redis.call('ZRANGEBYSCORE', events, '-inf', oldest)
  if #old > 0 then
    for _, hit in ipairs(redis.call('ZRANGEBYSCORE', hits, '-inf', oldest)) do
      redis.call('HDEL', notes, whole(math.floor(hit / dedup)))
    end
    redis.call('ZREMRANGEBYSCORE', events, '-inf', oldest)
    redis.call('ZREMRANGEBYSCORE', hits, '-inf', oldest)
    forget(old)
  end
  local surplus = redis.call('ZCARD', events) - capacity
  if surplus > 0 then
    local dropped = redis.call('ZRANGE', events, 0, surplus - 1, 'WITHSCORES')
    redis.call('HSET', notes, 'lost', dropped[#dropped])
    redis.call('ZREMRANGEBYRANK', events, 0, surplus - 1)
    local ids = {}
    for i = 1, #dropped, 2 do
      ids[#ids + 1] = dropped[i]
    end
    forget(ids)
    if not redis.call('ZSCORE', events, id) then
      return 'late'
    end
  end
end
for i = 1, 4 do
  redis.call('EXPIRE', KEYS[i], idle)
end

-- Every run of `threshold` neighbours around the event that fits into the timespan ends in a hit.
local rank = redis.call('ZRANK', events, id)
local from = math.max(0, rank - threshold + 1)
local near = redis.call('ZRANGE', events, from, rank + threshold - 1, 'WITHSCORES')
for start = 1, math.min(rank - from + 1, #near / 2 - threshold + 1) do
  local first, last = tonumber(near[2 * start]), tonumber(near[2 * (start + threshold - 1)])
  if last - first < timespan then
    redis.call('ZADD', hits, whole(last), whole(last))
  end
end

local sightings = {}
for bucket = math.floor(moment / dedup), math.floor((moment + timespan - 1) / dedup) do
  local low, high = whole(bucket * dedup), '(' .. whole((bucket + 1) * dedup)
  local first_hit = tonumber(redis.call('ZRANGEBYSCORE', hits, low, high, 'LIMIT', 0, 1)[1])
  if first_hit then
    local last_hit = redis.call('ZREVRANGEBYSCORE', hits, high, low, 'LIMIT', 0, 1)[1]
    local opening = '(' .. whole(first_hit - timespan)
    local count = redis.call('ZCOUNT', events, opening, last_hit)
    local named = redis.call('ZRANGEBYSCORE', events, opening, last_hit, 'WITHSCORES',
      'LIMIT', 0, most_named)
    local last = redis.call('ZREVRANGEBYSCORE', events, last_hit, opening, 'WITHSCORES',
      'LIMIT', 0, 1)
    local signature = table.concat({count, last_hit, named[2], named[1], last[2], last[1]}, ':')
    if count > 0 and redis.call('HGET', notes, whole(bucket)) ~= signature then
      local lost = tonumber(redis.call('HGET', notes, 'lost'))
      sightings[#sightings + 1] = {whole(bucket), last_hit, count, named, last[1], last[2],
        redis.call('HGET', raws, named[1]), redis.call('HGET', raws, last[1]),
        (lost and first_hit - timespan < lost) and 1 or 0}
    end
  end
end
return sightings
