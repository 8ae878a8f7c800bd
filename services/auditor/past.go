package auditor

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/schemas"
)

// past is a backup whose verdict was told. It is kept, as short as it can be said
// again (about 1 KB, of a thousand machines a day 8 MB), as long as a record of it
// may still come.
type past struct {
	row    []byte // the verdict
	status schemas.Status
	done   time.Time
	leases []schemas.UUID // whose rows stand
}

func newPast(v *schemas.Verdict) *past {
	row, err := proto.Marshal(v)
	if err != nil {
		panic("auditor: encode a verdict that was decoded: " + err.Error())
	}
	return &past{row: row, status: v.Status, done: time.UnixMilli(v.DoneMs)}
}

func (p *past) add(lease schemas.UUID) {
	if !slices.Contains(p.leases, lease) {
		p.leases = append(p.leases, lease)
	}
}

func (p *past) verdict() *schemas.Verdict {
	v := new(schemas.Verdict)
	if err := proto.Unmarshal(p.row, v); err != nil {
		panic("auditor: decode a verdict that was encoded: " + err.Error())
	}
	return v
}

// bury turns a backup whose verdict was told into a memory of it. The rows of its
// pages go only now: until it was told, a restart had to be able to tell it.
func (r *room) bury(b *backup) {
	p := newPast(b.verdict)
	for _, a := range b.attempts {
		if a.leased != nil {
			p.add(a.lease)
		}
		r.Emit(r.gone(b, a)...)
	}
	if b.completing != nil {
		r.Emit(r.row(b.id, rowCompleting, nil))
	}
	delete(r.backups, b.id)
	r.past[b.id] = p
	r.unparkAll(b.id)
}

// unparkAll lets go of what waits for a lease of a backup that has ended.
func (r *room) unparkAll(id schemas.UUID) {
	for i := len(r.parked) - 1; i >= 0; i-- {
		if r.parked[i].backup == id {
			r.forget(i)
		}
	}
}

// forgetPast deletes the rows of verdicts and leases that no record can be of any
// more, and of backups that the scheduler itself has forgotten.
func (r *room) forgetPast() {
	old := r.now().Add(-memory)
	for id, p := range r.past {
		if p.done.After(old) {
			continue
		}
		for _, lease := range p.leases {
			r.Emit(r.row(id, leaseRow(lease[:]), nil))
		}
		r.Emit(r.row(id, rowVerdict, nil))
		delete(r.past, id)
	}
	for id, b := range r.backups {
		if b.verdict != nil || b.judging || b.completing != nil || b.finishing || b.cur == nil ||
			b.cur.leased.LeasedMs == 0 || time.UnixMilli(b.cur.leased.LeasedMs).After(old) || len(b.cur.open) > 0 {
			continue
		}
		for lease, a := range b.attempts {
			release(a.end())
			r.Emit(append(r.gone(b, a), r.row(id, leaseRow(lease[:]), nil))...)
		}
		delete(r.backups, id)
	}
}
