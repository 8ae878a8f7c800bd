-- What became of each place: one row for each cut place of a filed page, one for
-- each run of zero or inherited places. 42 bytes a row, 32 of them the chunk's
-- name. After a crash of the auditor a place may come twice: count distinct
-- (lease, file_no, place), and take a backup's totals from backup_state.
CREATE TABLE IF NOT EXISTS ledger.chunk_log
(
  at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'when the place was filed',
  region LowCardinality(String),
  vault LowCardinality(String),
  tenant LowCardinality(String),
  source LowCardinality(String),
  machine LowCardinality(String) COMMENT 'instance id, unique in its source',
  machine_name LowCardinality(String),
  job UUID,
  backup UUID,
  attempt UInt16,
  lease UUID,
  file_no UInt32,
  file String,
  place UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'grid index in the file; of a run, its first; of an archive, 64 * extent + chunk number',
  places UInt64 COMMENT '1, or the length of a run',
  grid_bytes UInt32 COMMENT '0: FastCDC',
  length_bytes UInt64 COMMENT 'plain; the last place of a file may count as a whole one',
  chunk FixedString(32) CODEC(NONE) COMMENT 'keyed BLAKE3; zeros in a run',
  outcome Enum8('known' = 1, 'fresh' = 2, 'zero' = 3, 'inherited' = 4),
  pack_birth UInt64,
  pack UUID COMMENT 'its 128 random bits; the pack is e<pack_birth>-<pack without dashes>',
  stored_bytes UInt32 CODEC(T64, ZSTD(1)) COMMENT 'of the chunk in its pack, before parity; this backup stored it only if fresh',
  map_pack_birth UInt64,
  map_pack UUID,
  read_us UInt32 COMMENT 'these five are of the extent or pack that the place came with',
  cut_us UInt32,
  lookup_us UInt32,
  seal_us UInt32,
  put_us UInt32,
  kpart UInt16 COMMENT 'partition and offset of the record in places.filed',
  koff UInt64 CODEC(Delta, ZSTD(1)),
  off_bytes UInt64 ALIAS place * grid_bytes,
  INDEX by_chunk chunk TYPE bloom_filter(0.001) GRANULARITY 1,
  INDEX by_koff koff TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(at)
ORDER BY (backup, file_no, place)
TTL toDateTime(at) + INTERVAL 7 DAY
SETTINGS ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, non_replicated_deduplication_window = 100000;
