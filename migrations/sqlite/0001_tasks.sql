-- Tasks and their payloads. Both may be written by plain SQL: what matters to people has a default, and what cannot be read gets a `problem`.
-- All times are UTC. Durations are written like 1h30m10s, 500ms, 7d.

-- What handlers are given, each once.
CREATE TABLE payloads (
  uuid TEXT NOT NULL DEFAULT (lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-a' || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))), -- what tasks.payload names
  data TEXT NOT NULL, -- JSON; never edited: insert another row and name that one
  hash BLOB NULL, -- SHA-256 of data; filled in by the server
  cdate TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'), -- when it was last given to the server, to the hour
  PRIMARY KEY (uuid)
) STRICT;
CREATE UNIQUE INDEX payloads_hash ON payloads (hash);

-- What runs, where and when.
CREATE TABLE tasks (
  uuid TEXT NOT NULL DEFAULT (lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-a' || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))), -- the id, in lower case
  name TEXT NOT NULL, -- a-z 0-9 . _ -
  type TEXT NOT NULL DEFAULT 'scheduled', -- scheduled: fires as `when` says; ondemand: only when told to, and `when` is now
  target TEXT NOT NULL, -- web-1, any(role=web) or all(role=web)
  `when` TEXT NOT NULL DEFAULT 'now', -- now, a crontab expression, @every 1h30m or @at 2026-03-01T12:00:00Z
  payload TEXT NULL, -- payloads.uuid, or the JSON itself
  timezone TEXT NOT NULL DEFAULT 'UTC', -- IANA time zone in which `when` is read
  handler TEXT NOT NULL DEFAULT 'exec', -- what a worker runs; exec: the command in payload
  retries INTEGER NOT NULL DEFAULT 0, -- how often a failed or timed-out attempt is tried again
  backoff TEXT NOT NULL DEFAULT '1s', -- longest wait before the first retry, doubled for each further one
  max_lost INTEGER NOT NULL DEFAULT 3, -- how many lost workers a run survives; 0: started at most once
  timeout TEXT NULL, -- how long one attempt may take; NULL: no limit
  expires TEXT NULL, -- how long a run may wait to be started; NULL: no limit
  priority TEXT NOT NULL DEFAULT 'normal', -- low, normal, high or urgent
  catch_up TEXT NOT NULL DEFAULT 'latest', -- firings missed while no server was up: none, latest or all
  catch_up_max INTEGER NOT NULL DEFAULT 10, -- how many at the most when catch_up is all
  overlap TEXT NOT NULL DEFAULT 'allow', -- while an earlier run has not ended: allow, skip, queue or replace
  splay TEXT NOT NULL DEFAULT '0s', -- each run is delayed by up to this, always the same
  start_deadline TEXT NULL, -- a missed firing later than this is skipped; NULL: no limit
  paused INTEGER NOT NULL DEFAULT 0, -- 1: does not fire
  description TEXT NOT NULL DEFAULT '', -- for people
  cdate TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'), -- when it was created
  mdate TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'), -- when its definition last changed, as far as a server noticed
  problem TEXT NOT NULL DEFAULT '', -- written by the server: what keeps it from firing
  last_run BLOB NULL, -- mirror: the id of the latest run, runs.id
  state INTEGER NOT NULL DEFAULT 1, -- mirror: state of the latest run: 1 todo, 2 queued, 3 running, 4 done, 5 error, 6 cancelled, 7 expired, 8 skipped
  sdate TEXT NULL, -- mirror: when the latest run started
  retried INTEGER NOT NULL DEFAULT 0, -- mirror: how many attempts of the latest run failed
  next_look TEXT NULL, -- planner: when to look at it again; NULL: not before it changes
  planned_to TEXT NULL, -- planner: up to when its firings have been planned
  planned_paused INTEGER NOT NULL DEFAULT 0, -- planner: it was paused when it was planned
  planned TEXT, -- planner: the definition that was planned
  definition TEXT GENERATED ALWAYS AS
    (json_array(name, type, target, `when`, payload, timezone, handler, retries, backoff, max_lost,
      timeout, expires, priority, catch_up, catch_up_max, overlap,
      splay, start_deadline, paused)) VIRTUAL, -- all that decides about firings
  changed INTEGER GENERATED ALWAYS AS (CASE WHEN planned = definition THEN 0 ELSE 1 END) VIRTUAL, -- 1: to be planned anew
  PRIMARY KEY (uuid)
) STRICT;
CREATE UNIQUE INDEX tasks_name ON tasks (name);
CREATE INDEX tasks_next_look ON tasks (next_look);
CREATE INDEX tasks_changed ON tasks (changed);
CREATE INDEX tasks_target ON tasks (target);
CREATE INDEX tasks_payload ON tasks (payload);
