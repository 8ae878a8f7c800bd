package exporter

import (
	"context"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// beatEvery is how often the scheduler hears of an export that reads, or waits for a
// limit of ours. A lease is ended when it was silent for 15 minutes, and what the
// auditor tells is only what was filed: of a terabyte without a change nothing is,
// and of a machine that reads slowly by our own will a page now and then.
const beatEvery = 30 * time.Second

// pulse is what a lease has read, and whether it waits for ourselves, since it was
// last told. A lease that waits for anything else has none.
type pulse struct {
	mu     sync.Mutex
	waits  int
	waited time.Duration // of all time: no work of ours
	reads  int
	took   time.Duration
	store  string
}

// wait runs f, which waits for a limit of ours.
func (p *pulse) wait(now func() time.Time, f func() error) error {
	p.mu.Lock()
	p.waits++
	p.mu.Unlock()
	begun := now()
	err := f()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waits--
	p.waited += now().Sub(begun)
	return err
}

func (p *pulse) read(store string, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if store != p.store {
		p.store, p.reads, p.took = store, 0, 0
	}
	p.reads++
	p.took += took
}

// rested is how long the lease waited for ourselves, in all. nil: not at all.
func (p *pulse) rested() time.Duration {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waited
}

// take is what to tell, if there is anything.
func (p *pulse) take() (e *schemas.ExportEnded, beats bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e = &schemas.ExportEnded{Word: schemas.ExportEnded_WORD_READING, Store: text(p.store)}
	beats = p.reads > 0 || p.waits > 0
	if p.reads > 0 {
		e.LatencyUs = uint32(max(1, min((p.took/time.Duration(p.reads)).Microseconds(), 1<<31)))
	}
	p.reads, p.took = 0, 0
	return e, beats
}

// beat tells of the lease while it reads. It returns with ctx, or when its room has ended.
func (l *lease) beat(ctx context.Context, p *pulse) {
	for {
		select {
		case <-time.After(beatEvery):
		case <-ctx.Done():
			return
		}
		if e, beats := p.take(); beats && l.put(readingWord(l.order, e)) != nil {
			return
		}
	}
}

// readingWord is said of the lease, without the attempt: a scheduler that does not
// know it yet takes any word on an attempt for the end of its reading.
func readingWord(o *schemas.BackupLeased, e *schemas.ExportEnded) topics.Event {
	run := o.GetRun()
	e.Run = &schemas.Run{Backup: run.GetBackup(), Lease: run.GetLease(), Epoch: run.GetEpoch(), Traceparent: run.GetTraceparent()}
	e.Machine = o.GetMachine()
	return topics.ExportsEnded.Event([]byte(o.GetMachine().GetSource()), e)
}
