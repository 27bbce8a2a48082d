-- No fence below this from now on. ARGV: channel, floor.

counters = { fence = math.max(counter('fence'), tonumber(ARGV[2]) - 1), turn = counter('turn') }
commit()
