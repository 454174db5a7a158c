-- Spends from budgets, each on its own: GCRA, exact to the millisecond, in whole numbers alone.
-- A budget is kept as the instant at which it is full again: whole milliseconds since 1970 and parts, of which
-- `count` make a millisecond. Either stays far below 2^53, up to which Lua's numbers are exact.
--
-- KEYS[i]          budget i; all of one partition, none twice
-- ARGV[1]          now, in milliseconds since 1970; 0: by the clock of Redis
-- ARGV[3 * i - 1]  its burst: how many there are at once
-- ARGV[3 * i]      its window, in milliseconds: in which that many come back
-- ARGV[3 * i + 1]  how many times to spend
--
-- Returns { foreign, admitted of 1, wait of 1, admitted of 2, wait of 2, … }
--   foreign   how many keys held what is none of ours; they count as absent and are written over
--   admitted  how many times there was one left
--   wait      milliseconds until the first that was refused would be admitted; 0: none was

-- The shortest life of a key, in milliseconds: beyond any small disagreement of clocks.
local SHORTEST_LIFE = 60000
-- No honest clock goes back further, in milliseconds: what lies beyond was not written here.
local FARTHEST = 86400000

local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local foreign = 0
local reply = { foreign }

for i = 1, #KEYS do
  local count = tonumber(ARGV[3 * i - 1])
  local window = tonumber(ARGV[3 * i])
  local times = tonumber(ARGV[3 * i + 1])

  -- Absent is full.
  local full_at, parts = now, 0
  local kept = redis.pcall('GET', KEYS[i])
  if type(kept) == 'table' then
    if not string.find(kept.err, 'WRONGTYPE', 1, true) then
      return kept
    end
    foreign = foreign + 1
  elseif kept then
    local kept_ms, kept_parts = string.match(kept, '^(%d+) (%d+)$')
    kept_ms, kept_parts = tonumber(kept_ms), tonumber(kept_parts)
    if kept_ms and kept_parts < count and kept_ms - now <= window + FARTHEST then
      full_at, parts = kept_ms, kept_parts
    else
      foreign = foreign + 1
    end
  end
  -- It is never fuller than full.
  if full_at < now then
    full_at, parts = now, 0
  end

  local admitted, wait = 0, 0
  while admitted < times do
    local after, after_parts = full_at + math.floor(window / count), parts + window % count
    if after_parts >= count then
      after, after_parts = after + 1, after_parts - count
    end
    local over = after - now - window
    if after_parts > 0 then
      -- Rounded up: a millisecond earlier it would be refused again.
      over = over + 1
    end
    if over > 0 then
      wait = over
      break
    end
    full_at, parts = after, after_parts
    admitted = admitted + 1
  end

  if admitted > 0 then
    local life = math.max(2 * (full_at - now + 1), SHORTEST_LIFE)
    redis.call('SET', KEYS[i], string.format('%.0f %.0f', full_at, parts), 'PX', string.format('%.0f', life))
  end
  reply[2 * i] = admitted
  reply[2 * i + 1] = wait
end

reply[1] = foreign
return reply
