-- Appends the outcomes of pushes of one notification to a list and keeps the latest of them.
-- An entry is the milliseconds since 1970, the name of the outcome, and the connection.
--
-- KEYS[1]      the list
-- ARGV[1]      now, in milliseconds since 1970; 0: Redis' clock
-- ARGV[2]      how long the list is kept from now on, in milliseconds
-- ARGV[3]      how many entries are kept
-- ARGV[i + 3]  the outcome of push i and its connection, with a space between them
--
-- Returns { foreign }
--   foreign  1 if the key was not a list; it counts as absent and is overwritten

local now = whole(milliseconds(ARGV[1]))
local pushes = {}
for i = 1, #ARGV - 3 do
  pushes[i] = now .. ' ' .. ARGV[i + 3]
end

local length = redis.pcall('RPUSH', KEYS[1], unpack(pushes))
if type(length) == 'table' and length.err then
  if not string.find(length.err, 'WRONGTYPE', 1, true) then
    return length
  end
  foreign = 1
  redis.call('DEL', KEYS[1])
  redis.call('RPUSH', KEYS[1], unpack(pushes))
end

redis.call('LTRIM', KEYS[1], -tonumber(ARGV[3]), -1)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return { foreign }
