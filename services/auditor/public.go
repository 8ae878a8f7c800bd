package auditor

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

func cloneTold(v *schemas.Verdict) *schemas.Verdict {
	out := proto.CloneOf(v)
	out.Told = true
	return out
}

// completed is the one terminal event of a backup.
func (r *room) completed(v *schemas.Verdict) topics.Event {
	id, _ := schemas.UUIDOf(v.GetRun().GetBackup())
	done := schemas.MilliTime(v.DoneMs)
	d := schemas.BackupCompleted{Job: schemas.JobRefOf(v.Job), Backup: id, Machine: schemas.MachineRefOf(v.Machine),
		Status: schemas.StatusWord(v.Status), Reason: v.Reason, Point: v.GetPoint().GetPath(), Bytes: schemas.BytesOf(v.Totals),
		Files: v.GetTotals().GetFiles(), WindowKept: v.WindowKept, Policy: v.Policy, Redundancy: v.Redundancy,
		Consistency: schemas.ConsistencyWord(v.Consistency), FullReason: v.FullReason, Warnings: v.Warnings, Attempt: v.GetRun().GetAttempt(),
		QueuedAt: schemas.MilliTime(v.QueuedMs), LeasedAt: schemas.MilliTime(v.LeasedMs), SnapshotAt: schemas.MilliTime(v.SnapshotMs), DoneAt: done}
	if v.LeasedMs != 0 {
		d.WindowSeconds = float64(v.DoneMs-v.LeasedMs) / 1000
	}
	return r.public(topics.BackupsCompleted, schemas.CompletedID(id, d.Status), done, d.Machine, d).Of(v.Run)
}

// queued is the progress of a backup that waits for its slots.
func (r *room) queued(l *schemas.BackupLeased) topics.Event {
	id := schemas.UUID(l.Run.Backup)
	d := schemas.BackupProgressed{Job: schemas.JobRefOf(l.Job), Backup: id, Machine: schemas.MachineRefOf(l.Machine), State: "queued",
		WaitingFor: l.Waiting, Policy: l.Policy, QueuedAt: schemas.MilliTime(l.SinceMs)}
	at := r.now()
	return r.public(topics.BackupsProgressed, fmt.Sprintf("%s/queued/%d", id, at.UnixMilli()), at, d.Machine, d)
}

// running is the progress of the attempt that is followed.
func (r *room) running(b *backup) topics.Event {
	l := b.cur.leased
	t := proto.CloneOf(&b.cur.totals)
	for _, f := range b.cur.files {
		t.Bytes += f.shape.size
	}
	d := schemas.BackupProgressed{Job: schemas.JobRefOf(l.Job), Backup: b.id, Machine: schemas.MachineRefOf(l.Machine), State: "running",
		Attempt: l.Run.Attempt, Policy: l.Policy, Reason: l.Reason, Bytes: schemas.BytesOf(t), QueuedAt: schemas.MilliTime(l.SinceMs), LeasedAt: schemas.MilliTime(l.LeasedMs)}
	if down := r.down(); down != "" {
		d.WaitingFor = "target " + down
	}
	at := r.now()
	return r.public(topics.BackupsProgressed, fmt.Sprintf("%s/%d/%d", b.id, l.Run.Attempt, at.UnixMilli()), at, d.Machine, d)
}

func (r *room) public(t topics.Raw, id string, at time.Time, m schemas.MachineRef, d schemas.Public) topics.Event {
	e, err := schemas.NewEvent(id, schemas.EventSource(r.region), at, m.Path(), d)
	if err != nil {
		panic(err) // a struct of ours that is no JSON
	}
	headers, value, err := schemas.EncodeEvent(e)
	if err != nil {
		panic(err)
	}
	return t.Event([]byte(m.Path()), value, headers)
}

// down names a target that keeps the vault below its quorum; empty: none does.
func (r *room) down() string {
	var names []string
	for name, t := range r.targets {
		if !t.Up && !t.Quorum {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return slices.Min(names)
}
