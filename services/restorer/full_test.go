//go:build synctests

package restorer

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// A destination that is full is waited for, aloud: the events say what for, and a
// metric counts. With room the restore goes on and is whole; without, it has failed
// after its patience, says why, and leaves nothing under the file's name.
func TestAFullDestinationIsToldAndWaitedFor(t *testing.T) {
	for _, room := range []bool{true, false} {
		t.Run(fmt.Sprint("room=", room), func(t *testing.T) { fullDestination(t, room) })
	}
}

func fullDestination(t *testing.T, room bool) {
	run(t, 1, newLibraryOf(t, 6), func(w *world) {
		size := func(flags uintptr, bytes int) error {
			return syscall.Mount("tmpfs", w.root, "tmpfs", flags, fmt.Sprint("size=", bytes))
		}
		if err := size(0, 16<<10); err != nil { // of a disk with 28 KiB in it
			t.Skip("no right to mount: ", err)
		}
		defer syscall.Unmount(w.root, syscall.MNT_DETACH)
		w.join(0, 0, 0)
		id := w.send("a", time.Now(), w.to("a"))
		if room {
			time.AfterFunc(time.Minute, func() { w.must(size(syscall.MS_REMOUNT, 16<<20)) })
		}
		begun := time.Now()
		end := w.end(id)
		took := time.Since(begun)
		waits := ""
		for _, raw := range stagetest.ReadRaw(w.b, topics.RestoresProgressed.Spec) {
			e, err := schemas.DecodeEvent(raw.Headers, raw.Value)
			w.must(err)
			p, err := schemas.ReadData[schemas.RestoreProgressed](e)
			w.must(err)
			waits += p.WaitingFor
		}
		if !strings.Contains(waits, "no space left on device") || !strings.Contains(waits, w.root) || w.b.Count(stage.NoRoom) == 0 {
			t.Errorf("told is %q, %d times by the metric", waits, w.b.Count(stage.NoRoom))
		}
		if room {
			if end.Status != statusCompleted || took < time.Minute || took > 2*time.Minute {
				t.Errorf("%s after %s: %s", end.Status, took, end.Reason)
			}
			w.equal("a", "disk0.raw", "domain.xml")
			return
		}
		if end.Status != statusFailed || took < patience/2 || took > patience+time.Minute || !strings.Contains(end.Reason, "no space left on device") {
			t.Errorf("%s after %s: %s", end.Status, took, end.Reason)
		}
		if _, err := os.Stat(w.to("a").Destination.Dir + "/disk0.raw"); err == nil {
			t.Error("half a file bears the name of a whole one")
		}
	})
}
