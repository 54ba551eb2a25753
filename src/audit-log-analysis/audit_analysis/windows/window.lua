-- Take one event into a window and report the sightings that it can have changed.
-- windows/spec.py defines the words; windows/memory.py and hits.py are the same in Python.
--
-- KEYS  1 events: sorted set of "id NUL tag", by time (ms)   2 hits: sorted set, time by time
--       3 raws: hash, event id to bytes                      4 notes: hash, published signatures
--       5 latest: sorted set, tag by its newest time           by bucket, and "lost" (see capacity)
-- ARGV  1 event id  2 tag  3 time  4 kind  5 threshold  6 timespan  7 dedup  8 lateness  9 capacity
--       10 idle seconds until the window is forgotten  11 most raws kept  12 most events named
--       13 the event's bytes, if known  14 whether there may have been more like it
--       15 whether sightings are told  16 whether hits are told
-- Returns 'late', or {sightings, hits}: of the first each is {bucket, last hit, count,
--       {member, time, ...}, last member, last time, first raw, last raw, approximate}, of the second
--       {event id, time, raw, approximate}

local events, hits, raws, notes, latest = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local id, tag, kind = ARGV[1], ARGV[2], ARGV[4]
local threshold, timespan, dedup = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local lateness, capacity = tonumber(ARGV[8]), tonumber(ARGV[9])
local idle, most_raws, most_named = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
local member = id .. '\0' .. tag
local tagged = kind ~= 'event_count'

-- Times go to Redis as whole numbers: Lua would write 1.7e+12 otherwise.
local function whole(number)
  return string.format('%.0f', number)
end

local function id_of(name)
  return string.match(name, '^[^%z]*')
end

local function tag_of(name)
  return string.match(name, '%z(.*)$')
end

-- `names` are members, or members and times in turn.
local function forget(names, step)
  for i = 1, #names, step do
    redis.call('HDEL', raws, id_of(names[i]))
  end
end

-- Events at or before this time are not all known.
local function lose(time)
  local lost = tonumber(redis.call('HGET', notes, 'lost'))
  if not lost or lost < time then
    redis.call('HSET', notes, 'lost', whole(time))
  end
end

