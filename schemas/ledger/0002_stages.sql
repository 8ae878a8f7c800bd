-- One row for each record that a stage wrote: 8 bytes a row.
CREATE TABLE IF NOT EXISTS ledger.stage_event
(
  at DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)) COMMENT 'when the record was written',
  region LowCardinality(String),
  stage LowCardinality(String) COMMENT 'that wrote the record',
  topic LowCardinality(String) COMMENT 'without the region',
  worker LowCardinality(String),
  backup UUID COMMENT 'zero where a record is of several',
  attempt UInt16,
  wait_us UInt64 COMMENT 'how long the record handled had waited',
  busy_us UInt64 COMMENT 'how long it was handled',
  bytes UInt64 COMMENT 'of the data that the record speaks of',
  chunks UInt32,
  error LowCardinality(String) COMMENT 'code of a fault; empty: none',
  kpart UInt16,
  koff UInt64 CODEC(Delta, ZSTD(1)),
  INDEX by_backup backup TYPE bloom_filter(0.01) GRANULARITY 1,
  INDEX by_koff koff TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(at)
ORDER BY (region, stage, toStartOfMinute(at), at)
TTL toDateTime(at) + INTERVAL 14 DAY
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, non_replicated_deduplication_window = 100000;

-- The same by the minute. It needs a window of its own, else an insert that is
-- repeated counts twice here.
CREATE TABLE IF NOT EXISTS ledger.stage_minute
(
  minute DateTime('UTC'),
  region LowCardinality(String),
  stage LowCardinality(String),
  records SimpleAggregateFunction(sum, UInt64),
  errors SimpleAggregateFunction(sum, UInt64),
  bytes SimpleAggregateFunction(sum, UInt64),
  chunks SimpleAggregateFunction(sum, UInt64),
  busy_us SimpleAggregateFunction(sum, UInt64),
  wait_us SimpleAggregateFunction(sum, UInt64),
  busy AggregateFunction(quantilesTDigest(0.5, 0.95, 0.99), UInt64) COMMENT 'quantilesTDigestMerge(0.5, 0.95, 0.99)(busy), in us'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (region, stage, minute)
TTL minute + INTERVAL 90 DAY
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, non_replicated_deduplication_window = 100000;

CREATE MATERIALIZED VIEW IF NOT EXISTS ledger.stage_minute_feed TO ledger.stage_minute AS
SELECT
  toStartOfMinute(e.at) AS minute,
  e.region AS region,
  e.stage AS stage,
  count() AS records,
  countIf(e.error != '') AS errors,
  sum(e.bytes) AS bytes,
  sum(toUInt64(e.chunks)) AS chunks,
  sum(e.busy_us) AS busy_us,
  sum(e.wait_us) AS wait_us,
  quantilesTDigestState(0.5, 0.95, 0.99)(e.busy_us) AS busy
FROM ledger.stage_event AS e
GROUP BY region, stage, minute;
