-- Expires and releases what is past its moment, and offers what ends without having run.
-- ARGV: channel, offer again after, most of each kind, late.
-- Returns { records of endings and of what was missed .. }, the wait until the next moment, -1 if there is none, and of each that was let
-- go how late it was.

local offer, most, late = now + tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])

-- The oldest is so late that nobody has looked meanwhile.
local oldest = redis.call('ZRANGE', DUE, 0, 0, 'WITHSCORES')
local dark = oldest[2] and tonumber(oldest[2]) + late <= now
local released = {}

-- Ids, and the moment of each.
local function past(zset)
  local found = redis.call('ZRANGEBYSCORE', zset, '-inf', now, 'WITHSCORES', 'LIMIT', 0, most)
  local ids, moments = {}, {}
  for i = 1, #found, 2 do
    ids[#ids + 1] = found[i]
    moments[found[i]] = tonumber(found[i + 1])
  end
  load(ids)
  for i = #ids, 1, -1 do
    if not runs[ids[i]] then score(zset, table.remove(ids, i), false) end
  end
  return ids, moments
end

local endings = past(ENDINGS)
for _, id in ipairs(past(EXPIRY)) do go(runs[id], 'x', now) end
local due, moments = past(DUE)
for _, id in ipairs(due) do
  local run = runs[id]
  if run.phase == 'D' and run.attempt == '0' and (dark or has(run, 'm')) then
    go(run, 'm', now)
  elseif run.phase == 'D' then
    unindex(run)
    release(run)
    released[#released + 1] = now - moments[id]
  end
end
for id, at in pairs(scores[ENDINGS] or {}) do
  if at then endings[#endings + 1] = id end
end
for _, id in ipairs(endings) do score(ENDINGS, id, offer) end
local ended = records(endings)
commit()

local next = -1
for _, zset in ipairs({ DUE, EXPIRY, ENDINGS }) do
  local head = redis.call('ZRANGE', zset, 0, 0, 'WITHSCORES')
  if head[2] then
    local wait = math.max(tonumber(head[2]) - now, 0)
    if next < 0 or wait < next then next = wait end
  end
end
return { ended, next, released }
