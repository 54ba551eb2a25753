-- Take events into a window and report the sightings that they can have changed.
-- windows/spec.py defines the words; windows/memory.py and hits.py are the same in Python.
--
-- KEYS  1 events: sorted set of "id NUL tag", by time (ms)   2 hits: sorted set, time by time
--       3 raws: hash, event id to bytes                      4 notes: hash, published signatures
--       5 latest: sorted set, tag by its newest time           by bucket, and "lost" (see capacity)
-- ARGV  1 kind  2 threshold  3 timespan  4 dedup  5 lateness  6 capacity
--       7 idle seconds until the window is forgotten  8 most raws kept  9 most events named
--       10 whether sightings are told  11 whether hits are told, and of each event, in their order:
--       its id, tag, time, bytes if known, whether there may have been more like it
-- Returns {late, sightings, hits}: the numbers (from 1) of the events that came too late; of the
--       second each is {number of the last event in it, bucket, last hit, count,
--       {member, time, ...}, last member, last time, first raw, last raw, approximate}, of the third
--       {number of the event that hit, event id, time, raw, approximate}
--
-- Sightings are told once, after all events, for what is seen later includes what was seen before.
-- Only what is about to be forgotten is told at once.

local events, hits, raws, notes, latest = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local kind = ARGV[1]
local threshold, timespan, dedup = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local lateness, capacity = tonumber(ARGV[5]), tonumber(ARGV[6])
local idle, most_raws, most_named = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local reports, feeds = ARGV[10] == '1', ARGV[11] == '1'
local FIRST, EACH = 12, 5
-- How many seconds a window's end may lag behind.
local SLACK = 600
local tagged = kind ~= 'event_count'

-- Times go to Redis as whole numbers: Lua would write 1.7e+12 otherwise.
local function whole(number)
  return string.format('%.0f', number)
end

local function id_of(name)
  return string.sub(name, 1, string.find(name, '\0', 1, true) - 1)
end

local function tag_of(name)
  return string.sub(name, string.find(name, '\0', 1, true) + 1)
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
    redis.call('EXPIRE', notes, idle)
  end
end

-- What the window holds is asked once, and followed from there. Each question costs, so a window
-- that is new is asked nothing else.
local size = redis.call('ZCARD', events)
local fresh = size == 0
local newest, oldest, kept, has_hits = nil, nil, 0, false
if not fresh then
  newest = tonumber(redis.call('ZREVRANGE', events, 0, 0, 'WITHSCORES')[2])
  oldest = tonumber(redis.call('ZRANGE', events, 0, 0, 'WITHSCORES')[2])
  kept = redis.call('HLEN', raws)
  has_hits = redis.call('EXISTS', hits) == 1
end
local renewed, full = false, false

-- The event at hand.
local number, id, tag, member, moment
local late, sightings, told, touched = {}, {}, {}, {}

local function reaches_lost(time)
  local lost = tonumber(redis.call('HGET', notes, 'lost'))
  return (lost and time - timespan < lost) and 1 or 0
end

local function sight(bucket, last_number)
  local low, high = whole(bucket * dedup), '(' .. whole((bucket + 1) * dedup)
  local first_hit = tonumber(redis.call('ZRANGEBYSCORE', hits, low, high, 'LIMIT', 0, 1)[1])
  if not first_hit then
    return
  end
  local last_hit = redis.call('ZREVRANGEBYSCORE', hits, high, low, 'LIMIT', 0, 1)[1]
  local opening = '(' .. whole(first_hit - timespan)
  local count = redis.call('ZCOUNT', events, opening, last_hit)
  if count == 0 then
    return
  end
  local first = redis.call('ZRANGEBYSCORE', events, opening, last_hit, 'WITHSCORES',
    'LIMIT', 0, 1)
  local last = redis.call('ZREVRANGEBYSCORE', events, last_hit, opening, 'WITHSCORES',
    'LIMIT', 0, 1)
  local first_id, last_id = id_of(first[1]), id_of(last[1])
  local signature = table.concat({count, last_hit, first[2], first_id, last[2], last_id}, ':')
  if redis.call('HGET', notes, whole(bucket)) ~= signature then
    local named = redis.call('ZRANGEBYSCORE', events, opening, last_hit, 'WITHSCORES',
      'LIMIT', 0, most_named)
    local whole_events = redis.call('HMGET', raws, first_id, last_id)
    sightings[#sightings + 1] = {last_number, whole(bucket), last_hit, count, named, last[1],
      last[2], whole_events[1], whole_events[2], reaches_lost(first_hit)}
  end
