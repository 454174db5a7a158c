-- Reads the oldest entries of a log.
--
-- KEYS[1]  the log
-- ARGV[1]  the most entries
--
-- Returns { foreign, place, id, text, place, id, text, ... }
--   foreign  1 if the key held a foreign value, which is removed; or else 0
--   place    of an entry in the log, the oldest first
--   id       under which it was appended
--   text     its text

local reply = { 0 }
if count_or_clear('XLEN', KEYS[1]) > 0 then
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
end
reply[1] = foreign
return reply
