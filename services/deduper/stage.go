package deduper

import (
	"context"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/index"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/topics"
)

const stageName = "deduper"

// Config of the deduper.
type Config struct {
	// Cache is what the index keeps of its disk in memory. Default 96MiB, at least 64MiB.
	Cache conf.Size `yaml:"cache"`
	// Flush is how often the index is written out; a crash costs reading so much
	// of the table again. Default 5m.
	Flush conf.Duration `yaml:"flush"`
}

// Default is the configuration without a file.
func Default() Config {
	return Config{Cache: index.CacheDefault, Flush: conf.Duration(5 * time.Minute)}
}

// Deps is what the deduper needs of the house.
type Deps struct {
	Dir    string // of the index, this process's own
	Tables Tables // nil: an index that is lost, with its log, stays lost
	// Gauge registers a metric that is asked when somebody looks. May be nil.
	Gauge func(name, help string, value func() float64)
}

// shared is what the rooms of a process have in common.
type shared struct {
	env   stage.Env
	deps  Deps
	dir   *index.Dir
	every time.Duration
	gauges

	mu      sync.Mutex
	flushed time.Time
}

// Stage reads cut chunks and tells which are known and which are fresh.
func Stage(c Config, d Deps) stage.Stage {
	return define(c, func(stage.Env) Deps { return d })
}

func define(c Config, deps func(stage.Env) Deps) stage.Stage {
	return stage.Define(stageName, func(env stage.Env) (func(*stage.Room) (*room, error), error) {
		d := deps(env)
		s := &shared{env: env, deps: d, every: time.Duration(c.Flush), flushed: env.Now(),
			dir: index.At(d.Dir, index.Options{CacheBytes: int64(c.Cache), Log: env.Log})}
		s.register()
		return s.room, nil
	},
		stage.RecallRaw(topics.ChunksStored, (*room).begin, (*room).row),
		stage.On(topics.ChunksCut, (*room).cut),
		stage.On(topics.ChunksDropped, (*room).dropped),
		stage.Emits[*room](topics.ChunksKnown.Spec),
		stage.Emits[*room](topics.ChunksFresh.Spec),
		stage.Every(tickEvery, (*room).tick),
		stage.Overdue(holdMax, (*room).overdue),
	)
}

func (s *shared) room(at *stage.Room) (*room, error) {
	part, err := s.dir.Part(at.Number)
	if err != nil {
		return nil, err
	}
	return &room{shared: s, at: at, part: part, claims: newClaims(), held: map[hold]*record{}}, nil
}

// flush writes the index out when it is time, beside the rooms.
func (s *shared) flush(at *stage.Room) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.env.Now(); now.Sub(s.flushed) >= s.every {
		s.flushed = now
		at.Go(func(context.Context) func() {
			if err := s.dir.Flush(); err != nil {
				s.env.Log.Error("index is not written out", "err", err)
			}
			return nil
		})
	}
}
