-- The workers took charge. ARGV: channel, then id and fence of each. Returns 1 for each that holds, 0 for each that does not.

local ids = {}
for i = 2, #ARGV, 2 do ids[#ids + 1] = ARGV[i] end
load(ids)
local answers = {}
for n, id in ipairs(ids) do
  local run = runs[id]
  local good = run and run.fence == ARGV[2 * n + 1] and run.holder ~= '-'
  if good and run.phase == 'F' then
    run.phase = 'A'
    run.expires = '0'
    touch(run)
  elseif good and (run.phase == 'D' or run.phase == 'R') and is_live(worker_of(run), session_id_of(run)) then
    -- It went back because the word came late; nobody else has it yet.
    hold(run, worker_of(run), session_id_of(run))
  else
    good = good and run.phase == 'A'
  end
  answers[n] = good and 1 or 0
end
commit()
return answers
