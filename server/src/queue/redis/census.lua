-- Counts what is open, and finds the oldest of the ready runs that are next in their place and rank, skipping from each to the next.
-- ARGV: channel, the most of them to look at.
-- Returns delayed, behind, ready, in flight, ending; and the least id, '' if none is ready.

local oldest, from = '', '-'
for _ = 1, tonumber(ARGV[2]) do
  local member = redis.call('ZRANGEBYLEX', READY, from, '+', 'LIMIT', 0, 1)[1]
  if not member then break end
  local id = member:sub(-36)
  if oldest == '' or id < oldest then oldest = id end
  from = '(' .. member:match('^[^%z]*%z.') .. '\255'
end
local answer = {}
for i, zset in ipairs({ DUE, WAITERS, READY, FLIGHTS, ENDINGS }) do answer[i] = redis.call('ZCARD', zset) end
answer[6] = oldest
return answer
