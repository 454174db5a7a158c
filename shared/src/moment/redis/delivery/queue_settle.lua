-- Settles claims of one shard of the queue. A claim that is not there, because another drain holds the entry by now, changes
-- nothing.
-- The first write is one that a full Redis accepts, so that the queue can be emptied.
--
-- KEYS[1]          claimed work, as `queue_claim.lua` names it
-- KEYS[2]          work that is not due yet: texts by milliseconds since 1970
-- ARGV[1]          now, in milliseconds since 1970; 0: Redis' clock
-- ARGV[4 * i - 2]  the member of claim i
-- ARGV[4 * i - 1]  'done', 'retry' or 'return'
-- ARGV[4 * i]      how long the entry waits, in milliseconds, unless it is done
-- ARGV[4 * i + 1]  the text with which it is retried, else empty
--
-- Returns { foreign }
--   foreign  how many keys held a foreign value; they count as absent and are removed

local now = milliseconds(ARGV[1])
count_or_clear('ZCARD', KEYS[1])
count_or_clear('ZCARD', KEYS[2])

for i = 1, (#ARGV - 1) / 4 do
  local name, resolution, text = ARGV[4 * i - 2], ARGV[4 * i - 1], ARGV[4 * i + 1]
  if redis.call('ZREM', KEYS[1], name) == 1 and resolution ~= 'done' then
    local at = whole(now + tonumber(ARGV[4 * i]))
    if resolution == 'retry' then
      redis.call('ZADD', KEYS[2], at, text)
    else
      -- Returned work keeps its id, and with it the time at which it fell due; its next claim is the first attempt.
      redis.call('ZADD', KEYS[1], at, '0 ' .. string.match(name, '^%d+ (.*)$'))
    end
  end
end

return { foreign }
