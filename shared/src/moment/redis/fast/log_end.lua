-- Tells where a log ends.
--
-- KEYS[1]  the log
--
-- Returns { foreign, last }
--   foreign  1 if the log was a foreign value, which is removed; or else 0
--   last     the place of its last entry; empty if there is none

if count_or_clear('XLEN', KEYS[1]) == 0 then
  return { foreign, '' }
end
return { foreign, redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1][1] }
