-- Workers, and facts about the installation. Written by servers only. All times are UTC.

CREATE TABLE workers (
  name VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'a-z 0-9 . _ -',
  labels TEXT CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'JSON object',
  slots BIGINT NOT NULL COMMENT 'how many attempts it runs at once',
  handlers TEXT CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'JSON array of names',
  version VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL COMMENT 'of the program',
  registered DATETIME(6) NOT NULL COMMENT 'when it first connected',
  connected DATETIME(6) NOT NULL COMMENT 'when it last connected',
  draining INT NOT NULL DEFAULT 0 COMMENT '1: gets nothing new',
  PRIMARY KEY (name)
) ENGINE=InnoDB COMMENT='every worker that ever connected';

CREATE TABLE meta (
  name VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'installation, shards, fence_floor, released, dark',
  value VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'an id, a number in decimal, or a time',
  PRIMARY KEY (name)
) ENGINE=InnoDB COMMENT='facts about the installation';
