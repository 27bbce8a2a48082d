-- The stream of a session has ended. ARGV: channel, grace, worker, session.

local worker = ARGV[3]
if is_live(worker, ARGV[4]) then
  local session = session_of(worker)
  local deadline = math.min(now + tonumber(ARGV[2]), tonumber(session.deadline))
  session.stage = 'C'
  session.deadline = string.format('%.0f', deadline)
  write_session(worker, session)
  redis.call('ZADD', DEADLINES, deadline, worker)
end
