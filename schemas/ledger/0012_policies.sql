-- By which policy a backup was due.
ALTER TABLE ledger.backup_state ADD COLUMN IF NOT EXISTS policy LowCardinality(String) COMMENT 'that it is due by; empty: it was asked for' AFTER state;

-- How each backup stands, as before, and its policy.
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
  max(s.policy) AS policy,
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
