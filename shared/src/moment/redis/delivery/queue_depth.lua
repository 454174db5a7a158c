-- Counts the work in one shard of the queue. Changes nothing.
--
-- KEYS[i]  due work of priority i, a stream: 1 critical, 2 high, 3 normal, 4 low
-- KEYS[5]  work that is not due yet: texts by milliseconds since 1970
-- KEYS[6]  claimed work
-- ARGV[1]  now, in milliseconds since 1970; 0: Redis' clock
--
-- Returns { foreign, waiting, processing, delayed, oldest }
--   foreign     how many keys hold a foreign value; they count as absent
--   waiting     how many entries are due and not claimed
--   processing  how many are claimed
--   delayed     how many are not due yet
--   oldest      for how many milliseconds the oldest waiting entry has been due; 0: none waits

local now = milliseconds(ARGV[1])

-- A stream is in the order of its ids, and these begin with the time at which an entry fell due.
local waiting, since = 0, now
for i = 1, 4 do
  local length = count('XLEN', KEYS[i])
  waiting = waiting + length
  if length > 0 then
    local first = redis.call('XRANGE', KEYS[i], '-', '+', 'COUNT', '1')[1][1]
    since = math.min(since, tonumber(string.match(first, '^%d+')))
  end
end

-- What has fallen due since the last claim is still in the sorted set.
local delayed = count('ZCARD', KEYS[5])
if delayed > 0 then
  local due = redis.call('ZCOUNT', KEYS[5], '-inf', whole(now))
  if due > 0 then
    since = math.min(since, tonumber(redis.call('ZRANGE', KEYS[5], '0', '0', 'WITHSCORES')[2]))
  end
  waiting, delayed = waiting + due, delayed - due
end

return { foreign, waiting, count('ZCARD', KEYS[6]), delayed, math.max(now - since, 0) }
