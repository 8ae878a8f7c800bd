package scheduler

import (
	"maps"
	"slices"

	"pgregory.net/rapid"

	"github.com/holdfast-backup/holdfast/schemas"
)

// exporterModel keeps one lease per backup, ends a lower attempt before it
// begins a higher one, and always answers ended and withdrawn.
type exporterModel struct {
	w      *world
	at     int
	leases map[string]*export
}

type export struct {
	order         *schemas.BackupLeased
	snapshot, dir bool
	told, stop    bool // finished was emitted; ended or withdrawn was heard
	dead          bool // told lost or failed
	at            where
}

// open counts what is there, by where each machine was when it was leased.
func (x *exporterModel) open() (u used) {
	for _, e := range x.leases {
		u.count(&schemas.OpenRun{SourceSlot: slot(e.snapshot), RegionSlot: slot(e.dir), ConnectionSlot: slot(e.snapshot && !e.told && !e.dead),
			Host: e.at.host, Datastores: e.at.datastores}, 1)
	}
	return u
}

func slot(taken bool) uint64 {
	if taken {
		return 1
	}
	return 0
}

func (x *exporterModel) answer(o *schemas.BackupLeased, word schemas.ExportEnded_Word, permanent bool) {
	x.w.in[1].log = append(x.w.in[1].log, &schemas.ExportEnded{Run: o.GetRun(), Machine: o.GetMachine(), Word: word, Permanent: permanent, Reason: "as the model wills"})
}

// read takes the next word of the scheduler.
func (x *exporterModel) read() bool {
	if x.at == len(x.w.told) {
		return false
	}
	o := x.w.told[x.at]
	x.at++
	if x.w.chaos && rapid.IntRange(0, 9).Draw(x.w.t, "exporter reads again") == 0 {
		x.at = max(0, x.at-rapid.IntRange(1, 5).Draw(x.w.t, "words"))
	}
	id := string(o.GetRun().GetBackup())
	e := x.leases[id]
	switch o.GetVerb() {
	case schemas.BackupLeased_VERB_LEASED:
		x.leased(id, e, o)
	case schemas.BackupLeased_VERB_ENDED, schemas.BackupLeased_VERB_WITHDRAWN:
		if e == nil || e.order.GetRun().GetAttempt() != o.GetRun().GetAttempt() {
			if e != nil && e.order.GetRun().GetAttempt() < o.GetRun().GetAttempt() {
				e.stop = true
			}
			x.answer(o, schemas.ExportEnded_WORD_SNAPSHOT_REMOVED, false)
			x.answer(o, schemas.ExportEnded_WORD_DIR_REMOVED, false)
			if e == nil { // the row *ended*: a lease replayed later is not begun
				x.leases[id] = &export{order: o, stop: true}
			}
			return true
		}
		if e.stop && !e.snapshot && !e.dir {
			x.answer(e.order, schemas.ExportEnded_WORD_SNAPSHOT_REMOVED, false)
			x.answer(e.order, schemas.ExportEnded_WORD_DIR_REMOVED, false)
		}
		e.stop = true
	}
	return true
}

func (x *exporterModel) leased(id string, e *export, o *schemas.BackupLeased) {
	if e != nil && e.order.GetRun().GetAttempt() >= o.GetRun().GetAttempt() {
		if e.stop && !e.snapshot && !e.dir && e.order.GetRun().GetAttempt() == o.GetRun().GetAttempt() {
			x.answer(o, schemas.ExportEnded_WORD_DIR_REMOVED, false)
		}
		return
	}
	if e != nil && (e.snapshot || e.dir) {
		x.w.t.Fatalf("attempt %d was leased while attempt %d has its snapshot or folder", o.GetRun().GetAttempt(), e.order.GetRun().GetAttempt())
	}
	x.leases[id] = &export{order: o, snapshot: true, dir: true, at: x.w.at[string(o.GetRun().GetLease())]}
	x.w.checkSlots()
}

