-- Makes a session the live one of its worker, and compares what the worker holds with what is in flight for it.
-- ARGV: channel, life, worker, session, server, instance, then id and fence of each run that it holds.
-- Returns { superseded { session, server, instance } or nil, the session before it if it was of this instance or '', adopted records,
-- missing records, stale, unknown }, the last two by their numbers among what it holds: it may hold two attempts of one run.

local life, worker, id, server, instance = tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5], ARGV[6]

local old = session_of(worker)
local superseded = false
if old and old.stage == 'L' and old.id ~= id then
  superseded = { old.id, old.server, old.instance }
  hint(old.server, 'superseded ' .. worker .. ' ' .. old.id .. ' ' .. server .. ' ' .. instance)
end
local deadline = string.format('%.0f', now + life)
write_session(worker, { id = id, stage = 'L', deadline = deadline, server = server, instance = instance })
redis.call('ZADD', DEADLINES, deadline, worker)
redis.call('ZREM', OFFERS, worker)

local held = {}
for i = 7, #ARGV, 2 do held[#held + 1] = ARGV[i] end
load(held)
local adopted, stale, unknown = {}, {}, {}
for n, run_id in ipairs(held) do
  local run, fence = runs[run_id], ARGV[2 * n + 6]
  if not run then
    unknown[#unknown + 1] = n
  elseif is_good(run, fence) and (WAITING[run.phase] or IN_FLIGHT[run.phase]) then
    -- A fence later than any known is right: what gave it was forgotten, and comes after all attempts that are known.
    if tonumber(fence) > tonumber(run.fence) then run.attempt = string.format('%.0f', run.attempt + 1) end
    run.fence = fence
    counters = { fence = math.max(counter('fence'), tonumber(fence)), turn = counter('turn') }
    hold(run, worker, id)
    adopted[#adopted + 1] = run_id
  else
    stale[#stale + 1] = n
  end
end

local missing = {}
for _, member in ipairs(redis.call('ZRANGEBYLEX', FLIGHTS, '[' .. worker .. '\0', '(' .. worker .. '\1')) do
  missing[#missing + 1] = member:sub(-36)
end
load(missing)
for i = #missing, 1, -1 do
  local run = runs[missing[i]]
  if not run or session_id_of(run) == id then table.remove(missing, i) end
end

local same = old and old.instance == instance and old.id or ''
local answer = { superseded, same, records(adopted), records(missing), stale, unknown }
commit()
return answer
