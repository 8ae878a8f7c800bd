-- How each backup stands.
CREATE OR REPLACE VIEW ledger.backups AS
SELECT
  region,
  source,
  machine,
  backup,
  argMax(s.state, s.version) AS state,
  argMax(s.attempt, s.version) AS attempt,
  argMax(s.waiting_for, s.version) AS waiting_for,
  argMax(s.reason, s.version) AS reason,
  argMax(s.at, s.version) AS told_at,
  max(s.machine_name) AS machine_name,
  max(s.vault) AS vault,
  max(s.tenant) AS tenant,
  max(s.job) AS job,
  max(s.job_of) AS job_of,
  max(s.queued_at) AS queued_at,
  max(s.leased_at) AS leased_at,
  argMax(s.snapshot_at, s.version) AS snapshot_at,
  argMax(s.done_at, s.version) AS done_at,
  argMax(s.point, s.version) AS point,
  argMax(s.size_bytes, s.version) AS size_bytes,
  argMax(s.read_bytes, s.version) AS read_bytes,
  argMax(s.fresh_bytes, s.version) AS fresh_bytes,
  argMax(s.known_bytes, s.version) AS known_bytes,
  argMax(s.zero_bytes, s.version) AS zero_bytes,
  argMax(s.inherited_bytes, s.version) AS inherited_bytes,
  argMax(s.stored_bytes, s.version) AS stored_bytes,
  argMax(s.places, s.version) AS places,
  argMax(s.files, s.version) AS files,
  argMax(s.disks, s.version) AS disks,
  argMax(s.window_kept, s.version) AS window_kept,
  argMax(s.redundancy, s.version) AS redundancy,
  argMax(s.consistency, s.version) AS consistency,
  argMax(s.full_reason, s.version) AS full_reason,
  argMax(s.warnings, s.version) AS warnings
FROM ledger.backup_state AS s
GROUP BY region, source, machine, backup;

-- Where is backup X?
CREATE OR REPLACE VIEW ledger.where_is AS
SELECT
  b.*,
  filed_bytes,
  filed_pages,
  greatest(told_at, filed_at) AS heard_at,
  stages
FROM (SELECT * FROM ledger.backups WHERE backup = {backup:UUID}) AS b
LEFT JOIN
(
  SELECT backup AS f_backup, attempt AS f_attempt, max(p.read_bytes) AS filed_bytes, max(p.filed_pages) AS filed_pages, max(p.at) AS filed_at
  FROM ledger.progress AS p
  WHERE backup = {backup:UUID}
  GROUP BY backup, attempt
) AS f ON f_backup = b.backup AND f_attempt = b.attempt
LEFT JOIN
(
  SELECT backup AS e_backup, groupUniqArray(stage) AS stages
  FROM ledger.stage_event
  WHERE backup = {backup:UUID} AND at > now() - INTERVAL 10 MINUTE
  GROUP BY backup
) AS e ON e_backup = b.backup;

-- Who has no good backup of the last N hours? A backup is as old as its snapshot.
CREATE OR REPLACE VIEW ledger.no_good_backup AS
SELECT
  region,
  source,
  machine,
  if(m.machine_name != '', m.machine_name, s.name) AS machine_name,
  s.last_good AS last_good,
  s.last_state AS last_state,
  s.last_reason AS last_reason,
  s.heard_at AS heard_at
FROM (SELECT region, source, machine, machine_name, gone FROM ledger.machine FINAL WHERE machine != '') AS m
FULL JOIN
(
  SELECT
    region,
    source,
    machine,
    max(machine_name) AS name,
    maxIf(if(snapshot_at > toDateTime64(0, 3, 'UTC'), snapshot_at, done_at), state = 'completed') AS last_good,
    toString(argMax(state, (at, version))) AS last_state,
    argMax(reason, (at, version)) AS last_reason,
    max(backup_state.at) AS heard_at
  FROM ledger.backup_state
  WHERE machine != ''
  GROUP BY region, source, machine
) AS s USING (region, source, machine)
WHERE NOT m.gone AND last_good < now64(3) - toIntervalHour({hours:UInt32})
ORDER BY last_good, region, source, machine;

-- Which stage is the bottleneck? The one that records wait for. Means, not sums:
-- a handler that writes several records says its times with each.
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
  arrayMap(q -> round(q / 1e3, 3), quantilesTDigestMerge(0.5, 0.95, 0.99)(s.busy)) AS busy_ms_p50_p95_p99
FROM ledger.stage_minute AS s
WHERE s.minute >= toStartOfMinute(now()) - toIntervalMinute({minutes:UInt32})
GROUP BY region, stage
ORDER BY region, wait_ms DESC;

-- Who uses chunk C? Only places that were cut, and only while they are kept:
-- an inherited place does not say its chunk.
CREATE OR REPLACE VIEW ledger.chunk_users AS
SELECT DISTINCT region, vault, source, machine, machine_name, backup, file
FROM ledger.chunk_log
WHERE chunk = unhex({chunk:String}) AND match({chunk:String}, '^[0-9a-fA-F]{64}$')
LIMIT {limit:UInt32};

-- What became of the files of backup X?
CREATE OR REPLACE VIEW ledger.outcomes AS
SELECT
  attempt,
  file_no,
  any(file) AS file,
  sumIf(places, outcome = 'fresh') AS fresh_places,
  sumIf(places, outcome = 'known') AS known_places,
  sumIf(places, outcome = 'zero') AS zero_places,
  sumIf(places, outcome = 'inherited') AS inherited_places,
  sumIf(length_bytes, outcome = 'fresh') AS fresh_bytes,
  sumIf(length_bytes, outcome = 'known') AS known_bytes,
  sumIf(toUInt64(stored_bytes), outcome = 'fresh') AS stored_bytes
FROM
(
  SELECT attempt, lease, file_no, file, place, places, length_bytes, stored_bytes, outcome
  FROM ledger.chunk_log
  WHERE backup = {backup:UUID}
  LIMIT 1 BY lease, file_no, place
)
GROUP BY attempt, file_no
ORDER BY attempt, file_no;
