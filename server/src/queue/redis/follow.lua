-- Marks a run as followed, or tells those who follow runs. ARGV: channel, 'follow' or 'nudge', ids.

local ids = { unpack(ARGV, 3) }
load(ids)
for _, id in ipairs(ids) do
  local run = runs[id]
  if run and ARGV[2] == 'follow' and not has(run, 'f') then
    run.changed = true
    changed[#changed + 1] = run
    mark(run, 'f')
  elseif run and ARGV[2] == 'nudge' and has(run, 'f') then
    hint('', 'changed ' .. id)
  end
end
commit()
