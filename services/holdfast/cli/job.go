package cli

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/schemas"
)

// job is one request as the public events tell it: a fold, the same in any
// order and with any repeats.
type job struct {
	ID      schemas.UUID
	Of      uint32                       // 0: not heard yet
	Backups map[schemas.UUID]*jobsBackup // by backup
	Asked   time.Time                    // of its request, if that was heard
	whole   *schemas.BackupCompleted     // the job as a whole was refused
}

// jobsBackup is one machine of a job: the last that was heard of it, and its end.
type jobsBackup struct {
	Last *schemas.BackupProgressed
	End  *schemas.BackupCompleted
}

// jobs folds public events.
type jobs map[schemas.UUID]*job

func (js jobs) of(ref schemas.JobRef) *job {
	j := js[ref.ID]
	if j == nil {
		j = &job{ID: ref.ID, Backups: map[schemas.UUID]*jobsBackup{}}
		js[ref.ID] = j
	}
	j.Of = max(j.Of, ref.Of)
	return j
}

func (j *job) backup(id schemas.UUID) *jobsBackup {
	b := j.Backups[id]
	if b == nil {
		b = &jobsBackup{}
		j.Backups[id] = b
	}
	return b
}

// hear takes one record of backups.requested, .progressed or .completed and
// returns the job that it told of; nil if it told nothing that we can read.
func (js jobs) hear(rec client.Record) *job {
	e, err := schemas.DecodeEvent(rec.Headers, rec.Value)
	if err != nil {
		return nil // another's event in a public topic; ours are always whole
	}
	switch e.Type {
	case schemas.TypeBackupRequested:
		j := js.of(schemas.JobRef{ID: schemas.JobID(e.Source, e.ID)})
		if j.Asked = e.Time; j.Asked.IsZero() {
			j.Asked = rec.Time
		}
		return j
	case schemas.TypeBackupProgressed:
		v, err := schemas.ReadData[schemas.BackupProgressed](e)
		if err != nil {
			return nil
		}
		j := js.of(v.Job)
		if b := j.backup(v.Backup); b.Last == nil || later(&v, b.Last) {
			b.Last = &v
		}
		return j
	case schemas.TypeBackupCompleted:
		v, err := schemas.ReadData[schemas.BackupCompleted](e)
		if err != nil {
			return nil
		}
		j := js.of(v.Job)
		if v.Backup == v.Job.ID {
			j.whole = &v
		} else {
			j.backup(v.Backup).End = &v
		}
		return j
	}
	return nil
}

func later(a, b *schemas.BackupProgressed) bool {
	if a.Attempt != b.Attempt {
		return a.Attempt > b.Attempt
	}
	return a.State == "running" || b.State != "running"
}

// over says whether no more will come. A refusal of the whole job counts only
// while no backup of it was heard of: the same request, sent again too late, is
// refused as a whole, and its backups run.
func (j *job) over() bool {
	if len(j.Backups) == 0 {
		return j.whole != nil
	}
	if j.Of == 0 || uint32(len(j.Backups)) < j.Of {
		return false
	}
	for _, b := range j.Backups {
		if b.End == nil {
			return false
		}
	}
	return true
}

// ends are the terminal events that count, in the order of the machines.
func (j *job) ends() (all []*schemas.BackupCompleted) {
	if len(j.Backups) == 0 && j.whole != nil {
		return []*schemas.BackupCompleted{j.whole}
	}
	for _, b := range j.sorted() {
		if b.End != nil {
			all = append(all, b.End)
		}
	}
	return all
}

func (j *job) sorted() []*jobsBackup {
	return slices.SortedFunc(maps.Values(j.Backups), func(a, b *jobsBackup) int {
		return cmp.Compare(a.machine().Path(), b.machine().Path())
	})
}

func (b *jobsBackup) machine() schemas.MachineRef {
	if b.End != nil {
		return b.End.Machine
	}
	return b.Last.Machine
}

// state is one of queued, running, completed, failed, refused, cancelled.
func (b *jobsBackup) state() string {
	if b.End != nil {
		return b.End.Status
	}
	return b.Last.State
}

func (b *jobsBackup) bytes() schemas.BackupBytes {
	if b.End != nil {
		return b.End.Bytes
	}
	return b.Last.Bytes
}

// share is how much of the machine is accounted for, from 0 to 1.
func (b *jobsBackup) share() float64 {
	n := b.bytes()
	if b.End != nil && b.End.Status == "completed" {
		return 1
	}
	if n.Size == 0 {
		return 0
	}
	return min(1, float64(n.Fresh+n.Known+n.Zero+n.Inherited)/float64(n.Size))
}

func (b *jobsBackup) reason() string {
	if b.End != nil {
		return strings.Join(append(noEmpty(b.End.Reason), b.End.Warnings...), "; ")
	}
	if b.Last.WaitingFor == "" && b.Last.Reason != "" {
		return fmt.Sprintf("attempt %d failed: %s", b.Last.Attempt-1, b.Last.Reason)
	}
	return b.Last.WaitingFor
}

func noEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// code is the exit code of a job that is over: 1 if any failed, else 3 if any
// was refused.
func (j *job) code() (code int) {
	for _, e := range j.ends() {
		switch e.Status {
		case "completed":
		case "refused":
			code = cmp.Or(code, exitRefused)
		default:
			code = exitFailed
		}
	}
	return code
}

// find takes an id or the beginning of one, of 8 characters or more.
func (js jobs) find(prefix string) (*job, error) {
	var found []*job
	for id, j := range js {
		if strings.HasPrefix(id.String(), strings.ToLower(prefix)) {
			found = append(found, j)
		}
	}
	switch {
	case len(prefix) < 8:
		return nil, usage(fmt.Errorf("job %q: give 8 characters or more", prefix))
	case len(found) == 0:
		return nil, fmt.Errorf("job %q: no event of the last 30 days tells of it", prefix)
	case len(found) > 1:
		ids := make([]string, len(found))
		for i, j := range found {
			ids[i] = j.ID.String()
		}
		slices.Sort(ids)
		return nil, usage(fmt.Errorf("job %q could be any of %s", prefix, strings.Join(ids, ", ")))
	}
	return found[0], nil
}
