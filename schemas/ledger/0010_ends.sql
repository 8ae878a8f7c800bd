-- Ends of backups and of attempts, in the order of time: backup_state is in that of
-- machines, where yesterday lies among years. state running: an attempt failed, and
-- the backup goes on. A verdict may be there twice, as in backup_state.
CREATE TABLE IF NOT EXISTS ledger.backup_end
(
  at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
  region LowCardinality(String),
  source LowCardinality(String),
  machine String,
  machine_name String,
  backup UUID,
  attempt UInt16,
  state Enum8('queued' = 1, 'running' = 2, 'completed' = 3, 'failed' = 4, 'refused' = 5, 'cancelled' = 6),
  reason String,
  queued_at DateTime64(3, 'UTC'),
  leased_at DateTime64(3, 'UTC'),
  done_at DateTime64(3, 'UTC'),
  size_bytes UInt64,
  read_bytes UInt64,
  fresh_bytes UInt64,
  stored_bytes UInt64,
  window_kept Bool,
  full_reason String,
  version UInt64
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (at, backup, version)
TTL toDateTime(at) + INTERVAL 5 YEAR
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, non_replicated_deduplication_window = 100000;

CREATE MATERIALIZED VIEW IF NOT EXISTS ledger.backup_end_feed TO ledger.backup_end AS
SELECT at, region, source, machine, machine_name, backup, attempt, state, reason, queued_at, leased_at, done_at, size_bytes, read_bytes, fresh_bytes, stored_bytes, window_kept, full_reason, version
FROM ledger.backup_state
WHERE state IN ('completed', 'failed', 'refused', 'cancelled') OR state = 'running' AND reason != '';

-- What is there already. What came since the view is, too: the engine keeps one.
INSERT INTO ledger.backup_end
SELECT at, region, source, machine, machine_name, backup, attempt, state, reason, queued_at, leased_at, done_at, size_bytes, read_bytes, fresh_bytes, stored_bytes, window_kept, full_reason, version
FROM ledger.backup_state
WHERE state IN ('completed', 'failed', 'refused', 'cancelled') OR state = 'running' AND reason != ''
SETTINGS max_partitions_per_insert_block = 0;

-- What failed in the last hours, and why? Reasons are alike where they differ only in
-- numbers, ids and the machine's name. attempt: the backup went on after it.
CREATE OR REPLACE VIEW ledger.failures AS
SELECT
  region,
  source,
  if(e.state = 'running', 'attempt', toString(e.state)) AS what,
  replaceRegexpAll(if(e.machine_name = '', e.reason, replaceAll(e.reason, e.machine_name, '<machine>')), '[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|[0-9a-f]{16,}|[0-9]+', '#') AS why,
  count() AS times,
  uniqExact(e.machine) AS machines,
  min(e.at) AS first,
  max(e.at) AS last,
  argMax(e.machine_name, e.at) AS last_machine,
  argMax(e.backup, e.at) AS last_backup,
  argMax(e.reason, e.at) AS last_reason
FROM
(
  SELECT at, region, source, machine, machine_name, backup, state, reason
  FROM ledger.backup_end
  WHERE at > now64(3) - toIntervalHour({hours:UInt32}) AND state != 'completed'
  LIMIT 1 BY backup, attempt, state
) AS e
GROUP BY region, source, what, why
ORDER BY times DESC, last DESC;

-- Which backups took longest, of those that ended in the last hours and those that
-- run? From the first lease; before it they were queued for queued_s.
CREATE OR REPLACE VIEW ledger.slowest AS
SELECT
  region,
  source,
  machine,
  machine_name,
  backup,
  state,
  round(dateDiff('millisecond', leased_at, until) / 1e3, 1) AS seconds,
  round(dateDiff('millisecond', queued_at, leased_at) / 1e3, 1) AS queued_s,
  read_bytes,
  if(seconds = 0, 0, round(read_bytes / seconds / 1e6, 1)) AS mb_per_s,
  window_kept,
  full_reason
FROM
(
  SELECT region, source, machine, machine_name, backup, toString(state) AS state, queued_at, leased_at, done_at AS until, read_bytes, window_kept, full_reason
  FROM ledger.backup_end
  WHERE at > now64(3) - toIntervalHour({hours:UInt32}) AND state IN ('completed', 'failed')
  LIMIT 1 BY backup
  UNION ALL
  SELECT s.region, s.source, s.machine, s.machine_name, s.backup, s.state, s.queued_at, s.leased_at, now64(3) AS until, f.filed_bytes AS read_bytes, true AS window_kept, '' AS full_reason
  FROM (SELECT * FROM ledger.standing WHERE state = 'running') AS s
  LEFT JOIN
  (
    SELECT backup, max(p.read_bytes) AS filed_bytes
    FROM ledger.progress AS p
    WHERE backup IN (SELECT backup FROM ledger.standing WHERE state = 'running')
    GROUP BY backup, attempt
    ORDER BY attempt DESC
    LIMIT 1 BY backup
  ) AS f ON f.backup = s.backup
)
WHERE leased_at > toDateTime64(0, 3, 'UTC')
ORDER BY seconds DESC
LIMIT {limit:UInt32};

-- How much does each source give? filed_bytes: what its backups filed in the last
-- minutes, as far as they say so; the others are of backups that ended in them.
CREATE OR REPLACE VIEW ledger.throughput AS
SELECT
  region,
  source,
  sum(filed) AS filed_bytes,
  round(filed_bytes / ({minutes:UInt32} * 60) / 1e6, 3) AS mb_per_s,
  sum(runs) AS running,
  sum(good) AS completed,
  sum(bad) AS failed,
  sum(read) AS read_bytes,
  sum(fresh) AS fresh_bytes,
  sum(stored) AS stored_bytes,
  sum(busy) AS lease_s,
  if(lease_s = 0, 0, round(read_bytes / lease_s / 1e6, 3)) AS machine_mb_per_s
FROM
(
  SELECT region, source, 0 AS filed, 0 AS runs, countIf(state = 'completed') AS good, countIf(state != 'completed') AS bad,
    sum(read_bytes) AS read, sum(backup_end.fresh_bytes) AS fresh, sum(backup_end.stored_bytes) AS stored, sumIf(dateDiff('second', leased_at, done_at), state = 'completed') AS busy
  FROM (SELECT * FROM ledger.backup_end WHERE at > now64(3) - toIntervalMinute({minutes:UInt32}) AND state != 'running' LIMIT 1 BY backup) AS backup_end
  GROUP BY region, source
  UNION ALL
  SELECT region, source, 0, count(), 0, 0, 0, 0, 0, 0
  FROM ledger.standing WHERE state = 'running'
  GROUP BY region, source
  UNION ALL
  SELECT w.region, w.source, sum(p.gained), 0, 0, 0, 0, 0, 0, 0
  FROM
  (
    SELECT backup, attempt, max(q.read_bytes) - min(q.read_bytes) AS gained
    FROM ledger.progress AS q
    WHERE at > now64(3) - toIntervalMinute({minutes:UInt32})
    GROUP BY backup, attempt
  ) AS p
  INNER JOIN
  (
    SELECT DISTINCT region, source, backup FROM
    (
      SELECT region, source, backup FROM ledger.standing
      UNION ALL
      SELECT region, source, backup FROM ledger.backup_end WHERE at > now64(3) - toIntervalMinute({minutes:UInt32})
    )
  ) AS w USING (backup)
  GROUP BY w.region, w.source
)
GROUP BY region, source
ORDER BY mb_per_s DESC, region, source;
