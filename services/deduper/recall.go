package deduper

import (
	"context"
	"fmt"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

const (
	// youngLog rows at most may be a new log of an old vault, as after a loss of
	// Kafka: then the vault is asked. If the vault is young too, that costs nothing.
	youngLog = 64
	// epochsBehind: a tombstone is kept for a day, an epoch lasts one. An index
	// further behind may have missed the end of a pack for good.
	epochsBehind = 2
)

// recall is how the index catches up with the table.
type recall struct {
	end     int64  // rows before it are older than this room
	applied uint64 // by the index as it was found
}

// begin compares the index with the table's log and says from where to read. An
// index of another generation of the table, or that stands outside its log,
// begins anew: from the log where it is whole, else from the vault.
func (r *room) begin(log stage.Log) (from int64, err error) {
	r.recall.end = log.End
	s, whole := r.part.State()
	if whole && s.Topic == log.ID && log.Start <= s.Next && s.Next <= log.End {
		r.recall.applied = s.Applied
		return s.Next, nil
	}
	if whole {
		r.env.Log.Info("index begins anew", "part", r.at.Number, "next", s.Next, "start", log.Start, "end", log.End, "same_topic", s.Topic == log.ID)
	}
	if err := r.part.Reset(); err != nil {
		return 0, err
	}
	if log.Start > 0 || log.End < youngLog {
		if err := r.rebuild(r.at.Context(), r.part, r.at.Number, r.at.Of); err != nil {
			return 0, fmt.Errorf("rebuild the index of partition %d from the vault: %w", r.at.Number, err)
		}
	}
	return log.Start, r.part.Begin(log.ID, log.Start)
}

// row takes in a row of chunks.stored. An index that fails ends the room, for it
// can judge nothing.
func (r *room) row(key, value []byte, offset int64) {
	if err := r.learn(key, value, offset); err != nil {
		r.at.Fail(fmt.Errorf("row %d of chunks.stored: %w", offset, err))
	}
}

// learn says what a row means. One that does not decode, or makes no sense,
// condemns the pack that its key names, for it may have been its mark.
func (r *room) learn(key, value []byte, offset int64) error {
	if s, _ := r.part.State(); offset < s.Next {
		return nil
	}
	next := offset + 1
	if value == nil {
		return r.condemn(nil, key, next)
	}
	row, err := topics.ChunksStored.Decode(value)
	if err == nil {
		switch v := row.GetRow().(type) {
		case *schemas.ChunksStored_Pack:
			if err = sound(v.Pack); err == nil {
				return r.stored(v.Pack, next)
			}
		case *schemas.ChunksStored_Mark:
			return r.condemn(v.Mark.GetPack(), key, next)
		case *schemas.ChunksStored_Control:
			return r.control(v.Control, offset)
		}
	}
	r.env.Log.Error("row of chunks.stored is bad; its pack is forgotten", "part", r.at.Number, "offset", offset, "key", fmt.Sprintf("%x", key), "err", err)
	return r.condemn(nil, key, next)
}

// sound says whether the columns of a row fit.
func sound(p *schemas.StoredPack) error {
	if len(p.Ids) != 32*len(p.Offsets) || len(p.Offsets) != len(p.Framed) {
		return fmt.Errorf("%d bytes of ids, %d offsets, %d lengths", len(p.Ids), len(p.Offsets), len(p.Framed))
	}
	_, err := vault.PackIDFromProto(p.Pack)
	return err
}

// stored takes in a pack that is durable, and answers who waited for its chunks.
func (r *room) stored(p *schemas.StoredPack, next int64) error {
	id, err := vault.PackIDFromProto(p.Pack)
	if err != nil {
		return err
	}
	counts, err := r.part.Store(id, p.Ids, p.Offsets, p.Framed, next)
	if err != nil || !counts {
		return err
	}
	now, applied := r.env.Now(), r.part.Applied()
	for i := range p.Offsets {
		r.claims.stored([32]byte(p.Ids[32*i:]), place(id, p.Offsets[i], p.Framed[i]), applied, now)
	}
	r.settle()
	return nil
}

// condemn takes in a mark, or what has only a key to name the pack.
func (r *room) condemn(p *schemas.Pack, key []byte, next int64) error {
	id, err := vault.PackIDFromProto(p)
	if err != nil {
		id, err = vault.PackIDFromKey(key)
	}
	if err != nil { // of a control
		return r.part.Skip(next)
	}
	return r.part.Condemn(id, next)
}

// control takes in the end of an epoch's marks, and judges what waited for them.
func (r *room) control(epoch uint64, offset int64) error {
	if offset < r.recall.end && epoch > r.recall.applied+epochsBehind && r.recall.applied > 0 {
		applied := r.recall.applied
		if err := r.part.Reset(); err != nil {
			return err
		}
		return fmt.Errorf("the index had applied epoch %d and the table is at %d: it begins anew", applied, epoch)
	}
	if err := r.part.Apply(epoch, offset+1); err != nil {
		return err
	}
	err := r.admit()
	r.settle()
	return err
}

// rebuild fills an empty part from the pack tables of the vault.
func (s *shared) rebuild(ctx context.Context, p filler, part, parts int32) error {
	if s.deps.Tables == nil {
		return nil
	}
	n, lost, err := refill(ctx, s.deps.Tables, p, part, parts)
	if err == nil {
		s.env.Log.Info("index rebuilt from the vault", "part", part, "packs", n, "unreadable", lost)
	}
	return err
}
