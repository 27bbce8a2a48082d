-- What attempts say while they run. Written by servers only.

CREATE TABLE messages (
  tuuid BINARY(16) NOT NULL COMMENT 'the run, open_runs.id or runs.id',
  fence BIGINT NOT NULL COMMENT 'the attempt, attempts.fence',
  seq BIGINT NOT NULL COMMENT 'its number in the attempt, from 0',
  kind INT NOT NULL COMMENT '1 standard output, 2 standard error, 3 note, 4 progress',
  message MEDIUMBLOB NOT NULL COMMENT 'bytes as they were written',
  cdate DATETIME(6) NOT NULL COMMENT 'when, by the clock of the worker',
  PRIMARY KEY (tuuid, fence, seq)
) ENGINE=InnoDB COMMENT='output, notes and progress of attempts';
