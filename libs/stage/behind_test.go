package stage_test

import (
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/topics"
)

// Goal: the lag of a stage that is stuck grows with its log, also when it fetches
// nothing any more. Method: a sink that takes nothing, more records than a feed
// holds, and the last word that the stage said of itself.
func TestLagGrowsWhileWeAreStuck(t *testing.T) {
	stuck := stage.Define("recorder", func(stage.Env) (func(*stage.Room) (*sink, error), error) {
		return func(*stage.Room) (*sink, error) { return &sink{}, nil }, nil
	}, stage.Batch([]topics.Spec{items.Spec}, stage.Limits{Records: 5, Bytes: 1 << 20, Wait: time.Second}, func(*sink, *stage.Block) error { return errWeather }))
	stagetest.Run(t, 0, stuck, 1, func(b *stagetest.Bench) {
		b.Join(0)
		n := int64(0)
		for range 4 {
			var all []topics.Event
			for range 3000 {
				all = append(all, item(int(n)))
				n++
			}
			b.Send(all...)
			time.Sleep(time.Minute)
			told := b.Notes(stage.Standing)
			if got := told[len(told)-1].Count; got != n {
				b.T.Errorf("%d records wait, and the stage says %d", n, got)
			}
		}
	})
}
