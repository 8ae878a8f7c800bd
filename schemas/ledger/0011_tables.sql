-- Which stage is the bottleneck? As before, and what waited in the last two minutes:
-- now_wait_ms and now_wait_share. Quantiles are of the last hour at most: to
-- merge those of a day took longer than all else.
CREATE OR REPLACE VIEW ledger.bottleneck AS
SELECT
  region,
  stage,
  d.records AS records,
  d.errors AS errors,
  d.bytes AS bytes,
  round(d.waited / d.records / 1e3, 3) AS wait_ms,
  round(d.worked / d.records / 1e3, 3) AS busy_ms,
  round(wait_ms / greatest(sum(wait_ms) OVER (PARTITION BY region), 1e-6), 3) AS wait_share,
  q.quantiles AS busy_ms_p50_p95_p99,
  round(d.worked / 1e6, 3) AS busy_s,
  if(d.worked = 0, 0, round(d.bytes / d.worked, 1)) AS mb_per_s,
  round(d.now_waited / greatest(d.now_records, 1) / 1e3, 3) AS now_wait_ms,
  round(now_wait_ms / greatest(sum(now_wait_ms) OVER (PARTITION BY region), 1e-6), 3) AS now_wait_share
FROM
(
  SELECT
    region,
    stage,
    sum(s.records) AS records,
    sum(s.errors) AS errors,
    sum(s.bytes) AS bytes,
    sum(s.wait_us) AS waited,
    sum(s.busy_us) AS worked,
    sumIf(s.wait_us, s.minute >= toStartOfMinute(now()) - toIntervalMinute(2)) AS now_waited,
    sumIf(s.records, s.minute >= toStartOfMinute(now()) - toIntervalMinute(2)) AS now_records
  FROM ledger.stage_minute AS s
  WHERE s.minute >= toStartOfMinute(now()) - toIntervalMinute({minutes:UInt32})
  GROUP BY region, stage
) AS d
LEFT JOIN
(
  SELECT region, stage, arrayMap(x -> round(x / 1e3, 3), quantilesTDigestMerge(0.5, 0.95, 0.99)(s.busy)) AS quantiles
  FROM ledger.stage_minute AS s
  WHERE s.minute >= toStartOfMinute(now()) - toIntervalMinute(least({minutes:UInt32}, 60))
  GROUP BY region, stage
) AS q USING (region, stage)
ORDER BY region, wait_ms DESC;

-- How much is here, what does it take, and how old is the youngest row? A table that
-- only a view feeds is as young as what feeds it.
CREATE OR REPLACE VIEW ledger.tables AS
SELECT
  p.table AS table,
  p.rows AS rows,
  p.bytes AS bytes,
  round(p.bytes / p.rows, 1) AS bytes_per_row,
  p.index_bytes AS index_bytes,
  p.parts AS parts,
  n.oldest AS oldest,
  n.newest AS newest,
  if(n.newest > toDateTime64(0, 3, 'UTC'), round(dateDiff('millisecond', n.newest, now64(3)) / 1e3, 1), NULL) AS newest_age_s
FROM
(
  SELECT table, sum(s.rows) AS rows, sum(s.bytes_on_disk) AS bytes, sum(s.secondary_indices_compressed_bytes) AS index_bytes, count() AS parts
  FROM system.parts AS s
  WHERE database = 'ledger' AND active AND s.rows > 0
  GROUP BY table
) AS p
LEFT JOIN
(
  SELECT 'chunk_log' AS table, min(at) AS oldest, max(at) AS newest FROM ledger.chunk_log
  UNION ALL SELECT 'stage_event', min(at), max(at) FROM ledger.stage_event
  UNION ALL SELECT 'backup_state', min(at), max(at) FROM ledger.backup_state
  UNION ALL SELECT 'progress', min(at), max(at) FROM ledger.progress
  UNION ALL SELECT 'input_trouble', min(at), max(at) FROM ledger.input_trouble
  UNION ALL SELECT 'machine', min(at), max(at) FROM ledger.machine
  UNION ALL SELECT 'backup_end', min(at), max(at) FROM ledger.backup_end
) AS n ON n.table = p.table
ORDER BY bytes DESC;
