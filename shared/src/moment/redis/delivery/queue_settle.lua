-- Settles claims of one shard of the queue: done, or due again. A claim that is not there, since another has it by now,
-- changes nothing.
-- Its first write is one that a full Redis takes, so that it can be emptied.
--
-- KEYS[1]          what is claimed, as `queue_claim.lua` names it
-- KEYS[2]          what is not due yet: texts by milliseconds since 1970
-- ARGV[1]          now, in milliseconds since 1970; 0: by the clock of Redis
-- ARGV[3 * i - 1]  the name of claim i
-- ARGV[3 * i]      how long what is left of it waits, in milliseconds
-- ARGV[3 * i + 1]  the text of what is left of it; empty: it is done
--
-- Returns { foreign }
--   foreign  how many keys held what is none of ours; they count as absent and are removed

local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local foreign = 0
for _, key in ipairs({ KEYS[1], KEYS[2] }) do
  if type(redis.pcall('ZCARD', key)) == 'table' then
    redis.call('DEL', key)
    foreign = foreign + 1
  end
end

for i = 1, (#ARGV - 1) / 3 do
  local held = redis.call('ZREM', KEYS[1], ARGV[3 * i - 1])
  if held == 1 and ARGV[3 * i + 1] ~= '' then
    redis.call('ZADD', KEYS[2], string.format('%.0f', now + tonumber(ARGV[3 * i])), ARGV[3 * i + 1])
  end
end

return { foreign }
