-- Tells drains that there is work, and says whether one of them is awake. Where none is, one counts as awake from now on,
-- since whoever told is to wake it.
--
-- KEYS[1]  the number of times that this was told
-- KEYS[2]  until when a drain counts as awake, in milliseconds since 1970
-- ARGV[1]  now, in milliseconds since 1970; 0: by the clock of Redis
-- ARGV[2]  for how long one that is to be woken counts as awake, in milliseconds
--
-- Returns { foreign, awake }
--   foreign  how many keys held what is none of ours; they count as absent and are written over
--   awake    1 where a drain is

-- No drain is awake for longer than this without being heard of, in milliseconds: what lies beyond was not written here.
local FARTHEST = 60000

local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local foreign = 0

local told = redis.pcall('INCR', KEYS[1])
if type(told) == 'table' then
  if string.find(told.err, 'OOM', 1, true) then
    return told
  end
  foreign = foreign + 1
  redis.call('SET', KEYS[1], '1')
end

local awake = 0
local until_ms = redis.pcall('GET', KEYS[2])
if until_ms then
  until_ms = type(until_ms) == 'string' and tonumber(until_ms)
  if not until_ms or until_ms > now + FARTHEST then
    foreign = foreign + 1
    redis.call('DEL', KEYS[2])
  elseif until_ms > now then
    awake = 1
  end
end

if awake == 0 then
  local waking = tonumber(ARGV[2])
  redis.call('SET', KEYS[2], string.format('%.0f', now + waking), 'PX', string.format('%.0f', 2 * waking))
end

return { foreign, awake }