end

-- Tell what the buckets have seen that events had a part in.
local function report()
  if next(touched) then
    for bucket, last_number in pairs(touched) do
      sight(bucket, last_number)
    end
    touched = {}
  end
end

local function trim(bound)
  report()
  for _, hit in ipairs(redis.call('ZRANGEBYSCORE', hits, '-inf', bound)) do
    redis.call('HDEL', notes, whole(math.floor(hit / dedup)))
  end
  forget(redis.call('ZRANGEBYSCORE', events, '-inf', bound), 1)
  for _, key in ipairs({events, hits, latest}) do
    redis.call('ZREMRANGEBYSCORE', key, '-inf', bound)
  end
  size, kept = redis.call('ZCARD', events), redis.call('HLEN', raws)
  oldest = tonumber(redis.call('ZRANGE', events, 0, 0, 'WITHSCORES')[2])
  has_hits = redis.call('EXISTS', hits) == 1
end

-- Follow what an event that was added changes.
local function added()
  size = size + 1
  newest, oldest = math.max(newest or moment, moment), math.min(oldest or moment, moment)
  if tagged then
    redis.call('ZADD', latest, 'GT', whole(moment), tag)
  end
  local raw = ARGV[FIRST + EACH * (number - 1) + 3]
  if raw ~= '' and kept < most_raws then
    renewed = renewed or kept == 0
    kept = kept + redis.call('HSET', raws, id, raw)
  end
end

-- The time before which events are forgotten when there is one at this time.
local function bound(time)
  return math.max(newest or time, time) - lateness - timespan - dedup
end

-- Whether an event at this time, if it is new, comes in time and drives out no other.
local function fits(time)
  return size == 0
    or size < capacity and time >= newest - lateness and oldest >= bound(time)
end

