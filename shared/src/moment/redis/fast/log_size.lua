-- Tells how much waits in a log. Changes nothing.
--
-- KEYS[1]  the log
-- KEYS[2]  its index
-- ARGV[1]  now, in milliseconds since 1970; 0: Redis' clock
--
-- Returns { foreign, entries, bytes, oldest }
--   foreign  how many keys held a foreign value; they count as absent
--   oldest   how long the oldest entry has waited, in milliseconds; 0 if there is none

local entries = count('XLEN', KEYS[1])
if entries == 0 then
  return { foreign, 0, 0, 0 }
end
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1][1]
local bytes = 0
if count('HLEN', KEYS[2]) > 0 then
  bytes = tonumber(redis.call('HGET', KEYS[2], 'bytes') or '') or 0
end
return { foreign, entries, math.max(bytes, 0), math.max(milliseconds(ARGV[1]) - tonumber(string.match(first, '^%d+')), 0) }
