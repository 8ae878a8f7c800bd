package auditor

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/libs/blob"
	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// rowPoint is the largest point that is kept in its row, so that a repeat puts the
// same bytes. A larger one is made again from the rows of its pages: other bytes
// under a fresh salt, the same point, and whichever is there first stays. It is
// half of what Kafka takes as one record.
const rowPoint = 512 << 10

// complete finishes a backup whose attempt has all it needs.
func (r *room) complete(b *backup) error {
	a := b.cur
	if !b.look || a == nil || a.over || b.finishing != nil || b.completing != nil || b.verdict != nil || b.judging {
		return nil
	}
	b.look = false
	if ok, f := a.complete(); f != nil {
		return r.fail(b, a, f)
	} else if !ok {
		return nil
	}
	if n, ok := r.dropped[a.leased.GetBase().GetPath()]; ok && n <= a.run().GetEpoch() {
		return r.fail(b, a, faultf(codeBase, "point %s was dropped in epoch %d", a.leased.Base.Path, n))
	}
	return r.finish(b, a)
}

// finish writes the point of a complete attempt. It is called again when the base
// is read, and after a restart.
func (r *room) finish(b *backup, a *attempt) error {
	if b.finishing = a; a.inherits() && a.base == nil && len(b.completing.GetPoint()) == 0 {
		r.load(b, a)
		return nil
	}
	c := b.completing
	w := &witness{room: r, id: b.id, a: a, c: c, fresh: c == nil}
	if len(c.GetPoint()) == 0 {
		if f := r.compose(w); f != nil {
			return r.unfinish(b, a, f)
		}
	}
	b.sealing = true
	r.Go(func(ctx context.Context) func() {
		closed, err := w.testify(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			r.Fail(err)
			return nil
		}
		return func() { r.complain(r.finished(b, a, w, closed)) }
	})
	return nil
}

// compose makes the point, and the row, if there is none yet.
func (r *room) compose(w *witness) *fault {
	inherent, f := w.a.inherent(w.a.base)
	if f != nil {
		return f
	}
	if w.fresh {
		run := w.a.run()
		path, err := vault.PointPath(r.MapKey, run.Epoch, w.a.leased.Machine, run.Backup, run.Lease)
		if err != nil {
			return faultf(codeShape, "%v", err)
		}
		v := w.a.verdict(inherent, path, uint32(r.Vault.Quorum()))
		v.DoneMs = r.now().UnixMilli()
		w.c = &schemas.Completing{Run: run, Verdict: v, Path: path}
		w.places = r.inherentPlaces(w.a)
	}
	w.point, f = w.a.point(w.a.base, w.c.Verdict)
	return f
}

// witness brings one complete attempt to its verdict: what it must have in hand to
// do so beside its room.
type witness struct {
	room   *room
	id     schemas.UUID
	a      *attempt
	c      *schemas.Completing
	fresh  bool // no row says so yet
	point  *vault.Point
	places []topics.Event
}

// testify writes, in this order: what the ledger does not know yet, the row that
// shuts out a withdrawal, the point; then it reads the marker, and only then, if
// the epoch was open after the point was there, writes the verdict. After a crash
// anywhere it is done again.
func (w *witness) testify(ctx context.Context) (closed bool, err error) {
	r := w.room
	body := w.c.GetPoint()
	if w.point != nil {
		if body, err = vault.EncodePoint(r.MapKey, w.point); err != nil {
			return false, fmt.Errorf("point of backup %s: %w", w.id, err)
		}
		if w.fresh && len(body) <= rowPoint {
			w.c.Point = body
		}
	}
	if w.fresh {
		if err := r.Put(w.places...); err != nil {
			return false, err
		}
		if err := r.Put(r.row(w.id, rowCompleting, &schemas.PageFiled{Row: &schemas.PageFiled_Completing{Completing: w.c}})); err != nil {
			return false, err
		}
	}
	err = weather(ctx, r.log, "put "+w.c.Path, func() error { return r.Writer.Small(ctx, w.c.Path, body) })
	if err != nil && !errors.Is(err, vault.ErrConflict) { // there already: this lease's, under another salt
		return false, fmt.Errorf("backup %s: %w", w.id, err)
	}
	marker := fmt.Sprintf("epochs/%d.closing", w.c.Run.Epoch)
	err = weather(ctx, r.log, "read "+marker, func() error {
		_, err := r.Vault.Small(ctx, marker)
		return err
	})
	switch {
	case err == nil:
		return true, nil
	case !errors.Is(err, blob.ErrNotExist):
		return false, fmt.Errorf("backup %s: %w", w.id, err)
	}
	v := proto.CloneOf(w.c.Verdict)
	v.DoneMs = r.now().UnixMilli()
	v.WindowKept = v.DoneMs-v.LeasedMs <= r.Window.Milliseconds()
	return false, r.Put(r.row(w.id, rowVerdict, &schemas.PageFiled{Row: &schemas.PageFiled_Verdict{Verdict: v}}))
}

