package rate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func window(t testing.TB, days, from, to, zone string, r Rate) Window {
	t.Helper()
	w, err := NewWindow(Times{days, from, to, zone}, r)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// passing is what a test saw pass, and when.
type passing struct {
	mu  sync.Mutex
	all []passed
}

type passed struct {
	at time.Time
	n  int
	by int
}

func (p *passing) wait(ctx context.Context, l *Limiter, n, by int) error {
	err := l.Wait(ctx, n)
	if err == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.all = append(p.all, passed{time.Now(), n, by})
	}
	return err
}

// within checks every stretch of time between two passes: all but the last of what
// passed in it was paid for. So no burst, after no idle time.
func (p *passing) within(t *testing.T, r Rate) {
	t.Helper()
	for i := range p.all {
		sum := 0
		for j := i; j < len(p.all); j++ {
			took := p.all[j].at.Sub(p.all[i].at).Seconds()
			if float64(sum) > float64(r)*took+1 {
				t.Fatalf("%d bytes in %.3f s and one more at %v", sum, took, r)
			}
			sum += p.all[j].n
		}
	}
}

// Many readers with idle times in between: nothing is saved up, and while somebody
// waits nothing is lost.
func TestNoBurst(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(seed, 1))
				const r = 20 << 20
				l := New(Plan{Rate: r})
				var p passing
				for range 4 {
					begun, sum := time.Now(), 0
					var all sync.WaitGroup
					for by := range 5 {
						sizes := make([]int, 20)
						for i := range sizes {
							sizes[i] = 1 + rnd.IntN(1<<20)
							sum += sizes[i]
						}
						all.Go(func() {
							for _, n := range sizes {
								p.wait(t.Context(), l, n, by)
							}
						})
					}
					all.Wait()
					if took := time.Since(begun).Seconds(); took > float64(sum)/r+0.1 || took < float64(sum-2<<20)/r {
						t.Errorf("%d bytes took %.3f s at %d a second", sum, took, r)
					}
					time.Sleep(time.Duration(rnd.Int64N(int64(time.Hour))))
				}
				p.within(t, r)
				if l.Passed() == 0 || l.Waited() == 0 || l.Now() != r {
					t.Errorf("passed %d, waited %v, now %v", l.Passed(), l.Waited(), l.Now())
				}
			})
		})
	}
}

// Readers get the same, whoever asks more often; who gives up has taken nothing, not
// even where one put takes longer than anybody's patience.
func TestFairAndPatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Plan{Rate: 1 << 20})
		ctx, stop := context.WithCancel(t.Context())
		var p passing
		var all sync.WaitGroup
		for by := range 8 {
			all.Go(func() {
				for p.wait(ctx, l, 1<<20, by) == nil {
				}
			})
		}
		time.Sleep(80*time.Second + 1)
		stop()
		all.Wait()
		each := map[int]int{}
		for _, x := range p.all {
			each[x.by]++
		}
		for by, n := range each {
			if n < 10 || n > 11 {
				t.Errorf("reader %d has %d of %d", by, n, len(p.all))
			}
		}
		// 64 MiB at 1 MiB/s, and nobody waits longer than 30 s: each minute one passes.
		time.Sleep(time.Hour)
		begun := time.Now()
		done := 0
		for time.Since(begun) < time.Hour {
			ctx, stop := context.WithTimeoutCause(t.Context(), 30*time.Second, errors.New("out of patience"))
			if err := l.Wait(ctx, 64<<20); err == nil {
				done++
			} else if err.Error() != "out of patience" {
				t.Fatal(err)
			}
			stop()
		}
		if done < 55 || done > 58 {
			t.Errorf("%d of 64 MiB passed in an hour", done)
		}
	})
}

