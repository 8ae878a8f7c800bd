package auditor

import (
	"context"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// judge writes a verdict. It counts when it comes back through the log, unless a
// rival's is before it.
func (r *room) judge(b *backup, v *schemas.Verdict) error {
	if b.verdict != nil || b.judging {
		return nil
	}
	b.judging = true
	return r.Put(r.row(b.id, rowVerdict, &schemas.PageFiled{Row: &schemas.PageFiled_Verdict{Verdict: v}}))
}

// act does what is due of a backup: it is where a restart goes on.
func (r *room) act(b *backup) error {
	switch {
	case r.backups[b.id] != b || !r.live:
		return nil
	case b.verdict != nil:
		return r.say(b)
	case b.judging:
		return nil
	case b.completing != nil:
		if !b.sealing {
			r.testify(b)
		}
		return nil
	}
	if a := b.cur; a != nil && a.untold {
		if err := r.Put(judgedFailed(a)); err != nil {
			return err
		}
		a.untold = false
	}
	return r.complete(b)
}

// say tells a verdict that is a row, until it is marked told; then the backup is past.
func (r *room) say(b *backup) error {
	if b.telling {
		return nil
	}
	if b.verdict.Told {
		r.bury(b)
		return nil
	}
	b.telling = true
	r.alarm(b.verdict)
	words := r.words(b.verdict)
	told := cloneTold(b.verdict)
	r.Go(func(context.Context) func() {
		if r.Put(words...) != nil {
			return nil
		}
		if r.Put(r.row(b.id, rowVerdict, &schemas.PageFiled{Row: &schemas.PageFiled_Verdict{Verdict: told}})) != nil {
			return nil
		}
		return func() {
			b.telling, b.verdict.Told = false, true
			r.complain(r.act(b))
		}
	})
	return nil
}

// alarm cries out where change tracking lied. It may do so twice, after a crash.
func (r *room) alarm(v *schemas.Verdict) {
	n := v.GetTotals().GetLiedPlaces()
	if n == 0 {
		return
	}
	r.log.Error("change tracking lied", "source", v.GetMachine().GetSource(), "machine", v.GetMachine().GetId(), "name", v.GetMachine().GetName(),
		"backup", schemas.IDText(v.GetRun().GetBackup()), "places", n, "compared", v.GetTotals().GetClaimedPlaces())
	if r.Lied != nil {
		r.Lied(v.GetMachine().GetSource(), n)
	}
}

// words are what the house and the world hear of a verdict.
func (r *room) words(v *schemas.Verdict) []topics.Event {
	out := []topics.Event{r.completed(v)}
	if v.GetMachine().GetSource() != "" { // else of a job as a whole, or of no machine we know
		out = append(out, judged(v.Run, v.Machine, &schemas.BackupJudged{Word: &schemas.BackupJudged_Verdict{Verdict: v}}))
	}
	return out
}

// answerAgain answers a scheduler that has not heard the verdict.
func (r *room) answerAgain(in *stage.In, v *schemas.Verdict) {
	for _, e := range r.words(v) {
		in.Emit(e)
	}
}
