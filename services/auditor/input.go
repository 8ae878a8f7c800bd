package auditor

import (
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// input is a record on its way into an attempt: at once, or after it was parked.
type input struct {
	room *room
	in   *stage.In
	hold *stage.Hold // once kept
	late bool        // the handler that brought it has returned
	kept bool        // by an extent
	said []topics.Event
}

// keep holds the record.
func (i *input) keep() *stage.Hold {
	if i.hold == nil {
		i.hold = i.in.Hold()
	}
	i.kept = true
	return i.hold
}

// emit writes e before the record is done.
func (i *input) emit(e topics.Event) {
	if i.late {
		i.said = append(i.said, e)
		return
	}
	i.in.Emit(e)
}

// close ends the handling of a parked record.
func (i *input) close() {
	switch {
	case !i.kept:
		i.hold.Release(i.said...)
	case len(i.said) > 0:
		i.room.Emit(i.said...)
	}
	i.said = nil
}

type handler func(*input, *backup, *attempt) error

// parked is a record of a lease that we have not heard of: no order holds between
// backups.leased and the topics of those who heard of it first.
type parked struct {
	*input
	backup schemas.UUID
	run    *schemas.Run
	size   int
	f      handler
}

const (
	// parkedMax bounds the records that wait for their lease, in bytes. It is more than
	// all that can be in flight in a region (426k places of 60 bytes are 26 MB); beyond it the
	// oldest is forgotten, which costs its attempt.
	parkedMax = 64 << 20
	// memory is how long rows of leases and verdicts are kept: longer than any stream, so
	// a record older than it can only be of a lease that ended.
	memory = 8 * 24 * time.Hour
)

// route brings a record to the attempt that it is of. Records of any lease but the
// one that is followed are dropped.
func (r *room) route(in *stage.In, run *schemas.Run, size int, f handler) error {
	if err := checkRun(run); err != nil {
		return stage.Refuse(err)
	}
	defer r.work(r.now())
	id := schemas.UUID(run.Backup)
	if r.past[id] != nil || r.now().Sub(in.Time) > memory {
		return nil
	}
	b := r.backup(id)
	switch b.knows(run) {
	case stranger:
		return nil
	case unheard:
		p := &parked{&input{room: r, in: in}, id, run, size, f}
		p.keep()
		p.kept, p.late = false, true
		r.park(p)
		return nil
	}
	return f(&input{room: r, in: in}, b, b.cur)
}

// work counts what was worked since begun; the next places that are filed tell it.
func (r *room) work(begun time.Time) { r.worked += r.now().Sub(begun) }

func (r *room) spent() time.Duration {
	d := r.worked
	r.worked = 0
	return d
}

func (r *room) park(p *parked) {
	r.parked = append(r.parked, p)
	for r.waiting += p.size; r.waiting > parkedMax; {
		old := r.parked[0]
		r.log.Warn("records wait for a lease that is not heard of: the oldest is forgotten", "backup", old.backup, "lease", schemas.IDText(old.run.Lease))
		r.forget(0)
	}
}

func (r *room) forget(i int) {
	p := r.parked[i]
	r.parked = append(r.parked[:i:i], r.parked[i+1:]...)
	r.waiting -= p.size
	p.close()
}

// unpark handles what waited for a lease of b.
func (r *room) unpark(b *backup) error {
	var waits, now []*parked
	for _, p := range r.parked {
		if p.backup == b.id {
			now = append(now, p)
			r.waiting -= p.size
		} else {
			waits = append(waits, p)
		}
	}
	r.parked = waits
	for _, p := range now {
		switch b.knows(p.run) {
		case unheard:
			r.park(p)
			continue
		case ours:
			if err := p.f(p.input, b, b.cur); err != nil {
				return err
			}
		}
		p.close()
	}
	return nil
}
