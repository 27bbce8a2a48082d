-- The places `any(..)` that hold something, found by skipping from each to the next. ARGV: channel.

local places = {}
local from = '[?'
while true do
  local member = redis.call('ZRANGEBYLEX', READY, from, '(@', 'LIMIT', 0, 1)[1]
  if not member then return places end
  local place = member:match('^([^%z]*)')
  places[#places + 1] = place
  from = '[' .. place .. '\1'
end
