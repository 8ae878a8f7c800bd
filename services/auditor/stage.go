package auditor

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-backup/holdfast/libs/rate"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/topics"
)

// Config of the auditor.
type Config struct {
	// Window from lease to completed is what was promised. It is measured and reported, never enforced.
	Window time.Duration `yaml:"window"`
}

// Default is the configuration of a house that says nothing.
func Default() Config { return Config{Window: 15 * time.Minute} }

// Reader reads points and their pages. Both calls are made concurrently. An error
// that is blob.ErrNotExist or vault.ErrDamaged is final; all others are weather.
type Reader interface {
	Point(ctx context.Context, path string) (*vault.Point, error)
	// Pages returns the pages in slots of a map pack, in the order of slots.
	Pages(ctx context.Context, pack vault.PackID, slots []uint32) ([]vault.Page, error)
}

// Deps is what the auditor needs beside Kafka.
type Deps struct {
	Vault  *vault.Vault
	Writer *vault.Writer
	Reader Reader
	MapKey [32]byte // seals pages and points
	// Lied is told when a backup found that its source's change tracking claimed
	// places unchanged that are not. May be nil.
	Lied func(source string, places uint64)
	// Rooms shares the targets' limits with the other auditors. May be nil.
	Rooms *rate.Rooms
}

// Stage judges backups: it files pages, completes backups, and says how they ended.
func Stage(c Config, d Deps) stage.Stage {
	return define(c, func(stage.Env) (Deps, error) { return d, nil })
}

func define(c Config, deps func(stage.Env) (Deps, error)) stage.Stage {
	return stage.Define("auditor", func(env stage.Env) (func(*stage.Room) (*room, error), error) {
		if c.Window <= 0 {
			return nil, errors.New("auditor: window must be longer than nothing")
		}
		d, err := deps(env)
		if err != nil {
			return nil, err
		}
		return newHouse(c, d, env).room, nil
	},
		stage.On(topics.BackupsLeased, (*room).onLeased),
		stage.On(topics.FilesExported, (*room).onFile),
		stage.On(topics.ExtentsCut, (*room).onCut),
		stage.On(topics.ChunksKnown, (*room).onKnown),
		stage.On(topics.ChunksLanded, (*room).onLanded),
		stage.On(topics.BackupsFaulted, (*room).onFault),
		stage.Own(topics.PagesFiled, (*room).onRow),
		stage.Whole(topics.EpochsTurned, (*room).onEpoch),
		stage.Whole(topics.TargetsTurned, (*room).onTarget),
		stage.Emits[*room](topics.ExtentsClosed.Spec),
		stage.Emits[*room](topics.PlacesFiled.Spec),
		stage.Emits[*room](topics.BackupsJudged.Spec),
		stage.Emits[*room](topics.BackupsCompleted.Spec),
		stage.Emits[*room](topics.BackupsProgressed.Spec),
		stage.Every(tick, (*room).onTick),
		stage.Overdue(holdMax, (*room).onOverdue))
}

const (
	// tick is how often a room looks at what no record brings: a map pack of age,
	// a verdict to be told, progress.
	tick = 500 * time.Millisecond
	// holdMax is longer than a lease may be silent (15 min): by then the scheduler has
	// ended the attempt, and its records with it.
	holdMax = 20 * time.Minute
)
