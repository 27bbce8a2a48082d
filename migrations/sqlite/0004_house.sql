-- Workers, and facts about the installation. Written by servers only. All times are UTC.

-- Every worker that ever connected.
CREATE TABLE workers (
  name TEXT NOT NULL, -- a-z 0-9 . _ -
  labels TEXT NOT NULL, -- JSON object
  slots INTEGER NOT NULL, -- how many attempts it runs at once
  handlers TEXT NOT NULL, -- JSON array of names
  version TEXT NOT NULL, -- of the program
  registered TEXT NOT NULL, -- when it first connected
  connected TEXT NOT NULL, -- when it last connected
  draining INTEGER NOT NULL DEFAULT 0, -- 1: gets nothing new
  PRIMARY KEY (name)
) STRICT;

-- Facts about the installation.
CREATE TABLE meta (
  name TEXT NOT NULL, -- installation, shards, fence_floor, released, dark
  value TEXT NOT NULL, -- an id, a number in decimal, or a time
  PRIMARY KEY (name)
) STRICT, WITHOUT ROWID;
