package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// errStuck means that rest did not come; the tally says what of it.
var errStuck = errors.New("stuck")

// patience is how long nothing at all may happen before it is called stuck: longer
// than any backoff between two attempts of a backup that just failed twice.
const patience = 4 * time.Minute

// rest waits until all that was asked for has ended, and then until nothing is left
// of it. What is left after all patience is a fault.
func (w *world) rest(ctx context.Context, l *life) error {
	if err := w.awaited(ctx); err != nil {
		return err
	}
	return w.calm(ctx, l)
}

// awaited waits for owners and restores, as long as anything moves.
func (w *world) awaited(ctx context.Context) error {
	last, since := "", time.Now()
	for {
		select {
		case <-w.idle:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
		if now := fmt.Sprint(w.book.counts()); now != last {
			last, since = now, time.Now()
		}
		if time.Since(since) > patience {
			w.stuck()
			return errStuck
		}
	}
}

// stuck names what has no end.
func (w *world) stuck() {
	w.book.mu.Lock()
	defer w.book.mu.Unlock()
	for _, j := range w.book.jobs {
		for _, m := range j.machines {
			if w.book.told[j.backup(m)] == nil && w.book.told[j.id] == nil {
				w.tally.fault(stuck, "backup %s of %s, job %s", j.backup(m), m.name, j.id)
			}
		}
	}
}

// left is what lies about that should not, and what kind of fault that is.
type left struct {
	fault fault
	what  string
}

// calm waits until nothing is left.
func (w *world) calm(ctx context.Context, l *life) error {
	var all []left
	for began := time.Now(); time.Since(began) < patience; {
		var err error
		if all, err = w.remains(l); err != nil {
			return err
		}
		if len(all) == 0 {
			return nil
		}
		if !pause(ctx, l, time.Second) {
			return fmt.Errorf("while rest was waited for: %w", errors.Join(ctx.Err(), l.err))
		}
	}
	for _, one := range all {
		w.tally.fault(one.fault, "%s", one.what)
	}
	return nil
}

func (w *world) remains(l *life) (all []left, err error) {
	add := func(f fault, format string, a ...any) { all = append(all, left{f, fmt.Sprintf(format, a...)}) }
	for _, pattern := range []string{"staging/leases/*", "staging/leases/*/*"} {
		files, _ := filepath.Glob(filepath.Join(w.process.data, pattern)) // the patterns are sound
		for _, f := range files {
			add(staged, "%s", f)
		}
	}
	if w.vc != nil {
		for _, s := range w.snapshotsOpen() {
			add(snapshots, "snapshot %s", s)
		}
		for host, g := range w.vc.vc.Counters().Leases {
			if g.Now > 0 {
				add(snapshots, "%d leases at %s", g.Now, host)
			}
		}
		for _, id := range w.vc.vc.Machines() {
			if !w.vc.first[id] {
				add(snapshots, "machine %s, which a restore made", id)
			}
		}
	}
	rows, err := w.rows(l)
	if err != nil {
		return nil, err
	}
	records, err := undone(l)
	return append(append(all, rows...), records...), err
}

// rows are those of tables that should be at rest.
func (w *world) rows(l *life) (all []left, err error) {
	add := func(format string, a ...any) { all = append(all, left{slots, fmt.Sprintf(format, a...)}) }
	err = table(l, topics.MachinesTended, func(_ string, t *schemas.MachineTended) {
		if o := t.GetOpen(); o != nil {
			add("machine %s is in state %s, slots: source %d, region %d, connection %d", t.GetMachine().GetName(), o.State, o.SourceSlot, o.RegionSlot, o.ConnectionSlot)
		}
		if n := len(t.GetPending()); n > 0 {
			add("machine %s has %d requests pending", t.GetMachine().GetName(), n)
		}
	})
	if err == nil {
		err = table(l, topics.ExportsOpen, func(_ string, e *schemas.ExportOpen) {
			if e.GetPhase() != schemas.ExportOpen_PHASE_ENDED {
				add("export of backup %s is in phase %s", schemas.IDText(e.GetOrder().GetRun().GetBackup()), e.GetPhase())
			}
		})
	}
	if err == nil {
		err = table(l, topics.RestoresOpen, func(_ string, r *schemas.RestoreOpen) {
			if !r.GetTold() {
				add("restore %s is in phase %s and not told", schemas.IDText(r.GetRestore()), r.GetPhase())
			}
		})
	}
	if err == nil {
		err = table(l, topics.PagesFiled, func(key string, p *schemas.PageFiled) {
			if c := p.GetCompleting(); c != nil {
				add("backup %s is being completed for ever", schemas.IDText(c.GetRun().GetBackup()))
			}
		})
	}
	return all, err
}

// table calls f with the newest row of each key.
func table[T proto.Message](l *life, t topics.Topic[T], f func(key string, row T)) error {
	rows := map[string][]byte{}
	for rec, err := range l.cl.Read(l.ctx, t.Spec, 0) {
		if err != nil {
			return err
		}
		rows[string(rec.Key)] = rec.Value
	}
	for key, value := range rows {
		if value == nil {
			continue
		}
		row, err := t.Decode(value)
		if err != nil {
			return err
		}
		f(key, row)
	}
	return nil
}

// undone are records that the house itself says it has not done yet.
func undone(l *life) (all []left, err error) {
	r, err := http.Get(l.run.Metrics)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	for s := bufio.NewScanner(r.Body); s.Scan(); {
		line := s.Text()
		if (strings.HasPrefix(line, "holdfast_stage_lag_records{") || strings.HasPrefix(line, "holdfast_stage_held_records{")) && !strings.HasSuffix(line, " 0") {
			all = append(all, left{held, line})
		}
	}
	return all, nil
}

// snapshotsOpen are those that bear our mark, and any other.
func (w *world) snapshotsOpen() []string {
	w.vc.gate.RLock()
	defer w.vc.gate.RUnlock()
	return slices.Clone(w.vc.vc.Counters().Open)
}

// dead is how long ago what dead processes left was touched, as far as the house
// can see: longer than it lets them lie.
const dead = 2 * time.Hour

// swept ends the house in order, lets two hours go by for what dead processes left
// in the sealed area, and wants a start to leave nothing of it. It returns the life
// of that start.
func (w *world) swept(ctx context.Context, l *life) (*life, error) {
	if err := w.ends(l); err != nil {
		return nil, err
	}
	area := filepath.Join(w.process.data, "staging", "sealed")
	dirs, err := filepath.Glob(filepath.Join(area, "*"))
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		if err := os.Chtimes(dir, time.Time{}, time.Now().Add(-dead)); err != nil {
			return nil, err
		}
	}
	if l, err = w.process.start(); err != nil {
		return nil, err
	}
	if err := w.process.stands(ctx, l); err != nil {
		return nil, err
	}
	var packs []string
	for range 30 {
		if packs, _ = filepath.Glob(filepath.Join(area, "*", "e*")); len(packs) == 0 {
			return l, nil
		}
		if !pause(ctx, l, time.Second) {
			return nil, fmt.Errorf("while the sealed area was to be swept: %w", errors.Join(ctx.Err(), l.err))
		}
	}
	for _, pack := range packs {
		w.tally.fault(sealed, "%s", pack)
	}
	return l, nil
}

// ends ends the house in order.
func (w *world) ends(l *life) error {
	began := time.Now()
	if !l.term(grace) {
		return fmt.Errorf("the last SIGTERM did not end up within %s; see %s", grace, w.process.log)
	}
	w.tally.DrainS = append(w.tally.DrainS, time.Since(began).Seconds())
	return l.err
}
