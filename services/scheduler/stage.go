package scheduler

import (
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/topics"
)

// beat is how often the scheduler looks at the clock: a backoff of 5 s is kept
// to a fifth, and a beat looks at no machine whose time has not come.
const beat = time.Second

// Stage is the scheduler: orders in, leases out.
func Stage(c Config) stage.Stage {
	return stage.Define("scheduler", func(env stage.Env) (func(*stage.Room) (*room, error), error) {
		return func(r *stage.Room) (*room, error) { return newRoom(c, env, r), nil }, nil
	},
		stage.Recall(topics.MachinesFound, (*room).found),
		stage.Own(topics.MachinesTended, (*room).tended),
		stage.Whole(topics.EpochsTurned, (*room).epoch),
		stage.Whole(topics.TargetsTurned, (*room).target),
		stage.WholeRaw(topics.PoliciesTaken, (*room).policy),
		stage.On(topics.BackupsQueued, (*room).ordered),
		stage.On(topics.ExportsEnded, (*room).exported),
		stage.On(topics.BackupsJudged, (*room).judged),
		stage.Every(beat, (*room).tick),
		stage.Emits[*room](topics.BackupsLeased.Spec),
	)
}

// Intake is the stage before it, one for all regions: requests in, orders out to the
// region of each machine, and refusals to the intake's own.
func Intake(c Config) stage.Stage {
	return stage.Define("intake", func(env stage.Env) (func(*stage.Room) (*intake, error), error) {
		return func(r *stage.Room) (*intake, error) { return newIntake(c, env, r), nil }, nil
	},
		stage.Across(topics.MachinesFound, c.Listing, (*intake).found, (*intake).turned),
		stage.WholeRaw(topics.PoliciesTaken, (*intake).taken),
		stage.OnRaw(topics.BackupsRequested, (*intake).requested),
		stage.OnRaw(topics.PoliciesDeclared, (*intake).declared),
		stage.Emits[*intake](topics.BackupsQueued.Spec),
		stage.Emits[*intake](topics.BackupsLeased.Spec),
		stage.Emits[*intake](topics.PoliciesTaken.Spec),
	)
}
