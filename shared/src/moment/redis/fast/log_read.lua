-- Reads the oldest entries of a log, unless another writer has it.
--
-- KEYS[1]  the log
-- KEYS[2]  who writes it
-- ARGV[1]  the most entries
-- ARGV[2]  the writer, a number
-- ARGV[3]  how long it has the log from now on, in milliseconds
--
-- Returns { foreign, busy, place, id, text, place, id, text, ... }
--   foreign  1 if the log was a foreign value, which is removed; or else 0
--   busy     1 if another writer has the log; then nothing follows
--   place    of an entry in the log, the oldest first
--   id       under which it was appended
--   text     its text

if count_or_clear('XLEN', KEYS[1]) == 0 then
  return { foreign, 0 }
end
local writer = redis.pcall('GET', KEYS[2])
if type(writer) == 'string' and writer ~= ARGV[2] then
  return { foreign, 1 }
end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])

local reply = { foreign, 0 }
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[1])) do
  local fields = entry[2]
  reply[#reply + 1] = entry[1]
  -- An entry that was added by hand may have other fields; whoever reads the log gets them as text.
  if fields[1] == 'id' and fields[3] == 'e' and #fields == 4 then
    reply[#reply + 1] = fields[2]
    reply[#reply + 1] = fields[4]
  else
    reply[#reply + 1] = ''
    reply[#reply + 1] = table.concat(fields, ' ')
  end
end
return reply
