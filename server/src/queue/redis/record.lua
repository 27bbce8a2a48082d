-- Runs as the other side reads them: { id, phase, wait, worker, session, server, fence, attempt, counters, flags, body }.

local function records(ids)
  local texts, waits = mget(BODY, ids), {}
  local answers = {}
  for i, id in ipairs(ids) do
    local run = runs[id]
    if run then read_rest(run) end
    if not run then
      answers[i] = false
    else
      local worker, session, server = '', '', ''
      if run.holder ~= '-' then
        worker, session = worker_of(run), session_id_of(run)
        local known = session_of(worker)
        if known and known.id == session then server = known.server end
      end
      local wait = 0
      if run.phase == 'D' then wait = math.max((run.moment or tonumber(redis.call('ZSCORE', DUE, id) or now)) - now, 0) end
      answers[i] = { id, run.phase, wait, worker, session, server, run.fence, run.attempt, run.counters, run.flags, texts[i] or '' }
    end
  end
  return answers
end
