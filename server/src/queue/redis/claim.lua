-- Gives ready runs to sessions: recorded in flight first, out of their places last.
-- ARGV: channel, then of each claim: place, worker, session, most.
-- Returns of each: { 0, or 1: there is more, or 2: the session is not the live one, { { id, fence, attempt, body } .. } }.

local from = {}   -- place -> how many of it this script has taken
local taken = {}  -- of each claim: members of the ready set
local ids = {}
local answers = {}
for i = 2, #ARGV, 4 do
  local place, worker, session, most = ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3])
  local members, live = {}, is_live(worker, session)
  if live then
    local offset = from[place] or 0
    members = redis.call('ZRANGEBYLEX', READY, '[' .. place .. '\0', '(' .. place .. '\1', 'LIMIT', offset, most + 1)
  end
  local more = #members > most
  if more then members[#members] = nil end
  from[place] = (from[place] or 0) + #members
  taken[#taken + 1] = members
  answers[#answers + 1] = { not live and 2 or more and 1 or 0, {} }
  for _, member in ipairs(members) do ids[#ids + 1] = member:sub(-36) end
end

if #ids == 0 then return answers end
load(ids)
local texts = mget(BODY, ids)
local body = {}
for i, id in ipairs(ids) do body[id] = texts[i] end

for n, members in ipairs(taken) do
  local holder = ARGV[4 * n - 1] .. '/' .. ARGV[4 * n]
  local deliveries = answers[n][2]
  for _, member in ipairs(members) do
    local run = runs[member:sub(-36)]
    if is_expired(run) then
      go(run, 'x', now)
    else
      unindex(run, member)
      run.fence = next_fence()
      run.attempt = run.attempt == '0' and '1' or tostring(run.attempt + 1)
      run.holder = holder
      enter(run, 'F')
      deliveries[#deliveries + 1] = { run.id, run.fence, run.attempt, body[run.id] }
    end
  end
end
commit()
return answers