// work moves each export on by at most one step.
func (x *exporterModel) work(calm bool) (busy bool) {
	for _, id := range slices.Sorted(maps.Keys(x.leases)) {
		e := x.leases[id]
		dice := 9
		if !calm {
			dice = rapid.IntRange(0, 9).Draw(x.w.t, "export")
		}
		switch {
		case (e.told || e.stop || e.dead) && e.snapshot && dice > 2:
			e.snapshot = false
			x.answer(e.order, schemas.ExportEnded_WORD_SNAPSHOT_REMOVED, false)
		case e.stop && !e.snapshot && e.dir && dice > 2:
			e.dir = false
			x.answer(e.order, schemas.ExportEnded_WORD_DIR_REMOVED, false)
		case !e.told && !e.stop && !e.dead && dice == 9:
			e.told = true
			x.answer(e.order, schemas.ExportEnded_WORD_OK, false)
		case !e.told && !e.stop && !e.dead && dice == 2:
			e.dead = true // and nobody hears of it
		case !e.told && !e.stop && !e.dead && dice < 2:
			e.dead = true
			x.answer(e.order, []schemas.ExportEnded_Word{schemas.ExportEnded_WORD_LOST, schemas.ExportEnded_WORD_FAILED}[dice], rapid.IntRange(0, 3).Draw(x.w.t, "permanent") == 0)
		default:
			continue
		}
		busy = true
	}
	return busy
}

// auditorModel gives each backup one verdict and answers with it ever after.
type auditorModel struct {
	w        *world
	at       int
	verdicts map[string]schemas.Status
	seen     map[string]*schemas.BackupLeased // highest attempt
}

func (a *auditorModel) judge(o *schemas.BackupLeased, status schemas.Status) {
	id := string(o.GetRun().GetBackup())
	if a.verdicts[id] == 0 {
		a.verdicts[id] = status
	}
	v := &schemas.Verdict{Run: o.GetRun(), Machine: o.GetMachine(), Status: a.verdicts[id]}
	if v.Status == schemas.Status_STATUS_COMPLETED {
		v.Point = &schemas.Point{Path: "points/" + schemas.IDText([]byte(id)), Lease: o.GetRun().GetLease(), Epoch: 1}
	}
	a.w.in[2].log = append(a.w.in[2].log, &schemas.BackupJudged{Run: o.GetRun(), Machine: o.GetMachine(), Word: &schemas.BackupJudged_Verdict{Verdict: v}})
}

func (a *auditorModel) read() bool {
	if a.at == len(a.w.told) {
		return false
	}
	o := a.w.told[a.at]
	a.at++
	if a.w.chaos && rapid.IntRange(0, 9).Draw(a.w.t, "auditor reads again") == 0 {
		a.at = max(0, a.at-rapid.IntRange(1, 5).Draw(a.w.t, "words"))
	}
	id := string(o.GetRun().GetBackup())
	switch o.GetVerb() {
	case schemas.BackupLeased_VERB_LEASED:
		if a.verdicts[id] != 0 {
			a.judge(o, 0)
		} else if a.seen[id].GetRun().GetAttempt() < o.GetRun().GetAttempt() {
			a.seen[id] = o
		}
	case schemas.BackupLeased_VERB_WITHDRAWN, schemas.BackupLeased_VERB_REFUSED:
		a.judge(o, o.GetStatus())
	}
	return true
}

// work completes what the exporter has read whole, and reports progress and
// failures as it likes.
func (a *auditorModel) work(calm bool) (busy bool) {
	for _, id := range slices.Sorted(maps.Keys(a.seen)) {
		o, e := a.seen[id], a.w.exp.leases[id]
		if a.verdicts[id] != 0 || e == nil || e.order.GetRun().GetAttempt() != o.GetRun().GetAttempt() {
			continue
		}
		dice := 9
		if !calm {
			dice = rapid.IntRange(0, 9).Draw(a.w.t, "audit")
		}
		say := &schemas.BackupJudged{Run: o.GetRun(), Machine: o.GetMachine()}
		switch {
		case e.told && !e.stop && dice == 9:
			a.judge(o, schemas.Status_STATUS_COMPLETED)
			busy = true
		case dice == 0:
			say.Word = &schemas.BackupJudged_AttemptFailed{AttemptFailed: &schemas.AttemptFailed{Reason: "a fault of the model"}}
			a.w.in[2].log = append(a.w.in[2].log, say)
		case dice < 3:
			say.Word = &schemas.BackupJudged_Progress{Progress: &schemas.Progress{ReadBytes: 1}}
			a.w.in[2].log = append(a.w.in[2].log, say)
		}
	}
	return busy
}
