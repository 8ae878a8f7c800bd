package uploader

import (
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

const idBytes = len(cut.ID{})

// check says what is wrong with a record: its columns must agree, and there must be a
// hash for each of the k data shards, or one of the whole, as sealers once told it.
func check(m *schemas.PackSealed, k int) (vault.PackID, error) {
	id, err := vault.PackIDFromProto(m.Pack)
	if err != nil {
		return id, fmt.Errorf("sealed pack: %w", err)
	}
	if n := len(m.Blake3); n != 32*k && n != 32 || m.Blob == "" || m.SizeBytes == 0 {
		return id, fmt.Errorf("sealed pack %s: %d bytes, hashes of %d, blob %q", id, m.SizeBytes, len(m.Blake3), m.Blob)
	}
	if m.SizeBytes > vault.PackMax { // it would be memory of ours before it is found false
		return id, fmt.Errorf("sealed pack %s: %d bytes, at most %d", id, m.SizeBytes, vault.PackMax)
	}
	for _, e := range m.Extents {
		n := len(e.Places)
		if len(e.Ids) != n*idBytes || len(e.Offsets) != n || len(e.Framed) != n || len(e.Lengths) != n || len(e.GetRun().GetBackup()) != 16 || len(e.Run.Lease) != 16 {
			return id, fmt.Errorf("sealed pack %s: extent %d of file %d: columns of %d places do not agree", id, e.Extent, e.File, n)
		}
	}
	return id, nil
}

// rows are what the dedupers come to know: one a partition, keyed by the pack, so
// that one mark forgets it.
func (r *room) rows(m *schemas.PackSealed) (events []topics.Event) {
	rows := make([]*schemas.StoredPack, r.parts)
	for _, e := range m.Extents {
		for i := range e.Places {
			id := e.Ids[i*idBytes : (i+1)*idBytes]
			p := topics.ChunkPart(id, r.parts)
			if rows[p] == nil {
				rows[p] = &schemas.StoredPack{Pack: m.Pack}
			}
			rows[p].Ids = append(rows[p].Ids, id...)
			rows[p].Offsets, rows[p].Framed = append(rows[p].Offsets, e.Offsets[i]), append(rows[p].Framed, e.Framed[i])
		}
	}
	id, _ := vault.PackIDFromProto(m.Pack) // checked
	key := id.Key()
	for p, row := range rows {
		if row != nil {
			events = append(events, topics.ChunksStored.Event(key[:], &schemas.ChunksStored{Row: &schemas.ChunksStored_Pack{Pack: row}}).To(int32(p)))
		}
	}
	return events
}

// landed answers the places of each extent.
func (r *room) landed(m *schemas.PackSealed, redundancy int, took time.Duration) (events []topics.Event) {
	put := uint32(min(took.Microseconds(), 1<<31))
	for _, e := range m.Extents {
		events = append(events, topics.ChunksLanded.Event(e.Run.Backup, &schemas.ChunksLanded{
			Run: e.Run, File: e.File, Extent: e.Extent, Redundancy: uint32(redundancy), SealUs: e.SealUs, PutUs: put / uint32(len(m.Extents)),
			Places: &schemas.Places{Places: e.Places, Ids: e.Ids, Packs: []*schemas.Pack{m.Pack}, Pack: make([]uint32, len(e.Places)),
				Offsets: e.Offsets, Framed: e.Framed, Lengths: e.Lengths}}))
	}
	return topics.Took(took, events...)
}

// lost tells those who waited for a pack that will not come: the auditor, which
// fails the attempts whose pages are not filed, and the dedupers, which give the
// claims to whoever waits.
func (r *room) lost(m *schemas.PackSealed, why error) (events []topics.Event) {
	code := "sealed.missing"
	if errors.Is(why, errDamaged) {
		code = "sealed.damaged"
	}
	for _, e := range m.Extents {
		events = append(events, topics.BackupsFaulted.Event(e.Run.Backup, &schemas.BackupFaulted{Run: e.Run, Stage: stageName,
			File: e.File, Extent: e.Extent, Code: code, Reason: why.Error()}))
		drops := make([]*schemas.ChunksDropped, r.parts)
		for i, place := range e.Places {
			id := e.Ids[i*idBytes : (i+1)*idBytes]
			p := topics.ChunkPart(id, r.parts)
			if drops[p] == nil {
				drops[p] = &schemas.ChunksDropped{Run: e.Run, File: e.File, Extent: e.Extent, Why: why.Error()}
			}
			drops[p].Places, drops[p].Ids = append(drops[p].Places, place), append(drops[p].Ids, id...)
		}
		for p, d := range drops {
			if d != nil {
				events = append(events, topics.ChunksDropped.Event(topics.ExtentKey(e.Run.Backup, e.File, e.Extent), d).To(int32(p)))
			}
		}
	}
	return events
}