local moment = tonumber(redis.call('ZSCORE', events, member))
if not moment then
  moment = tonumber(ARGV[3])
  local newest = tonumber(redis.call('ZREVRANGE', events, 0, 0, 'WITHSCORES')[2]) or moment
  if moment < newest - lateness then
    return 'late'
  end
  redis.call('ZADD', events, whole(moment), member)
  if tagged then
    redis.call('ZADD', latest, 'GT', whole(moment), tag)
  end
  if ARGV[13] ~= '' and redis.call('HLEN', raws) < most_raws then
    redis.call('HSET', raws, id, ARGV[13])
  end
  local oldest = '(' .. whole(math.max(newest, moment) - lateness - timespan - dedup)
  local old = redis.call('ZRANGEBYSCORE', events, '-inf', oldest)
  if #old > 0 then
    for _, hit in ipairs(redis.call('ZRANGEBYSCORE', hits, '-inf', oldest)) do
      redis.call('HDEL', notes, whole(math.floor(hit / dedup)))
    end
    for _, key in ipairs({events, hits, latest}) do
      redis.call('ZREMRANGEBYSCORE', key, '-inf', oldest)
    end
    forget(old, 1)
  end
  local surplus = redis.call('ZCARD', events) - capacity
  if surplus > 0 then
    local dropped = redis.call('ZRANGE', events, 0, surplus - 1, 'WITHSCORES')
    lose(tonumber(dropped[#dropped]))
    redis.call('ZREMRANGEBYRANK', events, 0, surplus - 1)
    forget(dropped, 2)
    if not redis.call('ZSCORE', events, member) then
      return 'late'
    end
  end
end
if ARGV[14] == '1' then
  lose(moment)
end

local found = {}
local function hit(time)
  local text = whole(time)
  if not found[text] then
    found[#found + 1], found[text] = text, true
    redis.call('ZADD', hits, text, text)
  end
end

local function neighbours()
  return redis.call('ZRANGEBYSCORE', events, '(' .. whole(moment - timespan),
    '(' .. whole(moment + timespan), 'WITHSCORES')
end

-- Every run of `threshold` neighbours around the event that fits into the timespan.
local function counted()
  local rank = redis.call('ZRANK', events, member)
  local from = math.max(0, rank - threshold + 1)
  local near = redis.call('ZRANGE', events, from, rank + threshold - 1, 'WITHSCORES')
  for start = 1, math.min(rank - from + 1, #near / 2 - threshold + 1) do
    local first, last = tonumber(near[2 * start]), tonumber(near[2 * (start + threshold - 1)])
    if last - first < timespan then
      hit(last)
    end
  end
end

-- A window slides over the neighbours, and counts how often it holds each tag. When nothing is newer
-- than the event, the tags' newest times say the same at once, however many there are.
local function different()
  if redis.call('ZCARD', latest) < threshold then
    return
  end
  if redis.call('ZCOUNT', events, '(' .. whole(moment), '+inf') == 0 then
    if redis.call('ZCOUNT', latest, '(' .. whole(moment - timespan), '+inf') >= threshold then
      hit(moment)
    end
    return
  end
  local near, held, number, first = neighbours(), {}, 0, 1
  for i = 1, #near, 2 do
    local time, name = tonumber(near[i + 1]), tag_of(near[i])
    if not held[name] then
      number, held[name] = number + 1, 0
    end
    held[name] = held[name] + 1
    while tonumber(near[first + 1]) <= time - timespan do
      local gone = tag_of(near[first])
      held[gone] = held[gone] - 1
      if held[gone] == 0 then
        number, held[gone] = number - 1, nil
      end
      first = first + 2
    end
    if time >= moment and number >= threshold then
      hit(time)
    end
  end
end

-- Of each length of chain only the one that started last can matter: keep its start. Chains end with
-- the last part, so nothing is complete when that was last seen before the event.
local function in_order()
  local ended = tonumber(redis.call('ZSCORE', latest, whole(threshold)))
  if not ended or ended < moment or redis.call('ZCARD', latest) < threshold then
    return
  end
  local near, started, i = neighbours(), {}, 1
  while i <= #near do
    local text, stages = near[i + 1], {}
    while i <= #near and near[i + 1] == text do
      stages[#stages + 1], i = tonumber(tag_of(near[i])), i + 2
    end
    table.sort(stages)
    local time = tonumber(text)
    for _, stage in ipairs(stages) do
      if stage == 1 then
        started[1] = time
      elseif started[stage - 1] then
        started[stage] = math.max(started[stage] or 0, started[stage - 1])
      end
      if stage == threshold and started[stage] and time >= moment
          and started[stage] > time - timespan then
        hit(time)
      end
    end
  end
end

local finders = {
  event_count = counted, value_count = different, temporal = different, temporal_ordered = in_order,
}
finders[kind]()
for i = 1, 5 do
  redis.call('EXPIRE', KEYS[i], idle)
end

local lost = tonumber(redis.call('HGET', notes, 'lost'))
local function reaches_lost(time)
  return (lost and time - timespan < lost) and 1 or 0
end

local function told_hits()
  local told, known = {}, {}
  for _, time in ipairs(found) do
    for _, name in ipairs(redis.call('ZRANGEBYSCORE', events, time, time)) do
      local event = id_of(name)
      if not known[event] then
        known[event] = true
        told[#told + 1] = {event, time, redis.call('HGET', raws, event) or '',
          reaches_lost(tonumber(time))}
      end
    end
  end
  return told
end

local sightings = {}
local last_bucket = ARGV[15] == '1' and math.floor((moment + timespan - 1) / dedup) or -1
for bucket = math.floor(moment / dedup), last_bucket do
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
    if count > 0 then
      local first_id, last_id = id_of(named[1]), id_of(last[1])
      local signature = table.concat({count, last_hit, named[2], first_id, last[2], last_id}, ':')
      if redis.call('HGET', notes, whole(bucket)) ~= signature then
        sightings[#sightings + 1] = {whole(bucket), last_hit, count, named, last[1], last[2],
          redis.call('HGET', raws, first_id), redis.call('HGET', raws, last_id),
          reaches_lost(first_hit)}
      end
    end
  end
end
return {sightings, ARGV[16] == '1' and told_hits() or {}}
