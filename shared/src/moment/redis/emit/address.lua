-- Notes whom an event was emitted to. Repeating it changes nothing.
--
-- KEYS[i]  the events of user i, or those to all; all of one partition
-- ARGV[1]  now, in milliseconds since 1970; 0: Redis' clock
-- ARGV[2]  how long an event is kept, in milliseconds
-- ARGV[3]  how many events are kept at most
-- ARGV[4]  the event's id
--
-- Returns { foreign }
--   foreign  how many values were not ours; they are removed

local now = milliseconds(ARGV[1])

for i = 1, #KEYS do
  count_or_clear('ZCARD', KEYS[i])
  redis.call('ZADD', KEYS[i], 'NX', whole(now), ARGV[4])
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', whole(now - tonumber(ARGV[2])))
  redis.call('ZREMRANGEBYRANK', KEYS[i], 0, -1 - tonumber(ARGV[3]))
  redis.call('PEXPIRE', KEYS[i], whole(2 * tonumber(ARGV[2])))
end

return { foreign }
