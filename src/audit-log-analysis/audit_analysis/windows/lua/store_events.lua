-- Store complete events in one chunk, and delete the oldest chunks above the budgets.
--
-- KEYS  1 the chunk  2 hash, stored bytes by source; the empty name is their sum
--       3 list of "size:chunk" of the source, the oldest first; its name ends with the source
-- ARGV  1 the events, concatenated  2 the source  3 seconds until the chunk expires
--       4 maximum bytes of the source  5 maximum bytes of all sources

local chunk, sizes, queue = KEYS[1], KEYS[2], KEYS[3]
local source, size = ARGV[2], #ARGV[1]
local queues = string.sub(queue, 1, #queue - #source)

local function delete_oldest(from)
  local entry = redis.call('LPOP', queues .. from)
  if not entry then
    redis.call('HDEL', sizes, from)
    return
  end
  local separator = string.find(entry, ':', 1, true)
  local bytes = string.sub(entry, 1, separator - 1)
  redis.call('UNLINK', string.sub(entry, separator + 1))
  redis.call('HINCRBY', sizes, from, -bytes)
  redis.call('HINCRBY', sizes, '', -bytes)
end

redis.call('SET', chunk, ARGV[1], 'EX', ARGV[3])
redis.call('RPUSH', queue, size .. ':' .. chunk)
redis.call('HINCRBY', sizes, source, size)
redis.call('HINCRBY', sizes, '', size)
while tonumber(redis.call('HGET', sizes, source)) > tonumber(ARGV[4]) do
  delete_oldest(source)
end
while tonumber(redis.call('HGET', sizes, '')) > tonumber(ARGV[5]) do
  local largest, most = '', -1
  local all = redis.call('HGETALL', sizes)
  for i = 1, #all, 2 do
    if all[i] ~= '' and tonumber(all[i + 1]) > most then
      largest, most = all[i], tonumber(all[i + 1])
    end
  end
  if most <= 0 then
    redis.call('HSET', sizes, '', 0)
    break
  end
  delete_oldest(largest)
end
