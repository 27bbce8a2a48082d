-- Ends attempts. ARGV: channel, life of results, then of each settlement:
-- id, fence or '', 'remove', result or '', number of its bucket of results, ''; or
-- id, fence or '', 'again', delay, counters, number of the attempt that ended.
-- Returns of each: 'settled', 'already', 'stale' or 'unknown'.

local ids = {}
for i = 3, #ARGV, 6 do ids[#ids + 1] = ARGV[i] end
load(ids)
local results = {}

-- What gave an attempt that has ended may have been forgotten.
local function recall(run, fence, attempt)
  if fence == '' or tonumber(fence) <= tonumber(run.fence) then return end
  run.fence = fence
  counters = { fence = math.max(counter('fence'), tonumber(fence)), turn = counter('turn') }
  if tonumber(attempt) > tonumber(run.attempt) then run.attempt = attempt end
  if read_rest(run).counters:match(',0$') then run.expires = '0' end
end

-- Back to its place. One that was missed is let go; one that went back already, with these counters, is where it should be: false.
local function again(run, delay, behind, fence, attempt)
  if run.phase == 'm' then
    unindex(run)
    recall(run, fence, attempt)
    release(run)
    return true
  end
  local waits = run.phase == 'D' or run.phase == 'R'
  read_rest(run)
  if not IN_FLIGHT[run.phase] and not (waits and run.counters ~= behind) then return false end
  unindex(run)
  run.counters = behind
  -- Its worker has told of its end, or is lost with it: that it took charge of it may still be on its way here, and is of no account then.
  if behind:match(',0$') then run.holder = '-' end
  recall(run, fence, attempt)
  if has(run, 'c') then enter(run, 'c', now)
  elseif delay == 0 then enter(run, 'R')
  else enter(run, 'D', now + delay) end
  return true
end

local answers = {}
for n, id in ipairs(ids) do
  local _, fence, step, a, b, attempt = unpack(ARGV, 6 * n - 3, 6 * n + 2)
  local run = runs[id]
  if not run then
    answers[n] = 'unknown'
  elseif not is_good(run, fence) then
    answers[n] = 'stale'
  else
    answers[n] = 'settled'
    if step == 'again' then
      if not again(run, tonumber(a), b, fence, attempt) then answers[n] = 'already' end
    else
      -- Also of one without a result that was given back to the queue: whoever had queued it first may still be at it, and comes too late.
      if a ~= '' or has(run, 'r') then
        results[b] = results[b] or {}
        table.insert(results[b], id)
        table.insert(results[b], a)
      end
      remove(run)
    end
  end
end
for bucket, kept in pairs(results) do
  local key = KEYS[tonumber(bucket)]
  in_chunks('HSET', key, kept)
  redis.call('PEXPIRE', key, ARGV[2])
end
commit()
return answers
