-- Definitions that several scripts use. Each is sent only with the scripts that name it, so a blank line separates them
-- and there is none inside.

-- How many keys held a foreign value. Such a value counts as absent, so that it cannot stop anything.
local foreign = 0

-- The present time in milliseconds since 1970: the given one, or that of Redis' clock if '0' is given.
local function milliseconds(given)
  local now = tonumber(given)
  if now == 0 then
    local time = redis.call('TIME')
    now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  end
  return now
end

-- A whole number as text. Lua on its own writes large numbers as 1.8e+12, which Redis does not take.
local function whole(number)
  return string.format('%.0f', number)
end

-- How many members a key has, by the command that counts them. Changes nothing.
local function count(command, key)
  local found = redis.pcall(command, key)
  if type(found) == 'table' then
    foreign = foreign + 1
    return 0
  end
  return found
end

-- The same, but removes a foreign value, so that the script can write there.
local function count_or_clear(command, key)
  local before = foreign
  local found = count(command, key)
  if foreign > before then
    redis.call('DEL', key)
  end
  return found
end

-- The leases of a user, those that have ended too: each with the tag of its connection, the mark of one that is held
-- ('+') or was left ('-'), and when it ends in milliseconds since 1970.
local function leases(key)
  local kept = redis.pcall('GET', key)
  if type(kept) == 'table' and not string.find(kept.err, 'WRONGTYPE', 1, true) then
    error(kept)
  end
  local text = type(kept) == 'string' and kept or ''
  local found, is_foreign = {}, type(kept) == 'table'
  for from = 1, #text, 20 do
    local tag, mark, ends = string.match(string.sub(text, from, from + 19), '^([%w_=]+)([+-])(%d+)$')
    if tag then
      found[#found + 1] = { tag = tag, mark = mark, ends = tonumber(ends) }
    else
      is_foreign = true
    end
  end
  if is_foreign then
    foreign = foreign + 1
  end
  return found
end

-- Keeps leases for twice as long as the longest lasts, at least ten minutes: of those, at most 64 that end last.
local function keep_leases(key, kept, now)
  table.sort(kept, function(one, other) return one.ends > other.ends end)
  local texts = {}
  for i = 1, math.min(#kept, 64) do
    texts[i] = kept[i].tag .. kept[i].mark .. string.format('%013.0f', math.max(kept[i].ends, 0))
  end
  local lifetime = math.max(2 * (kept[1].ends - now), 600000)
  redis.call('SET', key, table.concat(texts), 'PX', whole(lifetime))
end

-- An emitted event as it is pushed, unless it was emitted too long ago.
local function emitted_event(key, now, kept_ms)
  local kept = redis.pcall('GET', key)
  if type(kept) == 'table' and not string.find(kept.err, 'WRONGTYPE', 1, true) then
    error(kept)
  end
  if kept == false then
    return nil
  end
  local ms, event = string.match(type(kept) == 'string' and kept or '', '^(%d+) ({.*})$')
  if not ms then
    foreign = foreign + 1
    return nil
  end
  if tonumber(ms) <= now - kept_ms then
    return nil
  end
  return event
end

-- Appends work to a stream, with the time at which it fell due in its id.
local function append(key, text, now)
  -- The ids of a stream only grow, so after the clock has gone back Redis must choose one itself.
  for _, id in ipairs({ whole(now) .. '-*', '*' }) do
    local added = redis.pcall('XADD', key, id, 'w', text)
    if type(added) ~= 'table' then
      return
    end
    if not string.find(added.err, 'ID', 1, true) then
      error(added)
    end
  end
  -- Someone has written the largest possible id, after which the stream takes nothing more.
  redis.call('DEL', key)
  foreign = foreign + 1
  redis.call('XADD', key, '*', 'w', text)
end
