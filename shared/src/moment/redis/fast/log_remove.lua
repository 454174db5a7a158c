-- Removes entries from a log, and ends the writer's lease. Entries that are not there any more are skipped.
--
-- KEYS[1]          the log
-- KEYS[2]          its index
-- KEYS[3]          who writes it
-- ARGV[1]          how many entries
-- ARGV[2]          the writer, a number
-- ARGV[3 * i]      the place of entry i
-- ARGV[3 * i + 1]  its id; empty if it has none
-- ARGV[3 * i + 2]  the bytes of its text
--
-- Returns { foreign, left }
--   foreign  how many keys held a foreign value; they are removed
--   left     how many entries the log still has

if count_or_clear('XLEN', KEYS[1]) > 0 then
  local is_indexed = count_or_clear('HLEN', KEYS[2]) > 0
  for i = 1, tonumber(ARGV[1]) do
    local place, id, bytes = ARGV[3 * i], ARGV[3 * i + 1], tonumber(ARGV[3 * i + 2])
    local found = redis.call('XRANGE', KEYS[1], place, place)[1]
    -- A log that was empty in between, and a clock that has gone back, give the place to another entry.
    if found and (id == '' or found[2][2] == id) then
      redis.call('XDEL', KEYS[1], place)
      if is_indexed then
        if redis.call('HGET', KEYS[2], id) == place then
          redis.call('HDEL', KEYS[2], id)
        end
        redis.pcall('HINCRBY', KEYS[2], 'bytes', whole(-bytes))
      end
    end
  end
end
local left = count_or_clear('XLEN', KEYS[1])
if left == 0 then
  -- An empty log begins anew, whatever its index said.
  redis.call('DEL', KEYS[1], KEYS[2])
end
local writer = redis.pcall('GET', KEYS[3])
if type(writer) == 'table' or writer and string.match(writer, '^%d+') == ARGV[2] then
  redis.call('DEL', KEYS[3])
end
return { foreign, left }
