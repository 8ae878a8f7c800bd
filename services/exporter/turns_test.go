package exporter

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-backup/holdfast/libs/rate"
	"github.com/holdfast-backup/holdfast/libs/source/sourcetest"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/libs/staging"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// One source is read at 64 KiB/s and has more machines than there are readers; then
// three machines of another are due: they are done while the first ones still read,
// and those lose no byte by handing their turns on.
func TestASlowSourceStopsNoOther(t *testing.T) {
	const size = 3 << 20
	share, err := staging.Open(t.TempDir(), staging.Options{})
	if err != nil {
		t.Fatal(err)
	}
	slow, fast := sourcetest.NewFake(1), sourcetest.NewFake(2)
	deps := func() Deps {
		return Deps{Grid: testGrid, ExtentBytes: testExtent, Sources: map[string]Provider{
			"slow": {Source: slow, Share: share, WindowBytes: 8 << 20, Limit: rate.New(rate.Plan{Rate: 64 << 10})},
			"fast": {Source: fast, Share: share, WindowBytes: 8 << 20}}}
	}
	c := Default()
	c.Readers = 2
	stagetest.Run(t, 1, Stage(c, deps()), 4, func(b *stagetest.Bench) {
		b.Stage = Stage(c, deps()) // its limiter lives in virtual time
		want := map[string][]byte{}
		lease := func(fake *sourcetest.Fake, source string, n byte) *schemas.BackupLeased {
			o := order(source, fmt.Sprint(source, n), n)
			content := disk(rand.New(rand.NewPCG(uint64(n), 1)), size)
			for i := range content {
				content[i] |= 1 // no zero place: blobs are the file
			}
			fake.Set(o.Machine.Id, "d", content)
			want[string(o.Run.Lease)] = content
			b.Send(topics.BackupsLeased.Event(o.Run.Backup, o))
			return o
		}
		done := func(o *schemas.BackupLeased) bool {
			for _, e := range stagetest.Read(b, topics.ExportsEnded) {
				if string(e.Run.Lease) == string(o.Run.Lease) && e.Word == schemas.ExportEnded_WORD_OK {
					return true
				}
			}
			return false
		}
		b.Join(0)
		time.Sleep(10 * time.Second)
		for n := range byte(3) {
			lease(slow, "slow", n)
		}
		time.Sleep(5 * time.Second)
		var others []*schemas.BackupLeased
		for n := range byte(3) {
			others = append(others, lease(fast, "fast", 10+n))
		}
		time.Sleep(25 * time.Second) // an extent of 600 KiB takes up to 19 s
		for _, o := range others {
			if !done(o) {
				t.Errorf("machine %s waits for the readers of another source", o.Machine.Id)
			}
		}
		time.Sleep(3 * time.Minute)
		got := map[string][]byte{}
		extents := stagetest.Read(b, topics.ExtentsExported)
		slices.SortFunc(extents, func(a, b *schemas.ExtentExported) int { return cmp.Compare(a.Extent, b.Extent) })
		for _, e := range extents {
			blob := make([]byte, e.LengthBytes)
			if err := share.Read(context.Background(), e.Blob, blob, 0); err != nil {
				t.Fatal(err)
			}
			got[string(e.Run.Lease)] = append(got[string(e.Run.Lease)], blob...)
		}
		for l, content := range want {
			if string(got[l]) != string(content) {
				t.Errorf("lease %s: %d bytes of %d, or others", l, len(got[l]), len(content))
			}
		}
	})
}

// Turns of three sources: each that has readers who wait holds its even share, one
// that is alone holds all, who gives up takes none along, and none gets lost.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(6)
		ctx, stop := context.WithCancel(t.Context())
		var all sync.WaitGroup
		read := func(ctx context.Context, source string, extent time.Duration) {
			all.Go(func() {
				for turns.take(ctx, source) == nil {
					for time.Sleep(extent); ctx.Err() == nil && !turns.owed(source); {
						time.Sleep(extent)
					}
					turns.give(source)
				}
			})
		}
		held := func(want ...int) {
			t.Helper()
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			turns.mu.Lock()
			defer turns.mu.Unlock()
			for i, source := range []string{"a", "b", "c"} {
				if got := turns.held[source]; got != want[i] {
					t.Errorf("source %s holds %d turns, want %d", source, got, want[i])
				}
			}
		}
		for range 9 {
			read(ctx, "a", time.Minute)
		}
		held(6, 0, 0)
		for range 9 {
			read(ctx, "b", time.Second)
		}
		held(3, 3, 0)
		some, leave := context.WithCancel(ctx)
		for range 2 {
			read(some, "c", time.Hour)
		}
		held(2, 2, 2)
		leave()
		time.Sleep(time.Hour)
		held(3, 3, 0)
		for range 50 { // who gives up at the moment of a turn
			mine, leave := context.WithTimeout(ctx, time.Minute)
			if turns.take(mine, "c") == nil {
				turns.give("c")
			}
			leave()
		}
		stop()
		all.Wait()
		if turns.free != 6 || len(turns.held) != 0 || len(turns.line) != 0 {
			t.Errorf("%d are free, %v held, %d in line", turns.free, turns.held, len(turns.line))
		}
	})
}
