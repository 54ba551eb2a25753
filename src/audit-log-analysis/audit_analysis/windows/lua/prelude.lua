-- Shared by all parts of a script. scripts.py concatenates the parts and adds the constants, whose
-- names are in upper case. spec.py defines the terms; memory.py and hits.py are the same in Python.
--
-- KEYS  1 any key of the hash slot. The other keys are derived from the request; they have the same
--         hash tag.
-- ARGV  1 the request in MessagePack (windows/request.py)

local call, pack, unpack_message = redis.call, cmsgpack.pack, cmsgpack.unpack
local format, sub, byte, find, floor = string.format, string.sub, string.byte, string.find, math.floor
local max, min, ceil = math.max, math.min, math.ceil

local request = unpack_message(ARGV[1])
local now = tonumber(call('TIME')[1])
-- Limits that depend on the memory of Redis.
local max_fields, max_members = request[1], request[2]
local specs, published_marks, windows = request[3], request[4], request[5]

-- The specification of the current window. Times are in milliseconds, `idle` is in seconds.
local kind, threshold, timespan, dedup, lateness, capacity, idle, reports, feeds, prefix
local counts_hits, retention, tagged, current_spec
local function select_spec(number)
  if number == current_spec then
    return
  end
  current_spec = number
  local spec = specs[number]
  kind, threshold, timespan, dedup, lateness = spec[1], spec[2], spec[3], spec[4], spec[5]
  capacity, idle, reports, feeds, prefix = spec[6], spec[7], spec[8], spec[9], spec[10]
  counts_hits = spec[12]
  retention = lateness + timespan + dedup
  tagged = kind ~= 'event_count'
  if capacity > max_members then
    capacity = max(threshold, max_members)
  end
end

-- The current window: its shard and its field in the shard.
local shard, field

-- The results: numbers (from 1) of observations that are late; summaries of buckets
-- {number of the last observation in the bucket, bucket, last hit, count, {id, time, ...},
-- last id, last time, reference of the first event, reference of the last event, approximate,
-- {tag, ...}, {id of an event that is not named, ...}}; hits {number of the observation, event id, time, reference, approximate};
-- the number of windows that were evicted.
local late, summaries, hits_found, evicted = {}, {}, {}, 0

-- The current observation.
local number, id, tag, time, reference, approximate

-- The number of the last observation for each bucket that observations of the window belong to, and
-- the buckets to which a redelivered event belongs.
local touched, redelivered = {}, {}
local function touch(is_known)
  for bucket = floor(time / dedup), floor((time + timespan - 1) / dedup) do
    touched[bucket] = number
    redelivered[bucket] = redelivered[bucket] or is_known
  end
end

-- Redis receives numbers as text. Lua would write 1.7e+12 without a format.
local function integer(value)
  return format('%.0f', value)
end

-- The order of bytes. The operator < depends on the locale of the server.
local function bytes_before(a, b)
  for i = 1, min(#a, #b) do
    local x, y = byte(a, i), byte(b, i)
    if x ~= y then
      return x < y
    end
  end
  return #a < #b
end

local function signature(count, last_hit, first_time, first_id, last_time, last_id)
  return table.concat({integer(count), integer(last_hit), integer(first_time), first_id,
    integer(last_time), last_id}, ':')
end

-- Events before this time may be missing in every window of the shard, because a window of the
-- shard was evicted. It is stored in the field with the empty name.
local function shard_lost()
  return tonumber(call('HGET', shard, '') or nil)
end

local function reaches(lost, hit)
  return lost and hit - timespan < lost
end
