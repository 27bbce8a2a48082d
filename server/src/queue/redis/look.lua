-- ARGV: channel, ids. Returns a record of each, or nil.

local ids = { unpack(ARGV, 2) }
load(ids)
return records(ids)
