-- Adds work to one shard of the queue, until it is full.
-- What waits is a stream for each priority: an entry has one field, `w`, which is a work's text, and the time at which
-- it fell due in its id. What is not due yet is a sorted set: texts by the milliseconds since 1970 at which they are.
--
-- KEYS[i]          what waits of priority i: 1 critical, 2 high, 3 normal, 4 low
-- KEYS[5]          what is not due yet
-- KEYS[6]          what is claimed
-- ARGV[1]          now, in milliseconds since 1970; 0: by the clock of Redis
-- ARGV[2]          how many entries a shard holds at most
-- ARGV[3 * i]      the priority of work i, as a number
-- ARGV[3 * i + 1]  how long it waits, in milliseconds; 0: it is due
-- ARGV[3 * i + 2]  its text
--
-- Returns { foreign, refused }
--   foreign  how many keys held what is none of ours; they count as absent and are written over
--   refused  for how many there was no room

local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

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

local function put(key, text)
  -- A clock that went back must not stop the stream, whose ids only grow.
  for _, id in ipairs({ string.format('%.0f-*', now), '*' }) do
    local put = redis.pcall('XADD', key, id, 'w', text)
    if type(put) ~= 'table' then
      return
    end
    if not string.find(put.err, 'ID', 1, true) then
      error(put)
    end
  end
  -- Somebody wrote the last id there is.
  redis.call('DEL', key)
  foreign = foreign + 1
  redis.call('XADD', key, '*', 'w', text)
end

local count = size('ZCARD', KEYS[5]) + size('ZCARD', KEYS[6])
local waiting = {}
for i = 1, 4 do
  waiting[i] = KEYS[i]
  count = count + size('XLEN', KEYS[i])
end

local refused = 0
for i = 1, (#ARGV - 2) / 3 do
  local rank, wait, text = tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1]), ARGV[3 * i + 2]
  if count >= tonumber(ARGV[2]) then
    refused = refused + 1
  elseif wait > 0 then
    count = count + redis.call('ZADD', KEYS[5], string.format('%.0f', now + wait), text)
  else
    put(waiting[rank], text)
    count = count + 1
  end
end

return { foreign, refused }
