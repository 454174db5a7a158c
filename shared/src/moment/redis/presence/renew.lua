-- Lets the lease of a connection last, unless the connection has left. Leases of the user that have ended are dropped.
--
-- KEYS[1]  the leases of the user
-- ARGV[1]  now, in milliseconds since 1970; 0: Redis' clock
-- ARGV[2]  how long the lease lasts from now on, in milliseconds
-- ARGV[3]  the tag of the connection
--
-- Returns { foreign, came_online }
--   foreign      1 if the value was not ours; it counts as absent and is overwritten
--   came_online  1 if no lease of the user lasted until now

local now = milliseconds(ARGV[1])
local own = { tag = ARGV[3], mark = '+', ends = now + tonumber(ARGV[2]) }
local kept, came_online = { own }, 1

for _, lease in ipairs(leases(KEYS[1])) do
  if lease.tag == own.tag and lease.mark == '-' then
    return { foreign, 0 }
  end
  if lease.ends > now then
    came_online = 0
    if lease.tag == own.tag then
      -- Longer only if the clock has gone back.
      own.ends = math.max(own.ends, lease.ends)
    else
      kept[#kept + 1] = lease
    end
  end
end

keep_leases(KEYS[1], kept, now)
return { foreign, came_online }
