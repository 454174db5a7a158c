-- Adds work to one shard of the queue until the shard is full.
-- Due work is a stream per priority. An entry has one field, `w`, the text of the work; the time in its id is when it fell
-- due. Work that is not due yet is a sorted set of texts by the milliseconds since 1970 at which they fall due.
--
-- KEYS[i]          due work of priority i: 1 critical, 2 high, 3 normal, 4 low
-- KEYS[5]          work that is not due yet
-- KEYS[6]          claimed work
-- ARGV[1]          now, in milliseconds since 1970; 0: Redis' clock
-- ARGV[2]          how many entries a shard holds at most
-- ARGV[3 * i]      the priority of work i, as a number
-- ARGV[3 * i + 1]  its delay, in milliseconds; 0: it is due
-- ARGV[3 * i + 2]  its text
--
-- Returns { foreign, refused }
--   foreign  how many keys held a foreign value; they count as absent and are overwritten
--   refused  for how many there was no room

local now = milliseconds(ARGV[1])

-- Claimed work counts too: it comes back if its worker dies.
local held = count_or_clear('ZCARD', KEYS[5]) + count_or_clear('ZCARD', KEYS[6])
local due = {}
for i = 1, 4 do
  due[i] = KEYS[i]
  held = held + count_or_clear('XLEN', KEYS[i])
end

local refused = 0
for i = 1, (#ARGV - 2) / 3 do
  local priority, delay, text = tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1]), ARGV[3 * i + 2]
  if held >= tonumber(ARGV[2]) then
    refused = refused + 1
  elseif delay > 0 then
    -- 0 if the same work waits already: then it only moves.
    held = held + redis.call('ZADD', KEYS[5], whole(now + delay), text)
  else
    append(due[priority], text, now)
    held = held + 1
  end
end

return { foreign, refused }
