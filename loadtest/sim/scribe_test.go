//go:build synctests

package sim

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// scribe reads every topic from its beginning and keeps what it says.
type scribe struct {
	w    *world
	cl   *kgo.Client
	done chan struct{}

	mu      sync.Mutex
	read    map[string]map[int32]int64     // next offset, by physical topic
	streams map[string][]proto.Message     // by the house's name, as they came
	records map[string][]*kgo.Record       // the same, as they are
	tables  map[string]map[string]any      // newest row, by the house's name and key
	ends    map[schemas.UUID][]ending      // by backup
	jobs    map[schemas.UUID]*job          // by job
	brought map[schemas.UUID][]broughtBack // by restore
}

// ending is a terminal event of a backup.
type ending struct {
	schemas.BackupCompleted
	raw string
}

// broughtBack is a terminal event of a restore.
type broughtBack struct {
	schemas.RestoreCompleted
	raw string
}

// job is what the house says of one request.
type job struct {
	of      uint32
	backups map[schemas.UUID]bool
}

func (k *kafka) scribe() *scribe {
	s := &scribe{w: k.w, done: make(chan struct{}), read: map[string]map[int32]int64{}, streams: map[string][]proto.Message{}, records: map[string][]*kgo.Record{},
		tables: map[string]map[string]any{}, ends: map[schemas.UUID][]ending{}, jobs: map[schemas.UUID]*job{}, brought: map[schemas.UUID][]broughtBack{}}
	from := map[string]map[int32]kgo.Offset{}
	for name := range k.specs {
		from[name], s.read[name] = map[int32]kgo.Offset{}, map[int32]int64{}
		for _, p := range k.c.PartitionInfos(name) {
			from[name][p.Partition] = kgo.NewOffset().AtStart()
		}
	}
	var err error
	s.cl, err = kgo.NewClient(append(k.reach(k.dial), kgo.ConsumePartitions(from), kgo.FetchMaxWait(fetchWait))...)
	k.w.must(err)
	go s.listen()
	return s
}

func (s *scribe) close() {
	s.cl.Close()
	<-s.done
}

func (s *scribe) listen() {
	defer close(s.done)
	for {
		f := s.cl.PollFetches(context.Background())
		if f.IsClientClosed() {
			return
		}
		f.EachRecord(func(rec *kgo.Record) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.read[rec.Topic][rec.Partition] = rec.Offset + 1
			s.note(s.w.kafka.specs[rec.Topic], rec)
		})
	}
}

// upToDate reports whether all that is in the logs was read.
func (s *scribe) upToDate() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, parts := range s.read {
		for _, p := range s.w.kafka.c.PartitionInfos(name) {
			if parts[p.Partition] < p.HighWatermark {
				return false
			}
		}
	}
	return true
}

func (s *scribe) note(spec topics.Spec, rec *kgo.Record) {
	s.records[spec.Name] = append(s.records[spec.Name], rec)
	switch spec.Kind {
	case topics.Public:
		s.public(spec, rec)
		return
	case topics.Table:
		if s.tables[spec.Name] == nil {
			s.tables[spec.Name] = map[string]any{}
		}
		if rec.Value == nil {
			delete(s.tables[spec.Name], string(rec.Key))
			return
		}
	}
	m := message(spec.Name)
	if m == nil || poison(rec) {
		return
	}
	if err := proto.Unmarshal(rec.Value, m); err != nil {
		return // a poison of ours; what the house makes of it is checked at rest
	}
	if spec.Kind == topics.Table {
		s.tables[spec.Name][string(rec.Key)] = m
	}
	s.streams[spec.Name] = append(s.streams[spec.Name], m)
	s.w.witness(m)
}

func (s *scribe) public(spec topics.Spec, rec *kgo.Record) {
	headers := map[string]string{}
	for _, h := range rec.Headers {
		headers[h.Key] = string(h.Value)
	}
	e, err := schemas.DecodeEvent(headers, rec.Value)
	if err != nil {
		return
	}
	switch e.Type {
	case schemas.TypeBackupCompleted:
		v, err := schemas.ReadData[schemas.BackupCompleted](e)
		s.w.check(err == nil, 3, "a terminal event that nobody can read: %v", err)
		s.ends[v.Backup] = append(s.ends[v.Backup], ending{v, string(e.Data)})
		s.job(v.Job, v.Backup)
	case schemas.TypeBackupProgressed:
		if v, err := schemas.ReadData[schemas.BackupProgressed](e); err == nil {
			s.job(v.Job, v.Backup)
		}
	case schemas.TypeRestoreCompleted:
		v, err := schemas.ReadData[schemas.RestoreCompleted](e)
		s.w.check(err == nil, 3, "a restore's end that nobody can read: %v", err)
		s.brought[v.Restore] = append(s.brought[v.Restore], broughtBack{v, string(e.Data)})
	}
}

func (s *scribe) job(ref schemas.JobRef, backup schemas.UUID) {
	j := s.jobs[ref.ID]
	if j == nil {
		j = &job{backups: map[schemas.UUID]bool{}}
		s.jobs[ref.ID] = j
	}
	j.of = max(j.of, ref.Of)
	j.backups[backup] = true
}

// message is an empty message of a topic, or nil.
func message(name string) proto.Message {
	switch name {
	case topics.MachinesFound.Name:
		return &schemas.MachineFound{}
	case topics.BackupsQueued.Name:
		return &schemas.BackupQueued{}
	case topics.MachinesTended.Name:
		return &schemas.MachineTended{}
	case topics.BackupsLeased.Name:
		return &schemas.BackupLeased{}
	case topics.ExportsOpen.Name:
		return &schemas.ExportOpen{}
	case topics.ExtentsExported.Name:
		return &schemas.ExtentExported{}
	case topics.FilesExported.Name:
		return &schemas.FileExported{}
	case topics.ExportsEnded.Name:
		return &schemas.ExportEnded{}
	case topics.ExtentsCut.Name:
		return &schemas.ExtentCut{}
	case topics.ChunksCut.Name:
		return &schemas.ChunksCut{}
	case topics.ChunksKnown.Name:
		return &schemas.ChunksKnown{}
	case topics.ChunksFresh.Name:
		return &schemas.ChunksFresh{}
	case topics.ChunksDropped.Name:
		return &schemas.ChunksDropped{}
	case topics.PacksSealed.Name:
		return &schemas.PackSealed{}
	case topics.ChunksStored.Name:
		return &schemas.ChunksStored{}
	case topics.ChunksLanded.Name:
		return &schemas.ChunksLanded{}
	case topics.PagesFiled.Name:
		return &schemas.PageFiled{}
	case topics.PlacesFiled.Name:
		return &schemas.PlacesFiled{}
	case topics.ExtentsClosed.Name:
		return &schemas.ExtentsClosed{}
	case topics.BackupsFaulted.Name:
		return &schemas.BackupFaulted{}
	case topics.BackupsJudged.Name:
		return &schemas.BackupJudged{}
	case topics.RestoresOpen.Name:
		return &schemas.RestoreOpen{}
	}
	return nil
}

// all returns what a stream said.
func all[T proto.Message](s *scribe, t topics.Topic[T]) (got []T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.streams[t.Name] {
		got = append(got, m.(T))
	}
	return got
}

// rows returns the newest row of each key.
func rows[T proto.Message](s *scribe, t topics.Topic[T]) map[string]T {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := map[string]T{}
	for key, m := range s.tables[t.Name] {
		got[key] = m.(T)
	}
	return got
}
