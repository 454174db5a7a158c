-- Counts the work in one shard of the queue for a drain that is about to claim, after moving what has fallen due.
-- The first write is one that a full Redis accepts, so that the queue can be emptied.
--
-- KEYS[i]  due work of priority i, a stream: 1 critical, 2 high, 3 normal, 4 low
-- KEYS[5]  work that is not due yet: texts by milliseconds since 1970
-- KEYS[6]  claimed work: names by the milliseconds since 1970 at which the claim lapses
-- ARGV[1]  now, in milliseconds since 1970; 0: Redis' clock
-- ARGV[2]  how many entries that have fallen due are moved at most
--
-- Returns { foreign, critical, high, normal, low, lapsed, next }
--   foreign   how many keys held a foreign value; they count as absent and are removed
--   critical  how many due entries of that priority there are; high, normal and low likewise
--   lapsed    how many claims have lapsed
--   next      in how many milliseconds the next entry falls due; -1: there is none

-- Longer than any work is delayed, in milliseconds.
local MAX_DELAY = 86400000

local now = milliseconds(ARGV[1])
local reply = { 0 }
for i = 1, 4 do
  reply[i + 1] = count_or_clear('XLEN', KEYS[i])
end

local priorities = { critical = 1, high = 2, normal = 3, low = 4 }
local next_in = -1
if count_or_clear('ZCARD', KEYS[5]) > 0 then
  local due = redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', whole(now), 'LIMIT', '0', ARGV[2])
  for _, text in ipairs(due) do
    -- The second word is the priority. Text without one is normal work here; its worker finds out that it is malformed.
    local i = priorities[string.match(text, '^%S+ (%l+) ')] or 3
    redis.call('ZREM', KEYS[5], text)
    append(KEYS[i], text, now)
    reply[i + 1] = reply[i + 1] + 1
  end
  local first = redis.call('ZRANGE', KEYS[5], '0', '0', 'WITHSCORES')
  if first[2] then
    next_in = math.min(math.max(tonumber(first[2]) - now, 0), MAX_DELAY)
  end
end

local lapsed = 0
if count_or_clear('ZCARD', KEYS[6]) > 0 then
  lapsed = redis.call('ZCOUNT', KEYS[6], '-inf', whole(now))
end

reply[1] = foreign
reply[6] = lapsed
reply[7] = next_in
return reply
