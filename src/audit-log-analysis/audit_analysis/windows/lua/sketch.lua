-- Windows that estimate the number of different values; windows/sketch.py is the same in Python.
-- Their keys are those of large windows with other contents:
--   events      sorted set of slice numbers, by their start (ms)
--   hits        sorted set, slice by start
--   references  hash, references of the first and the last event of slices ("f7", "l7")
--   published   hash, published signatures by bucket; times and ids of the first and last events of
--               slices; "newest"
--   tag_last_seen  the prefix of the HyperLogLogs of tags (":t7") and of event ids (":n7")

local width, newest_in_sketch

local function hyperloglog(letter, slice)
  return tag_last_seen .. ':' .. letter .. integer(slice)
end

-- The slices that exist in a range of numbers, as text.
local function existing(from, to)
  return call('ZRANGEBYSCORE', events, integer(from * width), integer(to * width))
end

local function estimate(letter, from, to)
  local keys = {}
  for _, slice in ipairs(existing(from, to)) do
    keys[#keys + 1] = tag_last_seen .. ':' .. letter .. slice
  end
  return #keys > 0 and call('PFCOUNT', unpack(keys)) or 0
end

-- Keep the event if it is the first (or the last) of its slice.
local function keep_boundary(name, is_first)
  local known = call('HGET', published, name)
  local this = format('%020.0f', time) .. id
  if known and (known == this or bytes_before(known, this) == is_first) then
    return
  end
  call('HSET', published, name, this)
  call('HSET', references, name, reference)
end

local function forget_slices(bound)
  for _, slice in ipairs(call('ZRANGEBYSCORE', events, '-inf', bound)) do
    call('DEL', tag_last_seen .. ':t' .. slice, tag_last_seen .. ':n' .. slice)
    call('HDEL', published, 'f' .. slice, 'l' .. slice)
    call('HDEL', references, 'f' .. slice, 'l' .. slice)
  end
  call('ZREMRANGEBYSCORE', events, '-inf', bound)
  for _, slice in ipairs(call('ZRANGEBYSCORE', hits, '-inf', bound)) do
    call('HDEL', published, integer(floor(slice * width / dedup)))
  end
  call('ZREMRANGEBYSCORE', hits, '-inf', bound)
end

-- Returns whether the event is in time.
local function add_to_sketch()
  newest_in_sketch = newest_in_sketch or time
  if time < newest_in_sketch - lateness then
    return false
  end
  local slice = floor(time / width)
  local text = integer(slice)
  if time >= newest_in_sketch then
    newest_in_sketch = time
    call('HSET', published, 'newest', integer(time))
  end
  call('ZADD', events, integer(slice * width), text)
  call('PFADD', hyperloglog('n', slice), id)
  call('EXPIRE', hyperloglog('n', slice), idle)
  keep_boundary('f' .. text, true)
  keep_boundary('l' .. text, false)
  -- A value that changes no register changes no count.
  if call('PFADD', hyperloglog('t', slice), tag) == 1 then
    call('EXPIRE', hyperloglog('t', slice), idle)
    for _, later in ipairs(existing(slice, slice + SLICES - 1)) do
      local at = tonumber(later)
      if not call('ZSCORE', hits, later) and estimate('t', at - SLICES + 1, at) >= threshold then
        call('ZADD', hits, integer(at * width), later)
      end
    end
  end
  return true
end

local function summarize_sketch(bucket, last_number)
  local low, high = integer(bucket * dedup), '(' .. integer((bucket + 1) * dedup)
  local first = tonumber(call('ZRANGEBYSCORE', hits, low, high, 'LIMIT', 0, 1)[1])
  if not first then
    return
  end
  local last = tonumber(call('ZREVRANGEBYSCORE', hits, high, low, 'LIMIT', 0, 1)[1])
  local slices = existing(first - SLICES + 1, last)
  local count = estimate('n', first - SLICES + 1, last)
  local named = {}
  for _, slice in ipairs(slices) do
    for _, name in ipairs({'f' .. slice, 'l' .. slice}) do
      local event = call('HGET', published, name)
      local event_id = sub(event, 21)
      if #named < 2 * MAX_EVIDENCE and named[#named - 1] ~= event_id then
        named[#named + 1], named[#named + 2] = event_id, tonumber(sub(event, 1, 20))
      end
    end
  end
  local final = 'l' .. slices[#slices]
  local event = call('HGET', published, final)
  local last_id, last_time = sub(event, 21), tonumber(sub(event, 1, 20))
  local text = signature(count, last * width, named[2], named[1], last_time, last_id)
  if call('HGET', published, integer(bucket)) ~= text then
    summaries[#summaries + 1] = {last_number, bucket, last * width, count, named, last_id,
      last_time, call('HGET', references, 'f' .. slices[1]) or '',
      call('HGET', references, final) or '', 1, {}, {}}
  end
end

local function report_sketch()
  for bucket, last_number in pairs(reports and touched or {}) do
    summarize_sketch(bucket, last_number)
  end
  touched = {}
end

local function open_sketch()
  open_keys()
  width = ceil(timespan / SLICES)
  newest_in_sketch = tonumber(call('HGET', published, 'newest') or nil)
end

local function observe_sketch()
  local bound = time - lateness - timespan - dedup - width
  local oldest_slice = tonumber(call('ZRANGE', events, 0, 0, 'WITHSCORES')[2])
  if oldest_slice and oldest_slice < bound then
    report_sketch()
    forget_slices('(' .. integer(bound))
  end
  if add_to_sketch() then
    local start = floor(time / width) * width
    for bucket = floor(start / dedup), floor((start + (SLICES - 1) * width) / dedup) do
      touched[bucket] = number
    end
  else
    late[#late + 1] = number
  end
end

local function close_sketch()
  report_sketch()
  for _, key in ipairs({events, hits, references, published}) do
    call('EXPIRE', key, idle)
  end
  call('HSET', shard, field, format('%08x%02x', now, IN_OTHER_KEYS) .. 'sketch')
end
