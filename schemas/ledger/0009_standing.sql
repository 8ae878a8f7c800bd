-- Every machine's last word and last good backup: one row a machine, once merged.
-- Years of turns are not read to know how a thousand machines stand today. Maxima
-- are the same however often a row comes, so this table needs no window.
CREATE TABLE IF NOT EXISTS ledger.machine_stand
(
  region LowCardinality(String),
  source LowCardinality(String),
  machine String COMMENT 'instance id, unique in its source',
  heard_at SimpleAggregateFunction(max, DateTime64(3, 'UTC')) COMMENT 'of the last turn',
  last_good SimpleAggregateFunction(max, DateTime64(3, 'UTC')) COMMENT 'snapshot of the youngest completed backup; 1970: none',
  last AggregateFunction(argMax, Tuple(backup UUID, state String, waiting_for String, reason String, queued_at DateTime64(3, 'UTC'), leased_at DateTime64(3, 'UTC'), machine_name String), Tuple(DateTime64(3, 'UTC'), UInt64)) COMMENT 'of the last turn: argMaxMerge(last).state and others'
)
ENGINE = AggregatingMergeTree
ORDER BY (region, source, machine);

CREATE MATERIALIZED VIEW IF NOT EXISTS ledger.machine_stand_feed TO ledger.machine_stand AS
SELECT
  t.region AS region,
  t.source AS source,
  t.machine AS machine,
  max(t.at) AS heard_at,
  maxIf(if(t.snapshot_at > toDateTime64(0, 3, 'UTC'), t.snapshot_at, t.done_at), t.state = 'completed') AS last_good,
  argMaxState(CAST((t.backup, toString(t.state), t.waiting_for, t.reason, t.queued_at, t.leased_at, t.machine_name), 'Tuple(backup UUID, state String, waiting_for String, reason String, queued_at DateTime64(3, \'UTC\'), leased_at DateTime64(3, \'UTC\'), machine_name String)'), (t.at, t.version)) AS last
FROM ledger.backup_state AS t
WHERE t.machine != ''
GROUP BY region, source, machine;

-- What is there already.
INSERT INTO ledger.machine_stand
SELECT
  t.region AS region,
  t.source AS source,
  t.machine AS machine,
  max(t.at) AS heard_at,
  maxIf(if(t.snapshot_at > toDateTime64(0, 3, 'UTC'), t.snapshot_at, t.done_at), t.state = 'completed') AS last_good,
  argMaxState(CAST((t.backup, toString(t.state), t.waiting_for, t.reason, t.queued_at, t.leased_at, t.machine_name), 'Tuple(backup UUID, state String, waiting_for String, reason String, queued_at DateTime64(3, \'UTC\'), leased_at DateTime64(3, \'UTC\'), machine_name String)'), (t.at, t.version)) AS last
FROM ledger.backup_state AS t
WHERE t.machine != ''
GROUP BY region, source, machine;

-- How each machine stands.
CREATE OR REPLACE VIEW ledger.standing AS
SELECT
  region,
  source,
  machine,
  argMaxMerge(s.last) AS last,
  last.machine_name AS machine_name,
  last.backup AS backup,
  last.state AS state,
  last.waiting_for AS waiting_for,
  last.reason AS reason,
  last.queued_at AS queued_at,
  last.leased_at AS leased_at,
  max(s.heard_at) AS heard_at,
  max(s.last_good) AS last_good
FROM ledger.machine_stand AS s
GROUP BY region, source, machine;

-- Who has no good backup of the last N hours? A backup is as old as its snapshot.
CREATE OR REPLACE VIEW ledger.no_good_backup AS
SELECT
  region,
  source,
  machine,
  if(m.machine_name != '', m.machine_name, s.machine_name) AS machine_name,
  s.last_good AS last_good,
  s.state AS last_state,
  s.reason AS last_reason,
  s.heard_at AS heard_at
