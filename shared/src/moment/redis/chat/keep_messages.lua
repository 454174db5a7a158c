-- Keeps messages of a chat, each once, and of all of them the last ones.
--
-- KEYS[1]          the messages of the chat, by their `seq`
-- ARGV[1]          how long they are kept from now on, in milliseconds
-- ARGV[2]          how many are kept
-- ARGV[2 * i + 1]  the `seq` of message i
-- ARGV[2 * i + 2]  message i; empty if it is too large to be kept
--
-- Returns { foreign }
--   foreign  1 if the key was not a sorted set; it counts as absent and is overwritten

local held = count_or_clear('ZCARD', KEYS[1])

for i = 1, (#ARGV - 2) / 2 do
  local seq, message = ARGV[2 * i + 1], ARGV[2 * i + 2]
  if held > 0 then
    local same = redis.call('ZRANGE', KEYS[1], seq, seq, 'BYSCORE')
    -- Messages do not change, so another one with this `seq` is of another life of the record, as all others may be.
    if #same > 1 or (same[1] and same[1] ~= message) then
      redis.call('DEL', KEYS[1])
      held = 0
    end
  end
  if message ~= '' then
    redis.call('ZADD', KEYS[1], seq, message)
    held = held + 1
  end
end

redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return { foreign }
