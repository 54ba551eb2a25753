-- Windows with more than MAX_SMALL events, in keys of their own:
--   events         sorted set of "id NUL tag", by time (ms)
--   hits           sorted set, time by time
--   references     hash, event id to the reference of the stored event
--   published      hash, published signatures by bucket; "lost": the time up to which events may be
--                  missing; "several": an event has several tags
--   tag_last_seen  sorted set, tag by its newest time

local events, hits, references, published, tag_last_seen
local size, is_new, newest, oldest, stored, has_hits, expiry_due, is_full
-- The ids and times of the current observations of the window, in turn.
local observed

local function id_of(member)
  return sub(member, 1, find(member, '\0', 1, true) - 1)
end

local function tag_of(member)
  return sub(member, find(member, '\0', 1, true) + 1)
end

local function time_at(rank)
  return tonumber(call('ZRANGE', events, rank, rank, 'WITHSCORES')[2])
end

local function open_keys()
  local keys = other_keys(field)
  events, hits, references, published, tag_last_seen = keys[1], keys[2], keys[3], keys[4], keys[5]
end

-- Read the state of the window once. It is maintained from there.
local function open_large()
  open_keys()
  size = call('ZCARD', events)
  is_new, expiry_due, is_full, observed = size == 0, false, false, {}
  newest, oldest, stored, has_hits = nil, nil, 0, false
  if not is_new then
    newest, oldest = time_at(-1), time_at(0)
    stored = call('HLEN', references)
    has_hits = call('EXISTS', hits) == 1
  end
end

-- `members` are members, or members and times in turn.
local function remove_references(members, step)
  for i = 1, #members, step do
    call('HDEL', references, id_of(members[i]))
  end
end

local function window_lost()
  return tonumber(call('HGET', published, 'lost') or nil)
end

-- Record that events up to this time may be missing.
local function record_loss(at)
  local lost = window_lost()
  if not lost or lost < at then
    call('HSET', published, 'lost', integer(at))
    call('EXPIRE', published, idle)
  end
end

local function doubtful_large(hit)
  return (reaches(window_lost(), hit) or reaches(shard_lost(), hit)) and 1 or 0
end

