-- Mark summaries as published, then add observations to their windows.

local function mark_published(shard_number, name, bucket, text)
  shard, field = prefix .. shard_number .. '}', name
  local value = call('HGET', shard, field)
  if not value then
    return
  end
  if tonumber(sub(value, 9, 10), 16) == IN_OTHER_KEYS then
    local key = other_keys(field)[4]
    call('HSET', key, integer(bucket), text)
    call('EXPIRE', key, idle)
    return
  end
  local window = unpack_message(sub(value, 11))
  set_published(window, bucket, text)
  write_small(window)
end

local position

-- Read the next observation of the request.
local function read_observation()
  id, tag, time = windows[position], windows[position + 1], windows[position + 2]
  reference, approximate = windows[position + 3], windows[position + 4]
  position, number = position + 5, number + 1
end

-- Add the current observation to a small window. Returns false if the window is full.
local function observe_small(window)
  local i = position_of(window)
  if i then
    time = window[i]
  else
    local newest = window[#window - SIZE + 1]
    if #window >= FIRST and time < newest - lateness then
      late[#late + 1] = number
      return true
    end
    if #window >= FIRST and window[FIRST] < max(newest, time) - retention then
      report_small(window)
      trim_small(window, max(newest, time) - retention)
    end
    if #window >= FIRST - 1 + SIZE * min(MAX_SMALL, capacity) then
      return false
    end
    insert(window)
  end
  if approximate then
    window[1] = max(window[1] or time, time)
  end
  if feeds then
    hits_of_observation_small(window)
  end
  if reports then
    touch()
  end
  return true
end

local function observe_window(count)
  local value = call('HGET', shard, field)
  if not value then
    reserve()
  end
  if value and tonumber(sub(value, 9, 10), 16) == IN_OTHER_KEYS then
    open_large()
    for _ = 1, count do
      read_observation()
      observe_large()
    end
    report_large()
    close_large(value)
    return
  end
  local window = value and unpack_message(sub(value, 11)) or {false, false}
  for i = 1, count do
    read_observation()
    if not observe_small(window) then
      report_small(window)
      convert_to_large(window)
      observe_large()
      for _ = i + 1, count do
        read_observation()
        observe_large()
      end
      report_large()
      close_large(value)
      return
    end
  end
  report_small(window)
  write_small(window)
end

local function observe_sketched_window(count)
  if not call('HGET', shard, field) then
    reserve()
  end
  open_sketch()
  for _ = 1, count do
    read_observation()
    observe_sketch()
  end
  close_sketch()
end

for i = 1, #published_marks, 5 do
  select_spec(published_marks[i])
  mark_published(published_marks[i + 1], published_marks[i + 2], published_marks[i + 3],
    published_marks[i + 4])
end

position, number = 1, 0
while position <= #windows do
  select_spec(windows[position])
  shard, field = prefix .. windows[position + 1] .. '}', windows[position + 2]
  local count = windows[position + 3]
  position = position + 4
  if specs[current_spec][11] then
    observe_sketched_window(count)
  else
    observe_window(count)
  end
  renew_shard()
end
return {late, summaries, hits_found, evicted}
