package scheduler

import (
	"bytes"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
)

// lease is an attempt, as exporter and auditor know it.
type lease struct {
	g          *guest
	word       *schemas.BackupLeased
	at         where // as it was leased
	snapshot   bool  // is open, as are
	dir        bool
	connection bool
	stops      bool // ended or withdrawn was heard
	dead       bool // it told lost or failed, or nobody hears of it
	begun      bool
	left       time.Duration // of reading
}

// hear is what exporter and auditor do on a word of the scheduler.
func (f *fleet) hear(w *schemas.BackupLeased) {
	g := f.byKey[machineKey(w.GetMachine())]
	o := f.s.machines[g.key].row.GetOpen()
	at := where{host: o.GetHost(), datastores: o.GetDatastores()}
	f.after(latency, func() {
		switch w.GetVerb() {
		case schemas.BackupLeased_VERB_LEASED:
			f.firstLease(w)
			f.export(g, w, at)
			if f.verdicts[string(w.GetRun().GetBackup())] != 0 {
				f.judge(w, 0)
			}
		case schemas.BackupLeased_VERB_WITHDRAWN, schemas.BackupLeased_VERB_REFUSED:
			f.judge(w, w.GetStatus())
			f.stop(g, w)
		case schemas.BackupLeased_VERB_ENDED:
			f.stop(g, w)
		}
	})
}

// export begins a lease, unless it did.
func (f *fleet) export(g *guest, w *schemas.BackupLeased, at where) {
	if l := g.lease; l != nil {
		if l.of(w) && l.word.GetRun().GetAttempt() >= w.GetRun().GetAttempt() {
			return
		}
		if l.snapshot || l.dir {
			f.t.Fatalf("%s is leased again while its last attempt has a snapshot or a folder", g.key)
		}
	}
	l := &lease{g: g, word: w, at: at, left: time.Duration(float64(g.takes) * (0.7 + 0.6*f.rand.Float64()))}
	if g.points == 0 {
		l.left *= 5 // a full one
	}
	g.lease = l
	f.count(l, true, true, true)
	switch dice := f.rand.IntN(10_000); {
	case dice < 10: // and nobody hears of it
		l.dead = true
	case dice < 12:
		f.fail(l, schemas.ExportEnded_WORD_FAILED, true)
	case dice < 100, g.bad && dice < 6000:
		f.after(time.Duration(f.rand.Float64()*float64(l.left)), func() { f.fail(l, schemas.ExportEnded_WORD_LOST, false) })
	default:
		f.walk(l)
	}
}

func (l *lease) of(w *schemas.BackupLeased) bool {
	return bytes.Equal(l.word.GetRun().GetBackup(), w.GetRun().GetBackup())
}

// walk reads on, as long as there is a vault to write to, and tells of it.
func (f *fleet) walk(l *lease) {
	step := min(time.Duration(float64(l.left)*l.g.site.slow), 4*time.Minute)
	if !l.begun { // the first page is filed soon
		step, l.begun = min(step, 15*time.Second), true
	}
	if !f.targets.Quorum {
		step = time.Minute
	}
	f.after(step, func() {
		switch {
		case l.stops || l.dead:
		case !f.targets.Quorum:
			f.walk(l)
		case l.left > time.Second:
			l.left -= time.Duration(float64(step) / l.g.site.slow)
			f.tell(&schemas.BackupJudged{Run: l.word.GetRun(), Machine: l.word.GetMachine(), Word: &schemas.BackupJudged_Progress{Progress: &schemas.Progress{FiledPages: 1}}})
			f.walk(l)
		default:
			f.finish(l)
		}
	})
}

// finish lets the snapshot go, and hears the auditor.
func (f *fleet) finish(l *lease) {
	f.count(l, true, true, false)
	f.answer(l.word, schemas.ExportEnded_WORD_OK, false)
	f.after(time.Duration(1+f.rand.IntN(5))*time.Second, func() {
		if l.snapshot {
			f.count(l, false, l.dir, false)
			f.answer(l.word, schemas.ExportEnded_WORD_SNAPSHOT_REMOVED, false)
		}
	})
	f.after(time.Duration(1+f.rand.IntN(9))*time.Second, func() {
		if !l.stops {
			f.judge(l.word, schemas.Status_STATUS_COMPLETED)
		}
	})
}

func (f *fleet) fail(l *lease, word schemas.ExportEnded_Word, permanent bool) {
	if l.stops || l.dead {
		return
	}
	l.dead = true
	f.count(l, l.snapshot, l.dir, false)
	f.answer(l.word, word, permanent)
}

// stop ends an attempt, and always answers, also of one that is unknown.
func (f *fleet) stop(g *guest, w *schemas.BackupLeased) {
	l := g.lease
	if l == nil || !l.of(w) || l.word.GetRun().GetAttempt() != w.GetRun().GetAttempt() {
		f.answer(w, schemas.ExportEnded_WORD_SNAPSHOT_REMOVED, false)
		f.answer(w, schemas.ExportEnded_WORD_DIR_REMOVED, false)
		return
	}
	l.stops = true
	f.after(time.Duration(1+f.rand.IntN(4))*time.Second, func() {
		f.count(l, false, false, false)
		f.answer(w, schemas.ExportEnded_WORD_SNAPSHOT_REMOVED, false)
		f.answer(w, schemas.ExportEnded_WORD_DIR_REMOVED, false)
	})
}

func (f *fleet) answer(w *schemas.BackupLeased, word schemas.ExportEnded_Word, permanent bool) {
	f.tell(&schemas.ExportEnded{Run: w.GetRun(), Machine: w.GetMachine(), Word: word, Permanent: permanent, Reason: "as the model wills"})
}

// judge says how a backup ended: as it was said first.
func (f *fleet) judge(w *schemas.BackupLeased, status schemas.Status) {
	id := string(w.GetRun().GetBackup())
	if f.verdicts[id] == 0 {
		f.verdicts[id] = status
		f.ended(w, status)
	}
	v := &schemas.Verdict{Run: w.GetRun(), Machine: w.GetMachine(), Status: f.verdicts[id]}
	if v.Status == schemas.Status_STATUS_COMPLETED {
		v.Point = &schemas.Point{Path: "p", Lease: w.GetRun().GetLease(), Epoch: 1}
	}
	f.tell(&schemas.BackupJudged{Run: w.GetRun(), Machine: w.GetMachine(), Word: &schemas.BackupJudged_Verdict{Verdict: v}})
}
