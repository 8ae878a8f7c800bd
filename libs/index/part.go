package index

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/holdfast-backup/holdfast/libs/vault"
)

// Place is where a chunk lies in the vault.
type Place struct {
	Pack           vault.PackID
	Offset, Framed uint32
}

// Part is the index of one partition's chunks.
type Part struct {
	dir   *Dir
	db    *pebble.DB
	n     int32
	state State
	whole bool   // state is in the database: rows are what the table said up to Next
	packs uint32 // pack numbers given so far
	dead  map[vault.PackID]bool
	sweep *sweep

	names  [256]named // pack numbers looked up last, by number modulo
	buf    [64]byte   // of the key being made
	val    [chunkValue]byte
	state0 [stateBytes]byte
}

type named struct {
	no   uint32 // from 1; 0: none
	pack vault.PackID
}

func newPart(d *Dir, db *pebble.DB, n int32) (*Part, error) {
	p := &Part{dir: d, db: db, n: n, dead: map[vault.PackID]bool{}}
	v, closer, err := db.Get(p.key(kindState))
	if errors.Is(err, pebble.ErrNotFound) {
		return p, p.Reset()
	}
	if err != nil {
		return nil, err
	}
	p.state, p.packs, err = parseState(v)
	if err := errors.Join(err, closer.Close()); err != nil {
		return p, p.Reset()
	}
	p.whole = true
	return p, p.recallDead()
}

// State is where the part stands; ok is false for one that is empty or half filled.
func (p *Part) State() (s State, ok bool) { return p.state, p.whole }

// Applied is the newest epoch whose marks are all taken in.
func (p *Part) Applied() uint64 { return p.state.Applied }

// Reset forgets everything.
func (p *Part) Reset() error {
	lower, upper := p.bounds(kindChunk, kindEnd)
	if err := p.check(p.db.DeleteRange(lower, upper, pebble.NoSync)); err != nil {
		return err
	}
	*p = Part{dir: p.dir, db: p.db, n: p.n, dead: map[vault.PackID]bool{}}
	return nil
}

// Begin says where the table goes on after what Fill brought. From here the part
// survives a crash; one that was not begun comes back empty.
func (p *Part) Begin(topic [16]byte, next int64) error {
	p.state = State{Topic: topic, Next: next}
	p.whole = true
	return p.write(func(*pebble.Batch) error { return nil })
}

// Find says where a chunk is. A chunk of a dead pack is not found. What is not
// found has no place.
func (p *Part) Find(id []byte) (at Place, ok bool, err error) {
	if err := p.dir.broken(); err != nil {
		return at, false, err
	}
	v, closer, err := p.db.Get(append(p.key(kindChunk), id...))
	if errors.Is(err, pebble.ErrNotFound) {
		return at, false, nil
	}
	if err != nil {
		return at, false, p.check(err)
	}
	if len(v) != chunkValue {
		return at, false, errors.Join(fmt.Errorf("index: chunk of %d bytes, want %d", len(v), chunkValue), closer.Close())
	}
	no := binary.BigEndian.Uint32(v)
	at.Offset, at.Framed = binary.BigEndian.Uint32(v[4:]), binary.BigEndian.Uint32(v[8:])
	if err := closer.Close(); err != nil {
		return at, false, p.check(err)
	}
	if at.Pack, ok, err = p.name(no); err != nil || !ok {
		return Place{}, false, err
	}
	if _, dead := p.dead[at.Pack]; dead {
		return Place{}, false, nil
	}
	return at, true, nil
}

// name resolves a pack number. Neighbours share packs, so the last ones are kept.
func (p *Part) name(no uint32) (id vault.PackID, ok bool, err error) {
	n := &p.names[no%uint32(len(p.names))]
	if n.no == no {
		return n.pack, true, nil
	}
	v, closer, err := p.db.Get(p.packKey(no))
	if errors.Is(err, pebble.ErrNotFound) {
		return id, false, nil // swept between
	}
	if err != nil {
		return id, false, p.check(err)
	}
	id, err = vault.PackIDFromKey(v)
	if err := errors.Join(err, closer.Close()); err != nil {
		return id, false, p.check(err)
	}
	*n = named{no, id}
	return id, true, nil
}

// Store takes in the row of a pack at offset next-1: 32 bytes of ids for each
// offset and frame. It reports whether the pack counts: one that is dead, or
// born so long ago that only a zombie can bring it now, is forgotten instead.
func (p *Part) Store(pack vault.PackID, ids []byte, offsets, framed []uint32, next int64) (bool, error) {
	if p.old(pack) {
		return false, p.Condemn(pack, next)
	}
	if _, dead := p.dead[pack]; dead {
		return false, p.Skip(next)
	}
	p.state.Next = next
	return true, p.put(pack, ids, offsets, framed)
}

// Fill takes in a pack from the vault itself, before Begin.
func (p *Part) Fill(pack vault.PackID, ids []byte, offsets, framed []uint32) error {
	return p.put(pack, ids, offsets, framed)
}

// Skip moves on over a row that changes nothing.
func (p *Part) Skip(next int64) error {
	p.state.Next = next
	return p.write(func(*pebble.Batch) error { return nil })
}

func (p *Part) put(pack vault.PackID, ids []byte, offsets, framed []uint32) error {
	if len(ids) != 32*len(offsets) || len(offsets) != len(framed) {
		return fmt.Errorf("index: pack %s: %d bytes of ids, %d offsets, %d lengths", pack, len(ids), len(offsets), len(framed))
	}
	return p.write(func(b *pebble.Batch) error {
		p.packs++
		k := pack.Key()
		if err := b.Set(p.packKey(p.packs), k[:], nil); err != nil {
			return err
		}
		v := p.val[:]
		binary.BigEndian.PutUint32(v, p.packs)
		for i := range offsets {
			binary.BigEndian.PutUint32(v[4:], offsets[i])
			binary.BigEndian.PutUint32(v[8:], framed[i])
			if err := b.Set(append(p.key(kindChunk), ids[32*i:32*i+32]...), v, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// write is one batch: what f puts into it and, once begun, the state.
func (p *Part) write(f func(*pebble.Batch) error) error {
	if err := p.dir.broken(); err != nil {
		return err
	}
	b := p.db.NewBatch()
	defer b.Close()
	if err := f(b); err != nil {
		return err
	}
	if p.whole {
		if err := b.Set(p.key(kindState), p.state.append(p.state0[:0], p.packs), nil); err != nil {
			return err
		}
	}
	if b.Empty() {
		return nil
	}
	return p.check(b.Commit(pebble.NoSync))
}

// check tells the directory of corruption.
func (p *Part) check(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("index %s: part %d: %w", p.dir.path, p.n, p.dir.seen(err))
}

// Close gives the part back; the last one flushes and closes the database.
func (p *Part) Close() error { return p.dir.leave(p.n) }