// finished: the verdict is a row, which comes back through the log; or the epoch
// was closed before the point was there, so that the point may be void.
func (r *room) finished(b *backup, a *attempt, w *witness, closed bool) error {
	b.sealing = false
	if r.backups[b.id] != b { // a rival's verdict was told meanwhile
		return nil
	}
	if closed {
		b.completing = w.c
		return r.unfinish(b, a, faultf(codeEpoch, "epoch %d was closed before the point was in the vault", w.c.Run.Epoch))
	}
	b.finishing, b.completing, b.judging = nil, w.c, true
	return nil
}

// unfinish takes back that a backup is completing: its attempt fails, and a
// withdrawal that waited has come in time.
func (r *room) unfinish(b *backup, a *attempt, f *fault) error {
	b.finishing = nil
	if b.completing != nil {
		if err := r.Put(r.row(b.id, rowCompleting, nil)); err != nil {
			return err
		}
		b.completing = nil
	}
	if err := r.fail(b, a, f); err != nil || len(b.withdrawn) == 0 {
		return err
	}
	waited := b.withdrawn
	b.withdrawn = nil
	err := r.judge(b, r.withdrawal(b, waited[0].said))
	for _, w := range waited {
		w.hold.Release()
	}
	return err
}

// inherentPlaces tells the ledger of pages that have no object, and each file's name.
func (r *room) inherentPlaces(a *attempt) (out []topics.Event) {
	for _, f := range a.named() {
		e := &schemas.PlacesFiled{Run: a.run(), Machine: a.leased.Machine, Job: a.leased.Job, Tenant: a.leased.Tenant, File: f.no,
			Name: f.facts.Name, GridBytes: f.facts.GridBytes, Cut: &schemas.Places{}, AtMs: r.now().UnixMilli()}
		runs, _ := f.runs() // checked: the attempt is complete
		for _, p := range runs {
			if p.what == schemas.PageRun_WHAT_EXPORTED {
				continue
			}
			first, end := uint64(p.first)*cut.PagePlaces, (uint64(p.first)+uint64(p.count))*cut.PagePlaces
			places := (f.facts.SizeBytes + uint64(f.facts.GridBytes) - 1) / uint64(max(1, f.facts.GridBytes))
			e.Runs = append(e.Runs, &schemas.PlaceRun{First: first, Count: min(end, places) - first, Inherited: p.what == schemas.PageRun_WHAT_INHERITED})
			if len(e.Runs) == rowPages { // about 10 bytes each
				out = append(out, topics.PlacesFiled.Event(a.run().Backup, e))
				e = &schemas.PlacesFiled{Run: e.Run, Machine: e.Machine, Job: e.Job, Tenant: e.Tenant, File: e.File, Name: e.Name,
					GridBytes: e.GridBytes, Cut: &schemas.Places{}, AtMs: e.AtMs}
			}
		}
		out = append(out, topics.PlacesFiled.Event(a.run().Backup, e))
	}
	return out
}
