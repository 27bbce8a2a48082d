-- Moves the deadlines of live sessions. ARGV: channel, life, then worker and session of each. Returns 1 for each that is live, or 0.

local deadline = string.format('%.0f', now + tonumber(ARGV[2]))
local workers, lines = {}, {}
for i = 3, #ARGV, 2 do workers[#workers + 1] = ARGV[i] end
local known = mget(SESSIONS, workers)
local answers, moved = {}, {}
for n, worker in ipairs(workers) do
  local id, server = (known[n] or ''):match('^(%S+) L %d+ (.*)$')
  if id == ARGV[2 * n + 2] then
    lines[#lines + 1] = worker
    lines[#lines + 1] = id .. ' L ' .. deadline .. ' ' .. server
    moved[#moved + 1] = deadline
    moved[#moved + 1] = worker
  end
  answers[n] = id == ARGV[2 * n + 2] and 1 or 0
end
in_chunks('HSET', SESSIONS, lines)
in_chunks('ZADD', DEADLINES, moved)
return answers
