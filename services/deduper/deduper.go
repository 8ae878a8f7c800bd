// Package deduper decides, chunk by chunk, what must be stored. A chunk that the
// vault has is answered *known*; of all who ask for one that it has not, the
// first is sent on as *fresh* and the others wait until it is durable. So a
// thousand clones of one disk, started together, store one copy.
//
// Its memory is a table, chunks.stored, of which it keeps an index on local disk
// (libs/index) that may be lost at any time. Two things it must never do: call
// known what is not durable (index rows come only from the table, and the table
// only after a quorum), and call known what the collector condemned: an answer
// says by which epoch it was judged, a cut of a later epoch waits until the
// marks of that epoch were seen, and a pack too old to be written now is
// forgotten when a row of it comes.
package deduper

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/libs/index"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// room decides the chunks of one partition.
type room struct {
	*shared
	at     *stage.Room
	part   *index.Part
	claims *claims
	held   map[hold]*record
	early  []*record // cut in an epoch whose marks are not all seen here
	recall recall
	tally  tally
	found  []index.Place // scratch of judge: of each place, or no pack
}

// cut answers a cut record, or holds it.
func (r *room) cut(in *stage.In, c *schemas.ChunksCut) error {
	if err := wrong(c, r.at.Number, r.at.Of); err != nil {
		return stage.Refuse(fmt.Errorf("chunks cut of file %d, extent %d of backup %x: %w", c.GetFile(), c.GetExtent(), c.GetRun().GetBackup(), err))
	}
	rec := &record{cut: c}
	if c.Run.Epoch > r.part.Applied() {
		r.hold(rec, in)
		r.early = append(r.early, rec)
		return nil
	}
	if err := r.judge(rec); err != nil {
		return err
	}
	for _, e := range rec.tell(true) {
		in.Emit(e)
	}
	if rec.left > 0 {
		r.hold(rec, in)
	}
	return nil
}

func (r *room) hold(rec *record, in *stage.In) {
	rec.hold = in.Hold()
	r.held[rec.hold] = rec
}

// judge decides each place of a record. This is the line that says "known": the
// index has the chunk, so a quorum of targets has it, and its pack is not marked
// by any epoch up to the applied one, which the answer names. It fails before it
// claims anything, so it may be called again.
func (r *room) judge(rec *record) error {
	begun := r.env.Now()
	refs, applied := rec.cut.Refs, r.part.Applied()
	r.found = r.found[:0]
	for i := range refs.Places {
		var at index.Place
		if id := rec.id(i); !r.claims.has(id) {
			var err error
			if at, _, err = r.part.Find(id[:]); err != nil {
				return fmt.Errorf("chunk %s: %w", id, err)
			}
		}
		r.found = append(r.found, at)
	}
	now := r.env.Now()
	rec.lookupUS = uint32(max(0, now.Sub(begun).Microseconds()))
	for i, at := range r.found {
		switch {
		case !at.Pack.IsZero():
			rec.answer(i, at, applied)
		case r.claims.ask(rec, i, now):
			rec.send(i)
		}
	}
	rec.took += r.env.Now().Sub(begun)
	return nil
}

// admit judges the records that waited for an epoch.
func (r *room) admit() error {
	early := r.early
	r.early = nil
	for _, rec := range early {
		if rec.cut.Run.Epoch > r.part.Applied() {
			r.early = append(r.early, rec)
		} else if err := r.judge(rec); err != nil {
			return err // and the room ends
		} else {
			r.claims.touch(rec)
		}
	}
	return nil
}

// dropped passes claims on whose chunks were lost on the way.
func (r *room) dropped(_ *stage.In, d *schemas.ChunksDropped) error {
	if len(d.Ids) != 32*len(d.Places) {
		return stage.Refuse(fmt.Errorf("chunks dropped of backup %x: %d places, %d bytes of ids", d.GetRun().GetBackup(), len(d.Places), len(d.Ids)))
	}
	now := r.env.Now()
	for i, place := range d.Places {
		r.claims.dropped(d.Run, d.File, place, [32]byte(d.Ids[32*i:]), now)
	}
	r.settle()
	return nil
}

// settle tells what changed of held records, and releases those of which nothing
// is left to come. What is told of one before its end is acknowledged before its
// end: a record that is done does not come again, whatever else is lost.
func (r *room) settle() {
	var events []topics.Event
	var sending []*record
	for _, rec := range r.claims.take() {
		if r.release(rec) {
			continue
		}
		if told := rec.tell(false); len(told) > 0 {
			rec.sending++
			sending, events = append(sending, rec), append(events, told...)
		}
	}
	if len(sending) == 0 {
		return
	}
	r.at.Go(func(context.Context) func() {
		if r.at.Put(events...) != nil {
			return nil // and the room has ended
		}
		return func() {
			for _, rec := range sending {
				rec.sending--
				r.release(rec)
			}
		}
	})
}

// release ends a record that waits for nothing.
func (r *room) release(rec *record) bool {
	if rec.left > 0 || rec.sending > 0 {
		return false
	}
	delete(r.held, rec.hold)
	rec.hold.Release(rec.tell(true)...)
	return true
}

// overdue ends a hold that is older than holdMax: what waits still is sent fresh,
// each place for itself, which at worst stores a second copy. A cut whose epoch
// never came here is not judged, and fresh is right in any epoch.
func (r *room) overdue(h *stage.Hold) {
	rec := r.held[h]
	if rec == nil {
		return
	}
	for i, early := range r.early {
		if early == rec {
			r.early = append(r.early[:i], r.early[i+1:]...)
			for ref := range rec.cut.Refs.Places {
				rec.send(ref)
			}
			break
		}
	}
	r.claims.release(rec)
	r.settle()
}

// tick looks after claims, dead packs and the disk.
func (r *room) tick(*stage.In) error {
	r.claims.tick(r.env.Now())
	r.settle()
	r.flush(r.at)
	r.count(&r.tally, tally{int64(len(r.claims.byID)), int64(r.claims.waiting), int64(r.part.Dead())})
	if r.part.Dead() == 0 {
		return nil
	}
	_, err := r.part.Sweep(sweepChunks)
	return err
}

// Close gives the index back.
func (r *room) Close() error {
	r.count(&r.tally, tally{})
	return r.part.Close()
}

const (
	tickEvery = 5 * time.Second
	// sweepChunks a tick is 4000 a second, 20 ms of work: a partition of 5.7M
	// chunks is swept in 24 minutes, and its dead are not answered meanwhile.
	sweepChunks = 20_000
	// holdMax is above the 5 and 15 minutes of a claim.
	holdMax = 20 * time.Minute
)
