package scheduler

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/schemas"
)

// judged takes the auditor's word: progress, a failed attempt, or the verdict.
func (s *state) judged(j *schemas.BackupJudged, now time.Time, fx *effects) {
	m := s.machines[machineKey(j.GetMachine())]
	if m == nil {
		return
	}
	run := j.GetRun()
	if v := j.GetVerdict(); v != nil {
		s.verdict(m, run.GetBackup(), v, now, fx)
	} else if o := m.openBackup(run.GetBackup()); o != nil && o.GetState() == schemas.OpenRun_STATE_LEASED && o.GetRun().GetAttempt() == run.GetAttempt() {
		if f := j.GetAttemptFailed(); f != nil {
			s.attemptEnded(m, uint64(run.GetAttempt()), f.GetReason(), f.GetPermanent(), now, fx)
		} else {
			s.progressed(m, now)
			if now.Sub(m.wrote) >= rowEvery {
				fx.write(m, now)
			}
		}
	}
	s.grant(m.source, now, fx)
}

// verdict closes a backup, whichever of its attempts it names. An order that
// still waits is closed too: the auditor knows it from before.
func (s *state) verdict(m *machine, backup []byte, v *schemas.Verdict, now time.Time, fx *effects) {
	if i := m.pendingAt(backup); i >= 0 {
		q := m.row.GetPending()[i]
		m.drop(i)
		s.learn(m, backup, v)
		s.settled(m, q, v, now)
		fx.write(m, now)
		return
	}
	o := m.openBackup(backup)
	if o == nil || o.GetState() == schemas.OpenRun_STATE_JUDGED {
		return
	}
	s.learn(m, backup, v)
	m.done(backup)
	o.State, o.Status, o.Reason = schemas.OpenRun_STATE_JUDGED, v.GetStatus(), v.GetReason()
	s.settled(m, o.GetOrder(), v, now)
	if v.GetStatus() == schemas.Status_STATUS_COMPLETED {
		m.source.ease()
	}
	if slotsFree(o) { // no answer is awaited, so the word must be out before the row forgets it
		fx.first = append(fx.first, openWord(o))
		m.row.Open = nil
		fx.write(m, now)
		return
	}
	fx.write(m, now)
	fx.tell(m, now, openWord(o))
}

// learn keeps of a verdict what the next backup must know.
func (s *state) learn(m *machine, backup []byte, v *schemas.Verdict) {
	switch v.GetStatus() {
	case schemas.Status_STATUS_FAILED:
		m.row.Fails++
	case schemas.Status_STATUS_COMPLETED:
		m.row.Fails, m.row.Last = 0, nil
		m.trust(v, backup)
		if p := v.GetPoint(); p.GetPath() != "" && proto.Size(p) <= pointMax {
			m.row.Last = p
		}
	}
}
