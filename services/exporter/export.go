package exporter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/staging/pagelog"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

var errLost = errors.New("lost")

// export makes or finds the snapshot, reads it, and settles how that went. It
// returns nil too if the lease ended meanwhile.
func (l *lease) export(ctx context.Context) error {
	reading, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	go func() {
		select {
		case <-l.ending:
			cut(errEnding)
		case <-reading.Done():
		}
	}()
	finished, err := l.attempt(reading)
	switch {
	case ctx.Err() != nil || errors.Is(err, errRoom):
		return errRoom
	case l.over():
		return nil
	}
	return l.save(func(row *schemas.ExportOpen) {
		row.Phase, row.Finished = schemas.ExportOpen_PHASE_TOLD, finished
		if err != nil {
			row.Failure, row.Lost = text(err.Error()), errors.Is(err, errLost)
			row.Permanent = !row.Lost && (source.IsPermanent(err) || errors.Is(err, source.ErrGone))
			l.env.Log.Warn("export failed", "lease", folder(l.run()), "err", row.Failure)
		}
	})
}

// tell says how the export went, to the letter of the row.
func (l *lease) tell() error {
	row := l.state()
	if row.Finished != nil {
		if err := l.put(fileEvent(&schemas.FileExported{Run: l.run(), Finished: row.Finished})); err != nil {
			return err
		}
		return l.put(word(l.order, schemas.ExportEnded_WORD_OK))
	}
	w := schemas.ExportEnded_WORD_FAILED
	if row.Lost {
		w = schemas.ExportEnded_WORD_LOST
	}
	return l.put(ended(l.order, &schemas.ExportEnded{Word: w, Permanent: row.Permanent, Reason: row.Failure}))
}

// attempt is one export up to its end.
func (l *lease) attempt(ctx context.Context) (*schemas.Finished, error) {
	p, ok := l.deps.Sources[l.order.GetMachine().GetSource()]
	if !ok {
		return nil, source.Permanent(fmt.Errorf("source %q is not configured here", l.order.GetMachine().GetSource()))
	}
	resumed := l.phase() == schemas.ExportOpen_PHASE_READING
	snap, err := l.snapshot(ctx, p)
	if err != nil {
		return nil, err
	}
	defer snap.Close()
	x := &exporting{lease: l, p: p, resumed: resumed, logs: pagelog.Of(p.Share.Dir(), l.order.Machine.Source, l.order.Machine.Id), pulse: &pulse{}}
	beating, stop := context.WithCancel(ctx)
	defer stop()
	go l.beat(beating, x.pulse)
	return x.all(ctx, snap)
}

// snapshot makes the machine stand still, or finds it as we left it.
func (l *lease) snapshot(ctx context.Context, p Provider) (source.Snapshot, error) {
	o := orderOf(l.order)
	switch row := l.state(); row.Phase {
	case schemas.ExportOpen_PHASE_PREPARING:
		return nil, fmt.Errorf("the exporter died while the snapshot was made: %w", errLost)
	case schemas.ExportOpen_PHASE_READING:
		return l.resume(ctx, p, o, row.SnapshotId)
	}
	for _, pattern := range o.Exclude {
		if err := source.CheckExclude(pattern); err != nil {
			return nil, source.Permanent(err)
		}
	}
	// Intent before call: from here, whatever happens, End is called.
	err := l.save(func(row *schemas.ExportOpen) {
		row.Phase, row.SnapshotName = schemas.ExportOpen_PHASE_PREPARING, o.Name
	})
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil { // the row may have landed behind our successor's back
		return nil, context.Cause(ctx)
	}
	snap, err := p.Source.Prepare(ctx, o)
	if err != nil {
		return nil, err
	}
	err = l.save(func(row *schemas.ExportOpen) {
		row.Phase, row.SnapshotId, row.SnapshotMs = schemas.ExportOpen_PHASE_READING, snap.ID(), l.env.Now().UnixMilli()
	})
	if err != nil {
		snap.Close()
		return nil, err
	}
	return snap, nil
}

