-- Claims what waits in one shard of the queue.
-- A claim is the name of an entry, by the milliseconds since 1970 at which it lapses: how often it was claimed, its
-- priority as a number, its id in that stream, and its text, with a space between them.
-- Its first write is one that a full Redis takes, so that it can be emptied.
--
-- KEYS[i]      what waits of priority i, a stream: 1 critical, 2 high, 3 normal, 4 low
-- KEYS[5]      what is claimed
-- ARGV[1]      now, in milliseconds since 1970; 0: by the clock of Redis
-- ARGV[2]      how long a claim lasts, in milliseconds
-- ARGV[i + 2]  how many of priority i are claimed at most
--
-- Returns { foreign, name of 1, name of 2, … }
--   foreign  how many keys held what is none of ours; they count as absent and are removed
--   name     of an entry that was claimed, critical ones first

local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
local lapses = string.format('%.0f', now + tonumber(ARGV[2]))

local foreign = 0

local function size(command, key)
  local found = redis.pcall(command, key)
  if type(found) == 'table' then
    redis.call('DEL', key)
    foreign = foreign + 1
    return 0
  end
  return found
end

size('ZCARD', KEYS[5])

local reply = { 0 }
for i = 1, 4 do
  local count = tonumber(ARGV[i + 2])
  if count > 0 and size('XLEN', KEYS[i]) > 0 then
    for _, entry in ipairs(redis.call('XRANGE', KEYS[i], '-', '+', 'COUNT', string.format('%.0f', count))) do
      local id, fields = entry[1], entry[2]
      -- What was added by hand may have other fields, and is told as it stands there.
      local text = fields[2]
      if fields[1] ~= 'w' or #fields ~= 2 then
        text = table.concat(fields, ' ')
      end
      local name = string.format('1 %d %s ', i, id) .. text
      redis.call('XDEL', KEYS[i], id)
      redis.call('ZADD', KEYS[5], lapses, name)
      reply[#reply + 1] = name
    end
  end
end

reply[1] = foreign
return reply
