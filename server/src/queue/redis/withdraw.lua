-- Removes runs that were never claimed. ARGV: channel, ids. Returns 1 for each that is gone, 0 for each that is not.

local ids = { unpack(ARGV, 2) }
load(ids)
local answers = {}
for n, id in ipairs(ids) do
  local run = runs[id]
  if run and (WAITING[run.phase] or run.phase == 'm') and run.attempt == '0' then remove(run) end
  answers[n] = runs[id] and 0 or 1
end
commit()
return answers
