-- Appends an entry to a log, unless the log has one of this id or is at one of its bounds.
-- A log is a stream; the time in the id of an entry is when it was appended. Its index has the place of each id, and the
-- bytes of all texts together.
--
-- KEYS[1]  the log
-- KEYS[2]  its index
-- ARGV[1]  now, in milliseconds since 1970; 0: Redis' clock
-- ARGV[2]  the most entries
-- ARGV[3]  the most bytes
-- ARGV[4]  the greatest age of the oldest entry, in milliseconds
-- ARGV[5]  the id of the entry
-- ARGV[6]  its text
--
-- Returns { foreign, result, detail }
--   foreign  how many keys held a foreign value; they count as absent and are overwritten
--   result   1: it was appended; 2: the log has it; 3: the log is at a bound
--   detail   1: for how long the oldest entry has waited, in milliseconds, or -1 if it is this one; 2: its text; 3: empty

local now = milliseconds(ARGV[1])
local length = count_or_clear('XLEN', KEYS[1])
if count_or_clear('HLEN', KEYS[2]) > 0 then
  local place = redis.call('HGET', KEYS[2], ARGV[5])
  -- A place that is none was written by someone else.
  local found = place and redis.pcall('XRANGE', KEYS[1], place, place) or {}
  if not found.err and found[1] then
    return { foreign, 2, found[1][2][4] or '' }
  end
end

local oldest = -1
if length == 0 then
  -- What an index says of a log that is gone would make the new one seem full.
  redis.call('DEL', KEYS[2])
else
  local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1][1]
  oldest = math.max(now - tonumber(string.match(first, '^%d+')), 0)
end
local bytes = tonumber(redis.call('HGET', KEYS[2], 'bytes') or '') or 0
if length >= tonumber(ARGV[2]) or bytes + #ARGV[6] > tonumber(ARGV[3]) or oldest >= tonumber(ARGV[4]) then
  return { foreign, 3, '' }
end

-- The entry first: a script that fails keeps what it has written. The ids of a stream only grow, so after the clock has gone
-- back Redis must choose one itself.
local place = redis.pcall('XADD', KEYS[1], whole(now) .. '-*', 'id', ARGV[5], 'e', ARGV[6])
if type(place) == 'table' then
  if not string.find(place.err, 'ID', 1, true) then
    return place
  end
  place = redis.call('XADD', KEYS[1], '*', 'id', ARGV[5], 'e', ARGV[6])
end
redis.call('HSET', KEYS[2], ARGV[5], place, 'bytes', whole(bytes + #ARGV[6]))
return { foreign, 1, whole(oldest) }