-- The tags of the newest events of a bucket: those of the current call, and some before. The tags of
-- earlier events are in earlier versions of the summary.
local function newest_tags(last_hit, opening)
  local tags, known = {}, {}
  for _, member in ipairs(call('ZREVRANGEBYSCORE', events, last_hit, opening, 'LIMIT', 0,
      MAX_TAGS)) do
    local value = tag_of(member)
    if not known[value] then
      known[value], tags[#tags + 1] = true, value
    end
  end
  return tags
end

local function record_several_tags()
  call('HSET', published, 'several', 1)
  call('EXPIRE', published, idle)
end

-- The number of different events. An event may have several tags. Its members are next to each other.
local function count_events(opening, last_hit)
  if not tagged or (kind == 'value_count' and not counts_hits
      and call('HEXISTS', published, 'several') == 0) then
    return call('ZCOUNT', events, opening, last_hit)
  end
  local count, previous = 0, nil
  for _, member in ipairs(call('ZRANGEBYSCORE', events, opening, last_hit)) do
    local name = id_of(member)
    if name ~= previous then
      count, previous = count + 1, name
    end
  end
  return count
end

-- The ids of the events that this version of the summary must list, because it cannot name all events
-- and no earlier version may have them: the events of the current observations, and the events that
-- the last published version did not cover. All versions together list all events: an event that
-- arrives when a version covers its time is listed with its own observation, and its message is not
-- acknowledged before that version is published.
local function events_to_list(mark, first_hit, last_hit, opening)
  local listed = {}
  local function list(from, to)
    for _, member in ipairs(call('ZRANGEBYSCORE', events, from, to)) do
      listed[#listed + 1] = id_of(member)
    end
  end
  if not mark then
    list(opening, last_hit)
    return listed
  end
  local covered_to, covered_from = string.match(mark, '^%d+:(%-?%d+):(%-?%d+):')
  list(opening, covered_from)
  list('(' .. covered_to, last_hit)
  for i = 1, #observed, 2 do
    if observed[i + 1] > first_hit - timespan and observed[i + 1] <= tonumber(last_hit) then
      listed[#listed + 1] = observed[i]
    end
  end
  return listed
end

local function summarize_large(bucket, last_number)
  local low, high = integer(bucket * dedup), '(' .. integer((bucket + 1) * dedup)
  local first_hit = tonumber(call('ZRANGEBYSCORE', hits, low, high, 'LIMIT', 0, 1)[1])
  if not first_hit then
    return
  end
  local last_hit = call('ZREVRANGEBYSCORE', hits, high, low, 'LIMIT', 0, 1)[1]
  local opening = '(' .. integer(first_hit - timespan)
  local count = count_events(opening, last_hit)
  if count == 0 then
    return
  end
  local first = call('ZRANGEBYSCORE', events, opening, last_hit, 'WITHSCORES', 'LIMIT', 0, 1)
  local last = call('ZREVRANGEBYSCORE', events, last_hit, opening, 'WITHSCORES', 'LIMIT', 0, 1)
  local first_id, last_id = id_of(first[1]), id_of(last[1])
  local text = signature(count, tonumber(last_hit), tonumber(first[2]), first_id,
    tonumber(last[2]), last_id)
  local mark = call('HGET', published, integer(bucket))
  -- The worker that added a redelivered event may have failed before it listed the event.
  if mark == text and not (redelivered[bucket] and count > MAX_EVIDENCE) then
    return
  end
  local earliest, named = call('ZRANGEBYSCORE', events, opening, last_hit, 'WITHSCORES', 'LIMIT', 0,
    MAX_EVIDENCE), {}
  for i = 1, #earliest, 2 do
    local name = id_of(earliest[i])
    if name ~= named[#named - 1] then
      named[#named + 1], named[#named + 2] = name, tonumber(earliest[i + 1])
    end
  end
  local unnamed = count > #named / 2 and events_to_list(mark, first_hit, last_hit, opening) or {}
  local kept = call('HMGET', references, first_id, last_id)
  summaries[#summaries + 1] = {last_number, bucket, tonumber(last_hit), count, named, last_id,
    tonumber(last[2]), kept[1] or '', kept[2] or '', doubtful_large(first_hit),
    kind == 'value_count' and newest_tags(last_hit, opening) or {}, unnamed}
end

-- Report the buckets that the observations belong to.
local function report_large()
  if next(touched) then
    for bucket, last_number in pairs(touched) do
      summarize_large(bucket, last_number)
    end
    touched, redelivered = {}, {}
  end
end

local function trim_large(bound)
  report_large()
  for _, hit in ipairs(call('ZRANGEBYSCORE', hits, '-inf', bound)) do
    call('HDEL', published, integer(floor(hit / dedup)))
  end
  remove_references(call('ZRANGEBYSCORE', events, '-inf', bound), 1)
  for _, key in ipairs({events, hits, tag_last_seen}) do
    call('ZREMRANGEBYSCORE', key, '-inf', bound)
  end
  size, stored = call('ZCARD', events), call('HLEN', references)
  oldest = time_at(0)
  has_hits = call('EXISTS', hits) == 1
end

-- Update the state after an event was added.
local function after_add()
  size = size + 1
  newest, oldest = max(newest or time, time), min(oldest or time, time)
  if tagged then
    call('ZADD', tag_last_seen, 'GT', integer(time), tag)
  end
  if reference ~= '' and stored < MAX_STORED_EVENTS then
    expiry_due = expiry_due or stored == 0
    stored = stored + call('HSET', references, id, reference)
  end
end

-- Events before this time are forgotten when there is an event at `at`.
local function bound_for(at)
  return max(newest or at, at) - retention
end

-- The number of events that the window may have, given the size of the current one.
local function room(member)
  return min(capacity, max(threshold, floor(WINDOW_BYTES / (#member + 100))))
end

-- Whether an event at `at`, if it is new, is in time and makes the window forget no other event.
local function fits(at, limit)
  return size == 0 or size < limit and at >= newest - lateness and oldest >= bound_for(at)
end

-- Add a new event although the window must forget others. Returns whether the event is kept.
local function add_and_forget(member, limit)
  if time < newest - lateness then
    return false
  end
  newest = max(newest, time)
  if oldest < bound_for(time) then
    trim_large('(' .. integer(bound_for(time)))
  end
  if size >= limit and not is_full then
    is_full = true
    report_large()  -- Once: later summaries are approximate.
  end
  call('ZADD', events, integer(time), member)
  after_add()
  local surplus = size - limit
  if surplus > 0 then
    record_loss(time_at(surplus - 1))
    if stored > 0 then
      remove_references(call('ZRANGE', events, 0, surplus - 1), 1)
    end
    call('ZREMRANGEBYRANK', events, 0, surplus - 1)
    size, stored = limit, call('HLEN', references)
    oldest = time_at(0)
    return call('ZSCORE', events, member) and true or false
  end
  return true
end

-- Add the event if it is new; otherwise `time` is its known time. Returns whether it is kept, and
-- whether it was known.
local function add(member)
  local limit = room(member)
  if fits(time, limit) then
    if call('ZADD', events, 'NX', integer(time), member) == 1 then
      after_add()
      return true, false
    end
    time = tonumber(call('ZSCORE', events, member))
    return true, true
  end
  local known = tonumber(call('ZSCORE', events, member) or nil)
  if known then
    time = known
    return true, true
  end
  return add_and_forget(member, limit), false
end

-- The times of hits that the observation belongs to, and the hits that were known before.
local found, known_hits
local function add_hit(at)
  local text = integer(at)
  if not found[text] then
    found[#found + 1], found[text] = text, true
    if not (known_hits and known_hits[text]) and call('ZADD', hits, text, text) == 1
        and not has_hits then
      has_hits, expiry_due = true, true
    end
  end
end

local function read_known_hits(from, to)
  known_hits = {}
  for _, text in ipairs(call('ZRANGEBYSCORE', hits, from, to)) do
    known_hits[text] = true
  end
end

-- Whether all events that the observation can complete are hits already, so that only its own time
-- can be a new hit. Always false if hits are reported, because they are reported again.
local function all_after_are_hits()
  local after, beyond = '(' .. integer(time), '(' .. integer(time + timespan)
  return not feeds and call('ZCOUNT', hits, after, beyond) == call('ZCOUNT', events, after, beyond)
end

local function neighbours()
  return call('ZRANGEBYSCORE', events, '(' .. integer(time - timespan),
    '(' .. integer(time + timespan), 'WITHSCORES')
end

local find_hits = {}

-- Every run of `threshold` neighbours that contains the observation and is within the timespan.
-- There are as many runs as events after the observation, so only the ends of runs are read.
function find_hits.event_count(member)
  if all_after_are_hits() then
    local first = call('ZCOUNT', events, '-inf', integer(time)) - threshold
    local start = first >= 0 and time_at(first)
    if start and time - start < timespan then
      add_hit(time)
    end
    return
  end
  local rank = call('ZRANK', events, member)
  local first = max(0, rank - threshold + 1)
  local ends = call('ZRANGE', events, first + threshold - 1, rank + threshold - 1, 'WITHSCORES')
  local starts = call('ZRANGE', events, first, first + #ends / 2 - 1, 'WITHSCORES')
  if #ends > 2 then
    read_known_hits(ends[2], ends[#ends])
  end
  for i = 2, #ends, 2 do
    local last = tonumber(ends[i])
    if last - tonumber(starts[i]) < timespan then
      add_hit(last)
    end
  end
end

-- Whether the timespan up to the observation has `threshold` different tags. The search goes
-- backwards in steps, because the nearest events are sufficient in most cases.
local function enough_tags_before()
  local held, different, offset, step = {}, 0, 0, max(64, 2 * threshold)
  while true do
    local members = call('ZREVRANGEBYSCORE', events, integer(time),
      '(' .. integer(time - timespan), 'LIMIT', offset, step)
    for _, each in ipairs(members) do
      local value = tag_of(each)
      if not held[value] then
        held[value], different = true, different + 1
        if different >= threshold then
          return true
        end
      end
    end
    if #members < step then
      return false
    end
    offset = offset + step
  end
end

-- Slides a window over the neighbours and counts their tags. If no event is newer than the
-- observation, the newest times of the tags give the result directly. If all newer events are hits
-- already, only the time of the observation can be a new hit.
function find_hits.value_count()
  if call('ZCARD', tag_last_seen) < threshold then
    return
  end
  if call('ZCOUNT', events, '(' .. integer(time), '+inf') == 0 then
    if call('ZCOUNT', tag_last_seen, '(' .. integer(time - timespan), '+inf') >= threshold then
      add_hit(time)
    end
    return
  end
  local beyond = '(' .. integer(time + timespan)
  if call('ZCOUNT', events, '(' .. integer(time - timespan), beyond) < threshold then
    return
  end
  if all_after_are_hits() then
    if enough_tags_before() then
      add_hit(time)
    end
    return
  end
  read_known_hits(integer(time), beyond)
  local near, held, different, first = neighbours(), {}, 0, 1
  for i = 1, #near, 2 do
    local at, value = tonumber(near[i + 1]), tag_of(near[i])
    held[value] = (held[value] or 0) + 1
    if held[value] == 1 then
      different = different + 1
    end
    while tonumber(near[first + 1]) <= at - timespan do
      local dropped = tag_of(near[first])
      held[dropped] = held[dropped] - 1
      if held[dropped] == 0 then
        different = different - 1
      end
      first = first + 2
    end
    if at >= time and different >= threshold then
      add_hit(at)
    end
  end
end

find_hits.temporal = find_hits.value_count

-- For each length of a sequence only the sequence with the latest start matters. A sequence ends
-- with the last stage, so nothing is complete if that was last seen before the observation.
function find_hits.temporal_ordered()
  local ended = tonumber(call('ZSCORE', tag_last_seen, integer(threshold)) or nil)
  if not ended or ended < time or call('ZCARD', tag_last_seen) < threshold then
    return
  end
  local near, started, i = neighbours(), {}, 1
  while i <= #near do
    local text, stages = near[i + 1], {}
    while i <= #near and near[i + 1] == text do
      stages[#stages + 1], i = tonumber(tag_of(near[i])), i + 2
    end
    table.sort(stages)
    local at = tonumber(text)
    for _, stage in ipairs(stages) do
      if stage == 1 then
        started[1] = at
      elseif started[stage - 1] then
        started[stage] = max(started[stage] or 0, started[stage - 1])
      end
      if stage == threshold and started[stage] and at >= time
          and started[stage] > at - timespan then
        add_hit(at)
      end
    end
  end
end

local function report_hits_large()
  local known = {}
  for _, text in ipairs(found) do
    for _, each in ipairs(call('ZRANGEBYSCORE', events, text, text)) do
      local name = id_of(each)
      if not known[name] then
        known[name] = true
        hits_found[#hits_found + 1] = {number, name, tonumber(text),
          call('HGET', references, name) or '', doubtful_large(tonumber(text))}
      end
    end
  end
end

local function observe_large()
  local member = id .. '\0' .. tag
  local is_kept, is_known = add(member)
  if not is_kept then
    late[#late + 1] = number
    return
  end
  if approximate then
    record_loss(time)
  end
  found, known_hits = {}, nil
  find_hits[kind](member)
  if feeds then
    report_hits_large()
  end
  if tagged and id == observed[#observed - 1] then
    record_several_tags()
  end
  if reports then
    observed[#observed + 1], observed[#observed + 2] = id, time
    if has_hits then
      touch(is_known)
    end
  end
end

-- Write the content of a small window to keys of its own, and open them.
local function convert_to_large(window)
  open_keys()
  for i = FIRST, #window, SIZE do
    call('ZADD', events, integer(window[i]), window[i + 1] .. '\0' .. window[i + 2])
    if tagged then
      call('ZADD', tag_last_seen, 'GT', integer(window[i]), window[i + 2])
    end
    if window[i + 3] ~= '' then
      call('HSET', references, window[i + 1], window[i + 3])
    end
    if window[i + 1] == window[i + 1 - SIZE] then
      record_several_tags()
    end
  end
  for _, hit in ipairs(hits_of(window)) do
    call('ZADD', hits, integer(hit), integer(hit))
  end
  local list = window[2]
  for i = 1, list and #list or 0, 2 do
    call('HSET', published, integer(list[i]), list[i + 1])
  end
  if window[1] then
    call('HSET', published, 'lost', integer(window[1]))
  end
  open_large()
  is_new = false
  expiry_due = true
end

-- Renew the expiry of the keys, but not at each access. A new key has no expiry yet.
local function close_large(value)
  if expiry_due or is_new or call('TTL', events) < idle - SLACK_SECONDS then
    for _, key in ipairs({events, hits, references, published, tag_last_seen}) do
      call('EXPIRE', key, idle)
    end
  end
  if not value or tonumber(sub(value, 9, 10), 16) ~= IN_OTHER_KEYS
      or tonumber(sub(value, 1, 8), 16) + SLACK_SECONDS < now then
    call('HSET', shard, field, format('%08x%02x', now, IN_OTHER_KEYS))
  end
end
