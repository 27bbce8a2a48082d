-- What attempts say while they run. Written by servers only.

-- Output, notes and progress of attempts.
CREATE TABLE messages (
  tuuid BLOB NOT NULL, -- the run, open_runs.id or runs.id
  fence INTEGER NOT NULL, -- the attempt, attempts.fence
  seq INTEGER NOT NULL, -- its number in the attempt, from 0
  kind INTEGER NOT NULL, -- 1 standard output, 2 standard error, 3 note, 4 progress
  message BLOB NOT NULL, -- bytes as they were written
  cdate TEXT NOT NULL, -- when, by the clock of the worker
  PRIMARY KEY (tuuid, fence, seq) ON CONFLICT IGNORE
) STRICT;
