-- Notes that a drain is awake, or that none is, and says what there is new.
--
-- KEYS[1]  the number of times that drains were told of work
-- KEYS[2]  until when a drain counts as awake, in milliseconds since 1970
-- ARGV[1]  now, in milliseconds since 1970; 0: by the clock of Redis
-- ARGV[2]  how long it counts as awake from now on, in milliseconds; 0: not at all
--
-- Returns { foreign, news }
--   foreign  1 where the number was none of ours; it counts as absent and is removed
--   news     the number

local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local awake = tonumber(ARGV[2])
if awake == 0 then
  redis.call('DEL', KEYS[2])
else
  local until_ms = string.format('%.0f', now + awake)
  local held = redis.pcall('SET', KEYS[2], until_ms, 'PX', string.format('%.0f', 2 * awake))
  -- A full Redis refuses: then drains are woken that need not be.
  if held.err and not string.find(held.err, 'OOM', 1, true) then
    return held
  end
end

local foreign = 0
local news = redis.pcall('GET', KEYS[1])
if news then
  news = type(news) == 'string' and string.match(news, '^%d+$') and tonumber(news)
  if not news or news > 9007199254740991 then
    foreign = 1
    redis.call('DEL', KEYS[1])
    news = nil
  end
end

return { foreign, news or 0 }
