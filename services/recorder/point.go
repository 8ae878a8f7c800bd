package recorder

import (
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/schemas"
)

// pointTopic is the topic of rows that come from the vault and not from Kafka.
const pointTopic = "points"

// Verdict is what a point says of its backup: that of a ledger which lost its own.
// How many shards were durable at its end the point does not say, and the window is
// measured again. A verdict of the auditor, should it come too, is as good.
func Verdict(p *schemas.PointObject, path, region, vault string, window time.Duration) (ledger.Turn, error) {
	a, err := attemptOf(p.GetRun())
	if err != nil {
		return ledger.Turn{}, fmt.Errorf("point %s: %w", path, err)
	}
	t := ledger.Turn{Origin: ledger.Origin{AtMs: p.DoneMs, Region: region, Topic: pointTopic}, Vault: vault, Tenant: p.Tenant, Machine: machineOf(p.Machine),
		JobOf: p.GetJob().GetOf(), Attempt: a, State: ledger.Completed, QueuedMs: p.QueuedMs, LeasedMs: p.LeasedMs, SnapshotMs: p.SnapshotMs, DoneMs: p.DoneMs,
		Point: path, Totals: totalsOf(p.Totals), WindowKept: p.DoneMs-p.LeasedMs <= window.Milliseconds(),
		Consistency: word(p.Consistency.String(), "CONSISTENCY_"), FullReason: p.FullReason, Warnings: p.Warnings,
		Version: version(rankVerdict, int(a.No), stepBegun, p.DoneMs)}
	t.Job, _ = schemas.UUIDOf(p.GetJob().GetId()) // none of a scheduled backup
	return t, nil
}

func totalsOf(s *schemas.Totals) ledger.Totals {
	return ledger.Totals{Size: s.GetBytes(), Read: s.GetReadBytes(), Fresh: s.GetFreshBytes(), Known: s.GetKnownBytes(), Zero: s.GetZeroBytes(),
		Inherited: s.GetInheritedBytes(), Stored: s.GetStoredBytes(), Places: s.GetPlaces(), Files: s.GetFiles(), Disks: s.GetDisks()}
}
