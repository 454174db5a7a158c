-- Publishes to a channel whose listeners are at the server that holds the slot of its name.
--
-- KEYS[1]  the channel
-- ARGV[1]  what is published
--
-- Returns how many listeners at this server heard it; NOPERM if the access list forbids the channel

local heard = redis.pcall('PUBLISH', KEYS[1], ARGV[1])
if type(heard) == 'table' then
  -- Only the access list refuses to publish, in words that depend on the version.
  return redis.error_reply('NOPERM the channel is forbidden')
end
return heard
