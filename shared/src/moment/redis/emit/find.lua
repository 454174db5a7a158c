-- Reads emitted events. Changes nothing.
--
-- KEYS[i]  event i; all of one partition
-- ARGV[1]  now, in milliseconds since 1970; 0: Redis' clock
-- ARGV[2]  how long an event is kept, in milliseconds
--
-- Returns { foreign, event 1, event 2, ... }
--   foreign  how many values were not ours; they count as absent
--   event    as it is pushed; empty if it is kept no more

local now = milliseconds(ARGV[1])
local reply = { 0 }

for i = 1, #KEYS do
  reply[i + 1] = emitted_event(KEYS[i], now, tonumber(ARGV[2])) or ''
end

reply[1] = foreign
return reply
