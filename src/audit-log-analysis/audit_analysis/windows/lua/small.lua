-- Windows with up to MAX_SMALL events. Their content is one array in MessagePack:
-- {lost or false, {bucket, signature, ...} or false, and of each event, ordered by time, id and
-- tag: its time, id, tag, reference}. Hits are not stored; they are computed from the events.

-- The first position and the size of an event in the array.
local FIRST, SIZE = 3, 4

local function position_of(window)
  for i = FIRST, #window, SIZE do
    if window[i + 1] == id and window[i + 2] == tag then
      return i
    end
  end
end

local function is_after(window, i)
  if window[i] ~= time then
    return window[i] > time
  end
  if window[i + 1] ~= id then
    return bytes_before(id, window[i + 1])
  end
  return bytes_before(tag, window[i + 2])
end

local function insert(window)
  local i = #window - SIZE + 1
  while i >= FIRST and is_after(window, i) do
    i = i - SIZE
  end
  i = i + SIZE
  for j = #window, i, -1 do
    window[j + SIZE] = window[j]
  end
  window[i], window[i + 1], window[i + 2], window[i + 3] = time, id, tag, reference
end

-- The times of all hits, in order.
local all_hits = {}

function all_hits.event_count(window)
  local found = {}
  for i = FIRST + SIZE * (threshold - 1), #window, SIZE do
    local at = window[i]
    if found[#found] ~= at and at - window[i - SIZE * (threshold - 1)] < timespan then
      found[#found + 1] = at
    end
  end
  return found
end

function all_hits.value_count(window)
  local found, held, different, first = {}, {}, 0, FIRST
  for i = FIRST, #window, SIZE do
    local at, value = window[i], window[i + 2]
    held[value] = (held[value] or 0) + 1
    if held[value] == 1 then
      different = different + 1
    end
    while window[first] <= at - timespan do
      local dropped = window[first + 2]
      held[dropped] = held[dropped] - 1
      if held[dropped] == 0 then
        different = different - 1
      end
      first = first + SIZE
    end
    if different >= threshold and found[#found] ~= at then
      found[#found + 1] = at
    end
  end
  return found
end

all_hits.temporal = all_hits.value_count

-- For each length of a sequence only the sequence with the latest start matters.
function all_hits.temporal_ordered(window)
  local found, started, i = {}, {}, FIRST
  while i <= #window do
    local at, stages = window[i], {}
    while window[i] == at do
      stages[#stages + 1], i = tonumber(window[i + 2]), i + SIZE
    end
    table.sort(stages)
    for _, stage in ipairs(stages) do
      if stage == 1 then
        started[1] = at
      elseif started[stage - 1] then
        started[stage] = max(started[stage] or 0, started[stage - 1])
      end
      if stage == threshold and started[stage] and started[stage] > at - timespan
          and found[#found] ~= at then
        found[#found + 1] = at
      end
    end
  end
  return found
end

local function hits_of(window)
  if #window < FIRST - 1 + SIZE * threshold then
    return {}
  end
  return all_hits[kind](window)
end

local function published_signature(window, bucket)
  local list = window[2]
  for i = 1, list and #list or 0, 2 do
    if list[i] == bucket then
      return list[i + 1], i
    end
  end
end

local function set_published(window, bucket, text)
  local list = window[2] or {}
  local _, i = published_signature(window, bucket)
  i = i or #list + 1
  list[i], list[i + 1] = bucket, text
  window[2] = list
end

local function tags_between(window, first, last)
  local tags, known = {}, {}
  for i = first, last, SIZE do
    local value = window[i + 2]
    if not known[value] then
      known[value], tags[#tags + 1] = true, value
    end
  end
  return tags
end

local function summarize_small(window, hits, bucket, last_number)
  local low, high = bucket * dedup, (bucket + 1) * dedup
  local first_hit, last_hit
  for _, hit in ipairs(hits) do
    if hit >= low and hit < high then
      first_hit, last_hit = first_hit or hit, hit
    end
  end
  if not first_hit then
    return
  end
  local first, last = FIRST, #window - SIZE + 1
  while window[first] <= first_hit - timespan do
    first = first + SIZE
  end
  while window[last] > last_hit do
    last = last - SIZE
  end
  -- An event may have several tags. Its members are next to each other.
  local named = {}
  for i = first, last, SIZE do
    if window[i + 1] ~= named[#named - 1] then
      named[#named + 1], named[#named + 2] = window[i + 1], window[i]
    end
  end
  local count = #named / 2
  local text = signature(count, last_hit, window[first], window[first + 1], window[last],
    window[last + 1])
  if published_signature(window, bucket) == text then
    return
  end
  local doubtful = reaches(window[1], first_hit) or reaches(shard_lost(), first_hit)
  summaries[#summaries + 1] = {last_number, bucket, last_hit, count, named, window[last + 1],
    window[last], window[first + 3], window[last + 3], doubtful and 1 or 0,
    kind == 'value_count' and tags_between(window, first, last) or {}, {}}
end

local function report_small(window)
  if next(touched) then
    local hits = hits_of(window)
    if hits[1] then
      for bucket, last_number in pairs(touched) do
        summarize_small(window, hits, bucket, last_number)
      end
    end
    touched = {}
  end
end

-- Forget the events before a time, and the signatures of buckets that end before it.
local function trim_small(window, bound)
  local first = FIRST
  while window[first] and window[first] < bound do
    first = first + SIZE
  end
  local dropped = first - FIRST
  if dropped > 0 then
    local length = #window
    for i = first, length do
      window[i - dropped] = window[i]
    end
    for i = length, length - dropped + 1, -1 do
      window[i] = nil
    end
  end
  local list = window[2]
  if list then
    local kept = {}
    for i = 1, #list, 2 do
      if (list[i] + 1) * dedup > bound then
        kept[#kept + 1], kept[#kept + 2] = list[i], list[i + 1]
      end
    end
    window[2] = kept[1] and kept or false
  end
end

local function hits_of_observation_small(window)
  local doubtful
  for _, hit in ipairs(hits_of(window)) do
    if hit >= time and hit < time + timespan then
      if doubtful == nil then
        doubtful = shard_lost() or false
      end
      local known = {}
      for i = FIRST, #window, SIZE do
        local name = window[i + 1]
        if window[i] == hit and not known[name] then
          known[name] = true
          local lost = reaches(window[1], hit) or reaches(doubtful, hit)
          hits_found[#hits_found + 1] = {number, name, hit, window[i + 3], lost and 1 or 0}
        end
      end
    end
  end
end

local function write_small(window)
  call('HSET', shard, field, header((#window - FIRST + 1) / SIZE) .. pack(window))
end
