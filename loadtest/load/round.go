package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// sender is who we are as the sender of events.
const sender = "/load"

// round asks for a backup of every machine, and measures until the house rests.
func (w *world) round(ctx context.Context, no int) error {
	if err := w.turn(ctx, no); err != nil {
		return err
	}
	r := &round{Name: "incremental", Status: map[string]int{}}
	if no == 0 {
		r.Name = "full"
	}
	w.report.Rounds = append(w.report.Rounds, r)
	before, err := w.house.look(ctx)
	if err != nil {
		return err
	}
	cpu, vault := w.house.spentBy(), folder(filepath.Join(w.data(), "vault"))
	watch := w.house.watch(ctx)
	began := time.Now()
	ends, err := w.ask(ctx, r)
	r.WallSeconds = time.Since(began).Seconds()
	if err == nil {
		err = w.rests(ctx)
	}
	r.RestSeconds = time.Since(began).Seconds() - r.WallSeconds
	r.Peak = watch.end(w.house)
	r.Lag, r.Files, r.Memory = watch.lag, watch.files, int64(watch.memory)
	w.judge(r, no, ends)
	if err != nil {
		return err
	}
	after, err := w.house.look(ctx)
	if err != nil {
		return err
	}
	r.count(before, after, cpu, w.house.spentBy())
	r.VaultBytes = folder(filepath.Join(w.data(), "vault")) - vault
	r.KafkaLog = folder(filepath.Join(w.data(), "kafka"))
	w.ends = append(w.ends, ends)
	if err := w.stamps(ctx, r, began); err != nil {
		return err
	}
	return w.idle(ctx, r)
}

// ask publishes one event for all machines, and hears until each has ended.
func (w *world) ask(ctx context.Context, r *round) (map[schemas.UUID]schemas.BackupCompleted, error) {
	id := uuid.NewString()
	job := schemas.JobID(sender, id)
	mode := ""
	if r.Name == "full" {
		mode = "full"
	}
	e, err := schemas.NewEvent(id, sender, time.Now().UTC(), "", schemas.BackupRequested{Selectors: []schemas.Selector{{Source: sourceName}}, Mode: mode})
	if err != nil {
		return nil, err
	}
	e.Key = job.String()
	headers, value, err := schemas.EncodeEvent(e)
	if err != nil {
		return nil, err
	}
	if err := w.house.cl.Publish(ctx, topics.BackupsRequested.Event([]byte(e.Key), value, headers)); err != nil {
		return nil, err
	}
	return w.hear(ctx, r, job)
}

// hear follows the ends of a job's backups. Silence for all patience is an end, too.
func (w *world) hear(ctx context.Context, r *round, job schemas.UUID) (map[schemas.UUID]schemas.BackupCompleted, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ends := map[schemas.UUID]schemas.BackupCompleted{}
	silence := time.AfterFunc(w.patience, func() { stop(errSilence) })
	for rec, err := range w.house.cl.Follow(ctx, topics.BackupsCompleted.Spec, 0) {
		if errors.Is(context.Cause(ctx), errSilence) {
			return ends, nil // what has no end is told by judge
		}
		if err != nil {
			return ends, err
		}
		e, err := schemas.DecodeEvent(rec.Headers, rec.Value)
		if err != nil || e.Type != schemas.TypeBackupCompleted {
			continue
		}
		c, err := schemas.ReadData[schemas.BackupCompleted](e)
		if err != nil || c.Job.ID != job {
			continue
		}
		silence.Reset(w.patience)
		if was, again := ends[c.Backup]; again && was.Status != c.Status {
			r.fault("backup %s of %s ended as %s and as %s", c.Backup, c.Machine.ID, was.Status, c.Status)
		}
		ends[c.Backup] = c
		if n := len(ends); n%max(1, w.machines/10) == 0 {
			w.say("%s: %d of %d have ended", r.Name, n, w.machines)
		}
		if len(ends) == w.machines || c.Backup == job { // or the job as a whole was refused
			return ends, nil
		}
	}
	return ends, ctx.Err()
}

var errSilence = errors.New("no backup ended for all patience")

