-- Remembers who hears of typing in a chat, or only that the chat has a new version.
-- An audience that was read before what is known of the chat has no effect.
--
-- KEYS[1]  the audience
-- ARGV[1]  now, in milliseconds since 1970; 0: Redis' clock
-- ARGV[2]  the version of the chat
-- ARGV[3]  how long ago it was read, in milliseconds
-- ARGV[4]  how long what is known counts, in milliseconds
-- ARGV[5]  the audience; empty if the chat has just got this version
--
-- Returns { foreign }
--   foreign  1 if the value was not ours; it counts as absent and is overwritten

local now = milliseconds(ARGV[1])
local version, read_at = tonumber(ARGV[2]), now - tonumber(ARGV[3])

local kept = redis.pcall('GET', KEYS[1])
if type(kept) == 'table' and not string.find(kept.err, 'WRONGTYPE', 1, true) then
  return kept
end
local known, known_at, audience = string.match(type(kept) == 'string' and kept or '', '^(%d+) (%d+) (.*)$')
known, known_at = tonumber(known), tonumber(known_at)
if kept and not known then
  foreign = 1
end

if known and now - known_at < tonumber(ARGV[4]) then
  if known > version then
    return { foreign }
  end
  -- What was read of this version is true whenever the change itself is told.
  if known == version and (ARGV[5] == '' or (audience ~= '' and known_at > read_at)) then
    return { foreign }
  end
end

redis.call('SET', KEYS[1], whole(version) .. ' ' .. whole(read_at) .. ' ' .. ARGV[5], 'PX', 2 * tonumber(ARGV[4]))
return { foreign }
