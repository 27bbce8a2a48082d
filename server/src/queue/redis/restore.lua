-- Enters open runs of the store again, those first that have a slot by right. Ids that are there are left as they are, and so is what has
-- ended lately with a result; without one, the store knows better.
-- ARGV: channel, life of a session, life of a key, then of each run: id, body, delay, expires or '', slot, policy, rank, place, number of
-- its bucket of results, number of its key or '0', hash of its request, counters, attempt, fence, worker that holds it or '', 1 if it was missed.
-- Returns of each: 1 if it was entered, 0 if not.

local WIDTH = 16
local life, key_life = tonumber(ARGV[2]), ARGV[3]

local ids, buckets = {}, {}
for i = 4, #ARGV, WIDTH do
  ids[#ids + 1] = ARGV[i]
  buckets[#ids] = ARGV[i + 8]
end
load(ids)
local ended = ended_of(ids, buckets)

local used, expected, answers = {}, {}, {}
for n, id in ipairs(ids) do
  local _, body, delay, expires, slot, policy, rank, place, _, key, request, behind, attempt, fence, worker, missed =
    unpack(ARGV, 4 + (n - 1) * WIDTH, 3 + n * WIDTH)
  answers[n] = 0
  if not runs[id] and (ended[id] or '') == '' then
    answers[n] = 1
    local due = now + tonumber(delay)
    local run = { id = id, holder = '-', fence = fence, attempt = attempt, expires = '0', flags = '-', counters = behind, turn = '0',
      slot = slot, policy = policy, rank = rank, place = place }
    if expires ~= '' and worker == '' then run.expires = string.format('%.0f', due + tonumber(expires)) end
    if missed == '1' then mark(run, 'm') end
    mark(run, 'r')
    runs[id] = run
    bodies[#bodies + 1] = id
    bodies[#bodies + 1] = body
    if key ~= '0' then used[key] = id .. ' ' .. request end
    counters = { fence = math.max(counter('fence'), tonumber(fence)), turn = counter('turn') }
    if attempt ~= '0' or worker ~= '' then take_slot(run) end
    if worker ~= '' then
      run.holder = worker .. '/' .. NOBODY
      enter(run, 'A')
      expected[worker] = true
    elseif delay == '0' then
      release(run)
      local session = session_of(place)
      if session and session.stage == 'L' then expected[place] = true end
    else enter(run, 'D', due) end
  end
end
commit()
-- A live one too: its server finds that it is not known and says anew what the worker holds. That may not be what it is said to hold
-- here, or it may be what waits here.
for worker in pairs(expected) do
  local deadline = string.format('%.0f', now + life)
  write_session(worker, { id = NOBODY, stage = 'C', deadline = deadline, server = '', instance = '' })
  redis.call('ZADD', DEADLINES, deadline, worker)
  redis.call('ZREM', OFFERS, worker)
end
for key, value in pairs(used) do redis.call('SET', KEYS[tonumber(key)], value, 'PX', key_life, 'NX') end
return answers