// A window's border holds for who waits already, to the millisecond, both ways; and
// a share that moves does.
func TestChangesHoldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it begins at midnight UTC, the first of January 2000, a Saturday
		l := New(Plan{Rate: 0, Windows: []Window{window(t, "sat", "01:00", "02:00", "UTC", 64<<10)}})
		begun := time.Now()
		pass := func(n int) time.Duration {
			if err := l.Wait(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			return time.Since(begun)
		}
		pass(1 << 30)
		if took := pass(1 << 30); took != 0 || l.Limited() {
			t.Errorf("2 GiB without a limit took %v", took)
		}
		time.Sleep(time.Hour - time.Millisecond)
		if took := pass(1 << 30); took != time.Hour-time.Millisecond {
			t.Errorf("a millisecond before the border a GiB waited until %v", took)
		}
		time.Sleep(time.Millisecond)
		pass(1 << 30) // passes whole, and is paid off in 4.5 hours
		if took := pass(1 << 20); took != 2*time.Hour {
			t.Errorf("what waited at the border went on at %v", took)
		}
		l = New(Plan{Rate: 1 << 20, Windows: []Window{window(t, "sat", "03:00", "04:00", "UTC", 64<<10)}})
		time.Sleep(4*time.Hour - time.Minute - time.Since(begun))
		pass(64 << 20)
		time.Sleep(2 * time.Minute) // a border passes while nobody waits: 60 × 64 KiB and 60 × 1 MiB are paid off
		if took := pass(1); took != 4*time.Hour+time.Minute+time.Second/4 {
			t.Errorf("what was paid off on both sides of a border was so at %v", took)
		}
		l = New(Plan{Rate: 1 << 20})
		l.Share("exporter", 0.125)
		begun = time.Now()
		time.AfterFunc(8*time.Second, func() { l.Share("exporter", 1) })
		pass(4 << 20)
		if took := pass(1); took != 11*time.Second { // 1 MiB in 8 s, and 3 in 3
			t.Errorf("with a share of an eighth, and after 8 s all, 4 MiB were paid off after %v", took)
		}
	})
}

// What may not wait passes, and the next pays for it.
func TestSpend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Plan{Rate: 1 << 20})
		begun := time.Now()
		for range 3 {
			l.Spend(1 << 20)
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("spending took %v", took)
		}
		if err := l.Wait(t.Context(), 1); err != nil || time.Since(begun) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		var none *Limiter
		none.Spend(1)
		if err := none.Wait(t.Context(), 1<<40); err != nil || none.Limited() {
			t.Error("no limiter limits")
		}
		if New(Plan{}) != nil || New(Plan{Windows: []Window{window(t, "", "00:00", "24:00", "UTC", 0)}}) != nil {
			t.Error("a plan without a limit has a limiter")
		}
	})
}

// Processes take up rooms and let go of them; two stages share one limit. Together
// they pass what the limit allows and no more, and all of it when all rooms are
// taken. The third has none after a while, and so nothing to do.
func TestRoomsShareALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const r, rooms = 16 << 20, 8
		rnd := rand.New(rand.NewPCG(1, 1))
		var ls []*Limiter
		var up, au []*Rooms
		for range 3 {
			l := New(Plan{Rate: r})
			ls, up, au = append(ls, l), append(up, NewRooms("uploader", 15./16, l)), append(au, NewRooms("auditor", 1./16, l))
		}
		owner := [rooms]int{}
		for n := range rooms {
			owner[n] = n % 3
			up[n%3].Open(rooms)
			au[n%3].Open(rooms)
		}
		ctx, stop := context.WithCancel(t.Context())
		var p passing
		var all sync.WaitGroup
		for by, l := range ls {
			all.Go(func() {
				for p.wait(ctx, l, 256<<10, by) == nil {
				}
			})
		}
		for range 50 {
			time.Sleep(time.Second)
			n, to := rnd.IntN(rooms), rnd.IntN(2) // the third process loses all
			up[owner[n]].Close(rooms)
			au[owner[n]].Close(rooms)
			owner[n] = to
			up[to].Open(rooms)
			au[to].Open(rooms)
		}
		for n, o := range owner {
			up[o].Close(rooms)
			au[o].Close(rooms)
			up[n%2].Open(rooms)
			au[n%2].Open(rooms)
		}
		if a, b := ls[0].Now(), ls[1].Now(); a+b != r || a != b {
			t.Errorf("half the rooms each, and %v and %v of %v", a, b, r)
		}
		moved := 0
		p.mu.Lock()
		seen := slices.Clone(p.all)
		p.mu.Unlock()
		for _, x := range seen {
			if x.by < 2 {
				moved += x.n
			}
		}
		if moved > 50*r+512<<10 || moved < 40*r {
			t.Errorf("%d MiB in 50 s in which rooms moved, at %v", moved>>20, Rate(r))
		}
		before := len(seen)
		time.Sleep(10 * time.Second)
		stop()
		all.Wait()
		sum := 0
		for _, x := range p.all[before:] {
			if x.by < 2 {
				sum += x.n
			}
		}
		if sum < 9*r || sum > 10*r+512<<10 {
			t.Errorf("%d MiB in 10 s at %v", sum>>20, Rate(r))
		}
	})
}
