package recorder

import (
	"math/bits"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// idBytes is the length of a chunk's name.
const idBytes = 32

// measure says how much data a record speaks of, and what went wrong. Bytes are
// plain, as the machine has them, so that stages can be compared; and what a stage
// tells of the same data in two topics counts in one: extents.cut is silent, as
// chunks.cut speaks.
func measure(e *ledger.Event, m proto.Message) {
	switch m := m.(type) {
	case *schemas.BackupQueued: // it has no run yet
		e.Attempt.Backup, _ = schemas.UUIDOf(m.GetBackup())
	case *schemas.ExtentExported:
		e.Bytes = uint64(m.GetLengthBytes())
		for _, p := range m.GetPages() {
			e.Chunks += uint32(bits.OnesCount64(p.GetData()))
		}
	case *schemas.ChunksCut:
		refs(e, m.GetRefs())
	case *schemas.ChunksFresh:
		refs(e, m.GetRefs())
	case *schemas.ChunksKnown:
		places(e, m.GetPlaces())
	case *schemas.ChunksLanded:
		places(e, m.GetPlaces())
	case *schemas.PlacesFiled:
		places(e, m.GetCut())
	case *schemas.ChunksDropped:
		e.Chunks, e.Error = uint32(len(m.GetIds())/idBytes), "dropped"
	case *schemas.PackSealed:
		for _, x := range m.GetExtents() {
			e.Bytes += sum(x.GetLengths())
			e.Chunks += uint32(len(x.GetIds()) / idBytes)
		}
	case *schemas.BackupFaulted:
		e.Stage, e.Error = m.GetStage(), m.GetCode()
	case *schemas.InputTroubled:
		e.Stage, e.Worker, e.Error = m.GetStage(), m.GetWorker(), word(m.GetOutcome().String(), "OUTCOME_")
		if m.GetOutcome() == schemas.InputTroubled_OUTCOME_DONE {
			e.Error = "" // it is over
		}
	case *schemas.ExportEnded:
		if w := m.GetWord(); w == schemas.ExportEnded_WORD_FAILED || w == schemas.ExportEnded_WORD_LOST {
			e.Error = word(w.String(), "WORD_")
		}
	case *schemas.BackupJudged:
		e.Error = m.GetAttemptFailed().GetCode()
	}
}

func refs(e *ledger.Event, r *schemas.Refs) {
	e.Chunks = uint32(len(r.GetIds()) / idBytes)
	e.Bytes = sum(r.GetLengths())
}

func places(e *ledger.Event, p *schemas.Places) {
	e.Chunks = uint32(len(p.GetIds()) / idBytes)
	e.Bytes = sum(p.GetLengths())
}

func sum(ns []uint32) (all uint64) {
	for _, n := range ns {
		all += uint64(n)
	}
	return all
}

// writer is the stage that writes a topic, where it is one: for records that no
// input led to, and that carry no stamp.
func writer(s topics.Spec) string {
	if strings.ContainsAny(s.Writer, ", ") {
		return "unknown"
	}
	return s.Writer
}

// word is an enum's value as people read it.
func word(name, prefix string) string {
	w := strings.ToLower(strings.TrimPrefix(name, prefix))
	if w == "unspecified" {
		return ""
	}
	return w
}
