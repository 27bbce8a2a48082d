-- No live session is known any more: each is to be opened again, with what its worker holds. ARGV: channel, life.

local deadline = string.format('%.0f', now + tonumber(ARGV[2]))
local all = redis.call('HGETALL', SESSIONS)
local lines, deadlines = {}, {}
for i = 1, #all, 2 do
  if all[i + 1]:match('^%S+ L ') then
    lines[#lines + 1] = all[i]
    lines[#lines + 1] = NOBODY .. ' C ' .. deadline .. '  '
    deadlines[#deadlines + 1] = deadline
    deadlines[#deadlines + 1] = all[i]
  end
end
in_chunks('HSET', SESSIONS, lines)
in_chunks('ZADD', DEADLINES, deadlines)