// judge counts how backups ended, and says which did not as they must.
func (w *world) judge(r *round, no int, ends map[schemas.UUID]schemas.BackupCompleted) {
	var seconds []float64
	for _, c := range ends {
		r.Status[c.Status]++
		switch {
		case c.Status != "completed":
			r.fault("%s: %s: %s", c.Machine.ID, c.Status, c.Reason)
			continue
		case !c.WindowKept:
			r.fault("%s took %.0f s from its lease, beyond its window", c.Machine.ID, c.WindowSeconds)
		default:
			r.Kept++
		}
		if no > 0 && c.FullReason != "" {
			r.fault("%s was read in full: %s", c.Machine.ID, c.FullReason)
		}
		if c.Attempt > 1 {
			r.Again++
		}
		seconds = append(seconds, c.WindowSeconds)
		r.Bytes.Size += c.Bytes.Size
		r.Bytes.Read += c.Bytes.Read
		r.Bytes.Fresh += c.Bytes.Fresh
		r.Bytes.Known += c.Bytes.Known
		r.Bytes.Zero += c.Bytes.Zero
		r.Bytes.Inherited += c.Bytes.Inherited
		r.Bytes.Stored += c.Bytes.Stored
	}
	if missing := w.machines - len(ends); missing > 0 {
		r.fault("%d of %d backups have no end", missing, w.machines)
	}
	slices.Sort(seconds)
	r.P50, r.P99, r.Max = quantile(seconds, 0.5), quantile(seconds, 0.99), quantile(seconds, 1)
}

// quantile of sorted values; 0 of none.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

// collectorMost is which part of its CPU a house may spend on collecting garbage. It
// is 2 % where memory is as it should be, and was 38 where it was not.
const collectorMost = 0.2

// count takes what two looks differ in.
func (r *round) count(before, after sample, cpuBefore, cpuAfter map[string]float64) {
	r.CPU, r.Stages = map[string]float64{}, map[string]*stageFigures{}
	for name, n := range cpuAfter {
		r.CPU[name] = n - cpuBefore[name]
		r.CPUSeconds += n - cpuBefore[name]
	}
	collected := after.sum(collectorMetric) - before.sum(collectorMetric)
	r.Collector = collected / max(1e-3, collected+after.sum(programMetric)-before.sum(programMetric))
	if r.Collector > collectorMost {
		r.fault("the garbage collector had %.0f %% of the CPU: what lives fills the memory limit", 100*r.Collector)
	}
	was, handled := before.byStage(inputsMetric), before.byStage(handlerMetric)
	for stage, n := range after.byStage(inputsMetric) {
		r.Stages[stage] = &stageFigures{Inputs: n - was[stage], HandlerSeconds: after.byStage(handlerMetric)[stage] - handled[stage]}
	}
	for k, n := range after {
		if k.name == produceMetric {
			r.KafkaBytes += int64(n - before[k])
		}
	}
}

// stamps adds what the stages say of their own work, which lies in the ledger.
func (w *world) stamps(ctx context.Context, r *round, began time.Time) error {
	if w.house.ledger == nil {
		return nil
	}
	rows, err := w.house.sql(ctx, fmt.Sprintf("SELECT stage, toString(sum(busy_us)/1e6) FROM ledger.stage_event WHERE at >= fromUnixTimestamp64Milli(%d) GROUP BY stage", began.UnixMilli()))
	for _, row := range rows {
		if s := r.Stages[row[0]]; s != nil {
			s.BusySeconds = number(row[1])
		}
	}
	return err
}

// Rest is when nothing lags nor is held, and the house spends less than a tenth of
// a core between two looks, two seconds apart.
const (
	restEvery = 2 * time.Second
	restCPU   = 0.1
	restMax   = 10 * time.Minute
)

func (w *world) rests(ctx context.Context) error {
	last, end := 0.0, time.Now().Add(restMax)
	for {
		s, err := w.house.look(ctx)
		if err != nil {
			return err
		}
		now := 0.0
		for _, n := range w.house.spentBy() {
			now += n
		}
		undone := s.sum(lagMetric) + s.sum(heldMetric)
		if undone == 0 && now-last < restCPU*restEvery.Seconds() {
			return nil
		}
		if time.Now().After(end) {
			w.report.fault("after %s the house still has %.0f records to do, or spends %.2f of a core", restMax, undone, (now-last)/restEvery.Seconds())
			return nil
		}
		last = now
		select {
		case <-time.After(restEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// idleFor is how long the house is watched doing nothing.
const idleFor = 5 * time.Second

// idle measures what the house costs at rest.
func (w *world) idle(ctx context.Context, r *round) error {
	before := w.house.spentBy()
	select {
	case <-time.After(idleFor):
	case <-ctx.Done():
		return ctx.Err()
	}
	for name, n := range w.house.spentBy() {
		r.IdleCPU += (n - before[name]) / idleFor.Seconds()
	}
	return nil
}

// folder is what the files below a folder take on their disk, in bytes.
func folder(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error { // a file that goes meanwhile has no size
		if err != nil || d.IsDir() {
			return nil
		}
		if st, err := os.Stat(path); err == nil {
			n += st.Size()
		}
		return nil
	})
	return n
}
