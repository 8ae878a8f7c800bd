// Package chunker names the chunks of exported extents, and cuts those of streams.
// It tells two things: to the auditor, what each page must come to hold; to the
// deduper of each partition, which chunks to look for. It remembers nothing: the
// same extent twice gives the same records.
//
// A disk's extent brings the digest of each place, taken when its bytes were read
// at the source, and a digest is all that a name needs; so the chunker reads no
// byte of it. Whoever stores a chunk reads it, and takes its name again. Only a
// stream must be read from staging, because where it is cut lies in its bytes.
package chunker

import (
	"fmt"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// room is one partition number.
type room struct {
	*shared
	parts int32 // of chunks.cut
	namer *cut.Namer
}

func (s *shared) room(parts int32) *room { return &room{s, parts, cut.NewNamer(s.deps.NameKey)} }

// cut answers one extent.
func (r *room) cut(in *stage.In, e *schemas.ExtentExported) error {
	if err := check(e); err != nil {
		return stage.Refuse(fmt.Errorf("%s: %w", name(e), err))
	}
	if e.GridBytes == 0 {
		return r.stream(in, e)
	}
	begun := r.env.Now()
	x, cuts := cutGrid(e, r.namer, r.parts)
	took := r.env.Now().Sub(begun)
	share(cuts, e.ReadUs, us(took))
	for _, ev := range topics.Took(took, events(e, x, cuts)...) {
		in.Emit(ev)
	}
	return nil
}

// events are the records of a cut.
func events(e *schemas.ExtentExported, x *schemas.ExtentCut, cuts []*schemas.ChunksCut) []topics.Event {
	all := []topics.Event{topics.ExtentsCut.Event(e.Run.Backup, x)}
	key := topics.ExtentKey(e.Run.Backup, e.File, e.Extent)
	for part, c := range cuts {
		if c != nil {
			all = append(all, topics.ChunksCut.Event(key, c).To(int32(part)))
		}
	}
	return all
}

func fault(e *schemas.ExtentExported, code string, why error) topics.Event {
	return topics.BackupsFaulted.Event(e.Run.Backup, &schemas.BackupFaulted{Run: e.Run, Stage: stageName, File: e.File, Extent: e.Extent,
		Code: code, Reason: fmt.Sprintf("%s: %v", name(e), why)})
}

func name(e *schemas.ExtentExported) string {
	return fmt.Sprintf("extent %d of file %d of backup %x", e.GetExtent(), e.GetFile(), e.GetRun().GetBackup())
}
