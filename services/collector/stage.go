package collector

import (
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/topics"
)

// Config of the stage.
type Config struct {
	// Every is how often the vault is asked for its newest epoch. An epoch lasts
	// a day; what is said again costs one small record a partition.
	Every time.Duration `yaml:"every"`
	// Retry is the same while the vault does not answer.
	Retry time.Duration `yaml:"retry"`
}

// Default holds for any size of house.
func Default() Config { return Config{Every: time.Hour, Retry: 5 * time.Second} }

// Deps are what the stage works with.
type Deps struct{ Vault *vault.Vault }

// Stage tells the house which epoch it lives in.
func Stage(c Config, d Deps) stage.Stage {
	return stage.Define("collector", func(env stage.Env) (func(*stage.Room) (*room, error), error) {
		parts := env.Parts(topics.ChunksStored.Spec)
		return func(r *stage.Room) (*room, error) {
			return &room{room: r, env: env, conf: c, vault: d.Vault, parts: parts, opened: map[uint64]bool{}}, nil
		}, nil
	},
		stage.Own(topics.EpochsTurned, (*room).turned),
		stage.Every(c.Retry, (*room).beat),
		stage.Emits[*room](topics.ChunksStored.Spec),
	)
}
