-- Counts what is in one shard of the queue, and changes nothing.
--
-- KEYS[i]  what waits of priority i, a stream: 1 critical, 2 high, 3 normal, 4 low
-- KEYS[5]  what is not due yet: texts by milliseconds since 1970
-- KEYS[6]  what is claimed
-- ARGV[1]  now, in milliseconds since 1970; 0: by the clock of Redis
--
-- Returns { foreign, waiting, processing, delayed, oldest }
--   foreign     how many keys hold what is none of ours; they count as absent
--   waiting     how many are due and not claimed
--   processing  how many are claimed
--   delayed     how many are not due yet
--   oldest      for how many milliseconds the first of what waits has been due; 0: nothing does

local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local foreign = 0

local function size(command, key)
  local found = redis.pcall(command, key)
  if type(found) == 'table' then
    foreign = foreign + 1
    return 0
  end
  return found
end

local waiting, since = 0, now
for i = 1, 4 do
  local count = size('XLEN', KEYS[i])
  waiting = waiting + count
  if count > 0 then
    local first = redis.call('XRANGE', KEYS[i], '-', '+', 'COUNT', '1')[1][1]
    since = math.min(since, tonumber(string.match(first, '^%d+')))
  end
end

local delayed = size('ZCARD', KEYS[5])
if delayed > 0 then
  local due = redis.call('ZCOUNT', KEYS[5], '-inf', string.format('%.0f', now))
  if due > 0 then
    since = math.min(since, tonumber(redis.call('ZRANGE', KEYS[5], '0', '0', 'WITHSCORES')[2]))
  end
  waiting, delayed = waiting + due, delayed - due
end

return { foreign, waiting, size('ZCARD', KEYS[6]), delayed, math.max(now - since, 0) }
