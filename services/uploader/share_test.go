//go:build synctests

package uploader

import (
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/rate"
)

// Uploaders that come, go and die share a target's limit by their rooms: together
// they have it, and each as much as it has rooms.
func TestUploadersShareALimit(t *testing.T) {
	run(t, 1, func(w *world) {
		const limit = 3 << 20
		join := func() (*process, *rate.Limiter) {
			l := rate.New(rate.Plan{Rate: limit})
			w.rooms = rate.NewRooms(stageName, 1, l)
			return w.join(0, 0, 0), l
		}
		sum := func(want float64, all ...*rate.Limiter) {
			t.Helper()
			time.Sleep(2 * time.Minute) // a session of the dead, and a rebalance
			got := 0.
			for _, l := range all {
				got += l.Now()
			}
			if got != want {
				t.Errorf("%v of %v", got, want)
			}
		}
		_, a := join()
		sum(limit, a)
		second, b := join()
		sum(limit, a, b)
		if x, y := a.Now(), b.Now(); x != 1<<20 && y != 1<<20 { // three rooms: 2 and 1
			t.Errorf("%v and %v", x, y)
		}
		w.crash(second)
		sum(limit, a)
	})
}
