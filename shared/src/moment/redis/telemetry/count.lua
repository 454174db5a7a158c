-- Adds to the counts of one minute, which is a hash of names to whole numbers.
--
-- KEYS[1]          the minute
-- ARGV[1]          how long the minute is kept from now on, in milliseconds
-- ARGV[2 * i]      the name of count i
-- ARGV[2 * i + 1]  how much to add to it
--
-- Returns { foreign }
--   foreign  how many values were not ours; they count as absent and are overwritten

for i = 1, (#ARGV - 1) / 2 do
  local added = redis.pcall('HINCRBY', KEYS[1], ARGV[2 * i], ARGV[2 * i + 1])
  if type(added) == 'table' and added.err then
    local isnt_hash = string.find(added.err, 'WRONGTYPE', 1, true)
    -- 'hash value is not an integer', 'increment or decrement would overflow'
    local isnt_count = string.find(added.err, 'not an integer', 1, true) or string.find(added.err, 'overflow', 1, true)
    if not isnt_hash and not isnt_count then
      return added
    end
    foreign = foreign + 1
    if isnt_hash then
      redis.call('DEL', KEYS[1])
    end
    redis.call('HSET', KEYS[1], ARGV[2 * i], ARGV[2 * i + 1])
  end
end

redis.call('PEXPIRE', KEYS[1], ARGV[1])
return { foreign }
