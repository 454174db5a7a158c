-- Lists the newest events of a user, or those to all. Changes nothing.
--
-- KEYS[1]  the events
-- ARGV[1]  now, in milliseconds since 1970; 0: Redis' clock
-- ARGV[2]  how long an event is kept, in milliseconds
-- ARGV[3]  how many are listed at most
--
-- Returns { foreign, { id, ms, id, ms, ... } }, the newest first
--   foreign  1 if the value was not ours; it counts as absent
--   ms       when it was emitted, in milliseconds since 1970

local now = milliseconds(ARGV[1])
local found = {}

if count('ZCARD', KEYS[1]) > 0 then
  local after = '(' .. whole(now - tonumber(ARGV[2]))
  found = redis.call('ZRANGE', KEYS[1], '+inf', after, 'BYSCORE', 'REV', 'LIMIT', 0, ARGV[3], 'WITHSCORES')
end

return { foreign, found }
