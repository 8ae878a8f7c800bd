package sealer

import (
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/libs/shard"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// packChunks bounds a pack's chunks, so that its record stays below 1 MB whatever
// their size: 4096 chunks of 4096 extents take about 4096 x (60 of ids and columns + 90
// of the extent's own) = 600 KB. A full pack of 64 KiB chunks has about 500.
const packChunks = 4096

// pack is the open pack: what a builder holds, and of whom.
type pack struct {
	b     *vault.Builder
	hold  *stage.Hold
	held  map[*record]bool
	refs  []ref
	birth uint64
	told  *schemas.PackSealed
	by    map[*record]*schemas.SealedExtent
	took  time.Duration // to compress and to seal
	given bool          // up; guarded by the engine's mutex
}

// append appends pieces to the open pack, in order. It waits for its turn, and for
// memory where a pack is full and none is free.
func (e *engine) append(pieces []piece) {
	if len(pieces) == 0 {
		return
	}
	select {
	case <-e.ctx.Done():
		return
	case <-e.turn:
	}
	defer func() { e.turn <- struct{}{} }()
	for _, p := range pieces {
		if e.open != nil && (!e.open.b.Fits(len(p.body)) || len(e.open.refs) >= packChunks) {
			e.ship()
		}
		if e.open == nil && !e.begin() {
			return
		}
		begun := e.env.Now()
		if err := e.open.add(p); err != nil {
			e.drop(err, p.ref)
			continue
		}
		e.open.took += e.env.Now().Sub(begun)
	}
	e.mu.Lock()
	if e.open != nil {
		e.idleAt = time.After(idleFor)
	}
	e.mu.Unlock()
	e.ring()
}

// begin opens a pack. False: the engine ends.
func (e *engine) begin() bool {
	var buf []byte
	select {
	case <-e.ctx.Done():
		return false
	case buf = <-e.bufs:
	}
	var b *vault.Builder
	err := e.forever("no pack is opened", func() (err error) {
		b, err = vault.NewBuilder(e.deps.Ring, vault.BuilderOptions{Buf: buf})
		return err
	})
	if err != nil {
		return false
	}
	e.open = &pack{b: b, held: map[*record]bool{}, told: &schemas.PackSealed{}, by: map[*record]*schemas.SealedExtent{}}
	e.mu.Lock()
	e.packAt = time.After(packFor)
	e.mu.Unlock()
	return true
}

// add seals a piece into the pack, which from now on holds its record.
func (p *pack) add(c piece) error {
	m := c.rec.msg
	entry, err := p.b.Append(c.id(), c.body, c.codec, int(c.length()))
	if err != nil {
		return err
	}
	if p.hold == nil {
		p.hold = c.rec.in.Hold()
	} else if !p.held[c.rec] {
		p.hold.Add(c.rec.in)
	}
	p.held[c.rec] = true
	p.refs = append(p.refs, c.ref)
	p.birth = max(p.birth, m.Run.Epoch)
	x := p.by[c.rec]
	if x == nil {
		x = &schemas.SealedExtent{Run: m.Run, File: m.File, Extent: m.Extent}
		if !c.rec.timed { // the stage times of a record that two packs share go with the first
			c.rec.timed = true
			x.ReadUs, x.CutUs, x.LookupUs = m.ReadUs, m.CutUs, m.LookupUs
		}
		p.by[c.rec] = x
		p.told.Extents = append(p.told.Extents, x)
	}
	id := c.id()
	x.Places, x.Ids = append(x.Places, c.place()), append(x.Ids, id[:]...)
	x.Offsets, x.Framed, x.Lengths = append(x.Offsets, entry.Offset), append(x.Framed, entry.Framed), append(x.Lengths, entry.Plain)
	x.SealUs += uint32(max(0, c.took.Microseconds()))
	p.took += max(0, c.took)
	return nil
}

// close ships the open pack, if there is one and its turn comes.
func (e *engine) close() {
	select {
	case <-e.ctx.Done():
		return
	case <-e.turn:
	}
	defer func() { e.turn <- struct{}{} }()
	if e.open != nil {
		e.ship()
	}
}

// ship takes the open pack away to be written. The caller has the turn.
func (e *engine) ship() {
	p := e.open
	e.open = nil
	e.mu.Lock()
	e.packAt, e.idleAt = nil, nil
	e.packs[p.hold] = p
	e.mu.Unlock()
	e.work.Go(func() { e.write(p) })
}

// drop forgets a builder that erred, and seals its chunks anew: their records' gates
// are held still.
func (e *engine) drop(err error, more ref) {
	p := e.open
	e.open = nil
	e.env.Log.Error("open pack is dropped", "chunks", len(p.refs), "err", err)
	e.bufs <- nil
	e.mu.Lock()
	e.packAt, e.idleAt = nil, nil
	e.queue(append(p.refs, more))
	e.mu.Unlock()
	e.ring()
	if p.hold != nil {
		p.hold.Release()
	}
}

// write stores a pack in the sealed area and tells of it.
func (e *engine) write(p *pack) {
	id, data, _, err := p.b.Close(p.birth)
	if err != nil {
		panic(fmt.Sprintf("%s: a pack of %d chunks that never erred: %v", stageName, len(p.refs), err))
	}
	defer func() { e.bufs <- data }()
	begun := e.env.Now()
	var ref string
	err = e.forever("pack is not written", func() (err error) {
		ref, err = e.deps.Sealed.Put(e.ctx, id.String(), data) // the same bytes each time
		return err
	})
	if err != nil {
		return // the engine ends, and all its records come again
	}
	p.told.Pack, p.told.Blob, p.told.SizeBytes, p.told.Blake3 = id.Proto(), ref, uint32(len(data)), shard.Sums(max(1, e.deps.Shards), data)
	e.mu.Lock()
	delete(e.packs, p.hold)
	given := p.given
	e.mu.Unlock()
	if given || p.dead() {
		if err := e.deps.Sealed.Remove(ref); err != nil {
			e.env.Log.Warn("pack of nobody is not removed", "pack", id, "err", err)
		}
	} else {
		key := id.Key()
		p.hold.Release(topics.Took(p.took+e.env.Now().Sub(begun), topics.PacksSealed.Event(key[:], p.told))...)
	}
	e.settle(p.refs, "", "")
}

// dead reports whether every record of the pack is another room's by now: nobody
// would tell of it, and its file would stay.
func (p *pack) dead() bool {
	for r := range p.held {
		if r.in.Err() == nil {
			return false
		}
	}
	return true
}
