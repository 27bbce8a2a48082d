-- Finds sessions past their deadline. ARGV: channel, life, pause, offer again after, most.
-- Returns of each: { worker, session, milliseconds since its deadline, 1 if its stream had ended, records of what is in flight for its worker }.

local life, pause, offer, most = tonumber(ARGV[2]), tonumber(ARGV[3]), now + tonumber(ARGV[4]), tonumber(ARGV[5])

local NONE = '00000000-0000-0000-0000-000000000000' -- of a worker that is expected since the queue was filled again

-- Nobody could come in time while nobody looked, or while the clock was elsewhere.
local last = tonumber(redis.call('HGET', META, 'reaped') or '-inf')
if now - last > pause or now < last then
  for _, worker in ipairs(redis.call('ZRANGE', DEADLINES, 0, -1)) do
    local session = session_of(worker)
    if session then
      session.deadline = string.format('%.0f', now + life)
      write_session(worker, session)
      redis.call('ZADD', DEADLINES, session.deadline, worker)
    end
  end
end
redis.call('HSET', META, 'reaped', string.format('%.0f', now))

local answers = {}

local function silent(worker, first)
  local session = session_of(worker)
  local ids = {}
  for _, member in ipairs(redis.call('ZRANGEBYLEX', FLIGHTS, '[' .. worker .. '\0', '(' .. worker .. '\1')) do
    ids[#ids + 1] = member:sub(-36)
  end
  load(ids)
  for i = #ids, 1, -1 do
    if not runs[ids[i]] then table.remove(ids, i) end
  end
  local ended = session and (session.stage == 'C' or session.stage == 'G') and session.id ~= NONE
  if session and (first or #ids > 0) then
    answers[#answers + 1] = { worker, session.id, now - tonumber(session.deadline), ended and 1 or 0, records(ids) }
  end
  if session and #ids > 0 then
    session.stage = ended and 'G' or 'S'
    write_session(worker, session)
    redis.call('ZADD', OFFERS, offer, worker)
  else
    redis.call('HDEL', SESSIONS, worker)
    redis.call('ZREM', OFFERS, worker)
  end
  redis.call('ZREM', DEADLINES, worker)
end

local function past(zset)
  return redis.call('ZRANGEBYSCORE', zset, '-inf', now, 'LIMIT', 0, most)
end

local offered = past(OFFERS)
for _, worker in ipairs(past(DEADLINES)) do silent(worker, true) end
for _, worker in ipairs(offered) do silent(worker, false) end
return answers
