-- Claims due work of one shard of the queue.
-- A claim is a member of a sorted set, by the milliseconds since 1970 at which it lapses. The member names the attempt, the
-- priority as a number, the id of the entry in its stream, and its text, with a space between them.
-- The first write is one that a full Redis accepts, so that the queue can be emptied.
--
-- KEYS[i]      due work of priority i, a stream: 1 critical, 2 high, 3 normal, 4 low
-- KEYS[5]      claimed work
-- ARGV[1]      now, in milliseconds since 1970; 0: Redis' clock
-- ARGV[2]      how long a claim lasts, in milliseconds
-- ARGV[i + 2]  how many entries of priority i are claimed at most
--
-- Returns { foreign, name of 1, name of 2, ... }
--   foreign  how many keys held a foreign value; they count as absent and are removed
--   name     the member of a claim, critical ones first

local now = milliseconds(ARGV[1])
local lapses = whole(now + tonumber(ARGV[2]))
count_or_clear('ZCARD', KEYS[5])

local reply = { 0 }
for i = 1, 4 do
  local wanted = tonumber(ARGV[i + 2])
  if wanted > 0 and count_or_clear('XLEN', KEYS[i]) > 0 then
    for _, entry in ipairs(redis.call('XRANGE', KEYS[i], '-', '+', 'COUNT', whole(wanted))) do
      local id, fields = entry[1], entry[2]
      -- An entry that was added by hand may have other fields; its worker gets them as text.
      local text = fields[2]
      if fields[1] ~= 'w' or #fields ~= 2 then
        text = table.concat(fields, ' ')
      end
      local name = string.format('1 %d %s ', i, id) .. text
      redis.call('XDEL', KEYS[i], id)
      redis.call('ZADD', KEYS[5], lapses, name)
      reply[#reply + 1] = name
    end
  end
end

reply[1] = foreign
return reply
