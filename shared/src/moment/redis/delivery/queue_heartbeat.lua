-- Records that a drain is awake, or that none is, and returns the queue's generation.
--
-- KEYS[1]  the generation
-- KEYS[2]  until when a drain counts as awake, in milliseconds since 1970
-- ARGV[1]  now, in milliseconds since 1970; 0: Redis' clock
-- ARGV[2]  how long a drain counts as awake from now on, in milliseconds; 0: none is awake
--
-- Returns { foreign, generation }
--   foreign     1 if the generation was not ours; it counts as absent and is removed
--   generation  0 if nothing was ever enqueued

local now = milliseconds(ARGV[1])
local awake = tonumber(ARGV[2])
if awake == 0 then
  redis.call('DEL', KEYS[2])
else
  local held = redis.pcall('SET', KEYS[2], whole(now + awake), 'PX', whole(2 * awake))
  -- A full Redis refuses this; the price is that a drain is woken without need.
  if held.err and not string.find(held.err, 'OOM', 1, true) then
    return held
  end
end

local generation = redis.pcall('GET', KEYS[1])
if generation then
  generation = type(generation) == 'string' and string.match(generation, '^%d+$') and tonumber(generation)
  -- Above 2^53 Lua's numbers are no longer exact.
  if not generation or generation > 9007199254740991 then
    foreign = 1
    redis.call('DEL', KEYS[1])
    generation = nil
  end
end

return { foreign, generation or 0 }
