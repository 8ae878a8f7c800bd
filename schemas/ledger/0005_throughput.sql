-- Which stage is the bottleneck? The one that records wait for. Means are over
-- records. Busy time is summed: a stage that works beside its handlers says with
-- each record its part of the work, so busy_s is what its workers did together, and
-- mb_per_s how many megabytes of plain data one of them handles in a second. It is
-- 0 where a stage moves no data.
CREATE OR REPLACE VIEW ledger.bottleneck AS
SELECT
  region,
  stage,
  sum(s.records) AS records,
  sum(s.errors) AS errors,
  sum(s.bytes) AS bytes,
  round(sum(s.wait_us) / records / 1e3, 3) AS wait_ms,
  round(sum(s.busy_us) / records / 1e3, 3) AS busy_ms,
  round(wait_ms / greatest(sum(wait_ms) OVER (PARTITION BY region), 1e-6), 3) AS wait_share,
  arrayMap(q -> round(q / 1e3, 3), quantilesTDigestMerge(0.5, 0.95, 0.99)(s.busy)) AS busy_ms_p50_p95_p99,
  round(sum(s.busy_us) / 1e6, 3) AS busy_s,
  if(sum(s.busy_us) = 0, 0, round(bytes / sum(s.busy_us), 1)) AS mb_per_s
FROM ledger.stage_minute AS s
WHERE s.minute >= toStartOfMinute(now()) - toIntervalMinute({minutes:UInt32})
GROUP BY region, stage
ORDER BY region, wait_ms DESC;