FROM (SELECT region, source, machine, machine_name, gone FROM ledger.machine FINAL WHERE machine != '') AS m
FULL JOIN (SELECT region, source, machine, machine_name, last_good, state, reason, heard_at FROM ledger.standing) AS s USING (region, source, machine)
WHERE NOT m.gone AND last_good < now64(3) - toIntervalHour({hours:UInt32})
ORDER BY last_good, region, source, machine;

-- What do backups under way wait for? since: of the one that waits longest.
CREATE OR REPLACE VIEW ledger.waiting AS
SELECT
  region,
  source,
  state,
  waiting_for,
  count() AS machines,
  min(if(s.state = 'queued', s.queued_at, s.leased_at)) AS since,
  argMin(s.machine_name, if(s.state = 'queued', s.queued_at, s.leased_at)) AS longest
FROM ledger.standing AS s
WHERE state IN ('queued', 'running')
GROUP BY region, source, state, waiting_for
ORDER BY machines DESC, region, source, state, waiting_for;

-- Where are the backups of machine X, by name or id? The youngest first. A machine
-- that was never asked for has one row without a backup.
CREATE OR REPLACE VIEW ledger.machine_backups AS
SELECT
  w.region AS region,
  w.source AS source,
  w.machine AS machine,
  w.name AS machine_name,
  b.backup AS backup,
  b.state AS state,
  b.attempt AS attempt,
  b.waiting_for AS waiting_for,
  b.reason AS reason,
  b.queued_at AS queued_at,
  b.leased_at AS leased_at,
  b.done_at AS done_at,
  greatest(b.told_at, f.filed_at) AS heard_at,
  f.filed_bytes AS filed_bytes,
  b.size_bytes AS size_bytes,
  w.good AS last_good
FROM
(
  SELECT region, source, machine, max(names) AS name, max(goods) AS good
  FROM
  (
    SELECT region, source, machine, machine_name AS names, toDateTime64(0, 3, 'UTC') AS goods
    FROM ledger.machine FINAL
    WHERE machine = {machine:String} OR machine_name = {machine:String}
    UNION ALL
    SELECT region, source, machine, machine_name, last_good
    FROM ledger.standing
    WHERE machine = {machine:String} OR machine_name = {machine:String}
  )
  GROUP BY region, source, machine
) AS w
LEFT JOIN
(
  SELECT
    region,
    source,
    machine,
    backup,
    toString(argMax(t.state, t.version)) AS state,
    argMax(t.attempt, t.version) AS attempt,
    argMax(t.waiting_for, t.version) AS waiting_for,
    argMax(t.reason, t.version) AS reason,
    max(t.queued_at) AS queued_at,
    max(t.leased_at) AS leased_at,
    argMax(t.done_at, t.version) AS done_at,
    argMax(t.size_bytes, t.version) AS size_bytes,
    argMax(t.at, t.version) AS told_at
  FROM ledger.backup_state AS t
  WHERE (region, source, machine) IN
  (
    SELECT region, source, machine FROM ledger.standing
    WHERE machine = {machine:String} OR machine_name = {machine:String}
      OR (region, source, machine) IN (SELECT region, source, machine FROM ledger.machine FINAL WHERE machine_name = {machine:String})
  )
  GROUP BY region, source, machine, backup
  ORDER BY greatest(queued_at, leased_at, told_at) DESC
  LIMIT {limit:UInt32} BY region, source, machine
) AS b USING (region, source, machine)
LEFT JOIN
(
  SELECT backup, max(p.read_bytes) AS filed_bytes, max(p.at) AS filed_at
  FROM ledger.progress AS p
  WHERE backup IN (SELECT backup FROM ledger.standing WHERE state = 'running')
  GROUP BY backup, attempt
  ORDER BY attempt DESC
  LIMIT 1 BY backup
) AS f ON f.backup = b.backup
ORDER BY greatest(b.queued_at, b.leased_at, b.told_at) DESC, region, source, machine;
