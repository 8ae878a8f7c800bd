package index

import (
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/holdfast-backup/holdfast/libs/vault"
)

// A condemned pack joins the dead set at once, which every lookup asks, and its
// rows are swept later, a few at a time. It leaves the set when its rows are gone
// and it is too old to come back: a redelivered row of it is refused by birth
// from then on. A pack that is not so old stays in the set, swept or not: its row
// may yet be repeated by an uploader that has not heard.

// old reports whether only a zombie can bring a row of pack: epoch applied-2 was
// closed, and its deletions done, before applied opened.
func (p *Part) old(pack vault.PackID) bool { return pack.Birth+1 < p.state.Applied }

// Condemn takes in a mark or a tombstone at offset next-1.
func (p *Part) Condemn(pack vault.PackID, next int64) error {
	p.state.Next = next
	p.dead[pack] = false
	return p.write(func(b *pebble.Batch) error { return b.Set(p.deadKey(pack), nil, nil) })
}

// Apply takes in a control record at offset next-1: all marks of the epoch came before it.
func (p *Part) Apply(epoch uint64, next int64) error {
	p.state.Applied = max(p.state.Applied, epoch)
	return p.Skip(next)
}

// Dead is how many packs are condemned and not yet forgotten.
func (p *Part) Dead() int { return len(p.dead) }

func (p *Part) recallDead() error {
	lower, upper := p.bounds(kindDead, kindDead+1)
	return p.each(lower, upper, func(k, _ []byte) (bool, error) {
		id, err := vault.PackIDFromKey(k[prefixBytes:])
		p.dead[id] = false
		return true, err
	})
}

// sweep is one pass over all chunks for the packs that were dead at its start.
type sweep struct {
	packs []vault.PackID
	nos   map[uint32]bool
	from  []byte
}

// Sweep looks at up to limit chunks and removes those of dead packs. It reports
// whether there is more to do now. A pass that a crash cuts short begins again.
func (p *Part) Sweep(limit int) (more bool, err error) {
	if p.sweep == nil {
		if more, err := p.beginSweep(); !more || err != nil {
			return false, err
		}
	}
	s, left := p.sweep, limit
	_, upper := p.bounds(kindChunk, kindChunk+1)
	b := p.db.NewBatch()
	defer b.Close()
	done := true
	err = p.each(s.from, upper, func(k, v []byte) (bool, error) {
		if left--; left < 0 {
			s.from, done = append(s.from[:0], k...), false
			return false, nil
		}
		if len(v) == chunkValue && s.nos[binary.BigEndian.Uint32(v)] {
			return true, b.Delete(k, nil)
		}
		return true, nil
	})
	if err == nil && done {
		err = p.endSweep(b)
	}
	if err != nil || b.Empty() {
		return !done, err
	}
	return !done, p.check(b.Commit(pebble.NoSync))
}

// beginSweep forgets the dead that need no sweep any more, and names the rest.
func (p *Part) beginSweep() (bool, error) {
	s := &sweep{nos: map[uint32]bool{}}
	s.from, _ = p.bounds(kindChunk, kindEnd)
	var gone []vault.PackID
	for id, swept := range p.dead {
		switch {
		case !swept:
			s.packs = append(s.packs, id)
		case p.old(id):
			gone = append(gone, id)
		}
	}
	if err := p.forget(gone); err != nil || len(s.packs) == 0 {
		return false, err
	}
	lower, upper := p.bounds(kindPack, kindPack+1)
	err := p.each(lower, upper, func(k, v []byte) (bool, error) {
		id, err := vault.PackIDFromKey(v)
		if swept, dead := p.dead[id]; dead && !swept {
			s.nos[binary.BigEndian.Uint32(k[prefixBytes:])] = true
		}
		return true, err
	})
	p.sweep = s
	return err == nil, err
}

// endSweep removes the numbers whose chunks are gone. Packs that died during the
// pass stay unswept.
func (p *Part) endSweep(b *pebble.Batch) error {
	s := p.sweep
	p.sweep = nil
	for no := range s.nos {
		if err := b.Delete(p.packKey(no), nil); err != nil {
			return err
		}
		p.names[no%uint32(len(p.names))] = named{}
	}
	for _, id := range s.packs {
		p.dead[id] = true
	}
	return nil
}

func (p *Part) forget(packs []vault.PackID) error {
	if len(packs) == 0 {
		return nil
	}
	return p.write(func(b *pebble.Batch) error {
		for _, id := range packs {
			delete(p.dead, id)
			if err := b.Delete(p.deadKey(id), nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// each shows f every row between two keys until it has seen enough.
func (p *Part) each(lower, upper []byte, f func(k, v []byte) (bool, error)) error {
	it, err := p.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return p.check(err)
	}
	for ok, more := it.First(), true; ok && more && err == nil; ok = it.Next() {
		more, err = f(it.Key(), it.Value())
	}
	return errors.Join(err, p.check(it.Close()))
}
