-- Asks for runs to be cancelled. ARGV: channel, offer again after, ids. Returns a record of each, or nil.

local offer = now + tonumber(ARGV[2])
local ids = { unpack(ARGV, 3) }
load(ids)
for _, id in ipairs(ids) do
  local run = runs[id]
  if run and IN_FLIGHT[run.phase] then ask_to_cancel(run)
  elseif run and (WAITING[run.phase] or run.phase == 'm') then go(run, 'c', offer) end
end
local answers = records(ids)
commit()
return answers
