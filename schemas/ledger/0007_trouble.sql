-- What kept inputs from being done: one row for each word of a runner. An input that
-- is retried is told after 5 s, and again each minute, and when it is done after all.
CREATE TABLE IF NOT EXISTS ledger.input_trouble
(
  at DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)) COMMENT 'when this was told',
  region LowCardinality(String),
  stage LowCardinality(String) COMMENT 'that cannot do the input',
  worker LowCardinality(String),
  input_topic LowCardinality(String) COMMENT 'without the region; empty: what the clock began',
  input_part UInt32,
  input_offset UInt64,
  outcome Enum8('retried' = 1, 'refused' = 2, 'done' = 3, 'stopped' = 4),
  tries UInt32,
  since DateTime64(3, 'UTC') COMMENT 'the first try that failed; 1970: none did',
  reason String,
  backup UUID COMMENT 'zero where the input is of none, or of several',
  attempt UInt16,
  kpart UInt16 COMMENT 'partition and offset of the record in inputs.troubled',
  koff UInt64 CODEC(Delta, ZSTD(1)),
  INDEX by_backup backup TYPE bloom_filter(0.01) GRANULARITY 1,
  INDEX by_koff koff TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(at)
ORDER BY (region, stage, input_topic, input_part, at)
TTL toDateTime(at) + INTERVAL 14 DAY
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, non_replicated_deduplication_window = 100000;

-- What is being retried, or stands still, and why? The last word on each partition
-- of each topic of each stage, if it is of the last minutes: a stage that was killed
-- says nothing more.
CREATE OR REPLACE VIEW ledger.retries AS
SELECT
  region,
  stage,
  input_topic,
  input_part,
  argMax(t.input_offset, t.at) AS input_offset,
  toString(argMax(t.outcome, t.at)) AS outcome,
  argMax(t.tries, t.at) AS tries,
  argMax(t.since, t.at) AS since,
  argMax(t.reason, t.at) AS reason,
  argMax(t.backup, t.at) AS backup,
  argMax(t.worker, t.at) AS worker,
  max(t.at) AS told_at
FROM ledger.input_trouble AS t
WHERE t.outcome != 'refused' AND t.at > now64(3) - toIntervalMinute({minutes:UInt32})
GROUP BY region, stage, input_topic, input_part
HAVING outcome != 'done'
ORDER BY since, region, stage, input_topic, input_part;

-- What was refused in the last hours, and why? Once for each input and stage.
CREATE OR REPLACE VIEW ledger.refusals AS
SELECT at, region, stage, concat(input_topic, '/', toString(input_part), '/', toString(input_offset)) AS input, reason, backup, attempt
FROM ledger.input_trouble
WHERE outcome = 'refused' AND at > now64(3) - toIntervalHour({hours:UInt32})
ORDER BY at DESC
LIMIT 1 BY region, stage, input;
