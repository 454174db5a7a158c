-- Shortens the lease of a connection that has closed, and marks it so that no late frame renews it. Without a lease it has no
-- effect.
--
-- KEYS[1]  the leases of the user
-- ARGV[1]  now, in milliseconds since 1970; 0: Redis' clock
-- ARGV[2]  how long the lease lasts at most from now on, in milliseconds
-- ARGV[3]  the tag of the connection
--
-- Returns { foreign, is_last }
--   foreign  1 if the value was not ours; it counts as absent
--   is_last  1 if there was a lease, and no other of the user lasts longer

local now = milliseconds(ARGV[1])
local own
local kept, is_last = {}, 1

for _, lease in ipairs(leases(KEYS[1])) do
  if lease.tag == ARGV[3] then
    own = { tag = lease.tag, mark = '-', ends = math.min(lease.ends, now + tonumber(ARGV[2])) }
    kept[#kept + 1] = own
  elseif lease.ends > now then
    kept[#kept + 1] = lease
  end
end

if not own then
  return { foreign, 0 }
end
for _, lease in ipairs(kept) do
  if lease.ends > own.ends then
    is_last = 0
  end
end

keep_leases(KEYS[1], kept, now)
return { foreign, is_last }
