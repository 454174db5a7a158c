-- Claims again one entry of a shard of the queue whose claim has lapsed.
-- The first write is one that a full Redis accepts, so that the queue can be emptied.
--
-- KEYS[1]  claimed work, as `queue_claim.lua` names it
-- ARGV[1]  now, in milliseconds since 1970; 0: Redis' clock
-- ARGV[2]  how long a claim lasts, in milliseconds
--
-- Returns { foreign } or { foreign, name }
--   foreign  1 if the key held a foreign value; it counts as absent and is removed
--   name     the member of the new claim, with the next attempt

local now = milliseconds(ARGV[1])
local lapsed = redis.pcall('ZRANGEBYSCORE', KEYS[1], '-inf', whole(now), 'LIMIT', '0', '1')
if lapsed.err then
  redis.call('DEL', KEYS[1])
  return { 1 }
end
if not lapsed[1] then
  return { 0 }
end

-- A member that was added by hand has no attempt, priority and id.
local attempts, rest = string.match(lapsed[1], '^(%d+) (%d %d+%-%d+ .*)$')
if not attempts then
  attempts, rest = '1', '3 0-0 ' .. lapsed[1]
end
local name = whole(math.min(tonumber(attempts) + 1, 1000000)) .. ' ' .. rest
redis.call('ZREM', KEYS[1], lapsed[1])
redis.call('ZADD', KEYS[1], whole(now + tonumber(ARGV[2])), name)
return { 0, name }
