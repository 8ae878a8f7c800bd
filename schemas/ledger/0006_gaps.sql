-- What is not here and will not come: records that Kafka kept no longer when the
-- recorder came to them, because the ledger was down for too long. One row for each
-- run of offsets. Some of them may be here after all, where the recorder was killed
-- between writing them and saying so.
CREATE TABLE IF NOT EXISTS ledger.gap
(
  at DateTime64(3, 'UTC') COMMENT 'of the first record after the gap',
  since DateTime64(3, 'UTC') COMMENT 'of the last record before it; 1970: not known',
  region LowCardinality(String),
  topic LowCardinality(String) COMMENT 'without the region',
  kpart UInt16,
  koff UInt64 COMMENT 'the first offset that is missing',
  records UInt64 COMMENT 'how many are',
  INDEX by_koff koff TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYear(at)
ORDER BY (region, topic, kpart, koff)
TTL toDateTime(at) + INTERVAL 5 YEAR
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, non_replicated_deduplication_window = 100000;

-- What is missing of the last N days? places.filed: what became of places.
-- backups.judged: how backups ended. Others: what stages did.
CREATE OR REPLACE VIEW ledger.gaps AS
SELECT
  region,
  topic,
  min(if(g.since = toDateTime64(0, 3, 'UTC'), g.at, g.since)) AS since,
  max(g.at) AS until,
  sum(g.records) AS records
FROM ledger.gap AS g
WHERE g.at > now64(3) - toIntervalDay({days:UInt32})
GROUP BY region, topic
ORDER BY records DESC;
