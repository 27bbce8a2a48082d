-- Tasks and their payloads. Both may be written by plain SQL: what matters to people has a default, and what cannot be read gets a `problem`.
-- All times are UTC. Durations are written like 1h30m10s, 500ms, 7d.

CREATE TABLE payloads (
  uuid CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT (UUID()) COMMENT 'what tasks.payload names',
  data LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL COMMENT 'JSON; never edited: insert another row and name that one',
  hash BINARY(32) NULL COMMENT 'SHA-256 of data; filled in by the server',
  cdate DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)) COMMENT 'when it was last given to the server, to the hour',
  PRIMARY KEY (uuid),
  UNIQUE KEY payloads_hash (hash)
) ENGINE=InnoDB COMMENT='what handlers are given, each once';

CREATE TABLE tasks (
  uuid CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT (UUID()) COMMENT 'the id, in lower case',
  name VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'a-z 0-9 . _ -',
  type VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT 'scheduled' COMMENT 'scheduled: fires as `when` says; ondemand: only when told to, and `when` is now',
  target VARCHAR(1024) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'web-1, any(role=web) or all(role=web)',
  `when` VARCHAR(1024) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT 'now' COMMENT 'now, a crontab expression, @every 1h30m or @at 2026-03-01T12:00:00Z',
  payload LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL COMMENT 'payloads.uuid, or the JSON itself',
  timezone VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT 'UTC' COMMENT 'IANA time zone in which `when` is read',
  handler VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT 'exec' COMMENT 'what a worker runs; exec: the command in payload',
  retries INT NOT NULL DEFAULT 0 COMMENT 'how often a failed or timed-out attempt is tried again',
  backoff VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '1s' COMMENT 'longest wait before the first retry, doubled for each further one',
  max_lost INT NOT NULL DEFAULT 3 COMMENT 'how many lost workers a run survives; 0: started at most once',
  timeout VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'how long one attempt may take; NULL: no limit',
  expires VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'how long a run may wait to be started; NULL: no limit',
  priority VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT 'normal' COMMENT 'low, normal, high or urgent',
  catch_up VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT 'latest' COMMENT 'firings missed while no server was up: none, latest or all',
  catch_up_max INT NOT NULL DEFAULT 10 COMMENT 'how many at the most when catch_up is all',
  overlap VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT 'allow' COMMENT 'while an earlier run has not ended: allow, skip, queue or replace',
  splay VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '0s' COMMENT 'each run is delayed by up to this, always the same',
  start_deadline VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'a missed firing later than this is skipped; NULL: no limit',
  paused INT NOT NULL DEFAULT 0 COMMENT '1: does not fire',
  description TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT ('') COMMENT 'for people',
  cdate DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)) COMMENT 'when it was created',
  mdate DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)) COMMENT 'when its definition last changed, as far as a server noticed',
  problem TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT ('') COMMENT 'written by the server: what keeps it from firing',
  last_run BINARY(16) NULL COMMENT 'mirror: the id of the latest run, runs.id',
  state INT NOT NULL DEFAULT 1 COMMENT 'mirror: state of the latest run: 1 todo, 2 queued, 3 running, 4 done, 5 error, 6 cancelled, 7 expired, 8 skipped',
  sdate DATETIME(6) NULL COMMENT 'mirror: when the latest run started',
  retried INT NOT NULL DEFAULT 0 COMMENT 'mirror: how many attempts of the latest run failed',
  next_look DATETIME(6) NULL COMMENT 'planner: when to look at it again; NULL: not before it changes',
  planned_to DATETIME(6) NULL COMMENT 'planner: up to when its firings have been planned',
  planned_paused INT NOT NULL DEFAULT 0 COMMENT 'planner: it was paused when it was planned',
  planned CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'planner: the definition that was planned',
  definition CHAR(64) CHARACTER SET ascii COLLATE ascii_bin GENERATED ALWAYS AS
    (SHA2(JSON_ARRAY(name, type, target, `when`, payload, timezone, handler, retries, backoff, max_lost,
      timeout, expires, priority, catch_up, catch_up_max, overlap,
      splay, start_deadline, paused), 256)) STORED COMMENT 'all that decides about firings',
  changed INT GENERATED ALWAYS AS (CASE WHEN planned = definition THEN 0 ELSE 1 END) STORED COMMENT '1: to be planned anew',
  PRIMARY KEY (uuid),
  UNIQUE KEY tasks_name (name),
  KEY tasks_next_look (next_look),
  KEY tasks_changed (changed),
  KEY tasks_target (target(8)),
  KEY tasks_payload (payload(36))
) ENGINE=InnoDB COMMENT='what runs, where and when';
