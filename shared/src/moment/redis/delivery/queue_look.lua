-- Looks at one shard of the queue, and lets what has fallen due wait for whoever claims it.
-- Its first write is one that a full Redis takes, so that it can be emptied.
--
-- KEYS[i]  what waits of priority i, a stream: 1 critical, 2 high, 3 normal, 4 low
-- KEYS[5]  what is not due yet: texts by milliseconds since 1970
-- KEYS[6]  what is claimed: names by the milliseconds since 1970 at which the claim lapses
-- ARGV[1]  now, in milliseconds since 1970; 0: by the clock of Redis
-- ARGV[2]  how many of what has fallen due are moved at most
--
-- Returns { foreign, critical, high, normal, low, lapsed, next }
--   foreign   how many keys held what is none of ours; they count as absent and are removed
--   critical  how many of that priority wait; high, normal and low likewise
--   lapsed    how many claims have lapsed
--   next      in how many milliseconds the next of what is not due yet will be; -1: there is none

-- Longer than anything waits, in milliseconds.
local FARTHEST = 86400000

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

local reply = { 0 }
for i = 1, 4 do
  reply[i + 1] = size('XLEN', KEYS[i])
end

local ranks = { critical = 1, high = 2, normal = 3, low = 4 }
local nearest = -1

if size('ZCARD', KEYS[5]) > 0 then
  local due = redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', string.format('%.0f', now), 'LIMIT', '0', ARGV[2])
  for _, text in ipairs(due) do
    -- What cannot be read is found out by whoever claims it.
    local i = ranks[string.match(text, '^%d+ (%l+) ')] or 3
    redis.call('ZREM', KEYS[5], text)
    put(KEYS[i], text)
    reply[i + 1] = reply[i + 1] + 1
  end
  local first = redis.call('ZRANGE', KEYS[5], '0', '0', 'WITHSCORES')
  if first[2] then
    nearest = math.min(math.max(tonumber(first[2]) - now, 0), FARTHEST)
  end
end

local lapsed = 0
if size('ZCARD', KEYS[6]) > 0 then
  lapsed = redis.call('ZCOUNT', KEYS[6], '-inf', string.format('%.0f', now))
end

reply[1] = foreign
reply[6] = lapsed
reply[7] = nearest
return reply
