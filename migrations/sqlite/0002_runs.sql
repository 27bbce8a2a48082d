-- Runs: open ones, those that have ended, and their attempts. Written by servers only. All times are UTC.

-- Runs that have not ended.
CREATE TABLE open_runs (
  id BLOB NOT NULL, -- RFC 9562 version 8: milliseconds, shard of the queue, hash or random
  task TEXT NULL, -- tasks.uuid, also of a task that is gone; NULL: submitted on demand
  task_name TEXT NULL, -- tasks.name when it fired
  group_id BLOB NULL, -- shared by the runs of one all(..)
  place TEXT NOT NULL, -- where it waits: a worker, or any(..), canonical
  handler TEXT NOT NULL, -- what the worker runs
  payload TEXT NULL, -- JSON of up to 4 KiB
  payload_hash BLOB NULL, -- payloads.hash of a longer one
  priority INTEGER NOT NULL, -- 0 low, 1 normal, 2 high, 3 urgent
  durable INTEGER NOT NULL, -- 1: acknowledged after commit; 0: after the queue had it
  retries INTEGER NOT NULL, -- how often a failed attempt is tried again
  backoff_ms INTEGER NOT NULL, -- longest wait before the first retry
  max_lost INTEGER NOT NULL, -- how many lost workers it survives
  timeout_ms INTEGER NULL, -- how long one attempt may take
  expires_ms INTEGER NULL, -- how long it may wait after it was due
  overlap INTEGER NOT NULL, -- 0 allow, 1 skip, 2 queue, 3 replace
  created TEXT NOT NULL, -- when it was accepted
  due TEXT NOT NULL, -- when it is to start
  state INTEGER NOT NULL, -- 1 todo, 2 queued, 3 running
  failed INTEGER NOT NULL, -- attempts that failed or timed out
  lost INTEGER NOT NULL, -- attempts lost with their worker
  worker TEXT NULL, -- of the latest attempt known
  server TEXT NOT NULL, -- the last that had to do with it
  started TEXT NULL, -- when the latest attempt known began
  unaccepted INTEGER NOT NULL DEFAULT 0, -- deliveries in a row that nobody accepted
  ready TEXT NOT NULL, -- due, or the end of the backoff
  fence INTEGER NULL, -- of the latest attempt known; only grows
  attempt INTEGER NOT NULL DEFAULT 0, -- number of the latest attempt known
  cancelled INTEGER NOT NULL DEFAULT 0, -- 1: it is to be cancelled
  touched TEXT NOT NULL, -- when this row last changed
  PRIMARY KEY (id)
) STRICT;
CREATE INDEX open_runs_created ON open_runs (created);
CREATE INDEX open_runs_due ON open_runs (due);

-- History: runs that have ended.
CREATE TABLE runs (
  id BLOB NOT NULL, -- RFC 9562 version 8: milliseconds, shard of the queue, hash or random
  task TEXT NULL, -- tasks.uuid, also of a task that is gone; NULL: submitted on demand
  task_name TEXT NULL, -- tasks.name when it fired
  group_id BLOB NULL, -- shared by the runs of one all(..)
  place TEXT NOT NULL, -- where it waits: a worker, or any(..), canonical
  handler TEXT NOT NULL, -- what the worker runs
  payload TEXT NULL, -- JSON of up to 4 KiB
  payload_hash BLOB NULL, -- payloads.hash of a longer one
  priority INTEGER NOT NULL, -- 0 low, 1 normal, 2 high, 3 urgent
  durable INTEGER NOT NULL, -- 1: acknowledged after commit; 0: after the queue had it
  retries INTEGER NOT NULL, -- how often a failed attempt is tried again
  backoff_ms INTEGER NOT NULL, -- longest wait before the first retry
  max_lost INTEGER NOT NULL, -- how many lost workers it survives
  timeout_ms INTEGER NULL, -- how long one attempt may take
  expires_ms INTEGER NULL, -- how long it may wait after it was due
  overlap INTEGER NOT NULL, -- 0 allow, 1 skip, 2 queue, 3 replace
  created TEXT NOT NULL, -- when it was accepted
  due TEXT NOT NULL, -- when it is to start
  state INTEGER NOT NULL, -- 4 done, 5 error, 6 cancelled, 7 expired, 8 skipped
  failed INTEGER NOT NULL, -- attempts that failed or timed out
  lost INTEGER NOT NULL, -- attempts lost with their worker
  worker TEXT NULL, -- of the latest attempt known
  server TEXT NOT NULL, -- the last that had to do with it
  started TEXT NULL, -- when the latest attempt known began
  ended TEXT NOT NULL, -- when the end was recorded
  reason INTEGER NULL, -- for state 5: 1 failed, 2 timeout, 3 lost, 4 poison, 5 rejected
  error TEXT NOT NULL, -- what went wrong, or why it was skipped
  exit_code INTEGER NULL, -- of the last attempt; 128 + n: ended by signal n
  result BLOB NULL, -- what the handler returned, JSON; NULL for commands
  PRIMARY KEY (id)
) STRICT;
CREATE INDEX runs_created ON runs (created);
CREATE INDEX runs_state ON runs (state, created);
CREATE INDEX runs_task ON runs (task, created);
CREATE INDEX runs_task_name ON runs (task_name, created);
CREATE INDEX runs_place ON runs (place, created);
CREATE INDEX runs_worker ON runs (worker, created);
CREATE INDEX runs_group ON runs (group_id);

-- Deliveries of runs to workers that have ended.
CREATE TABLE attempts (
  run BLOB NOT NULL, -- open_runs.id or runs.id
  fence INTEGER NOT NULL, -- grows from attempt to attempt
  number INTEGER NOT NULL, -- from 1
  worker TEXT NOT NULL, -- the one that had it
  server TEXT NOT NULL, -- the one that recorded its end
  started TEXT NULL, -- by the clock of the worker
  ended TEXT NULL, -- by the clock of the worker
  outcome INTEGER NOT NULL, -- 1 succeeded, 2 failed, 3 timed out, 4 cancelled, 5 rejected, 6 lost
  exit_code INTEGER NULL, -- 128 + n: ended by signal n
  error TEXT NOT NULL, -- what went wrong
  output_bytes INTEGER NOT NULL, -- how much it printed
  truncated INTEGER NOT NULL, -- 1: the middle of its output was left out
  PRIMARY KEY (run, fence)
) STRICT, WITHOUT ROWID;

-- Keys by which a submission is accepted once.
CREATE TABLE idempotency (
  hash BLOB NOT NULL, -- SHA-256 of the key that the submitter chose
  request BLOB NOT NULL, -- hash of the whole request
  run BLOB NOT NULL, -- what it was accepted as
  cdate TEXT NOT NULL, -- when; good for a day
  PRIMARY KEY (hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_cdate ON idempotency (cdate);
