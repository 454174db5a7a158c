-- Tells who hears of typing in a chat, and how long ago that was read. Changes nothing.
--
-- KEYS[1]  the audience
-- ARGV[1]  now, in milliseconds since 1970; 0: Redis' clock
--
-- Returns { foreign, age, version, audience }
--   foreign   1 if the value was not ours; it counts as absent
--   age       how long ago it was read, in milliseconds
--   version   the version of the chat
--   audience  empty if there is none

local kept = redis.pcall('GET', KEYS[1])
if type(kept) == 'table' and not string.find(kept.err, 'WRONGTYPE', 1, true) then
  return kept
end
local version, read_at, audience = string.match(type(kept) == 'string' and kept or '', '^(%d+) (%d+) (.*)$')
if not version then
  return { kept and 1 or 0, 0, 0, '' }
end
return { 0, milliseconds(ARGV[1]) - tonumber(read_at), tonumber(version), audience }
