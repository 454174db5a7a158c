-- Reads the oldest entries of a log, unless another writer has it.
-- A full Redis refuses the lease, but not what empties the log.
--
-- KEYS[1]  the log
-- KEYS[2]  who writes it
-- ARGV[1]  now, in milliseconds since 1970; 0: Redis' clock
-- ARGV[2]  the most entries
-- ARGV[3]  the most bytes of their texts, save that one entry is always read
-- ARGV[4]  the writer, a number; 0: one that no log is busy for, and that takes no lease
-- ARGV[5]  how long its lease lasts from now on, in milliseconds
--
-- Returns { foreign, 0, more, place, id, text, place, id, text, ... }, or { foreign, 1, first, last }
--   foreign  1 if the log was a foreign value, which is removed; or else 0
--   0 or 1   1 if another writer has the log
--   more     1 if there are more entries than those that follow
--   place    of an entry in the log, the oldest first
--   id       under which it was appended; empty if it was added by hand
--   text     its text
--   first    the place of the oldest entry
--   last     the place of the newest one

local length = count_or_clear('XLEN', KEYS[1])
if length == 0 then
  return { foreign, 0, 0 }
end
local now, lease = milliseconds(ARGV[1]), tonumber(ARGV[5])
local kept = redis.pcall('GET', KEYS[2])
local writer, ends = string.match(type(kept) == 'string' and kept or '', '^(%d+) (%d+)$')
-- A lease that ends later than one from now on was given before the clock went back.
local takes_lease = ARGV[4] ~= '0'
if takes_lease and writer and writer ~= ARGV[4] and tonumber(ends) > now and tonumber(ends) <= now + lease then
  local first, last = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1), redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
  return { foreign, 1, first[1][1], last[1][1] }
end
if takes_lease then
  redis.pcall('SET', KEYS[2], ARGV[4] .. ' ' .. whole(now + lease), 'PX', whole(2 * lease))
end

local reply, bytes = { foreign, 0, 0 }, 0
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[2])) do
  local fields = entry[2]
  -- An entry that was added by hand may have other fields; the reader gets them as text.
  local is_ours = fields[1] == 'id' and fields[3] == 'e' and #fields == 4
  local id, text = is_ours and fields[2] or '', is_ours and fields[4] or table.concat(fields, ' ')
  bytes = bytes + #text
  if bytes > tonumber(ARGV[3]) and #reply > 3 then
    break
  end
  reply[#reply + 1] = entry[1]
  reply[#reply + 1] = id
  reply[#reply + 1] = text
end
if length > (#reply - 3) / 3 then
  reply[3] = 1
end
return reply
