-- Takes runs in. Refused when there is no memory.
-- ARGV: channel, most waiting per place, life of a key, then of each run:
-- id, body, delay, expires or '', slot, policy, rank, place, number of its bucket of results, number of its key or '0', hash of its request.
-- Returns of each: 'queued', 'duplicate', 'full', 'same <id>' or 'other <id>'.

local WIDTH = 11
local most, key_life = tonumber(ARGV[2]), ARGV[3]

local ids, buckets = {}, {}
for i = 4, #ARGV, WIDTH do
  ids[#ids + 1] = ARGV[i]
  buckets[#ids] = ARGV[i + 8]
end
load(ids)
local ended = ended_of(ids, buckets)

local room = {} -- place or slot -> how many more may wait there

local function room_in(name, zset, first, last)
  if not room[name] then room[name] = most - redis.call('ZLEXCOUNT', zset, '[' .. name .. first, '(' .. name .. last) end
  return room[name]
end

local used = {}
local answers = {}
for n, id in ipairs(ids) do
  local _, body, delay, expires, slot, policy, rank, place, _, key, request = unpack(ARGV, 4 + (n - 1) * WIDTH, 3 + n * WIDTH)
  local first
  if key ~= '0' then first = used[key] or redis.call('GET', KEYS[tonumber(key)]) end
  local full = room_in(place, READY, '\0', '\1') <= 0 or slot ~= '-' and room_in(slot, WAITERS, '', '~') <= 0

  if runs[id] or ended[id] or first and first:sub(1, 36) == id then
    answers[n] = 'duplicate'
  elseif first then
    answers[n] = (first:sub(38) == request and 'same ' or 'other ') .. first:sub(1, 36)
  elseif full then
    answers[n] = 'full'
  else
    if key ~= '0' then used[key] = id .. ' ' .. request end
    local due = now + tonumber(delay)
    local run = { id = id, holder = '-', fence = '0', attempt = '0', expires = '0', flags = '-', counters = '0,0,0', turn = '0',
      slot = slot, policy = policy, rank = rank, place = place }
    if expires ~= '' then run.expires = string.format('%.0f', due + tonumber(expires)) end
    runs[id] = run
    bodies[#bodies + 1] = id
    bodies[#bodies + 1] = body
    if delay == '0' then release(run) else enter(run, 'D', due) end
    if run.phase == 'R' then room[place] = room[place] - 1 end
    if run.phase == 'B' then room[slot] = room[slot] - 1 end
    answers[n] = 'queued'
  end
end
commit()
for key, value in pairs(used) do redis.call('SET', KEYS[tonumber(key)], value, 'PX', key_life) end
return answers
