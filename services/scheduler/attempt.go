package scheduler

import (
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
)

const (
	backoffMin = 5 * time.Second
	backoffMax = 5 * time.Minute
	rowEvery   = time.Minute // a deadline in the row may be so old; a grace window at start covers it
)

// exported takes the exporter's word on a lease: only this frees slots.
// Answers are matched by backup and attempt.
func (s *state) exported(e *schemas.ExportEnded, now time.Time, fx *effects) {
	m := s.machines[machineKey(e.GetMachine())]
	if m == nil {
		return
	}
	o := m.openBackup(e.GetRun().GetBackup())
	if o == nil {
		return
	}
	if e.GetWord() == schemas.ExportEnded_WORD_READING {
		s.reading(m, o, e, now, fx)
		return
	}
	attempt := uint64(e.GetRun().GetAttempt())
	if attempt != 0 && o.GetConnectionSlot() == attempt { // whatever it says, it reads no more
		m.freeConnection(o)
		fx.write(m, now)
	}
	switch e.GetWord() {
	case schemas.ExportEnded_WORD_FAILED, schemas.ExportEnded_WORD_LOST:
		s.attemptEnded(m, attempt, e.GetReason(), e.GetPermanent(), now, fx)
	case schemas.ExportEnded_WORD_SNAPSHOT_REMOVED:
		if attempt != 0 && o.GetSourceSlot() == attempt {
			m.freeSnapshot(o)
			fx.write(m, now)
		}
	case schemas.ExportEnded_WORD_DIR_REMOVED:
		if attempt != 0 && o.GetRegionSlot() == attempt {
			m.freeDir(o)
			fx.write(m, now)
			// Of an attempt that still runs it means that the exporter had ended it: waiting out the deadline would gain nothing.
			s.attemptEnded(m, attempt, "the export of this lease is ended and its staging gone", false, now, fx)
		}
	}
	if o.GetState() == schemas.OpenRun_STATE_JUDGED && slotsFree(o) {
		m.row.Open = nil
		fx.write(m, now)
	}
	s.grant(m.source, now, fx)
}

// attemptEnded ends the attempt under way if it is this one, and says so at
// once: the exporter must stop and give the slots back, or the next attempt
// would wait for what its own dead forerunner keeps.
func (s *state) attemptEnded(m *machine, attempt uint64, reason string, permanent bool, now time.Time, fx *effects) {
	o := m.row.GetOpen()
	if o.GetState() != schemas.OpenRun_STATE_LEASED || uint64(o.GetRun().GetAttempt()) != attempt {
		return
	}
	if !permanent && !s.gotOn(o) {
		m.source.brake.close(m.source.used.snapshots)
	}
	if s.quorum() { // else the vault is to blame, and it may take days to come back
		o.Counted++
	}
	switch {
	case permanent:
		s.withdraw(m, schemas.Status_STATUS_FAILED, reason, now, fx)
	case o.GetCounted() >= s.limits.Attempts:
		s.withdraw(m, schemas.Status_STATUS_FAILED, fmt.Sprintf("attempt %d of %d: %s", o.GetCounted(), s.limits.Attempts, reason), now, fx)
	default:
		o.State, o.Reason = schemas.OpenRun_STATE_BACKOFF, reason
		o.NotBeforeMs = now.Add(backoff(o.GetRun().GetAttempt())).UnixMilli()
		fx.write(m, now)
		fx.tell(m, now, openWord(o))
	}
}

// gotOn reports whether the attempt under way made progress: that alone moves the
// deadline that its grant gave it.
func (s *state) gotOn(o *schemas.OpenRun) bool {
	return o.GetDeadlineMs() > o.GetGrantedMs()+s.limits.Silence.Milliseconds()
}

// backoff doubles from 5 s to 5 min: 5, 10, 20, 40, 80, 160, 300, 300 …
func backoff(attempt uint32) time.Duration {
	if attempt > 6 {
		return backoffMax
	}
	return backoffMin << (max(attempt, 1) - 1)
}

// withdraw hands the backup to the auditor, who alone says how it ended.
func (s *state) withdraw(m *machine, as schemas.Status, reason string, now time.Time, fx *effects) {
	o := m.row.GetOpen()
	o.State, o.Status, o.Reason = schemas.OpenRun_STATE_WITHDRAWN, as, reason
	fx.write(m, now)
	fx.tell(m, now, openWord(o))
}

// quorum reports whether enough targets are up, by the newest word on it.
func (s *state) quorum() bool {
	up, newest := true, int64(-1)
	for _, t := range s.targets {
		if t.GetSinceMs() > newest || t.GetSinceMs() == newest && !t.GetQuorum() {
			up, newest = t.GetQuorum(), t.GetSinceMs()
		}
	}
	return up
}
