-- What every script begins with: the runs of one shard, read in bulk, changed in memory, written at the end.
--
-- A script decides everything before it writes anything: an error of Lua leaves the data as they were. `commit` then writes what a run
-- enters first and what it leaves last, so that whatever stops it half-way leaves a run twice, never nowhere.
--
-- KEYS[1..13] and ARGV[1], the channel of hints, are the same in every script. Times are milliseconds of this server's clock, in which
-- 13 digits survive Lua's 14; fences are microseconds, and are written with '%.0f'.

local META, BODY, STATE, READY, DUE, EXPIRY, ENDINGS, FLIGHTS, SLOTS, WAITERS, SESSIONS, DEADLINES, OFFERS = unpack(KEYS, 1, 13)
local CHANNEL = ARGV[1]
local CHUNK = 1000
local NO_SCORE = '0' -- as text: a number is printed and read again for every command

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local runs = {}     -- id -> run; false: removed by this script
local bodies = {}   -- flat, id and body of each new run
local changed = {}  -- runs to be written
local removed = {}  -- ids
local scores = {}   -- zset -> member -> score; false: to be removed
local arrivals = {} -- places that got something to claim
local slots = {}    -- slot -> id of the run that has it; false: nobody
local hints = {}    -- channel -> lines

local NOBODY = '00000000-0000-0000-0000-000000000000' -- the session of a worker that is to open one
local WAITING = { D = true, B = true, R = true }
local IN_FLIGHT = { F = true, A = true }

