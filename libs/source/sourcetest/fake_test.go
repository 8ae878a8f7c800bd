package sourcetest_test

import (
	"testing"

	"github.com/holdfast-backup/holdfast/libs/source/sourcetest"
)

func TestFake(t *testing.T) {
	for name, tracks := range map[string]bool{"tracking": true, "plain": false} {
		t.Run(name, func(t *testing.T) {
			sourcetest.Run(t, func(t *testing.T) sourcetest.World {
				f := sourcetest.NewFake(1)
				f.Tracks = tracks
				return sourcetest.World{Source: f, Set: f.Set, Destroy: f.Destroy, Left: f.Snapshots}
			})
		})
	}
}
