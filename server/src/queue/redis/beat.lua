-- A server says that it lives. KEYS[14]: servers, by ms of when they last did. ARGV: channel, life, server.
-- Returns those that have, and those that have not said so for this long, each once.

redis.call('ZADD', KEYS[14], string.format('%.0f', now), ARGV[3])
local gone = redis.call('ZRANGEBYSCORE', KEYS[14], '-inf', now - tonumber(ARGV[2]))
for _, server in ipairs(gone) do redis.call('ZREM', KEYS[14], server) end
return { redis.call('ZRANGE', KEYS[14], 0, -1), gone }
