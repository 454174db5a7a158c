-- Removes entries from a log. Those that are not there any more are skipped. With the last entry goes the writer.
--
-- KEYS[1]          the log
-- KEYS[2]          its index
-- KEYS[3]          who writes it
-- ARGV[1]          how many entries
-- ARGV[2]          the writer, a number
-- ARGV[3 * i]      the place of entry i
-- ARGV[3 * i + 1]  its id
-- ARGV[3 * i + 2]  the bytes of its text
--
-- Returns { foreign }
--   foreign  how many keys held a foreign value; they are removed

if count_or_clear('XLEN', KEYS[1]) > 0 then
  local is_indexed = count_or_clear('HLEN', KEYS[2]) > 0
  for i = 1, tonumber(ARGV[1]) do
    local place, id, bytes = ARGV[3 * i], ARGV[3 * i + 1], tonumber(ARGV[3 * i + 2])
    if redis.call('XDEL', KEYS[1], place) == 1 and is_indexed then
      if redis.call('HGET', KEYS[2], id) == place then
        redis.call('HDEL', KEYS[2], id)
      end
      redis.pcall('HINCRBY', KEYS[2], 'bytes', whole(-bytes))
    end
  end
end
if count_or_clear('XLEN', KEYS[1]) == 0 then
  -- An empty log begins anew, whatever its index said.
  redis.call('DEL', KEYS[1], KEYS[2])
  local writer = redis.pcall('GET', KEYS[3])
  if type(writer) == 'table' or writer == ARGV[2] then
    redis.call('DEL', KEYS[3])
  end
end
return { foreign }
