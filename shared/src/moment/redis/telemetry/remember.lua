-- Remembers what became of pushes of one notification, the last ones of them.
-- They are a list, the latest at its end: each is the milliseconds since 1970, a name, and the connection.
--
-- KEYS[1]          the list
-- ARGV[1]          now, in milliseconds since 1970; 0: by the clock of Redis
-- ARGV[2]          how long the list lives from now on, in milliseconds
-- ARGV[3]          how many it holds at most
-- ARGV[i + 3]      push i, as a name and the connection
--
-- Returns { foreign }
--   foreign  1 where there was something that is no list; it counts as absent and is written over

local now = ARGV[1]
if now == '0' then
  local time = redis.call('TIME')
  now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
end

local pushes = {}
for i = 1, #ARGV - 3 do
  pushes[i] = now .. ' ' .. ARGV[i + 3]
end

local foreign = 0
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
