package auditor

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
)

// backup is one that has no verdict yet, or one that was not told.
type backup struct {
	id       schemas.UUID
	attempts map[schemas.UUID]*attempt
	cur      *attempt // the one that is followed: the highest, and of equal ones the first heard of

	finishing  bool                // its point is on its way into a row
	completing *schemas.Completing // the first such row in the log: from here a withdrawal comes too late
	sealing    bool                // the point is being put
	judging    bool                // a verdict is on its way into its row
	verdict    *schemas.Verdict    // the first in the log
	telling    bool
	withdrawn  []*withdrawal // while finishing

	look     bool   // something came that may have completed it
	moved    bool   // since progress was last judged
	stirred  bool   // since progress was last published
	waited   string // the target that was then said to be waited for
	judgedAt time.Time
	publicAt time.Time
}

func (r *room) backup(id schemas.UUID) *backup {
	b := r.backups[id]
	if b == nil {
		b = &backup{id: id, attempts: map[schemas.UUID]*attempt{}}
		r.backups[id] = b
	}
	return b
}

func (b *backup) attempt(lease schemas.UUID) *attempt {
	a := b.attempts[lease]
	if a == nil {
		a = newAttempt(lease)
		b.attempts[lease] = a
	}
	return a
}

// whose is a record?
type whose int

const (
	ours     whose = iota // of the attempt that is followed
	stranger              // of one that is not, and never will be
	unheard               // of a lease that may still be heard of
)

func (b *backup) knows(run *schemas.Run) whose {
	switch {
	case b.verdict != nil:
		return stranger
	case b.cur == nil || run.Attempt > b.cur.run().GetAttempt():
		return unheard
	case b.cur.over || !bytes.Equal(b.cur.lease[:], run.Lease):
		return stranger
	}
	return ours
}

// follow takes a lease, if it is one to be followed. old is the attempt that it
// supersedes.
func (b *backup) follow(l *schemas.BackupLeased) (a, old *attempt) {
	if b.cur != nil && l.Run.Attempt <= b.cur.run().GetAttempt() {
		return nil, nil
	}
	a = b.attempt(schemas.UUID(l.Run.Lease))
	a.leased = l
	old, b.cur = b.cur, a
	b.look = true
	return a, old
}

// toldMax bounds how many failed attempts a verdict tells of: five count, and while
// the vault has no quorum any number does not.
const toldMax = 10

// before says why the attempts before the one that is followed ended, as the
// scheduler told with the lease of the next.
func (b *backup) before() (all []string) {
	var next []*attempt
	for _, a := range b.attempts {
		if a.leased.GetReason() != "" {
			next = append(next, a)
		}
	}
	slices.SortFunc(next, func(x, y *attempt) int { return cmp.Compare(x.run().GetAttempt(), y.run().GetAttempt()) })
	for _, a := range next[max(0, len(next)-toldMax):] {
		all = append(all, fmt.Sprintf("attempt %d failed: %s", a.run().GetAttempt()-1, a.leased.GetReason()))
	}
	return all
}

// empty reports whether nothing is remembered of it.
func (b *backup) empty() bool {
	return len(b.attempts) == 0 && b.verdict == nil && b.completing == nil && !b.judging && len(b.withdrawn) == 0
}
