// Package auditor is the judge, and the one mouth of the house.
//
// Other stages say what they have done: the exporter which pages a file has, the
// chunker which chunks a page must hold, deduper and uploader where each chunk is
// durable. Nobody believes any of them alone. The auditor fills pages from all of
// them, in any order, and files a page in the vault only when every place has its
// answer and the answers are what was cut. A backup is complete when every page that
// was exported is filed, under one lease and of one snapshot; then its point is
// written, and then, if its epoch is still open, it is told. From the vault alone
// the point can be restored. Whatever Kafka loses, repeats or reorders, the worst
// that follows is an attempt that fails.
//
// Pure, without Kafka or vault: attempt, extent, page, file, base, row, point. A
// room has the backups of one partition: input and park bring records to an
// attempt, filer and landing bring pages to the vault, finish brings a complete
// attempt to its verdict, verdict and tell bring the verdict to everybody.
package auditor

import (
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// house is what the rooms of a process share.
type house struct {
	Config
	Deps
	region string
	now    func() time.Time
	log    *slog.Logger
	filer  *filer
	reads  chan struct{} // tokens of reads from the base
}

// readsMax bounds reads of base pages at a time, in a process: at 4 MiB, the most a
// map pack can be, 64 MiB.
const readsMax = 16

func newHouse(c Config, d Deps, env stage.Env) *house {
	h := &house{Config: c, Deps: d, region: env.Region, now: env.Now, log: env.Log, reads: make(chan struct{}, readsMax)}
	h.filer = newFiler(d.Writer, d.MapKey, env.Now, env.Log)
	return h
}

// room has the backups of one partition.
type room struct {
	*stage.Room
	*house
	backups map[schemas.UUID]*backup // without a verdict that was told
	past    map[schemas.UUID]*past
	parked  []*parked
	waiting int // bytes of parked
	landed  []*landing
	writing bool          // the first of landed is on its way into rows
	worked  time.Duration // in handlers, and not told yet
	stale   map[staleRow]bool
	live    bool // all rows are recalled

	dropped map[string]uint64 // points, and the epoch whose opening dropped them
	targets map[string]*schemas.TargetTurned
	swept   time.Time
}

func (h *house) room(r *stage.Room) (*room, error) {
	h.Rooms.Open(r.Of)
	return &room{Room: r, house: h, backups: map[schemas.UUID]*backup{}, past: map[schemas.UUID]*past{}, stale: map[staleRow]bool{},
		dropped: map[string]uint64{}, targets: map[string]*schemas.TargetTurned{}}, nil
}

// Close gives the room's share of the targets' limits back.
func (r *room) Close() error {
	r.Rooms.Close(r.Of)
	return nil
}

func (r *room) onFile(in *stage.In, e *schemas.FileExported) error {
	if err := checkFile(e); err != nil {
		return stage.Refuse(err)
	}
	return r.route(in, e.Run, proto.Size(e), func(i *input, b *backup, a *attempt) error {
		if f := a.exported(e); f != nil {
			return r.fail(b, a, f)
		}
		i.emit(r.row(b.id, fileRow(e), &schemas.PageFiled{Row: &schemas.PageFiled_File{File: e}}))
		b.moved, b.look = true, true
		return nil
	})
}

func (r *room) onCut(in *stage.In, c *schemas.ExtentCut) error {
	if err := checkCut(c); err != nil {
		return stage.Refuse(err)
	}
	return r.route(in, c.Run, proto.Size(c), func(i *input, b *backup, a *attempt) error {
		id := extentID{c.File, c.Extent}
		f, zero, err := a.expect(c)
		if err != nil {
			return r.fail(b, a, err)
		}
		if zero {
			return r.fileZero(i, b, a, c)
		}
		return r.settle(i, b, a, id, f)
	})
}

// onKnown takes places that the deduper found in its index. An index that had not
// applied the backup's epoch may name packs that are gone.
func (r *room) onKnown(in *stage.In, k *schemas.ChunksKnown) error {
	if err := checkPlaces(k.Places); err != nil {
		return stage.Refuse(fmt.Errorf("file %d, extent %d: %w", k.File, k.Extent, err))
	}
	return r.route(in, k.Run, proto.Size(k), func(i *input, b *backup, a *attempt) error {
		if k.Judged < a.run().GetEpoch() {
			return nil
		}
		return r.answer(i, b, a, answers{ext: extentID{k.File, k.Extent}, places: k.Places, took: took{lookup: k.LookupUs}})
	})
}

func (r *room) onLanded(in *stage.In, l *schemas.ChunksLanded) error {
	if err := checkPlaces(l.Places); err != nil {
		return stage.Refuse(fmt.Errorf("file %d, extent %d: %w", l.File, l.Extent, err))
	}
	return r.route(in, l.Run, proto.Size(l), func(i *input, b *backup, a *attempt) error {
		return r.answer(i, b, a, answers{ext: extentID{l.File, l.Extent}, places: l.Places, fresh: true,
			took: took{seal: l.SealUs, put: l.PutUs}, redundancy: l.Redundancy})
	})
}

func (r *room) answer(i *input, b *backup, a *attempt, s answers) error {
	f, err := a.answer(s)
	if err != nil {
		return r.fail(b, a, err)
	}
	return r.settle(i, b, a, s.ext, f)
}

// settle gives a record its fate, and full pages to the filer.
func (r *room) settle(i *input, b *backup, a *attempt, id extentID, f fate) error {
	switch f {
	case held:
		e := a.open[id]
		e.holds = append(e.holds, i.keep())
	case closed:
		i.emit(closedEvent(a, []*schemas.ClosedExtent{{File: id.file, Extent: id.no}}))
	}
	return r.drain(b, a)
}

// onFault ends the attempt, unless the bytes that are missed are filed.
func (r *room) onFault(in *stage.In, f *schemas.BackupFaulted) error {
	return r.route(in, f.Run, proto.Size(f), func(_ *input, b *backup, a *attempt) error {
		if b.finishing || b.completing != nil || !f.Whole && a.file(f.File).closed.has(f.Extent) {
			return nil
		}
		return r.fail(b, a, &fault{f.Code, f.Stage + ": " + f.Reason, f.Permanent})
	})
}

func closedEvent(a *attempt, extents []*schemas.ClosedExtent) topics.Event {
	return topics.ExtentsClosed.Event(a.run().Backup, &schemas.ExtentsClosed{Run: a.run(), Extents: extents})
}

func (r *room) onEpoch(_ []byte, e *schemas.EpochTurned) {
	if e.GetTurn() != schemas.EpochTurned_TURN_OPENING {
		return
	}
	for _, path := range e.Dropped {
		if n, ok := r.dropped[path]; !ok || e.Epoch < n {
			r.dropped[path] = e.Epoch
		}
	}
}

func (r *room) onTarget(key []byte, t *schemas.TargetTurned) {
	if t == nil {
		delete(r.targets, string(key))
		return
	}
	r.targets[string(key)] = t
}
