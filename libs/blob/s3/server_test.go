package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/blob"
	"github.com/holdfast-backup/holdfast/libs/blob/s3/s3test"
)

func noise(seed, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

// A server is killed under four writers, three times. What was acknowledged is
// there and whole; what was not is put again, and then it is, too.
func TestServerIsKilled(t *testing.T) {
	server := s3test.Start(t, t.TempDir())
	s := opened(t, at(server, ""))
	acked, puts := map[string]int{}, map[string]int{}
	var mu sync.Mutex
	for round := range 3 {
		var wg sync.WaitGroup
		enough := make(chan struct{})
		for w := range 4 {
			wg.Go(func() {
				for i := 0; ; i++ {
					key, seed := fmt.Sprintf("%d/%d/%d", round, w, i), round<<12+w<<8+i
					mu.Lock()
					puts[key] = seed
					mu.Unlock()
					if err := s.Put(t.Context(), key, noise(seed, 1<<20)); err != nil {
						if blob.Permanent(err) {
							t.Errorf("a server that dies: %v", err)
						}
						return
					}
					mu.Lock()
					acked[key] = seed
					if len(acked) == (round+1)*12 {
						close(enough)
					}
					mu.Unlock()
				}
			})
		}
		<-enough
		server.Kill()
		wg.Wait()
		server.Again()
	}
	again := blob.Retry(s, blob.Brief)
	for key, seed := range puts {
		if _, ok := acked[key]; !ok {
			if err := again.Put(t.Context(), key, noise(seed, 1<<20)); err != nil && (!errors.Is(err, blob.ErrExist) || errors.Is(err, blob.ErrDiffers)) {
				t.Errorf("%s again: %v", key, err)
			}
		}
		if b, err := again.Get(t.Context(), key, 0, -1); err != nil || !bytes.Equal(b, noise(seed, 1<<20)) {
			t.Errorf("%s, acknowledged before a kill: %d bytes, %v", key, len(b), err)
		}
	}
	t.Logf("%d puts, %d acknowledged before a kill", len(puts), len(acked))
}

// A server without room says so; what it has stays whole, what it refused is not
// there, and with room it goes on.
func TestServerIsFull(t *testing.T) {
	server := s3test.Start(t, s3test.Tmpfs(t, 24<<20))
	s := opened(t, at(server, ""))
	n := 0
	var err error
	for ; n < 20 && err == nil; n++ {
		err = s.Put(t.Context(), fmt.Sprint("k", n), noise(n, 4<<20))
	}
	if !errors.Is(err, blob.ErrFull) {
		t.Fatalf("after %d of 4 MiB: %v", n, err)
	}
	for i := range n {
		b, err := s.Get(t.Context(), fmt.Sprint("k", i), 0, -1)
		if i == n-1 && !errors.Is(err, blob.ErrNotExist) || i < n-1 && (err != nil || !bytes.Equal(b, noise(i, 4<<20))) {
			t.Errorf("object %d of %d: %d bytes, %v", i, n, len(b), err)
		}
	}
	must(t, s.Delete(t.Context(), "k0"))
	must(t, s.Put(t.Context(), fmt.Sprint("k", n-1), noise(1, 3<<20)))
}

// A server that hangs holds nobody longer than he wants to wait, and the same put
// again tells how the first one ended.
func TestServerHangs(t *testing.T) {
	server := s3test.Start(t, t.TempDir())
	s := opened(t, at(server, ""))
	must(t, s.Put(t.Context(), "first", []byte("x")))
	resume := server.Pause()
	why := errors.New("too long")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, why)
	defer cancel()
	if err := s.Put(ctx, "k", noise(1, 4<<20)); !errors.Is(err, why) || blob.Permanent(err) {
		t.Errorf("put to a server that hangs: %v", err)
	}
	if _, err := s.Get(ctx, "first", 0, -1); !errors.Is(err, why) {
		t.Errorf("get of a server that hangs: %v", err)
	}
	resume()
	if err := blob.Retry(s, blob.Brief).Put(t.Context(), "k", noise(1, 4<<20)); err != nil && !errors.Is(err, blob.ErrExist) {
		t.Errorf("the same put again: %v", err)
	}
	if b, err := s.Get(t.Context(), "k", 0, -1); err != nil || !bytes.Equal(b, noise(1, 4<<20)) {
		t.Errorf("after it hung: %d bytes, %v", len(b), err)
	}
}

// A server that takes two requests at once says SlowDown to the rest, or cuts them
// off. All get through, at its pace.
func TestServerIsBusy(t *testing.T) {
	server := s3test.Start(t, t.TempDir(), "--max-requests", "2", "--max-connections", "100")
	o := at(server, "")
	o.Dialect.ExpectFrom = ExpectDefault
	s := opened(t, o)
	patient := blob.Retry(s, blob.Policy{First: 50 * time.Millisecond, Most: time.Second, Total: time.Minute})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 2 {
				if err := patient.Put(t.Context(), fmt.Sprint("k", w, "-", i), noise(w, 2<<20)); err != nil && !errors.Is(err, blob.ErrExist) {
					t.Errorf("put to a busy server: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if s.Slowed() == 0 || s.Rate() >= RateDefault {
		t.Errorf("slowed %d times, the pace is %.0f", s.Slowed(), s.Rate())
	}
	t.Logf("slowed %d times; the pace is %.1f calls a second", s.Slowed(), s.Rate())
}
