package auditor

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/libs/blob"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// rowPoint is how much of a point one row holds: half of what Kafka takes as one
// record. A point of 62 TiB, whose every page is a run of its own, has 320 rows.
const rowPoint = 512 << 10

// complete goes on with a backup whose attempt has all it needs: it makes the point
// and writes it into a row, which shuts out a withdrawal. Like a verdict, the row
// counts when it comes back through the log, so that rivals put the same bytes.
func (r *room) complete(b *backup) error {
	a := b.cur
	if !b.look || a == nil || a.over || a.reading || b.finishing || b.completing != nil || b.verdict != nil || b.judging {
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
	if a.inherits() && a.base == nil && a.leased.GetBase() != nil {
		b.look = true
		r.load(b, a)
		return nil
	}
	c, point, f := r.compose(b, a)
	if f != nil {
		return r.fail(b, a, f)
	}
	b.finishing = true
	places := r.inherentPlaces(a)
	r.Go(func(context.Context) func() {
		err := r.record(b.id, c, point, places)
		return func() { r.complain(r.recorded(b, a, err)) }
	})
	return nil
}

// compose makes the point, and what will be said of it if it stands.
func (r *room) compose(b *backup, a *attempt) (*schemas.Completing, *vault.Point, *fault) {
	inherent, f := a.inherent(a.base)
	if f != nil {
		return nil, nil, f
	}
	run := a.run()
	path, err := vault.PointPath(r.MapKey, run.Epoch, a.leased.Machine, run.Backup, run.Lease)
	if err != nil {
		return nil, nil, faultf(codeShape, "%v", err)
	}
	v := a.verdict(inherent, path, uint32(r.Vault.Quorum()))
	v.DoneMs = r.now().UnixMilli()
	v.Warnings = append(v.Warnings, b.before()...)
	point, f := a.point(a.base, v)
	return &schemas.Completing{Run: run, Verdict: v, Path: path}, point, f
}

// record writes what the ledger does not know yet, then the rows of the point. An
// error that is no fault has ended the room.
func (r *room) record(backup schemas.UUID, c *schemas.Completing, point *vault.Point, places []topics.Event) error {
	body, err := vault.EncodePoint(r.MapKey, point)
	if err != nil {
		return faultf(codeShape, "%v", err)
	}
	if err := r.Put(places...); err != nil {
		return err
	}
	c.Point, body = body[:min(rowPoint, len(body))], body[min(rowPoint, len(body)):]
	c.PartsName = vault.NewPackID(0).Hex()
	for ; len(body) > 0; c.Parts++ {
		n := min(rowPoint, len(body))
		part := &schemas.PageFiled{Row: &schemas.PageFiled_Part{Part: &schemas.PointPart{Body: body[:n]}}}
		if err := r.Put(r.row(backup, partRow(c.Run.Lease, c.PartsName, c.Parts), part)); err != nil {
			return err
		}
		body = body[n:]
	}
	return r.Put(r.row(backup, rowCompleting, &schemas.PageFiled{Row: &schemas.PageFiled_Completing{Completing: c}}))
}

func (r *room) recorded(b *backup, a *attempt, err error) error {
	if f, ok := errors.AsType[*fault](err); ok {
		return r.unfinish(b, a, f)
	}
	return err
}

// testify puts the point of a backup that is completing, then reads the marker, and
// only then, if the epoch was open after the point was there, writes the verdict.
// After a crash anywhere it is done again.
func (r *room) testify(b *backup) {
	c := b.completing
	a := b.attempt(schemas.UUID(c.Run.Lease))
	body, f := a.body(c)
	b.sealing = true
	r.Go(func(ctx context.Context) func() {
		var err error = f
		if f == nil {
			err = r.seal(ctx, b.id, c, body)
		}
		if ctx.Err() != nil {
			return nil
		}
		return func() { r.complain(r.testified(b, a, err)) }
	})
}

// body is the point's object, out of its rows.
func (a *attempt) body(c *schemas.Completing) ([]byte, *fault) {
	body := c.Point
	for i := range c.Parts {
		part := a.parts[partName(c.PartsName, i)]
		if part == nil {
			return nil, faultf(codeShape, "part %d of %d of its point is lost", i, c.Parts)
		}
		body = append(body[:len(body):len(body)], part...)
	}
	return body, nil
}

func (r *room) seal(ctx context.Context, backup schemas.UUID, c *schemas.Completing, body []byte) error {
	if _, err := vault.DecodePoint(r.MapKey, body); err != nil {
		return faultf(codeShape, "the point in its rows: %v", err)
	}
	err := weather(ctx, r.log, "put "+c.Path, func() error { return r.Writer.Small(ctx, c.Path, body) })
	if errors.Is(err, vault.ErrConflict) { // whether it is durable nobody can say
		return faultf(codeShape, "another point is there: %v", err)
	}
	if err != nil {
		return fmt.Errorf("backup %s: %w", backup, err)
	}
	marker := fmt.Sprintf("epochs/%d.closing", c.Run.Epoch)
	err = weather(ctx, r.log, "read "+marker, func() error {
		_, err := r.Vault.Small(ctx, marker)
		return err
	})
	switch {
	case err == nil:
		return faultf(codeEpoch, "epoch %d was closed before the point was in the vault", c.Run.Epoch)
	case !errors.Is(err, blob.ErrNotExist):
		return fmt.Errorf("backup %s: %w", backup, err)
	}
	v := proto.CloneOf(c.Verdict)
	v.DoneMs = r.now().UnixMilli()
	v.WindowKept = v.DoneMs-v.LeasedMs <= cmp.Or(v.WindowMs, r.Window.Milliseconds())
	return r.Put(r.row(backup, rowVerdict, &schemas.PageFiled{Row: &schemas.PageFiled_Verdict{Verdict: v}}))
}

// testified: the verdict is a row, which comes back through the log, or there is
// a fault, such as an epoch that was closed before the point was there.
func (r *room) testified(b *backup, a *attempt, err error) error {
	b.sealing = false
	if r.backups[b.id] != b { // a rival's verdict was told meanwhile
		return nil
	}
	if f, ok := errors.AsType[*fault](err); ok {
		return r.unfinish(b, a, f)
	}
	b.judging = err == nil
	return err
}

// unfinish takes back that a backup is completing: its attempt fails, and a
// withdrawal that waited has come in time.
func (r *room) unfinish(b *backup, a *attempt, f *fault) error {
	if b.completing != nil {
		if err := r.Put(r.row(b.id, rowCompleting, nil)); err != nil {
			return err
		}
	}
	b.finishing, b.completing = false, nil
	a.failed = f // also if it was superseded: what rivals write of it comes too late
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
