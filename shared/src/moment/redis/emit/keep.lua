-- Keeps an emitted event, unless it is kept already.
--
-- KEYS[1]  the event
-- ARGV[1]  now, in milliseconds since 1970; 0: Redis' clock
-- ARGV[2]  how long it is kept, in milliseconds
-- ARGV[3]  the event as it is pushed
--
-- Returns { foreign, is_new }
--   foreign  1 if the value was not ours; it counts as absent and is overwritten
--   is_new   1 if it was not kept

local now = milliseconds(ARGV[1])
local emitted = emitted_event(KEYS[1], now, tonumber(ARGV[2]))

if emitted then
  return { foreign, 0 }
end
redis.call('SET', KEYS[1], whole(now) .. ' ' .. ARGV[3], 'PX', whole(2 * tonumber(ARGV[2])))
return { foreign, 1 }
