-- Moves the queue to its next generation, so that waiting drains see that there is work, and returns whether a drain is
-- awake. If none is, one counts as awake from now on, since the caller wakes it.
--
-- KEYS[1]  the generation
-- KEYS[2]  until when a drain counts as awake, in milliseconds since 1970
-- KEYS[3]  the channel on which waiting drains hear of work
-- ARGV[1]  now, in milliseconds since 1970; 0: Redis' clock
-- ARGV[2]  how long a drain that is being woken counts as awake, in milliseconds
--
-- Returns { foreign, awake }
--   foreign  how many keys held a foreign value; they count as absent and are overwritten
--   awake    1 if a drain is awake

-- No drain counts as awake for longer than this without a heartbeat, in milliseconds: a later time is not ours.
local MAX_AWAKE = 60000

local now = milliseconds(ARGV[1])
local announced = redis.pcall('INCR', KEYS[1])
if type(announced) == 'table' then
  if string.find(announced.err, 'OOM', 1, true) then
    return announced
  end
  foreign = foreign + 1
  redis.call('SET', KEYS[1], '1')
end

-- An access list may forbid it; drains look by themselves then.
redis.pcall('PUBLISH', KEYS[3], '')

local awake = 0
local until_ms = redis.pcall('GET', KEYS[2])
if until_ms then
  until_ms = type(until_ms) == 'string' and tonumber(until_ms)
  if not until_ms or until_ms > now + MAX_AWAKE then
    foreign = foreign + 1
    redis.call('DEL', KEYS[2])
  elseif until_ms > now then
    awake = 1
  end
end

if awake == 0 then
  local waking = tonumber(ARGV[2])
  redis.call('SET', KEYS[2], whole(now + waking), 'PX', whole(2 * waking))
end

return { foreign, awake }
