-- What was given to sessions and not accepted. ARGV: channel, then worker and session of each.
-- Returns of each: { id, fence, id, fence .. }.

local answers = {}
for i = 2, #ARGV, 2 do
  local worker, session = ARGV[i], ARGV[i + 1]
  local ids, found = {}, {}
  for _, member in ipairs(redis.call('ZRANGEBYLEX', FLIGHTS, '[' .. worker .. '\0', '(' .. worker .. '\1')) do
    ids[#ids + 1] = member:sub(-36)
  end
  load(ids)
  for _, id in ipairs(ids) do
    local run = runs[id]
    if run and run.phase == 'F' and session_id_of(run) == session then
      found[#found + 1] = id
      found[#found + 1] = run.fence
    end
  end
  answers[#answers + 1] = found
end
return answers
