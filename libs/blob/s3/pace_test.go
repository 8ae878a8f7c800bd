package s3

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A server that bears 40 calls a second gets about that from eight callers who
// never rest, and is told off seldom; once it bears more, it gets more. In virtual time.
func TestPaceFindsWhatAServerBears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bears, served, refused := 40, 0, 0
		second, count := time.Now(), 0
		var mu sync.Mutex
		serve := func() (busy bool) {
			mu.Lock()
			defer mu.Unlock()
			if time.Since(second) >= time.Second {
				second, count = time.Now(), 0
			}
			if count++; count > bears {
				refused++
				return true
			}
			served++
			return false
		}
		p := newPace(1000)
		end := time.Now().Add(5 * time.Minute)
		var callers sync.WaitGroup
		defer callers.Wait()
		for range 8 {
			callers.Go(func() {
				for time.Now().Before(end) {
					if p.wait(t.Context()) != nil {
						return
					}
					time.Sleep(5 * time.Millisecond) // on the way
					p.note(serve())
				}
			})
		}
		time.Sleep(4 * time.Minute)
		mu.Lock()
		if perSecond := served / 240; perSecond < 20 || refused*10 > served {
			t.Errorf("a server of %d calls a second did %d a second, and refused %d of %d", bears, perSecond, refused, served)
		}
		if now := p.now(); now > 200 || refused-int(p.slowed()) > 8 { // each caller may be about to tell
			t.Errorf("the pace is %.0f a second, and %d of %d refusals were counted", now, p.slowed(), refused)
		}
		bears, served = 1<<30, 0
		mu.Unlock()
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock() // the callers go on: their end is waited for behind this
		if served < 60*40*2 {
			t.Errorf("it bears everything now, and did %d a second", served/60)
		}
	})
}
