-- Spends from budgets or gives back, each on its own, by GCRA: exact to the millisecond, in whole numbers only.
-- A budget is stored as the time at which it is full again: whole milliseconds since 1970, and parts, of which `count` make
-- a millisecond. Both stay far below 2^53, up to which Lua's numbers are exact.
--
-- KEYS[i]          budget i; all of one partition, none twice
-- ARGV[1]          now, in milliseconds since 1970; 0: Redis' clock
-- ARGV[3 * i - 1]  its burst: how many can be spent at once
-- ARGV[3 * i]      its window, in milliseconds, in which that many come back
-- ARGV[3 * i + 1]  how many to spend; negative: how many to give back
--
-- Returns { foreign, admitted of 1, wait of 1, admitted of 2, wait of 2, ... }
--   foreign   how many keys held a foreign value; they count as absent and are overwritten
--   admitted  how many were spent or given back
--   wait      milliseconds until the first that was refused would be admitted; 0: none was refused

-- The shortest lifetime of a key, in milliseconds: longer than clocks disagree by.
local MIN_LIFETIME = 60000
-- No working clock goes back further than this, in milliseconds: a later time was not written by this script.
local MAX_CLOCK_STEP = 86400000

local now = milliseconds(ARGV[1])
local reply = { foreign }

for i = 1, #KEYS do
  local count = tonumber(ARGV[3 * i - 1])
  local window = tonumber(ARGV[3 * i])
  local times = tonumber(ARGV[3 * i + 1])

  -- An absent budget is full.
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
    if kept_ms and kept_parts < count and kept_ms - now <= window + MAX_CLOCK_STEP then
      full_at, parts = kept_ms, kept_parts
    else
      foreign = foreign + 1
    end
  end
  -- A budget is never more than full, and never emptier than empty: if the clock has gone back, it is full again after one
  -- window by the clock as it is now.
  local is_behind = full_at > now + window or full_at == now + window and parts > 0
  if full_at < now then
    full_at, parts = now, 0
  elseif is_behind then
    full_at, parts = now + window, 0
  end

  -- A unit that is given back moves it back as far as one that is spent moves it on.
  local admitted, wait = 0, 0
  while times < 0 do
    full_at, parts = full_at - math.floor(window / count), parts - window % count
    if parts < 0 then
      full_at, parts = full_at - 1, parts + count
    end
    if full_at < now then
      full_at, parts = now, 0
    end
    times, admitted = times + 1, admitted + 1
  end

  -- Each unit moves the time at which the budget is full by window / count, up to one window ahead of now.
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

  if admitted > 0 or is_behind then
    local lifetime = math.max(2 * (full_at - now + 1), MIN_LIFETIME)
    redis.call('SET', KEYS[i], whole(full_at) .. ' ' .. whole(parts), 'PX', whole(lifetime))
  end
  reply[2 * i] = admitted
  reply[2 * i + 1] = wait
end

reply[1] = foreign
return reply
