package main

import (
	"context"
	"sync"

	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// book is what was asked for and what was told, as anyone can hear it.
type book struct {
	mu      sync.Mutex
	jobs    map[schemas.UUID]*job
	told    map[schemas.UUID]map[string]schemas.BackupCompleted // by backup and status
	asked   map[schemas.UUID][]string                           // machines of requests that lie in the topic, by job
	ended   map[schemas.UUID]schemas.RestoreCompleted           // by restore
	changed chan struct{}
}

// job is one request of ours.
type job struct {
	id        schemas.UUID
	machines  []*machine
	from      map[string]int // version of each machine when it was asked for, by name
	cancelled bool
}

// bound is which versions the point of a backup may hold.
type bound struct {
	m      *machine
	lo, hi int
}

func newBook() *book {
	return &book{jobs: map[schemas.UUID]*job{}, told: map[schemas.UUID]map[string]schemas.BackupCompleted{}, asked: map[schemas.UUID][]string{},
		ended: map[schemas.UUID]schemas.RestoreCompleted{}, changed: make(chan struct{})}
}

// listen hears what a life says until it ends. Each reads from the beginning: what
// is heard twice is the same.
func (b *book) listen(l *life, heard func(schemas.BackupCompleted)) {
	for _, s := range []topics.Spec{topics.BackupsRequested.Spec, topics.BackupsCompleted.Spec, topics.RestoresCompleted.Spec} {
		go func() {
			for rec, err := range l.cl.Follow(l.ctx, s, 0) {
				if err != nil {
					return // the life has ended, or will be found dumb by who waits
				}
				b.hear(rec, heard)
			}
		}()
	}
}

func (b *book) hear(rec client.Record, heard func(schemas.BackupCompleted)) {
	e, err := schemas.DecodeEvent(rec.Headers, rec.Value)
	if err != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e.Type {
	case schemas.TypeBackupRequested:
		if v, err := schemas.ReadData[schemas.BackupRequested](e); err == nil {
			b.asked[schemas.JobID(e.Source, e.ID)] = v.Machines
		}
	case schemas.TypeBackupCompleted:
		v, err := schemas.ReadData[schemas.BackupCompleted](e)
		if err != nil {
			return
		}
		if b.told[v.Backup] == nil {
			b.told[v.Backup] = map[string]schemas.BackupCompleted{}
		}
		if _, again := b.told[v.Backup][v.Status]; !again {
			b.told[v.Backup][v.Status] = v
			heard(v)
		}
	case schemas.TypeRestoreCompleted:
		if v, err := schemas.ReadData[schemas.RestoreCompleted](e); err == nil {
			b.ended[v.Restore] = v
		}
	}
	close(b.changed)
	b.changed = make(chan struct{})
}

// until waits until f, which holds the lock, says so.
func (b *book) until(ctx context.Context, f func() bool) error {
	for {
		b.mu.Lock()
		done, changed := f(), b.changed
		b.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// over says whether every machine of the job has ended. The lock is held.
func (b *book) over(j *job) bool {
	if b.told[j.id] != nil {
		return true // the job as a whole was refused
	}
	n := 0
	for _, m := range j.machines {
		if b.told[j.backup(m)] != nil {
			n++
		}
	}
	return n == len(j.machines)
}

// backup is the id of the job's backup of m.
func (j *job) backup(m *machine) schemas.UUID { return schemas.BackupID(j.id, m.source, m.id) }

func (b *book) add(j *job) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.jobs[j.id] = j
}

// counts are how many backups ended so, by status.
func (b *book) counts() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := map[string]int{}
	for _, ends := range b.told {
		for status := range ends {
			n[status]++
		}
	}
	n["restored"] = len(b.ended)
	return n
}

// completed are the backups of jobs that were heard to complete.
func (b *book) completed() (all []schemas.BackupCompleted) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ends := range b.told {
		if v, ok := ends["completed"]; ok {
			all = append(all, v)
		}
	}
	return all
}
