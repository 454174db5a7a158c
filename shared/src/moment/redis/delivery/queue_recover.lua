-- Claims anew one entry of a shard of the queue whose claim has lapsed.
-- Its first write is one that a full Redis takes, so that it can be emptied.
--
-- KEYS[1]  what is claimed, as `queue_claim.lua` names it
-- ARGV[1]  now, in milliseconds since 1970; 0: by the clock of Redis
-- ARGV[2]  how long a claim lasts, in milliseconds
--
-- Returns { foreign } or { foreign, name }
--   foreign  1 where the key held what is none of ours; it counts as absent and is removed
--   name     of the entry, counted once more

local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local lapsed = redis.pcall('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', '0', '1')
if lapsed.err then
  redis.call('DEL', KEYS[1])
  return { 1 }
end
if not lapsed[1] then
  return { 0 }
end

-- What was added by hand has no count, and is told as it stands there.
local claims, rest = string.match(lapsed[1], '^(%d+) (%d %d+%-%d+ .*)$')
if not claims then
  claims, rest = '1', '3 0-0 ' .. lapsed[1]
end
local name = string.format('%.0f ', math.min(tonumber(claims) + 1, 1000000)) .. rest
redis.call('ZREM', KEYS[1], lapsed[1])
redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[2])), name)
return { 0, name }
