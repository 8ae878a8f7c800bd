-- One row for each turn of a backup. The row with the highest version says how it
-- stands: see the view backups.
CREATE TABLE IF NOT EXISTS ledger.backup_state
(
  at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'when this was told',
  region LowCardinality(String),
  vault LowCardinality(String),
  tenant LowCardinality(String),
  source LowCardinality(String),
  machine String COMMENT 'instance id, unique in its source; empty: refused, no such machine',
  machine_name String,
  job UUID,
  job_of UInt32 COMMENT 'how many backups the job has',
  backup UUID,
  attempt UInt16 COMMENT '0: it never got a lease',
  lease UUID,
  state Enum8('queued' = 1, 'running' = 2, 'completed' = 3, 'failed' = 4, 'refused' = 5, 'cancelled' = 6),
  waiting_for String,
  reason String COMMENT 'why it ended so, or why the last attempt failed',
  queued_at DateTime64(3, 'UTC') COMMENT 'these four: 1970 where it is not known or not yet so',
  leased_at DateTime64(3, 'UTC') COMMENT 'first lease; the window counts from here',
  snapshot_at DateTime64(3, 'UTC'),
  done_at DateTime64(3, 'UTC'),
  point String COMMENT 'path in the vault, of completed',
  size_bytes UInt64 COMMENT 'of all files = fresh + known + zero + inherited',
  read_bytes UInt64,
  fresh_bytes UInt64,
  known_bytes UInt64,
  zero_bytes UInt64,
  inherited_bytes UInt64,
  stored_bytes UInt64 COMMENT 'what the fresh take: compressed, sealed, before parity',
  places UInt64 COMMENT 'cut',
  files UInt32,
  disks UInt32,
  window_kept Bool,
  redundancy UInt16 COMMENT 'durable shards of the weakest pack, as known at the end',
  consistency LowCardinality(String) COMMENT 'fuzzy, crash, filesystem or application',
  full_reason String COMMENT 'why everything was read; empty: it was not',
  warnings Array(String),
  version UInt64,
  topic LowCardinality(String),
  kpart UInt16,
  koff UInt64,
  INDEX by_backup backup TYPE bloom_filter(0.001) GRANULARITY 1,
  INDEX by_koff koff TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYear(at)
ORDER BY (region, source, machine, backup, version)
TTL toDateTime(at) + INTERVAL 5 YEAR
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, non_replicated_deduplication_window = 100000;

-- How far a running attempt is.
CREATE TABLE IF NOT EXISTS ledger.progress
(
  at DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
  region LowCardinality(String),
  backup UUID,
  attempt UInt16,
  lease UUID,
  read_bytes UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'of filed pages, of this attempt',
  filed_pages UInt64 CODEC(Delta, ZSTD(1)),
  kpart UInt16 COMMENT 'partition and offset of the record in backups.judged',
  koff UInt64 CODEC(Delta, ZSTD(1)),
  INDEX by_koff koff TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(at)
ORDER BY (backup, at)
TTL toDateTime(at) + INTERVAL 7 DAY
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, non_replicated_deduplication_window = 100000;

-- The inventory: read it with FINAL.
CREATE TABLE IF NOT EXISTS ledger.machine
(
  at DateTime64(3, 'UTC') COMMENT 'when the source was listed',
  region LowCardinality(String),
  source LowCardinality(String),
  machine String COMMENT 'instance id, unique in its source',
  machine_name String,
  folder String,
  host LowCardinality(String),
  tags Array(String),
  disks UInt32,
  disk_bytes UInt64,
  gone Bool
)
ENGINE = ReplacingMergeTree(at)
ORDER BY (region, source, machine)
SETTINGS non_replicated_deduplication_window = 1000;
