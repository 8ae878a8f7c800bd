package uploader

import (
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/libs/rate"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/staging"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/topics"
)

const (
	stageName = "uploader"
	// turnsEvery is how often rooms look for targets that went down or came back.
	turnsEvery = 2 * time.Second
	// turnsFresh is when a target is told of again, though nothing turned: for its
	// free space, and for readers that found the row of another process. 10 targets
	// make 1440 rows of 100 bytes a day.
	turnsFresh = 10 * time.Minute
	// readEvery is how often a sealed area that does not answer is asked.
	readEvery = 10 * time.Second
	// holdMax: above the 30 s that stragglers are waited for, and above an outage
	// of more than m targets that people notice.
	holdMax = 20 * time.Minute
)

// Config of the uploader.
type Config struct {
	// AtOnce is how many packs a process has under way before their quorum: each
	// takes 24 MiB, and the file targets flush up to 8 together. Default 8; a process
	// on fewer than four cores has twice its cores.
	AtOnce int `yaml:"at_once"`
}

// Default is the configuration without a file.
func Default() Config { return Config{AtOnce: 8} }

// Deps is what the uploader needs of the house.
type Deps struct {
	Sealed *staging.Sealed
	Writer *vault.Writer
	// Rooms shares the targets' limits with the other uploaders. May be nil.
	Rooms *rate.Rooms
}

// shared is what the rooms of a process have in common.
type shared struct {
	env    stage.Env
	deps   Deps
	parts  int32
	tokens chan struct{}
	bodies *bodies

	asking sync.Mutex        // guards told, and is held while targets are asked
	told   map[string]turned // targets as they were last told
}

// Stage makes sealed packs durable and tells who waited for them.
func Stage(c Config, d Deps) stage.Stage {
	return stage.Define(stageName, func(env stage.Env) (func(*stage.Room) (*room, error), error) {
		if c.AtOnce < 1 {
			return nil, fmt.Errorf("stages.uploader.at_once: %d, want 1 at least", c.AtOnce)
		}
		s := &shared{env: env, deps: d, parts: env.Parts(topics.ChunksStored.Spec), tokens: make(chan struct{}, c.AtOnce), bodies: newBodies(c.AtOnce), told: map[string]turned{}}
		return func(at *stage.Room) (*room, error) {
			s.forget()
			d.Rooms.Open(at.Of)
			return &room{s, at}, nil
		}, nil
	},
		stage.On(topics.PacksSealed, (*room).sealed),
		stage.Emits[*room](topics.ChunksStored.Spec),
		stage.Emits[*room](topics.ChunksLanded.Spec),
		stage.Emits[*room](topics.ChunksDropped.Spec),
		stage.Emits[*room](topics.BackupsFaulted.Spec),
		stage.Emits[*room](topics.TargetsTurned.Spec),
		stage.Every(turnsEvery, (*room).turns),
		stage.Overdue(holdMax, (*room).overdue),
	)
}
