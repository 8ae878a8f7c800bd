package auditor

import (
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// onRow takes a row of pages.filed: recalled, our own come back, or a rival's. The
// log's order is the only one that two auditors of a room agree on, so what must be
// decided once (the verdict) is decided here.
func (r *room) onRow(key []byte, row *schemas.PageFiled) {
	id, name, lease, within, ok := splitKey(key)
	if !ok {
		r.log.Error("a row of pages.filed has a key that names nothing", "key", key)
		return
	}
	if p := r.past[id]; p != nil {
		if row != nil {
			r.late(id, name, lease, row, p)
		}
		return
	}
	if row == nil {
		delete(r.stale, staleRow{id, name})
		if b := r.backups[id]; b != nil {
			r.deleted(b, name, lease, within)
		}
		return
	}
	b := r.backup(id)
	switch row := row.Row.(type) {
	case *schemas.PageFiled_Lease:
		r.sawLease(b, row.Lease)
	case *schemas.PageFiled_File:
		r.sawPart(b, lease, name, func(a *attempt) *fault { return a.exported(row.File) })
	case *schemas.PageFiled_Pages:
		r.sawPart(b, lease, name, func(a *attempt) *fault { return a.apply(within, row.Pages) })
	case *schemas.PageFiled_Completing:
		r.sawCompleting(b, row.Completing)
	case *schemas.PageFiled_Part:
		r.sawPart(b, lease, name, func(a *attempt) *fault {
			a.parts[within] = row.Part.Body
			return nil
		})
	case *schemas.PageFiled_Verdict:
		r.sawVerdict(b, row.Verdict)
	}
}

// deleted takes a row back that a log without compaction still shows. Rows of pages
// go when their attempt is over, so what they said of it does not matter any more.
func (r *room) deleted(b *backup, name string, lease schemas.UUID, within string) {
	a := b.attempts[lease]
	kind, _, _ := strings.Cut(name, "/")
	switch {
	case name == rowCompleting && !b.sealing:
		b.completing = nil
	case r.live && (name == rowVerdict || kind+"/" == leasePrefix): // of a clock that runs ahead
	case name == rowVerdict:
		delete(r.backups, b.id)
	case a == nil:
	case kind+"/" == leasePrefix:
		if delete(b.attempts, lease); b.cur == a {
			b.cur = nil
		}
	default:
		a.forget(kind+"/", within)
	}
}

func (a *attempt) forget(kind, within string) {
	switch kind {
	case pagesPrefix:
		delete(a.rows, within)
	case pointPrefix:
		delete(a.parts, within)
	case filePrefix:
		if within == finishedRow {
			a.finished = nil
			return
		}
		no, part, _ := strings.Cut(within, "/")
		n, _ := strconv.ParseUint(no, 10, 32)
		if f := a.files[uint32(n)]; f != nil {
			p, _ := strconv.ParseUint(part, 10, 32)
			delete(f.parts, uint32(p))
		}
	}
}

// sawCompleting takes the first such row in the log for the one whose point is put.
// Of an attempt that failed it is what a rival, or we, have taken back.
func (r *room) sawCompleting(b *backup, c *schemas.Completing) {
	if b.completing != nil || b.verdict != nil || checkRun(c.GetRun()) != nil {
		return
	}
	if b.attempt(schemas.UUID(c.Run.Lease)).failed != nil {
		return
	}
	b.completing, b.finishing = c, false
	if r.live {
		r.Post(func() { r.complain(r.act(b)) })
	}
}

// sawPart applies a row to its attempt. A fault here is that of rivals who filed
// under one lease; it is told when the attempt is looked at.
func (r *room) sawPart(b *backup, lease schemas.UUID, name string, apply func(*attempt) *fault) {
	a := b.attempt(lease)
	if a.over {
		r.stale[staleRow{b.id, name}] = true
		return
	}
	if f := apply(a); f != nil && a.broken == nil {
		a.broken = f
	}
	b.look = true
}

func (r *room) sawLease(b *backup, s *schemas.LeaseSeen) {
	l := s.GetLeased()
	if checkRun(l.GetRun()) != nil {
		return
	}
	a := b.attempt(schemas.UUID(l.Run.Lease))
	if a.leased == nil {
		a.leased = l
	}
	if s.Failed && a.failed == nil {
		a.failed = &fault{s.Code, s.Reason, s.Permanent}
		a.untold = !r.live // its word may have been lost with the room that wrote this
		release(a.end())
	}
	if b.cur != a && (b.cur == nil || l.Run.Attempt > b.cur.run().GetAttempt()) {
		if b.cur != nil {
			release(b.cur.end())
		}
		b.cur = a
		r.Post(func() { r.complain(r.unpark(b)) })
	}
}

// sawVerdict takes the first verdict in the log for the verdict. A rival's other one
// behind it is overwritten: by the row that says told, or, if that stands, by late.
func (r *room) sawVerdict(b *backup, v *schemas.Verdict) {
	switch {
	case b.verdict == nil:
		b.verdict = v
		for _, a := range b.attempts {
			release(a.end())
		}
		for _, w := range b.withdrawn {
			w.hold.Release()
		}
		b.withdrawn = nil
	case v.Told && v.Status == b.verdict.Status:
		b.verdict.Told = true
	}
	if r.live {
		r.Post(func() { r.complain(r.act(b)) })
	}
}

// late is a row of a backup whose verdict was told: verdict and leases stay as
// they are, all else goes.
func (r *room) late(id schemas.UUID, name string, lease schemas.UUID, row *schemas.PageFiled, p *past) {
	switch row := row.Row.(type) {
	case *schemas.PageFiled_Lease:
		p.add(lease)
	case *schemas.PageFiled_Verdict:
		if row.Verdict.Status != p.status {
			r.Emit(r.row(id, rowVerdict, &schemas.PageFiled{Row: &schemas.PageFiled_Verdict{Verdict: p.verdict()}}))
		}
	default:
		r.Emit(r.row(id, name, nil))
	}
}

// staleRow is a row of an attempt that is over, written by a rival or by a landing
// that came too late.
type staleRow struct {
	backup schemas.UUID
	name   string
}

// sweep deletes rows of attempts that are over. While a backup is completing, the
// rows of the attempt that completes it may be needed to make its point again.
func (r *room) sweep(b *backup) {
	if b.completing != nil || b.finishing {
		return
	}
	for _, a := range b.attempts {
		if a.over || a.leased == nil {
			r.Emit(r.gone(b, a)...)
		}
		if a.leased == nil {
			delete(b.attempts, a.lease)
		}
	}
}

func (r *room) sweepStale() {
	for s := range r.stale {
		if b := r.backups[s.backup]; b == nil || b.completing == nil && !b.finishing {
			r.Emit(r.row(s.backup, s.name, nil))
			delete(r.stale, s)
		}
	}
}

// names are the rows of an attempt's pages and files.
func (a *attempt) names() (names []string) {
	for within := range a.rows {
		names = append(names, pagesRow(a.lease[:], within))
	}
	for within := range a.parts {
		names = append(names, pointPrefix+hex.EncodeToString(a.lease[:])+"/"+within)
	}
	run := &schemas.Run{Lease: a.lease[:]}
	for _, f := range a.files {
		for part := range f.parts {
			names = append(names, fileRow(&schemas.FileExported{Run: run, File: f.no, Part: part}))
		}
	}
	if a.finished != nil {
		names = append(names, fileRow(&schemas.FileExported{Run: run, Finished: a.finished}))
	}
	return names
}

// gone are the tombstones of an attempt's pages and files, after which it remembers none.
func (r *room) gone(b *backup, a *attempt) (out []topics.Event) {
	for _, name := range a.names() {
		out = append(out, r.row(b.id, name, nil))
	}
	a.rows, a.files, a.parts, a.finished = map[string]bool{}, map[uint32]*file{}, map[string][]byte{}, nil
	return out
}

func release(holds []releaser) {
	for _, h := range holds {
		h.Release()
	}
}
