package exporter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/libs/staging/pagelog"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// patience is how long a failing removal rests at most before the next try.
const patience = time.Minute

var (
	// errRoom means that the room has ended: another process goes on.
	errRoom = errors.New("the room has ended")
	// errEnding means that the lease is ended or withdrawn.
	errEnding = errors.New("the lease has ended")
)

// lease is one attempt at one backup. The room hands it what it hears; its own
// goroutine (live) does the rest.
type lease struct {
	*room
	order  *schemas.BackupLeased
	space  *window // nil: its source is unknown here
	ending chan struct{}
	done   chan struct{} // closed when its goroutine has ended; nil: it has none
	cancel context.CancelFunc

	saving  chan struct{} // the right to write the row; a channel, because it is held over the network
	retired bool          // another attempt has the row: under saving

	mu  sync.Mutex
	row *schemas.ExportOpen // as the table has it; never changed, only replaced
}

func (r *room) lease(row *schemas.ExportOpen) *lease {
	return &lease{room: r, order: row.Order, row: row, saving: make(chan struct{}, 1)}
}

// init finds what the lease has in staging. It may be called again.
func (l *lease) init() (err error) {
	l.ending = make(chan struct{})
	if l.row.Ending {
		close(l.ending)
	}
	p, ok := l.deps.Sources[l.order.GetMachine().GetSource()]
	if !ok || l.row.Phase == schemas.ExportOpen_PHASE_ENDED {
		return nil
	}
	max := int64(l.order.GetWindowBytes())
	if max == 0 {
		max = int64(p.WindowBytes)
	}
	l.space, err = newWindow(p.Share, folder(l.run()), max)
	return err
}

// start lets the lease live, when the goroutine of the attempt before it has ended.
func (l *lease) start(before *lease) {
	l.done = make(chan struct{})
	ctx, cancel := context.WithCancel(l.at.Context())
	l.cancel = cancel
	l.at.Go(func(context.Context) func() {
		defer close(l.done)
		defer cancel()
		if before != nil && before.done != nil {
			<-before.done
		}
		if err := l.live(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, errRoom) {
			l.at.Fail(fmt.Errorf("lease %s: %w", folder(l.run()), err))
		}
		return nil
	})
}

func (l *lease) run() *schemas.Run { return l.order.GetRun() }

func (l *lease) is(lease []byte) bool { return string(l.run().GetLease()) == string(lease) }

// state is the row as it is now.
func (l *lease) state() *schemas.ExportOpen {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.row
}

func (l *lease) phase() schemas.ExportOpen_Phase { return l.state().Phase }

// ends reports whether a lower attempt is being ended by this one.
func (l *lease) ends(lease []byte) bool {
	for _, o := range l.state().Older {
		if string(o.GetOrder().GetRun().GetLease()) == string(lease) {
			return true
		}
	}
	return false
}

// heard takes the word that the lease is over.
func (l *lease) heard(completed bool) error {
	err := l.save(func(row *schemas.ExportOpen) {
		row.Ending, row.Completed = true, row.Completed || completed
	})
	if err != nil {
		return err
	}
	select {
	case <-l.ending:
	default:
		close(l.ending)
	}
	return nil
}

// retire stops the lease for a higher attempt, and returns what that must end.
func (l *lease) retire() []*schemas.ExportOpen {
	l.saving <- struct{}{}
	defer func() { <-l.saving }()
	l.retired = true
	if l.cancel != nil {
		l.cancel()
	}
	last := l.state()
	all := slices.Clone(last.Older)
	if last.Phase != schemas.ExportOpen_PHASE_ENDED {
		row := proto.CloneOf(last)
		row.Older, row.Finished = nil, nil
		all = append(all, row)
	}
	return all
}

// save changes the row, and returns when the table has it.
func (l *lease) save(change func(*schemas.ExportOpen)) error {
	l.saving <- struct{}{}
	defer func() { <-l.saving }()
	if l.retired {
		return errRoom
	}
	next := proto.CloneOf(l.state())
	change(next)
	next.AtMs, next.Writer = l.env.Now().UnixMilli(), l.writer
	if err := l.put(topics.ExportsOpen.Event(next.Order.Run.Backup, next)); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.row = next
	return nil
}

func (l *lease) put(events ...topics.Event) error {
	if err := l.at.Put(events...); err != nil {
		return fmt.Errorf("%w: %w", errRoom, err)
	}
	return nil
}

