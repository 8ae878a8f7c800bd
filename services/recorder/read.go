package recorder

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// rows of one block.
type rows struct {
	places   ledger.Places
	events   ledger.Events
	turns    ledger.Turns
	progress ledger.Progresses
	gaps     ledger.Gaps
	troubles ledger.Troubles
}

func (r rows) tables() []ledger.Rows {
	return []ledger.Rows{r.gaps, r.places, r.turns, r.progress, r.troubles, r.events}
}

// bad counts records that no retry will cure. Their readers refused them, so
// they are kept elsewhere; here each leaves an event that says so.
type bad struct {
	count int
	first int64
	why   error
}

// malformed is the error of such an event.
const malformed = "malformed"

func (r *room) read(b *stage.Block) (all rows, bad bad) {
	for _, rec := range b.Records {
		at := ledger.Origin{AtMs: rec.Time.UnixMilli(), Region: r.env.Region, Topic: b.Spec.Name, Part: uint16(b.Part), Offset: uint64(rec.Offset)}
		event := ledger.Event{Origin: at, Stage: writer(b.Spec), Worker: ""}
		err := r.readOne(&all, &event, b.Spec, rec)
		if err != nil {
			if bad.count++; bad.count == 1 {
				bad.first, bad.why = rec.Offset, err
			}
			event.Error = malformed
		}
		all.events = append(all.events, event)
	}
	all.gaps = r.gaps(b)
	return all, bad
}

// readOne fills the event, and adds the other rows of a record, all or none.
func (r *room) readOne(all *rows, event *ledger.Event, spec topics.Spec, rec stage.Record) error {
	if err := stage.Foreign(rec.Headers, r.env.Region); err != nil {
		return err
	}
	stamps, err := stage.StampsOf(rec.Headers)
	if err != nil {
		return err
	}
	if n := len(stamps); n > 0 { // the last is of the stage that wrote the record
		s := stamps[n-1]
		event.Stage, event.Worker = s.GetStage(), s.GetWorker()
		event.BusyUs, event.WaitUs = uint64(max(0, s.GetBusyUs())), uint64(max(0, s.GetWaitUs()))
	}
	decode, ok := decoders[spec.Name]
	if !ok {
		return fmt.Errorf("stream %s is unknown to this recorder", spec.Name)
	}
	m, err := decode(rec.Value)
	if err != nil {
		return err
	}
	if of, ok := m.(interface{ GetRun() *schemas.Run }); ok && of.GetRun() != nil {
		if event.Attempt, err = attemptOf(of.GetRun()); err != nil {
			return err
		}
	}
	measure(event, m)
	switch m := m.(type) {
	case *schemas.PlacesFiled:
		places, err := r.places(event.Origin, event.Attempt, m)
		all.places = append(all.places, places...)
		return err
	case *schemas.InputTroubled:
		if t, ok := trouble(event.Origin, event.Attempt, m); ok {
			all.troubles = append(all.troubles, t)
		}
	case *schemas.BackupLeased:
		all.turns = append(all.turns, r.leased(event.Origin, event.Attempt, m)...)
	case *schemas.BackupJudged:
		if p := m.GetProgress(); p != nil {
			all.progress = append(all.progress, ledger.Progress{Origin: event.Origin, Attempt: event.Attempt, ReadBytes: p.GetReadBytes(), FiledPages: p.GetFiledPages()})
		}
		all.turns = append(all.turns, r.judged(event.Origin, event.Attempt, m)...)
	}
	return nil
}

var errRun = errors.New("a run without a backup")

func attemptOf(run *schemas.Run) (a ledger.Attempt, err error) {
	backup, ok := schemas.UUIDOf(run.GetBackup())
	if !ok {
		return a, errRun
	}
	lease, ok := schemas.UUIDOf(run.GetLease())
	if !ok && len(run.GetLease()) > 0 {
		return a, fmt.Errorf("lease of %d bytes", len(run.GetLease()))
	}
	return ledger.Attempt{Backup: backup, No: uint16(min(run.GetAttempt(), 1<<16-1)), Lease: lease}, nil
}

// decoders of every stream.
var decoders = map[string]func([]byte) (proto.Message, error){
	topics.BackupsQueued.Name:   of(topics.BackupsQueued),
	topics.BackupsLeased.Name:   of(topics.BackupsLeased),
	topics.ExtentsExported.Name: of(topics.ExtentsExported),
	topics.FilesExported.Name:   of(topics.FilesExported),
	topics.ExportsEnded.Name:    of(topics.ExportsEnded),
	topics.ExtentsCut.Name:      of(topics.ExtentsCut),
	topics.ChunksCut.Name:       of(topics.ChunksCut),
	topics.ChunksKnown.Name:     of(topics.ChunksKnown),
	topics.ChunksFresh.Name:     of(topics.ChunksFresh),
	topics.ChunksDropped.Name:   of(topics.ChunksDropped),
	topics.PacksSealed.Name:     of(topics.PacksSealed),
	topics.ChunksLanded.Name:    of(topics.ChunksLanded),
	topics.PlacesFiled.Name:     of(topics.PlacesFiled),
	topics.ExtentsClosed.Name:   of(topics.ExtentsClosed),
	topics.BackupsFaulted.Name:  of(topics.BackupsFaulted),
	topics.InputsTroubled.Name:  of(topics.InputsTroubled),
	topics.BackupsJudged.Name:   of(topics.BackupsJudged),
}

func of[T proto.Message](t topics.Topic[T]) func([]byte) (proto.Message, error) {
	return func(b []byte) (proto.Message, error) { return t.Decode(b) }
}
