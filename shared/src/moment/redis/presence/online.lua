-- Tells which users are online. Changes nothing.
--
-- KEYS[i]  the leases of user i; all of one partition
-- ARGV[1]  now, in milliseconds since 1970; 0: Redis' clock
--
-- Returns { foreign, online of 1, online of 2, ... }
--   foreign  how many values were not ours; they count as absent
--   online   1 if a lease of the user lasts, else 0

local now = milliseconds(ARGV[1])
local reply = { foreign }

for i = 1, #KEYS do
  reply[i + 1] = 0
  for _, lease in ipairs(leases(KEYS[i])) do
    if lease.ends > now then
      reply[i + 1] = 1
    end
  end
end

reply[1] = foreign
return reply
