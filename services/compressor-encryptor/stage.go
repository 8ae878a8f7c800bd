package sealer

import (
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/libs/seal"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/staging"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

const stageName = "compressor-encryptor"

const (
	// holdMax is above the 15 minutes without progress that end a lease: what is held
	// longer serves nobody.
	holdMax = 20 * time.Minute
	// sweepEvery keeps this process's folder in the sealed area alive, and removes
	// those of processes that are not.
	sweepEvery = 10 * time.Minute
)

// Config of the compressor-encryptor.
type Config struct {
	// Workers that compress and seal, each with an encoder of its own. Default: one a core.
	Workers int `yaml:"workers"`
}

// Default is the configuration without a file.
func Default() Config { return Config{} }

// Deps is what the compressor-encryptor needs of the house. The ring holds name
// key, map key and the public half: it can seal and can't open.
type Deps struct {
	Staging *staging.Share
	Sealed  *staging.Sealed
	Ring    *vault.Ring
	Codec   seal.Method // the vault's setting; empty: zstd
	Shards  int         // the vault's k: each data shard's hash is told; 0: 1
}

// shared is what the rooms of a process have in common: one engine, from the first
// room's begin to the last one's end.
type shared struct {
	env     stage.Env
	deps    Deps
	workers int

	mu    sync.Mutex
	rooms int
	cur   *engine
}

// room is one partition number. Its records go to the process's one open pack.
type room struct {
	s   *shared
	eng *engine
}

// Stage reads fresh chunks and tells the packs that hold them.
func Stage(c Config, d Deps) stage.Stage {
	return stage.Define(stageName, func(env stage.Env) (func(*stage.Room) (*room, error), error) {
		if err := d.Ring.Need(vault.NameKey, vault.MapKey, vault.PublicKey); err != nil {
			return nil, fmt.Errorf("%s: %w", stageName, err)
		}
		s := &shared{env: env, deps: d, workers: c.Workers}
		return s.room, nil
	},
		stage.On(topics.ChunksFresh, (*room).fresh),
		stage.Emits[*room](topics.PacksSealed.Spec),
		stage.Emits[*room](topics.ChunksDropped.Spec),
		stage.Emits[*room](topics.BackupsFaulted.Spec),
		stage.Every(sweepEvery, (*room).sweep),
		stage.Overdue(holdMax, (*room).overdue),
	)
}

func (s *shared) room(*stage.Room) (*room, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cur == nil {
		eng, err := newEngine(s.env, s.deps, s.workers)
		if err != nil {
			return nil, err
		}
		s.cur = eng
	}
	s.rooms++
	return &room{s, s.cur}, nil
}

// Close ends the engine with the last room. Records of a room that ended while
// others live may still be sealed; their holds are void, and another process seals
// them once more, which breaks nothing.
func (r *room) Close() error {
	r.s.mu.Lock()
	r.s.rooms--
	last := r.s.rooms == 0
	if last {
		r.s.cur = nil
	}
	r.s.mu.Unlock()
	if last {
		r.eng.stop()
	}
	return nil
}

func (r *room) fresh(in *stage.In, m *schemas.ChunksFresh) error {
	if err := check(m); err != nil {
		return stage.Refuse(fmt.Errorf("fresh chunks of %s: %w", name(m), err))
	}
	r.eng.add(&record{in: in, msg: m, gate: in.Hold(), left: len(m.Refs.Places)})
	return nil
}

func (r *room) sweep(*stage.In) error {
	if err := r.s.deps.Sealed.Sweep(); err != nil {
		r.s.env.Log.Warn("sealed area is not swept", "err", err) // the next beat tries again
	}
	return nil
}

func (r *room) overdue(h *stage.Hold) { r.eng.overdue(h) }