// resume looks for the snapshot until the source can say. Two states of a machine
// must never be in one backup, so another snapshot than ours ends the lease.
func (l *lease) resume(ctx context.Context, p Provider, o source.Order, id string) (source.Snapshot, error) {
	wait := backoff.NewExponentialBackOff(backoff.WithMaxInterval(patience), backoff.WithMaxElapsedTime(0))
	for {
		snap, err := p.Source.Resume(ctx, o, id)
		switch {
		case err == nil:
			return snap, nil
		case errors.Is(err, source.ErrGone) || source.IsPermanent(err):
			return nil, fmt.Errorf("%w: %w", errLost, err)
		}
		d := wait.NextBackOff()
		l.env.Log.Warn("look for snapshot", "name", o.Name, "err", err, "again", d)
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// exporting is the reading of one lease: what was read goes to staging and is told.
type exporting struct {
	*lease
	p       Provider
	logs    pagelog.Logs
	log     *pagelog.Writer
	resumed bool          // an exporter before us may have told extents
	flight  chan error    // the last extent's acknowledgement
	waited  time.Duration // for room in staging: no work of ours
	pulse   *pulse
}

func (x *exporting) all(ctx context.Context, snap source.Snapshot) (*schemas.Finished, error) {
	if len(snap.Files()) == 0 {
		return nil, source.Permanent(fmt.Errorf("machine %q: nothing to back up", x.order.Machine.Id))
	}
	r := &reading{run: x.run(), source: x.order.Machine.Source, snap: snap, grid: int64(x.deps.Grid), digests: x.deps.DigestKey, sink: x, now: x.env.Now, limits: x.limits,
		pace: x.shared.pace(x.order.Machine.Source, x.p), pulse: x.pulse, handOn: x.handOn}
	if err := x.take(r); err != nil {
		return nil, err
	}
	defer x.log.Close()
	defer x.settle()
	if d := x.stand(r); d != nil {
		defer d.Close()
	}
	if err := x.turn(ctx, r); err != nil {
		return nil, err
	}
	defer x.rest(r)
	if err := r.all(ctx); err != nil {
		return nil, err
	}
	if err := x.settle(); err != nil {
		return nil, err
	}
	worth, err := snap.Check(ctx)
	if err != nil {
		return nil, err
	}
	return x.finish(r, worth)
}

// turn waits for the right to read, and takes a buffer.
func (x *exporting) turn(ctx context.Context, r *reading) error {
	err := x.pulse.wait(x.env.Now, func() error { return x.turns.take(ctx, r.source) })
	if err == nil {
		r.buf = x.buf()
	}
	return err
}

// rest gives both back, if it has them.
func (x *exporting) rest(r *reading) {
	if r.buf != nil {
		x.giveBack(r.buf)
		r.buf = nil
		x.turns.give(r.source)
	}
}

// handOn lets another source have the turn, if one is owed it, and waits for the
// next. What is kept stands in front of the buffer then.
func (x *exporting) handOn(ctx context.Context, r *reading, keep []byte) error {
	if !x.turns.owed(r.source) {
		copy(r.buf, keep)
		return nil
	}
	keep = bytes.Clone(keep)
	x.rest(r)
	if err := x.turn(ctx, r); err != nil {
		return err
	}
	copy(r.buf, keep)
	return nil
}

// take goes on at the cursor, if the log of pages is whole up to there; else from
// the beginning, which gives the same extents again.
func (x *exporting) take(r *reading) (err error) {
	row := x.state()
	if row.Log != "" {
		x.log, err = x.logs.Resume(schemas.UUID(x.run().Lease), row.Log, int64(row.LogBytes))
		if err == nil {
			r.log, r.from = x.log, row.Cursors[0]
			return x.save(func(row *schemas.ExportOpen) { row.Log = x.log.Name() })
		}
		if !errors.Is(err, pagelog.ErrNone) {
			return err
		}
		x.env.Log.Warn("the export begins anew", "lease", folder(x.run()), "err", err)
	}
	x.log, err = x.logs.Create(schemas.UUID(x.run().Lease))
	r.log = x.log
	return err
}

// stand puts the reading on its base, if there is one that can bear it.
func (x *exporting) stand(r *reading) *pagelog.Log {
	base := x.order.GetBase()
	switch {
	case x.order.GetOptions().GetMode() == schemas.Options_MODE_FULL:
		r.fullReason = "a full backup was asked for"
		return nil
	case len(base.GetLease()) == 0:
		r.fullReason = "there is no base"
		return nil
	}
	r.check = x.order.GetCheck()
	r.base = map[string]*schemas.BaseFile{}
	for _, f := range base.Files {
		r.base[f.Key] = f
	}
	lease, _ := schemas.UUIDOf(base.Lease)
	d, err := x.logs.Open(lease)
	if err != nil {
		r.digestless = err.Error()
		return nil
	}
	r.digest = d
	return d
}

// finish settles what finished will say.
func (x *exporting) finish(r *reading, worth source.Worth) (*schemas.Finished, error) {
	row := x.state()
	f := &schemas.Finished{SnapshotId: r.snap.ID(), Consistency: worth.Level, FullReason: text(r.fullReason), SnapshotMs: row.SnapshotMs,
		Warnings: texts(slices.Concat(r.snap.Warnings(), worth.Warnings, missing(x.order.GetBase(), orderOf(x.order), r.snap.Files()))),
		Files:    uint32(len(r.snap.Files()))}
	if r.inherits {
		f.BaseLease = x.order.Base.Lease
	}
	for _, file := range r.snap.Files() {
		if file.Kind == schemas.FileExported_KIND_DISK {
			f.Disks++
		}
	}
	// Extents that were read twice, of a machine that changed under us, may differ;
	// the first stands in the vault and the second in the log. Such a log is no base.
	if x.resumed && worth.Level == schemas.Consistency_CONSISTENCY_FUZZY {
		return f, nil
	}
	return f, x.log.Seal()
}

// settle waits until the last extent is in the topic.
func (x *exporting) settle() error {
	if x.flight == nil {
		return nil
	}
	err := <-x.flight
	x.flight = nil
	return err
}

// send puts events while the next extent is read.
func (x *exporting) send(events ...topics.Event) error {
	if err := x.settle(); err != nil {
		return err
	}
	flight := make(chan error, 1)
	x.flight = flight
	go func() { flight <- x.put(events...) }()
	return nil
}