local function hint(server, line)
  local channel = server == '' and CHANNEL or CHANNEL .. ':' .. server
  local lines = hints[channel] or {}
  hints[channel] = lines
  lines[#lines + 1] = line
end

local function score(zset, member, value)
  local members = scores[zset] or {}
  scores[zset] = members
  members[member] = value
end

-- Calls a command for any number of arguments.
local function in_chunks(command, key, args)
  for from = 1, #args, CHUNK do
    redis.call(command, key, unpack(args, from, math.min(from + CHUNK - 1, #args)))
  end
end

local function mget(key, fields)
  local values = {}
  for from = 1, #fields, CHUNK do
    local part = redis.call('HMGET', key, unpack(fields, from, math.min(from + CHUNK - 1, #fields)))
    if from == 1 then values = part else for i = 1, #part do values[from + i - 1] = part[i] end end
  end
  return values
end

-- The state of a run is one line, see keys.rs. Its end is read only by who needs it: reading costs more than all else.
local function parse(id, text)
  local phase, holder, fence, attempt, expires, flags, slot, rest =
    text:match('^(%a) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) (.*)$')
  return { id = id, phase = phase, holder = holder, fence = fence, attempt = attempt, expires = expires, flags = flags, slot = slot,
    rest = rest, counters = false, turn = false, policy = false, rank = false, place = false, changed = false }
end

local function read_rest(run)
  if not run.place then
    run.counters, run.turn, run.policy, run.rank, run.place = run.rest:match('^([^ ]+) ([^ ]+) (%d) (%d) (.*)$')
  end
  return run
end

local function text(run)
  local rest = run.rest
  if run.place then
    rest = run.counters .. ' ' .. run.turn .. ' ' .. run.policy .. ' ' .. run.rank .. ' ' .. run.place
  end
  return run.phase .. ' ' .. run.holder .. ' ' .. run.fence .. ' ' .. run.attempt .. ' ' .. run.expires .. ' ' .. run.flags .. ' '
    .. run.slot .. ' ' .. rest
end

local function load(ids)
  local texts = mget(STATE, ids)
  for i, id in ipairs(ids) do
    if runs[id] == nil and texts[i] then runs[id] = parse(id, texts[i]) end
  end
end

-- What is kept of those of these runs that have ended lately: a result, or nothing. `buckets`: the number of the key of each.
local function ended_of(ids, buckets)
  local members, ended = {}, {}
  for i, bucket in ipairs(buckets) do
    members[bucket] = members[bucket] or {}
    table.insert(members[bucket], ids[i])
  end
  for bucket, some in pairs(members) do
    for i, result in ipairs(mget(KEYS[tonumber(bucket)], some)) do
      if result then ended[some[i]] = result end
    end
  end
  return ended
end

local sessions = {}

-- The latest session of a worker that is not forgotten: id, stage, deadline, server, instance.
local function session_of(worker)
  if sessions[worker] == nil then
    local line = redis.call('HGET', SESSIONS, worker)
    local session = false
    if line then
      session = {}
      session.id, session.stage, session.deadline, session.server, session.instance =
        line:match('^(%S+) (%a) (%d+) (%S*) (.*)$')
    end
    sessions[worker] = session
  end
  return sessions[worker]
end

local function is_live(worker, id)
  local session = session_of(worker)
  return session and session.stage == 'L' and session.id == id
end

local function write_session(worker, session)
  sessions[worker] = session
  redis.call('HSET', SESSIONS, worker,
    session.id .. ' ' .. session.stage .. ' ' .. session.deadline .. ' ' .. session.server .. ' ' .. session.instance)
end

local counters

local function counter(name)
  if not counters then
    local values = redis.call('HMGET', META, 'fence', 'turn')
    counters = { fence = tonumber(values[1] or 0), turn = tonumber(values[2] or 0) }
  end
  return counters[name]
end

local micros = time[1] * 1000000 + time[2]
local AHEAD = 86400000000 -- a day, in microseconds: by so much this clock may have been set back

-- The next fence, as text: higher than any before, and no lower than the time.
local function next_fence()
  local fence = math.max(counter('fence') + 1, micros)
  counters.fence = fence
  return string.format('%.0f', fence)
end

local function next_turn()
  local turn = counter('turn') + 1
  counters.turn = turn
  return string.format('%013.0f', turn)
end

local function worker_of(run) return run.holder:match('^[^/]+') end
local function session_id_of(run) return run.holder:match('/(.*)$') end
local function has(run, flag) return run.flags:find(flag, 1, true) ~= nil end
local function is_expired(run) return run.expires ~= '0' and tonumber(run.expires) <= now end
local function ready_member(run)
  read_rest(run)
  return run.place .. '\0' .. run.rank .. run.turn .. run.id
end
local function waiter_member(run)
  return run.slot .. read_rest(run).turn .. run.id
end

local function flight_member(run) return worker_of(run) .. '\0' .. run.id end

local function mark(run, flag)
  if not has(run, flag) then run.flags = (run.flags == '-' and '' or run.flags) .. flag end
end

local function touch(run)
  if not run.changed then
    run.changed = true
    changed[#changed + 1] = run
    if run.flags ~= '-' and has(run, 'f') then hint('', 'changed ' .. run.id) end
  end
end

-- Takes a run out of the index of its phase. `member`: what it is in the ready set, if that is known.
local function unindex(run, member)
  local phase = run.phase
  if phase == 'D' then score(DUE, run.id, false)
  elseif phase == 'R' then score(READY, member or ready_member(run), false)
  elseif phase == 'B' then score(WAITERS, waiter_member(run), false)
  elseif IN_FLIGHT[phase] then score(FLIGHTS, flight_member(run), false)
  else score(ENDINGS, run.id, false) end
  if WAITING[phase] and run.expires ~= '0' then score(EXPIRY, run.id, false) end
end

-- Puts a run into a phase and its index. `moment`: when it is due, or when its end is offered.
local function enter(run, phase, moment)
  run.phase = phase
  run.moment = moment
  if (phase == 'R' or phase == 'B') and read_rest(run).turn == '0' then run.turn = next_turn() end
  if phase == 'D' then score(DUE, run.id, moment)
  elseif phase == 'R' then
    score(READY, ready_member(run), NO_SCORE)
    arrivals[run.place] = true
  elseif phase == 'B' then score(WAITERS, waiter_member(run), NO_SCORE)
  elseif IN_FLIGHT[phase] then score(FLIGHTS, flight_member(run), NO_SCORE)
  else score(ENDINGS, run.id, moment) end
  if WAITING[phase] and run.expires ~= '0' then score(EXPIRY, run.id, tonumber(run.expires)) end
  touch(run)
end

local function go(run, phase, moment)
  unindex(run)
  enter(run, phase, moment)
end

-- The worker has the run under this session, and has taken charge of it.
local function hold(run, worker, session)
  unindex(run)
  run.holder = worker .. '/' .. session
  run.expires = '0'
  if run.attempt == '0' then run.attempt = '1' end
  enter(run, 'A')
end

-- Whether this is the fence of the latest attempt. A later one is right, as what gave it was forgotten; not one that nobody can have given.
local function is_good(run, fence)
  if fence == '' or fence == run.fence then return true end
  local number = tonumber(fence)
  return number > tonumber(run.fence) and (number <= micros + AHEAD or number <= counter('fence'))
end

-- One call of each kind, whatever their number: additions first, removals last.
local function commit()
  local first = math.huge
  local earliest
  for _, zset in ipairs({ DUE, EXPIRY, ENDINGS }) do
    for _, at in pairs(scores[zset] or {}) do
      if at and at < first then first = at end
    end
  end
  if first < math.huge then
    earliest = math.huge
    for _, zset in ipairs({ DUE, EXPIRY, ENDINGS }) do
      local head = redis.call('ZRANGE', zset, 0, 0, 'WITHSCORES')
      if head[2] then earliest = math.min(earliest, tonumber(head[2])) end
    end
    if first < earliest then hint('', 'due') end
  end
  for place in pairs(arrivals) do
    if redis.call('ZLEXCOUNT', READY, '[' .. place .. '\0', '(' .. place .. '\1') == 0 then
      if place:sub(1, 1) == '?' then
        hint('', 'ready ' .. place)
      else
        local session = session_of(place)
        if session and session.stage == 'L' then hint(session.server, 'ready ' .. place) end
      end
    end
  end

  local texts = {}
  local n = 0
  for _, run in ipairs(changed) do
    if runs[run.id] then
      texts[n + 1], texts[n + 2] = run.id, text(run)
      n = n + 2
    end
  end
  local taken, left = {}, {}
  for slot, id in pairs(slots) do
    if id then
      taken[#taken + 1] = slot
      taken[#taken + 1] = id
    else
      left[#left + 1] = slot
    end
  end
  in_chunks('HSET', SLOTS, taken)
  in_chunks('HSET', BODY, bodies)
  in_chunks('HSET', STATE, texts)
  local drops = {}
  for zset, members in pairs(scores) do
    local add, drop, n = {}, {}, 0
    for member, value in pairs(members) do
      if value then
        add[n + 1], add[n + 2] = value, member
        n = n + 2
      else
        drop[#drop + 1] = member
      end
    end
    in_chunks('ZADD', zset, add)
    drops[zset] = drop
  end
  if counters then
    redis.call('HSET', META, 'fence', string.format('%.0f', counters.fence), 'turn', string.format('%.0f', counters.turn))
  end
  for zset, drop in pairs(drops) do in_chunks('ZREM', zset, drop) end
  in_chunks('HDEL', STATE, removed)
  in_chunks('HDEL', BODY, removed)
  in_chunks('HDEL', SLOTS, left)
  for channel, lines in pairs(hints) do redis.call('PUBLISH', channel, table.concat(lines, '\n')) end
end
