package restorer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/topics"
)

const stageName = "restorer"

// Config of the restorer.
type Config struct {
	// AtOnce is how many restores a process runs; the others wait. Default 2: one
	// restore keeps two cores and one target busy.
	AtOnce int `yaml:"at_once"`
	// Keep is how long an ended restore is remembered, so that its request is not
	// run again. Default 60 days, at about 1 KiB each; the least is what a request
	// may be old, behind which it is refused anyway.
	Keep conf.Duration `yaml:"keep"`
}

// Default is the configuration without a file.
func Default() Config { return Config{AtOnce: 2, Keep: conf.Duration(60 * 24 * time.Hour)} }

// Deps is what the restorer needs of the house. It is the one stage that holds
// the private half of the vault's key.
type Deps struct {
	Vault  *vault.Vault
	Reader *vault.Reader
	Roots  []string // folders below which it writes
	// Sources are all that are configured, by name; those that take machines back
	// have a Destination.
	Sources map[string]source.Destination
	// Alone reports whether ours is the only region that reads requests. nil: it is.
	Alone func(context.Context) (bool, error)
}

// Stage restores points on request.
func Stage(c Config, d Deps) stage.Stage {
	return stage.Define(stageName, func(env stage.Env) (func(*stage.Room) (*room, error), error) {
		if c.AtOnce < 1 {
			return nil, fmt.Errorf("%s: at_once is %d, the least is 1", stageName, c.AtOnce)
		}
		if time.Duration(c.Keep) < expiry {
			return nil, fmt.Errorf("%s: keep is %s, the least is %s", stageName, time.Duration(c.Keep), expiry)
		}
		roots, err := realRoots(d.Roots)
		if err != nil {
			return nil, err
		}
		s := &shared{env: env, deps: d, roots: roots, keep: time.Duration(c.Keep), slots: make(chan struct{}, c.AtOnce)}
		return func(at *stage.Room) (*room, error) { return &room{shared: s, at: at, jobs: map[string]*job{}}, nil }, nil
	},
		stage.OnRaw(topics.RestoresRequested, (*room).requested),
		stage.Own(topics.RestoresOpen, (*room).row),
		stage.Emits[*room](topics.RestoresProgressed.Spec),
		stage.Emits[*room](topics.RestoresCompleted.Spec),
		stage.Every(time.Second, (*room).tick),
	)
}

// shared is what the rooms of a process have in common.
type shared struct {
	env   stage.Env
	deps  Deps
	roots []string
	keep  time.Duration
	slots chan struct{}
}

var errNoRoots = errors.New("this house restores nowhere: restore.roots is empty")
