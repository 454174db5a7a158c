-- Forgets the leases of a user if all have ended.
--
-- KEYS[1]  the leases of the user
-- ARGV[1]  now, in milliseconds since 1970; 0: Redis' clock
--
-- Returns { foreign, state, ms }
--   foreign  1 if the value was not ours; it counts as absent
--   state    0: there is no lease; 1: the user is online; 2: it went offline, and its leases are forgotten
--   ms       in state 1 how long the last lease lasts; in state 2 when it ended, in milliseconds since 1970

local now = milliseconds(ARGV[1])
local last

for _, lease in ipairs(leases(KEYS[1])) do
  last = math.max(last or lease.ends, lease.ends)
end

if not last then
  return { foreign, 0, 0 }
end
if last > now then
  return { foreign, 1, last - now }
end
redis.call('DEL', KEYS[1])
return { foreign, 2, last }
