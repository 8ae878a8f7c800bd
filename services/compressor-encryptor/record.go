package sealer

import (
	"fmt"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/seal"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// record is a record of chunks.fresh under way. Its gate is held until each of its
// chunks is in a pack that was told, or lost and told; each of those packs holds the
// input too, so that a record whose chunks lie in two packs is done with the later.
type record struct {
	in   *stage.In
	msg  *schemas.ChunksFresh
	gate *stage.Hold

	// Guarded by the engine's mutex:
	left  int    // chunks without a fate
	gone  []int  // chunks that are lost
	code  string // of the first loss
	why   string
	given bool // up: it was held too long
	timed bool // its stage times went with a pack
}

// ref is one chunk of a record.
type ref struct {
	rec *record
	n   int
}

func (r ref) id() cut.ID     { return cut.ID(r.rec.msg.Refs.Ids[32*r.n:]) }
func (r ref) place() uint64  { return r.rec.msg.Refs.Places[r.n] }
func (r ref) from() uint32   { return r.rec.msg.Refs.Offsets[r.n] }
func (r ref) length() uint32 { return r.rec.msg.Refs.Lengths[r.n] }
func (r ref) to() uint32     { return r.from() + r.length() }

// check says what is false about a record. What it passes can be read and sealed.
func check(m *schemas.ChunksFresh) error {
	run, refs := m.GetRun(), m.GetRefs()
	n := len(refs.GetPlaces())
	switch {
	case len(run.GetBackup()) != 16 || len(run.GetLease()) != 16:
		return fmt.Errorf("run: backup of %d and lease of %d bytes, want 16", len(run.GetBackup()), len(run.GetLease()))
	case m.Blob == "":
		return fmt.Errorf("it names no blob")
	case n == 0 || len(refs.Ids) != 32*n || len(refs.Offsets) != n || len(refs.Lengths) != n:
		return fmt.Errorf("columns of %d places, %d bytes of ids, %d offsets, %d lengths", n, len(refs.GetIds()), len(refs.GetOffsets()), len(refs.GetLengths()))
	}
	for i, length := range refs.Lengths {
		if length == 0 || length > seal.PlainMax || uint64(refs.Offsets[i])+uint64(length) > cut.ExtentBytes {
			return fmt.Errorf("place %d lies at %d+%d of an extent of at most %d bytes", refs.Places[i], refs.Offsets[i], length, cut.ExtentBytes)
		}
	}
	return nil
}

func name(m *schemas.ChunksFresh) string {
	return fmt.Sprintf("extent %d of file %d of backup %x", m.GetExtent(), m.GetFile(), m.GetRun().GetBackup())
}

// losses tells the auditor that chunks of a record are lost, and gives their claims
// back to the deduper.
func (r *record) losses(parts int32) []topics.Event {
	if len(r.gone) == 0 {
		return nil
	}
	m := r.msg
	key := topics.ExtentKey(m.Run.Backup, m.File, m.Extent)
	dropped := map[int32]*schemas.ChunksDropped{}
	for _, n := range r.gone {
		id := m.Refs.Ids[32*n : 32*n+32]
		part := topics.ChunkPart(id, parts)
		d := dropped[part]
		if d == nil {
			d = &schemas.ChunksDropped{Run: m.Run, File: m.File, Extent: m.Extent, Why: r.code}
			dropped[part] = d
		}
		d.Places, d.Ids = append(d.Places, m.Refs.Places[n]), append(d.Ids, id...)
	}
	events := []topics.Event{topics.BackupsFaulted.Event(m.Run.Backup, &schemas.BackupFaulted{Run: m.Run, Stage: stageName, File: m.File,
		Extent: m.Extent, Code: r.code, Reason: fmt.Sprintf("%s: %d chunks are lost, the first: %s", name(m), len(r.gone), r.why)})}
	for part := range parts {
		if d := dropped[part]; d != nil {
			events = append(events, topics.ChunksDropped.Event(key, d).To(part))
		}
	}
	return events
}
