-- Publishes to a channel whose listeners are at the server that holds the slot of its name.
--
-- KEYS[1]  the channel
-- ARGV[1]  what is published
--
-- Returns how many listeners at this server heard it

return redis.call('PUBLISH', KEYS[1], ARGV[1])
