-- Overlap: of the runs with one slot, one has it from its release until its end; the others skip, wait or replace it.

local SKIP, QUEUE, REPLACE = '1', '2', '3'

local function holder_of(slot)
  if slots[slot] == nil then slots[slot] = redis.call('HGET', SLOTS, slot) end
  return slots[slot]
end

local function take_slot(run)
  if run.slot ~= '-' and not holder_of(run.slot) then slots[run.slot] = run.id end
end

-- Ids of those that wait for a slot, in order, with what this script has changed about them.
local function line(slot)
  local members = {}
  for _, member in ipairs(redis.call('ZRANGEBYLEX', WAITERS, '[' .. slot, '(' .. slot .. '~')) do members[member] = true end
  for member, value in pairs(scores[WAITERS] or {}) do
    if member:sub(1, #slot) == slot then members[member] = value and true or nil end
  end
  local sorted = {}
  for member in pairs(members) do sorted[#sorted + 1] = member end
  table.sort(sorted)
  for i, member in ipairs(sorted) do sorted[i] = member:sub(-36) end
  return sorted
end

local function ask_to_cancel(run)
  mark(run, 'c')
  touch(run)
  local session = session_of(worker_of(run))
  if session and session.stage == 'L' then
    hint(session.server, 'cancel ' .. worker_of(run) .. ' ' .. run.id .. ' ' .. run.fence)
  end
end

-- Ends all that wait in this line, and asks its holder to end. The slot stays taken until the holder has ended.
local function replace(slot)
  local waiters = line(slot)
  local holder = holder_of(slot)
  if #waiters > 0 then load(waiters) end
  load({ holder })
  for _, id in ipairs(waiters) do go(runs[id], 'r', now) end
  local run = runs[holder]
  if run and IN_FLIGHT[run.phase] then ask_to_cancel(run)
  elseif run and WAITING[run.phase] then go(run, 'r', now) end
end

-- A run is due, and in no index: it becomes ready unless its policy says otherwise.
local function release(run)
  take_slot(run)
  if run.slot == '-' or slots[run.slot] == run.id then
    enter(run, 'R')
  elseif read_rest(run).policy == SKIP then
    enter(run, 'o', now)
  else
    if run.policy == REPLACE then replace(run.slot) end
    enter(run, 'B')
  end
end

-- Removes a run; whoever waits behind it is next.
local function remove(run)
  unindex(run)
  if run.flags ~= '-' and has(run, 'f') then hint('', 'changed ' .. run.id) end
  runs[run.id] = false
  removed[#removed + 1] = run.id
  if run.slot ~= '-' and holder_of(run.slot) == run.id then
    local next
    for offset = 0, 1000000 do
      local member = redis.call('ZRANGEBYLEX', WAITERS, '[' .. run.slot, '(' .. run.slot .. '~', 'LIMIT', offset, 1)[1]
      if not member or (scores[WAITERS] or {})[member] ~= false then
        next = member and member:sub(-36)
        break
      end
    end
    slots[run.slot] = next or false
    if next then
      load({ next })
      go(runs[next], 'R')
    end
  end
end
