package auditor

import (
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/schemas"
)

const (
	// judgedEvery is how often the scheduler hears of progress: its deadline is 15
	// minutes, so nothing hangs on it.
	judgedEvery = 5 * time.Second
	// publicEvery is how often the world does: 52 backups at once are 26 events a second.
	publicEvery = 2 * time.Second
	sweepEvery  = time.Hour
)

// onTick does what no record brings. The first one comes when all rows are recalled.
func (r *room) onTick(*stage.In) error {
	r.live = true
	r.filer.age()
	now := r.now()
	for id, b := range r.backups {
		if err := r.act(b); err != nil {
			return err
		}
		if b.cur != nil && !b.cur.over {
			if err := r.settleAgain(b.cur); err != nil {
				return err
			}
			r.progress(b, now)
		}
		r.sweep(b)
		if b.empty() && !r.waitsFor(id) {
			delete(r.backups, id)
		}
	}
	r.sweepStale()
	if now.Sub(r.swept) > sweepEvery {
		r.swept = now
		r.forgetPast()
	}
	return nil
}

func (r *room) waitsFor(id schemas.UUID) bool {
	for _, p := range r.parked {
		if p.backup == id {
			return true
		}
	}
	return false
}

// settleAgain lets go of extents that were closed by another than a landing of ours.
func (r *room) settleAgain(a *attempt) error {
	shut, holds, _ := a.settle()
	if len(shut) > 0 {
		if err := r.Put(closedEvent(a, shut)); err != nil {
			return err
		}
	}
	release(holds)
	return nil
}

// onOverdue sees a hold that is older than any lease may be silent. While the vault
// has no quorum nothing lands, and it waits on; else an answer was lost, and the
// attempt fails rather than hang.
func (r *room) onOverdue(h *stage.Hold) {
	for i, p := range r.parked {
		if p.hold == h {
			r.log.Warn("a record waited for a lease that was never heard of", "backup", p.backup)
			r.forget(i)
			return
		}
	}
	if down := r.down(); down != "" {
		r.log.Warn("pages wait: the vault has no quorum", "target", down)
		return
	}
	for _, b := range r.backups {
		if a := b.cur; a != nil && !a.over && a.holds(h) {
			r.complain(r.fail(b, a, faultf(codeOverdue, "an answer for one of its extents did not come in %s", holdMax)))
			return
		}
	}
}

func (a *attempt) holds(h releaser) bool {
	for _, e := range a.open {
		if slices.Contains(e.holds, h) {
			return true
		}
	}
	return false
}

// progress tells of what was filed or exported since it was last told, and of a
// target that the vault waits for now, or no more: then nothing else stirs.
func (r *room) progress(b *backup, now time.Time) {
	a := b.cur
	if b.moved && now.Sub(b.judgedAt) >= judgedEvery {
		b.moved, b.judgedAt = false, now
		p := &schemas.Progress{ReadBytes: a.totals.ReadBytes}
		for _, f := range a.files {
			p.FiledPages += f.filed.pages
		}
		r.Emit(judged(a.run(), a.leased.Machine, &schemas.BackupJudged{Word: &schemas.BackupJudged_Progress{Progress: p}}))
	}
	if down := r.down(); (b.stirred || down != b.waited) && now.Sub(b.publicAt) >= publicEvery {
		b.stirred, b.waited, b.publicAt = false, down, now
		r.Emit(r.running(b))
	}
}
