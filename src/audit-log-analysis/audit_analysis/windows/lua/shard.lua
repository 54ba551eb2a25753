-- Shards. A shard is a hash with the windows of one rule whose keys have the same checksum. The
-- value of a window is a header and its content. The header has 10 hexadecimal digits: the time of
-- the last access (seconds since 1970, 8 digits) and the number of events (2 digits; ff: the events
-- are in other keys).

local IN_OTHER_KEYS = 255

local function header(count)
  return format('%08x%02x', now, min(count, IN_OTHER_KEYS - 1))
end

local function other_keys(name)
  local base = shard .. ':' .. name
  return {base .. ':events', base .. ':hits', base .. ':references', base .. ':published',
    base .. ':tag_last_seen'}
end

-- The time of a window's newest event, or nil if it has none.
local function newest_time(name, value)
  if tonumber(sub(value, 9, 10), 16) ~= IN_OTHER_KEYS then
    local window = unpack_message(sub(value, 11))
    return window[#window - 3]
  end
  local keys = other_keys(name)
  if sub(value, 11) == 'sketch' then
    return tonumber(call('HGET', keys[4], 'newest') or nil)
  end
  return tonumber(call('ZREVRANGE', keys[1], 0, 0, 'WITHSCORES')[2])
end

local function delete_other_keys(name, value)
  local keys = other_keys(name)
  if sub(value, 11) == 'sketch' then
    for _, slice in ipairs(call('ZRANGE', keys[1], 0, -1)) do
      call('UNLINK', keys[5] .. ':t' .. slice, keys[5] .. ':n' .. slice)
    end
  end
  call('UNLINK', unpack(keys))
end

-- Remove the expired windows of the shard. If more than `limit` windows are left, evict the least
-- suspicious ones until three quarters of the limit are left: first windows without an event for
-- their retention, then windows with few events, then windows that were not accessed for long.
local function sweep(limit)
  local entries = call('HGETALL', shard)
  local kept, removed = {}, {}
  for i = 1, #entries, 2 do
    local name, value = entries[i], entries[i + 1]
    if name ~= '' then
      local accessed = tonumber(sub(value, 1, 8), 16)
      local count = tonumber(sub(value, 9, 10), 16)
      if accessed + idle < now then
        removed[#removed + 1] = name
        if count == IN_OTHER_KEYS then
          delete_other_keys(name, value)
        end
      else
        local active = accessed + retention / 1000 >= now and 1 or 0
        kept[#kept + 1] = {active, count, accessed, name, value}
      end
    end
  end
  if #kept > limit then
    table.sort(kept, function(a, b)
      if a[1] ~= b[1] then
        return a[1] < b[1]
      elseif a[2] ~= b[2] then
        return a[2] < b[2]
      end
      return a[3] < b[3]
    end)
    local lost = shard_lost()
    for i = 1, #kept - floor(limit * 3 / 4) do
      local name, value = kept[i][4], kept[i][5]
      local newest = newest_time(name, value)
      if newest then
        lost = max(lost or newest, newest)
      end
      if kept[i][2] == IN_OTHER_KEYS then
        delete_other_keys(name, value)
      end
      removed[#removed + 1] = name
      evicted = evicted + 1
    end
    if lost then
      call('HSET', shard, '', integer(lost))
    end
  end
  for i = 1, #removed, 1000 do
    call('HDEL', shard, unpack(removed, i, min(i + 999, #removed)))
  end
end

-- Make room for one more window.
local function reserve()
  local count = call('HLEN', shard)
  if count >= max_fields or count % 64 == 63 then
    sweep(max_fields - 1)
  end
end

-- Renew the expiry of the shard, but not at each access, because each renewal is written to disk.
local renewed = {}
local function renew_shard()
  if not renewed[shard] then
    renewed[shard] = true
    if call('TTL', shard) < idle - SLACK_SECONDS then
      call('EXPIRE', shard, idle)
    end
  end
end
