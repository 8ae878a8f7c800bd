//go:build synctests

package sim

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-backup/holdfast/libs/ledger/ledgertest"
	"github.com/holdfast-backup/holdfast/libs/seal"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/topics"
)

const vaultName = "v"

var sprintf = fmt.Sprintf

// world is all that surrounds the stages, and all that is known better than they do.
type world struct {
	t    *testing.T
	seed uint64
	rng  *rand.Rand // the plan's own; whatever is drawn while stages run has another
	dir  string
	log  *slog.Logger
	ear  *ear

	ring    *vault.Ring
	codec   seal.Method
	k, m    int
	targets []*target
	sites   []*site
	ledger  *ledgertest.Fake
	kafka   *kafka
	scribe  *scribe
	posts   []*post
	silence time.Duration // of an attempt, until it is given up
	torn    float64       // the share of produce requests whose wire breaks

	mu       sync.Mutex
	streams  map[string][]topics.Spec // what each stage reads
	full     bool                     // staging
	whole    map[vault.PackID]bool    // packs whose every shard was seen
	broken   map[string]bool          // checks that failed, to say each once
	requests []*request
	restores []*restore
	story    []string // what was done to the house, in order
	luck     *rand.Rand

	kinds   map[string]bool // of faults
	events  []event
	ahead   time.Duration // how far the latest clock ever was ahead of ours
	senders time.Duration // how far the clock of who sends orders is ahead of ours
	over    chan struct{} // closed at the end
}

// run gives f a house of one seed, and takes it down.
func run(t *testing.T, seed uint64, f func(*world)) {
	dir := scratch(t)
	w := &world{seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), luck: rand.New(rand.NewPCG(seed, 2)), dir: dir, k: 2, m: 2, ring: theRing(), codec: seal.MethodMinlz, silence: 90 * time.Second,
		whole: map[vault.PackID]bool{}, streams: map[string][]topics.Spec{}, broken: map[string]bool{}, ledger: &ledgertest.Fake{Slow: 20 * time.Millisecond}}
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		defer time.Sleep(time.Minute) // closed clients may still sleep in a slow wire
		w.ear = &ear{w: w}
		w.over = make(chan struct{})
		defer close(w.over)
		w.log = slog.New(slog.NewTextHandler(w.ear, &slog.HandlerOptions{Level: slog.LevelWarn}))
		defer func() {
			if t.Failed() {
				w.tell()
			}
		}()
		w.found()
		w.kafka = openKafka(w, 2)
		defer w.kafka.close()
		w.scribe = w.kafka.scribe()
		defer w.scribe.close()
		defer func() {
			for _, o := range w.posts {
				if o.up != nil {
					o.up.leave()
				}
			}
		}()
		f(w)
	})
}

// scratch is a folder for shares and indexes, in memory where there is some.
func scratch(t *testing.T) string {
	if _, err := os.Stat("/dev/shm"); err != nil {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("/dev/shm", "holdfast-sim-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// theRing is one for all seeds: drawing keys is none of what is simulated.
var theRing = sync.OnceValue(func() *vault.Ring {
	r, err := vault.NewRing()
	if err != nil {
		panic(err)
	}
	return r
})

// found makes the shares and the vault.
func (w *world) found() {
	for _, d := range []string{"staging", "sealed", "restored"} {
		w.must(os.Mkdir(filepath.Join(w.dir, d), 0o700))
	}
	for i := range w.k + w.m {
		w.targets = append(w.targets, newTarget(fmt.Sprint("t", i), w.seed<<8+uint64(i)))
	}
	w.must(vault.Init(context.Background(), w.cold(nil), vault.Settings{Name: vaultName, Region: region, GridBytes: grid, Compression: string(w.codec), K: w.k, M: w.m}, nil))
}

// lanes are the targets as a process reaches them.
func (w *world) lanes(p *process) (ts []vault.Target) {
	for _, t := range w.targets {
		ts = append(ts, vault.Target{Name: t.name, Store: lane{t, p}})
	}
	return ts
}

// cold are the targets as a stranger finds them, but for those that are gone.
func (w *world) cold(gone []int) (ts []vault.Target) {
	for i, t := range w.targets {
		if !slices.Contains(gone, i) {
			ts = append(ts, vault.Target{Name: t.name, Store: t.store})
		}
	}
	return ts
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// check says, once, that an invariant does not hold.
func (w *world) check(ok bool, invariant int, format string, args ...any) {
	w.t.Helper()
	if ok {
		return
	}
	text := fmt.Sprintf("invariant %d: %s", invariant, fmt.Sprintf(format, args...))
	w.mu.Lock()
	said := w.broken[text]
	w.broken[text] = true
	n := len(w.broken)
	w.mu.Unlock()
	if !said && n <= 30 {
		w.t.Error(text)
	}
}

// tale keeps what is done to the house, for who reads a failure.
func (w *world) tale(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.story = append(w.story, time.Now().UTC().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

func (w *world) roomInStaging(int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.full
}

// reads notes what a stage reads.
func (w *world) reads(s stage.Stage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.streams[s.Name] = s.Streams
}
