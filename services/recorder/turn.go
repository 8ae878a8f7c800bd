package recorder

import (
	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/schemas"
)

// Ranks of what is told of a backup, from several topics and in any order. A
// verdict is the last word; what the scheduler refuses, the auditor only repeats.
const (
	rankQueued = iota + 1
	rankRunning
	rankRefused
	rankVerdict
)

// version orders turns: by rank, then attempt, then step within it, then time.
// 4, 14, 2 and 44 bits: 16,000 attempts, and milliseconds up to the year 2527.
func version(rank, attempt, step int, atMs int64) uint64 {
	return uint64(rank)<<60 | uint64(min(attempt, 1<<14-1))<<46 | uint64(step)<<44 | uint64(atMs)&(1<<44-1)
}

// Steps of an attempt.
const (
	stepBegun = iota
	stepFailed
	stepWithdrawn
)

const (
	forNext    = "the next attempt"
	forVerdict = "the auditor's verdict"
)

// leased is what the scheduler says of a backup.
func (r *room) leased(at ledger.Origin, a ledger.Attempt, m *schemas.BackupLeased) []ledger.Turn {
	job, _ := schemas.UUIDOf(m.GetJob().GetId())
	t := ledger.Turn{
		Origin: at, Vault: r.deps.Vault, Tenant: m.GetTenant(), Machine: machineOf(m.GetMachine()), Job: job, JobOf: m.GetJob().GetOf(), Attempt: a,
		Policy: m.GetPolicy(), Reason: m.GetReason(), WaitingFor: m.GetWaiting(), QueuedMs: m.GetSinceMs(), LeasedMs: m.GetLeasedMs(),
	}
	rank, step := rankRunning, stepBegun
	t.State = ledger.Running
	switch m.GetVerb() {
	case schemas.BackupLeased_VERB_QUEUED:
		rank, t.State = rankQueued, ledger.Queued
	case schemas.BackupLeased_VERB_LEASED:
	case schemas.BackupLeased_VERB_WITHDRAWN:
		step, t.WaitingFor = stepWithdrawn, forVerdict
		if a.No == 0 {
			rank, t.State = rankQueued, ledger.Queued
		}
	case schemas.BackupLeased_VERB_REFUSED:
		rank, t.State, t.DoneMs = rankRefused, ledger.Refused, at.AtMs
	case schemas.BackupLeased_VERB_ENDED:
		if m.GetStatus() != schemas.Status_STATUS_UNSPECIFIED {
			return nil // the verdict said more
		}
		step, t.WaitingFor = stepFailed, forNext
	default:
		return nil // of a newer scheduler
	}
	t.Version = version(rank, int(a.No), step, at.AtMs)
	return []ledger.Turn{t}
}

var verdicts = map[schemas.Status]ledger.State{
	schemas.Status_STATUS_COMPLETED: ledger.Completed,
	schemas.Status_STATUS_FAILED:    ledger.Failed,
	schemas.Status_STATUS_REFUSED:   ledger.Refused,
	schemas.Status_STATUS_CANCELLED: ledger.Cancelled,
}

// judged is what the auditor says of a backup, save how far it is.
func (r *room) judged(at ledger.Origin, a ledger.Attempt, m *schemas.BackupJudged) []ledger.Turn {
	t := ledger.Turn{Origin: at, Vault: r.deps.Vault, Machine: machineOf(m.GetMachine()), Attempt: a}
	if f := m.GetAttemptFailed(); f != nil {
		t.State, t.WaitingFor, t.Reason = ledger.Running, forNext, f.GetReason()
		t.Version = version(rankRunning, int(a.No), stepFailed, at.AtMs)
		return []ledger.Turn{t}
	}
	v := m.GetVerdict()
	state, ok := verdicts[v.GetStatus()]
	if !ok {
		return nil
	}
	t.State, t.Version = state, version(rankVerdict, int(a.No), stepBegun, at.AtMs)
	if v.GetMachine() != nil {
		t.Machine = machineOf(v.GetMachine())
	}
	t.Job, _ = schemas.UUIDOf(v.GetJob().GetId())
	t.JobOf, t.Tenant, t.Policy, t.Reason, t.Warnings = v.GetJob().GetOf(), v.GetTenant(), v.GetPolicy(), v.GetReason(), v.GetWarnings()
	t.QueuedMs, t.LeasedMs, t.SnapshotMs, t.DoneMs = v.GetQueuedMs(), v.GetLeasedMs(), v.GetSnapshotMs(), v.GetDoneMs()
	t.Point, t.WindowKept, t.Redundancy = v.GetPoint().GetPath(), v.GetWindowKept(), uint16(min(v.GetRedundancy(), 1<<16-1))
	t.Consistency, t.FullReason = word(v.GetConsistency().String(), "CONSISTENCY_"), v.GetFullReason()
	t.Totals = totalsOf(v.GetTotals())
	return []ledger.Turn{t}
}