func (l *lease) over() bool {
	select {
	case <-l.ending:
		return true
	default:
		return false
	}
}

// live is the whole life of a lease, from wherever its row says it is. Errors
// other than errRoom are bugs.
func (l *lease) live(ctx context.Context) error {
	if err := l.endOlder(ctx); err != nil {
		return err
	}
	if l.phase() < schemas.ExportOpen_PHASE_TOLD && !l.over() {
		if err := l.export(ctx); err != nil {
			return err
		}
	}
	if l.phase() == schemas.ExportOpen_PHASE_TOLD && !l.over() {
		if err := l.tell(); err != nil {
			return err
		}
	}
	if l.phase() < schemas.ExportOpen_PHASE_WAITING {
		if err := l.removeSnapshot(ctx, l.state()); err != nil {
			return err
		}
		err := l.save(func(row *schemas.ExportOpen) {
			row.Phase, row.SnapshotRemoved = schemas.ExportOpen_PHASE_WAITING, true
		})
		if err != nil {
			return err
		}
	}
	select {
	case <-l.ending:
	case <-ctx.Done():
		return errRoom
	}
	if err := l.removeFolder(ctx, l.order, func() bool { return l.state().Completed }); err != nil {
		return err
	}
	return l.save(func(row *schemas.ExportOpen) {
		o := row.Order
		*row = schemas.ExportOpen{Order: &schemas.BackupLeased{Run: o.Run, Verb: o.Verb, Machine: o.Machine},
			Phase: schemas.ExportOpen_PHASE_ENDED, SnapshotRemoved: true, DirRemoved: true, Ending: true, Completed: row.Completed}
	})
}

// endOlder ends the attempts before this one, which must not wait for slots or
// compete for a machine that those still have.
func (l *lease) endOlder(ctx context.Context) error {
	for len(l.state().Older) > 0 {
		old := l.state().Older[0]
		if err := l.removeSnapshot(ctx, old); err != nil {
			return err
		}
		if err := l.removeFolder(ctx, old.Order, func() bool { return old.Completed }); err != nil {
			return err
		}
		if err := l.save(func(row *schemas.ExportOpen) { row.Older = row.Older[1:] }); err != nil {
			return err
		}
	}
	return nil
}

// removeSnapshot ends at the source what may be there of a lease, however long
// it takes, and then frees its slot there.
func (l *lease) removeSnapshot(ctx context.Context, row *schemas.ExportOpen) error {
	o := row.Order
	p, known := l.deps.Sources[o.GetMachine().GetSource()]
	began := row.Phase != schemas.ExportOpen_PHASE_UNSPECIFIED && !row.SnapshotRemoved
	if began && (known || row.SnapshotName != "") {
		err := l.persist(ctx, "remove snapshot "+snapshotName(o.Run), func() error {
			if !known {
				return fmt.Errorf("source %q is not configured here", o.GetMachine().GetSource())
			}
			return p.Source.End(ctx, orderOf(o))
		})
		if err != nil {
			return err
		}
	}
	return l.put(word(o, schemas.ExportEnded_WORD_SNAPSHOT_REMOVED))
}

// removeFolder removes what a lease has in staging, and then frees its slot
// there. Of a backup that completed, the log of its pages stays for the next.
func (l *lease) removeFolder(ctx context.Context, o *schemas.BackupLeased, completed func() bool) error {
	if p, ok := l.deps.Sources[o.GetMachine().GetSource()]; ok {
		id, _ := schemas.UUIDOf(o.Run.Lease)
		logs := pagelog.Of(p.Share.Dir(), o.GetMachine().GetSource(), o.GetMachine().GetId())
		err := l.persist(ctx, "remove folder "+folder(o.Run), func() error {
			clean := logs.Drop
			if completed() {
				clean = logs.Keep
			}
			return errors.Join(p.Share.RemoveLease(folder(o.Run)), clean(id))
		})
		if err != nil {
			return err
		}
	}
	return l.put(word(o, schemas.ExportEnded_WORD_DIR_REMOVED))
}

// persist tries until it is done. A slot is kept meanwhile, which is the point.
func (l *lease) persist(ctx context.Context, what string, try func() error) error {
	wait := backoff.NewExponentialBackOff(backoff.WithMaxInterval(patience), backoff.WithMaxElapsedTime(0))
	for {
		err := try()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return errRoom
		}
		d := wait.NextBackOff()
		l.env.Log.Error(what, "err", err, "again", d)
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return errRoom
		}
	}
}
