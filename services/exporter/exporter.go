// Package exporter reads what changed of a machine into staging, and ends what
// that takes at the machine's source.
//
// An export outlives records, rooms and processes. So it does not hang on a
// record: backups.leased becomes a row of exports.open and is done, and from the
// row any process goes on. What must be ended later is written down before it is
// begun, and what must be told is told before the row says so; therefore a crash
// at any point repeats words, and forgets no snapshot.
//
//	(no phase)  ordered; nothing was begun
//	PREPARING   a snapshot of our name may be there
//	READING     it is, and has this id; the cursor says how far we are
//	TOLD        how it went is settled, and is told again to the letter
//	WAITING     the snapshot is gone; the blobs lie there until the backup ends
//	ENDED       all is gone; kept for 8 days, so that an old order begins nothing
//
// The one flow control of a backup is here: at most a window of bytes lies in
// staging that extents.closed has not named yet.
package exporter

import (
	"bytes"
	"crypto/rand"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// endedFor is how long an ended row is kept: longer than backups.leased, whose
// records live for a week.
const endedFor = 8 * 24 * time.Hour

// room is the exporter of one partition.
type room struct {
	*shared
	at    *stage.Room
	begun bool              // the tables are recalled
	open  map[string]*lease // by backup; ended ones too

	writer []byte          // of our rows
	rivals map[string]bool // backups whose newest row another wrote after our recall

	listing  map[string]time.Time             // by source: when it was begun last
	machines map[string]*schemas.MachineFound // rows of machines.found, by key
	strange  map[string]time.Time             // leases in a share that nobody knows: since when
	marked   map[prey]time.Time               // snapshots of ours that nobody knows: since when
	hunted   time.Time
}

func (s *shared) room(at *stage.Room) (*room, error) {
	s.deps.Rooms.Open(at.Of)
	return &room{shared: s, at: at, writer: newWriter(), rivals: map[string]bool{}, open: map[string]*lease{}, listing: map[string]time.Time{},
		machines: map[string]*schemas.MachineFound{}, strange: map[string]time.Time{}, marked: map[prey]time.Time{}, hunted: s.env.Now()}, nil
}

// Close gives the room's share of the sources' limits back.
func (r *room) Close() error {
	r.deps.Rooms.Close(r.at.Of)
	return nil
}

// newWriter is a name that no other room has.
func newWriter() []byte {
	var u schemas.UUID
	rand.Read(u[:]) // never fails: crypto/rand ends the process instead
	return u.Bytes()
}

// row takes in a row of exports.open while the table is recalled. Later, what is in
// memory is ahead of what comes back: our own rows, or those of a dead exporter that
// reached the log late. A later recall of a compacted table would find those alone,
// so ours is written again.
func (r *room) row(key []byte, row *schemas.ExportOpen) {
	if r.begun {
		if row != nil && !bytes.Equal(row.Writer, r.writer) && r.open[string(key)] != nil {
			r.rivals[string(key)] = true
		}
		return
	}
	if row == nil {
		delete(r.open, string(key))
		return
	}
	if old := r.open[string(key)]; old != nil {
		was := old.state()
		if older(row, was) {
			return // of an exporter that was thought dead
		}
		if old.is(row.GetOrder().GetRun().GetLease()) && was.Ending {
			// Such an exporter has not heard the end, which is never said again once the
			// slots are free: who forgets it waits for it for ever.
			row.Ending, row.Completed = true, row.Completed || was.Completed
		}
	}
	r.open[string(key)] = r.lease(row)
}

// older reports whether a goes back behind b, which a living exporter never does.
func older(a, b *schemas.ExportOpen) bool {
	x, y := a.GetOrder().GetRun(), b.GetOrder().GetRun()
	if x.GetAttempt() != y.GetAttempt() {
		return x.GetAttempt() < y.GetAttempt()
	}
	return string(x.GetLease()) == string(y.GetLease()) && a.GetPhase() < b.GetPhase()
}

// begin goes on with what the table holds, once it is recalled.
func (r *room) begin() error {
	if r.begun {
		return nil
	}
	for _, l := range r.open {
		if err := l.init(); err != nil {
			return err
		}
	}
	r.begun = true
	for _, l := range r.open {
		if l.row.Phase != schemas.ExportOpen_PHASE_ENDED {
			l.start(nil)
		}
	}
	return nil
}

// leased takes an order, or the end of one.
func (r *room) leased(in *stage.In, o *schemas.BackupLeased) error {
	if err := check(o); err != nil {
		return stage.Refuse(err)
	}
	if err := r.begin(); err != nil {
		return err
	}
	switch o.Verb {
	case schemas.BackupLeased_VERB_LEASED:
		return r.take(in, o)
	case schemas.BackupLeased_VERB_ENDED, schemas.BackupLeased_VERB_WITHDRAWN:
		return r.end(in, o)
	}
	return nil
}

// take begins an order that is new. One whose backup has a row of an equal or a
// higher attempt is old, or a rival's.
func (r *room) take(in *stage.In, o *schemas.BackupLeased) error {
	key := string(o.Run.Backup)
	before := r.open[key]
	if before != nil && o.Run.Attempt <= before.run().Attempt {
		if before.is(o.Run.Lease) && before.phase() == schemas.ExportOpen_PHASE_ENDED {
			r.answer(in, o)
		}
		return nil
	}
	return r.place(key, before, &schemas.ExportOpen{Order: o})
}

// end takes the end of a lease: of the one that is open, of one that is long
// gone, or of one that was never heard of.
func (r *room) end(in *stage.In, o *schemas.BackupLeased) error {
	if len(o.Run.Lease) == 0 {
		return nil // a backup that was never leased
	}
	key := string(o.Run.Backup)
	l := r.open[key]
	switch {
	case l == nil || l.run().Attempt < o.Run.Attempt:
		// Nothing is known of it; but something of it may be there, if the table was lost.
		return r.place(key, l, &schemas.ExportOpen{Order: o, Phase: schemas.ExportOpen_PHASE_TOLD, Ending: true, Completed: completed(o)})
	case !l.is(o.Run.Lease) && l.ends(o.Run.Lease):
	case !l.is(o.Run.Lease) && l.run().Attempt == o.Run.Attempt && l.phase() != schemas.ExportOpen_PHASE_ENDED:
		// Two schedulers leased one attempt, and the one that lives knows its own lease
		// alone: nobody else will end ours, whose answers it takes for its own's.
		return l.heard(completed(o))
	case !l.is(o.Run.Lease):
		return r.stray(in, o)
	case l.phase() == schemas.ExportOpen_PHASE_ENDED:
		r.answer(in, o)
	default:
		return l.heard(completed(o))
	}
	return nil
}

// place puts a row in the place of another one of its backup, which is ended first.
func (r *room) place(key string, before *lease, row *schemas.ExportOpen) error {
	if before != nil {
		row.Older = before.retire()
	}
	l := r.lease(row)
	if err := l.init(); err != nil {
		return err
	}
	row.AtMs, row.Writer = r.env.Now().UnixMilli(), r.writer
	if err := r.at.Put(topics.ExportsOpen.Event([]byte(key), row)); err != nil {
		return err
	}
	r.open[key] = l
	l.start(before)
	return nil
}

// stray answers for a lease beside the one that is open: nothing was begun of it,
// or it was ended when the open one came.
func (r *room) stray(in *stage.In, o *schemas.BackupLeased) error {
	if p, ok := r.deps.Sources[o.GetMachine().GetSource()]; ok {
		if err := p.Share.RemoveLease(folder(o.Run)); err != nil {
			return err
		}
	}
	r.answer(in, o)
	return nil
}

// answer says that a lease's slots are free.
func (r *room) answer(in *stage.In, o *schemas.BackupLeased) {
	in.Emit(word(o, schemas.ExportEnded_WORD_SNAPSHOT_REMOVED))
	in.Emit(word(o, schemas.ExportEnded_WORD_DIR_REMOVED))
}

// closed frees the space of extents whose pages are durable.
func (r *room) closed(_ *stage.In, c *schemas.ExtentsClosed) error {
	if err := r.begin(); err != nil {
		return err
	}
	l := r.open[string(c.GetRun().GetBackup())]
	if l == nil || !l.is(c.GetRun().GetLease()) || l.space == nil {
		return nil
	}
	for _, e := range c.Extents {
		if err := l.space.free(e.GetFile(), e.GetExtent()); err != nil {
			return err
		}
	}
	return nil
}

// tick does what is due.
func (r *room) tick(*stage.In) error {
	if err := r.begin(); err != nil {
		return err
	}
	if err := r.overwrite(); err != nil {
		return err
	}
	r.list()
	now := r.env.Now()
	if now.Sub(r.hunted) < r.hunt {
		return nil
	}
	r.hunted = now
	if err := r.forget(now); err != nil {
		return err
	}
	r.stalk(now)
	return r.chase(now)
}

// overwrite writes what is in memory over the rows of dead exporters.
func (r *room) overwrite() error {
	for key := range r.rivals {
		if l := r.open[key]; l != nil {
			r.env.Log.Warn("a row of another exporter came late, and is overwritten", "lease", folder(l.run()))
			if err := l.save(func(*schemas.ExportOpen) {}); err != nil {
				return err
			}
		}
		delete(r.rivals, key)
	}
	return nil
}

// forget removes rows of leases that ended long ago.
func (r *room) forget(now time.Time) error {
	for key, l := range r.open {
		if l.phase() == schemas.ExportOpen_PHASE_ENDED && now.Sub(time.UnixMilli(l.state().AtMs)) > endedFor {
			if err := r.at.Put(topics.ExportsOpen.Gone([]byte(key))); err != nil {
				return err
			}
			delete(r.open, key)
		}
	}
	return nil
}
