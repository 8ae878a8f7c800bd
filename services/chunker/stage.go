package chunker

import (
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/staging"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

const stageName = "chunker"

// Config has nothing to set: the grid is the vault's, and rides in each extent.
type Config struct{}

// Default is the configuration without a file.
func Default() Config { return Config{} }

// Deps is what the chunker needs of the house.
type Deps struct {
	Staging *staging.Share
	NameKey [32]byte
}

// shared is what the rooms of a process have in common.
type shared struct {
	env     stage.Env
	deps    Deps
	workers workers
}

// Stage reads extents and tells their chunks.
func Stage(_ Config, d Deps) stage.Stage {
	return stage.Define(stageName, func(env stage.Env) (func(*stage.Room) (*room, error), error) {
		s := &shared{env: env, deps: d, workers: newWorkers(d.NameKey)}
		parts := env.Parts(topics.ChunksCut.Spec)
		return func(*stage.Room) (*room, error) { return s.room(parts), nil }, nil
	},
		stage.On(topics.ExtentsExported, (*room).cut),
		stage.Emits[*room](topics.ExtentsCut.Spec),
		stage.Emits[*room](topics.ChunksCut.Spec),
		stage.Emits[*room](topics.BackupsFaulted.Spec),
	)
}

// share gives each record its part of the extent's microseconds, so that their sum is the whole.
func share(cuts []*schemas.ChunksCut, readUS, cutUS uint32) {
	all, before := 0, 0
	for _, c := range cuts {
		all += len(c.GetRefs().GetPlaces())
	}
	part := func(us uint32, from, to int) uint32 {
		return uint32(uint64(us)*uint64(to)/uint64(all) - uint64(us)*uint64(from)/uint64(all))
	}
	for _, c := range cuts {
		if c != nil {
			n := before + len(c.Refs.Places)
			c.ReadUs, c.CutUs = part(readUS, before, n), part(cutUS, before, n)
			before = n
		}
	}
}

func us(d time.Duration) uint32 { return uint32(min(max(0, d.Microseconds()), 1<<31)) }