-- Add the event, which is new, though others may have to go. Says whether it has a place.
local function squeeze_in()
  if moment < newest - lateness then
    return false
  end
  newest = math.max(newest, moment)
  if oldest < bound(moment) then
    trim('(' .. whole(bound(moment)))
  end
  if size >= capacity and not full then
    full = true
    report()  -- once: from here on what is seen is approximate anyway
  end
  redis.call('ZADD', events, whole(moment), member)
  added()
  local surplus = size - capacity
  if surplus > 0 then
    local dropped = redis.call('ZRANGE', events, 0, surplus - 1, 'WITHSCORES')
    lose(tonumber(dropped[#dropped]))
    redis.call('ZREMRANGEBYRANK', events, 0, surplus - 1)
    forget(dropped, 2)
    size, kept = capacity, redis.call('HLEN', raws)
    oldest = tonumber(redis.call('ZRANGE', events, 0, 0, 'WITHSCORES')[2])
    if not redis.call('ZSCORE', events, member) then
      return false
    end
  end
  return true
end

-- Have the event in the window, at the time at which it is known. Says whether it has a place.
local function place_event()
  local stated = tonumber(ARGV[FIRST + EACH * (number - 1) + 2])
  if fits(stated) then
    moment = stated
    if redis.call('ZADD', events, 'NX', whole(moment), member) == 1 then
      added()
    else
      moment = tonumber(redis.call('ZSCORE', events, member))
    end
    return true
  end
  moment = tonumber(redis.call('ZSCORE', events, member))
  if moment then
    return true
  end
  moment = stated
  return squeeze_in()
end

-- Times of hits that the event has a part in; and those that were known before, when it matters.
local found, known = {}, nil
local function hit(time)
  local text = whole(time)
  if not found[text] then
    found[#found + 1], found[text] = text, true
    if not (known and known[text]) and redis.call('ZADD', hits, text, text) == 1
        and not has_hits then
      has_hits, renewed = true, true
    end
  end
end

local function know_hits(from, to)
  known = {}
  for _, text in ipairs(redis.call('ZRANGEBYSCORE', hits, from, to)) do
    known[text] = true
  end
end

-- Whether all events that the event can complete are hits already, so that only its own time is a
-- question. Not asked where hits are told: they are told again.
local function nothing_new_after()
  local after, beyond = '(' .. whole(moment), '(' .. whole(moment + timespan)
  return not feeds
    and redis.call('ZCOUNT', hits, after, beyond) == redis.call('ZCOUNT', events, after, beyond)
end

local function neighbours()
  return redis.call('ZRANGEBYSCORE', events, '(' .. whole(moment - timespan),
    '(' .. whole(moment + timespan), 'WITHSCORES')
end

-- Every run of `threshold` neighbours around the event that fits into the timespan. Of these runs
-- there are as many as there are events behind it, so only their ends are looked at.
local function counted()
  if nothing_new_after() then
    local first = redis.call('ZCOUNT', events, '-inf', whole(moment)) - threshold
    local start = first >= 0 and redis.call('ZRANGE', events, first, first, 'WITHSCORES')[2]
    if start and moment - tonumber(start) < timespan then
      hit(moment)
    end
    return
  end
  local rank = redis.call('ZRANK', events, member)
  local first = math.max(0, rank - threshold + 1)
  local behind = redis.call('ZRANGE', events, first + threshold - 1, rank + threshold - 1,
    'WITHSCORES')
  local before = redis.call('ZRANGE', events, first, first + #behind / 2 - 1, 'WITHSCORES')
  if #behind > 2 then
    know_hits(behind[2], behind[#behind])
  end
  for i = 2, #behind, 2 do
    local last = tonumber(behind[i])
    if last - tonumber(before[i]) < timespan then
      hit(last)
    end
  end
end

-- Whether `threshold` different tags stand in the timespan up to the event: looked for backwards,
-- in steps, since mostly the nearest events tell.
local function enough_before()
  local held, number, offset, step = {}, 0, 0, math.max(64, 2 * threshold)
  while true do
    local names = redis.call('ZREVRANGEBYSCORE', events, whole(moment),
      '(' .. whole(moment - timespan), 'LIMIT', offset, step)
    for _, name in ipairs(names) do
      local seen = tag_of(name)
      if not held[seen] then
        held[seen], number = true, number + 1
        if number >= threshold then
          return true
        end
      end
    end
    if #names < step then
      return false
    end
    offset = offset + step
  end
end

-- A window slides over the neighbours, and counts how often it holds each tag. When nothing is newer
-- than the event, the tags' newest times say the same at once, however many there are; and when all
-- that is newer are hits already, only the event's own time is a question.
local function different()
  if redis.call('ZCARD', latest) < threshold then
    return
  end
  local after = '(' .. whole(moment)
  if redis.call('ZCOUNT', events, after, '+inf') == 0 then
    if redis.call('ZCOUNT', latest, '(' .. whole(moment - timespan), '+inf') >= threshold then
      hit(moment)
    end
    return
  end
  local beyond = '(' .. whole(moment + timespan)
  if redis.call('ZCOUNT', events, '(' .. whole(moment - timespan), beyond) < threshold then
    return
  end
  if nothing_new_after() then
    if enough_before() then
      hit(moment)
    end
    return
  end
  know_hits(whole(moment), beyond)
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
local find = finders[kind]

local function tell_hits()
  local known = {}
  for _, time in ipairs(found) do
    for _, name in ipairs(redis.call('ZRANGEBYSCORE', events, time, time)) do
      local event = id_of(name)
      if not known[event] then
        known[event] = true
        told[#told + 1] = {number, event, time, redis.call('HGET', raws, event) or '',
          reaches_lost(tonumber(time))}
      end
    end
  end
end

local function take()
  if not place_event() then
    late[#late + 1] = number
    return
  end
  if ARGV[FIRST + EACH * (number - 1) + 4] == '1' then
    lose(moment)
  end
  found, known = {}, nil
  find()
  if feeds then
    tell_hits()
  end
  if reports and has_hits then
    for bucket = math.floor(moment / dedup), math.floor((moment + timespan - 1) / dedup) do
      touched[bucket] = number
    end
  end
end

for place = 1, (#ARGV - FIRST + 1) / EACH do
  number = place
  id, tag = ARGV[FIRST + EACH * (place - 1)], ARGV[FIRST + EACH * (place - 1) + 1]
  member = id .. '\0' .. tag
  take()
end
report()
-- Not each time, for each is written to Redis' log. A key that is new has no end yet.
local ending = {}
if fresh then
  ending = {events, kept > 0 and raws or nil}
  if has_hits then
    ending[#ending + 1] = hits
  end
  if tagged then
    ending[#ending + 1] = latest
  end
elseif renewed or redis.call('TTL', events) < idle - SLACK then
  ending = KEYS
end
for _, key in ipairs(ending) do
  redis.call('EXPIRE', key, idle)
end
return {late, sightings, told}
