// Package probe tries what an object store promises, in a few seconds and leaving
// nothing behind: what a suite proves of our code, it asks of somebody's server.
package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/libs/blob"
)

// State of a finding.
type State string

const (
	OK   State = "ok"
	Note State = "note" // works, and somebody should know
	Bad  State = "bad"  // a promise that backups rest on is not kept
)

// Finding is one thing that was tried.
type Finding struct {
	Check string `json:"check"`
	State State  `json:"state"`
	Says  string `json:"says"`
	// Setting is what to write into the target's section, so that it works or works
	// better; empty: nothing.
	Setting string `json:"setting,omitempty"`
}

// Findings is what was tried, in order.
type Findings []Finding

// Say adds one.
func (f *Findings) Say(check string, s State, format string, a ...any) *Finding {
	*f = append(*f, Finding{Check: check, State: s, Says: fmt.Sprintf(format, a...)})
	return &(*f)[len(*f)-1]
}

const (
	// Dir is below it what a probe puts. Names are random, so probes don't meet.
	Dir = "probe/"

	bigBytes   = 4 << 20 // a shard of a full pack
	smallTimes = 5       // puts and gets, of which the median counts
	racers     = 8
	races      = 3
)

// Trial is one probe of one store.
type Trial struct {
	Findings
	// OneWinner is whether the name of an object has one winner, always.
	OneWinner bool

	ctx context.Context
	raw blob.Store
	s   blob.Store // raw, retried for the weather's sake
	dir string
	put []string
}

// New is a trial that has not begun.
func New(ctx context.Context, s blob.Store) *Trial {
	var name [8]byte
	rand.Read(name[:])
	return &Trial{ctx: ctx, raw: s, s: blob.Retry(s, blob.Brief), dir: Dir + hex.EncodeToString(name[:]) + "/"}
}

// Key is a name of the trial's own, which CleanUp deletes.
func (t *Trial) Key(name string) string {
	key := t.dir + name
	t.put = append(t.put, key)
	return key
}

// Dir is where the trial puts.
func (t *Trial) Dir() string { return t.dir }

// Common tries what every store promises. It ends early where nothing works.
func (t *Trial) Common() {
	for _, try := range []func() bool{t.small, t.big, t.ranges, t.listing, t.once, t.race} {
		if !try() {
			return
		}
	}
}

func (t *Trial) bad(check string, err error) bool {
	t.Say(check, Bad, "%v", err)
	return false
}

// small is puts and gets of a few bytes: what each call costs before bytes count.
func (t *Trial) small() bool {
	var puts, gets []time.Duration
	for i := range smallTimes {
		key, want := t.Key(fmt.Sprint("small-", i)), noise(100)
		began := time.Now()
		if err := t.s.Put(t.ctx, key, want); err != nil {
			return t.bad("put", err)
		}
		puts, began = append(puts, time.Since(began)), time.Now()
		got, err := t.s.Get(t.ctx, key, 0, -1)
		if err == nil && !bytes.Equal(got, want) {
			err = fmt.Errorf("get %s: %d bytes, and not those that were put", key, len(got))
		}
		if err != nil {
			return t.bad("get", err)
		}
		gets = append(gets, time.Since(began))
	}
	t.Say("put", OK, "100 bytes durable in %s (median of %d)", median(puts), smallTimes)
	t.Say("get", OK, "read back in %s", median(gets))
	return true
}

func (t *Trial) big() bool {
	key, want := t.Key("big"), noise(bigBytes)
	began := time.Now()
	if err := t.s.Put(t.ctx, key, want[:64], want[64:]); err != nil {
		return t.bad("shard", err)
	}
	wrote := time.Since(began)
	began = time.Now()
	got, err := t.s.Get(t.ctx, key, 0, -1)
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("get %s: other bytes than were put", key)
	}
	if err != nil {
		return t.bad("shard", err)
	}
	t.Say("shard", OK, "4 MiB written at %.0f MB/s and read at %.0f MB/s, one at a time", rate(wrote), rate(time.Since(began)))
	return true
}

func (t *Trial) ranges() bool {
	key, want := t.Key("range"), noise(1000)
	if err := t.s.Put(t.ctx, key, want); err != nil {
		return t.bad("ranges", err)
	}
	for _, c := range [][2]int64{{0, 10}, {500, 100}, {990, -1}, {999, 1}} {
		got, err := t.s.Get(t.ctx, key, c[0], c[1])
		end := int64(len(want))
		if c[1] >= 0 {
			end = c[0] + c[1]
		}
		if err == nil && !bytes.Equal(got, want[c[0]:end]) {
			err = fmt.Errorf("%d bytes from %d are others", c[1], c[0])
		}
		if err != nil {
			return t.bad("ranges", err)
		}
	}
	if _, err := t.s.Get(t.ctx, key, 990, 20); !errors.Is(err, io.ErrUnexpectedEOF) {
		return t.bad("ranges", fmt.Errorf("20 bytes, 10 before the end: %w", orNil(err)))
	}
	if _, err := t.s.Get(t.ctx, t.dir+"absent", 0, -1); !errors.Is(err, blob.ErrNotExist) {
		return t.bad("absent", fmt.Errorf("a name that was never put: %w; it must be sure", orNil(err)))
	}
	t.Say("ranges", OK, "parts of an object come back as asked for")
	return true
}

// listing is read at once behind the puts, as the order of epochs wants it.
func (t *Trial) listing() bool {
	var want []string
	for _, name := range []string{"list/a-b/1", "list/a.b", "list/a/1", "list/a/10", "list/a/2", "list/b"} {
		key := t.Key(name)
		want = append(want, key)
		if err := t.s.Put(t.ctx, key, []byte(name)); err != nil {
			return t.bad("listing", err)
		}
		var got []string
		for i, err := range t.s.List(t.ctx, t.dir+"list/") {
			if err != nil {
				return t.bad("listing", err)
			}
			got = append(got, i.Key)
		}
		if !slices.Equal(got, want) {
			return t.bad("listing", fmt.Errorf("%q were put, %q are listed", want, got))
		}
	}
	t.Say("listing", OK, "shows each object as soon as it is put, in order")
	return true
}

// once is a name that is put twice.
func (t *Trial) once() bool {
	key := t.Key("once")
	if err := t.s.Put(t.ctx, key, []byte("first")); err != nil {
		return t.bad("conditional put", err)
	}
	err := t.raw.Put(t.ctx, key, []byte("other"))
	got, gerr := t.s.Get(t.ctx, key, 0, -1)
	switch {
	case gerr != nil:
		return t.bad("conditional put", gerr)
	case string(got) != "first":
		t.Say("conditional put", Bad, "a second put of a name overwrote the first")
	case !errors.Is(err, blob.ErrExist):
		t.Say("conditional put", Bad, "a second put of a name was not refused for that: %v", err)
	default:
		t.OneWinner = true
		t.Say("conditional put", OK, "a second put of a name is refused, and the first stays")
	}
	return true
}

// race is many puts of one name at the same moment.
func (t *Trial) race() bool {
	if !t.OneWinner {
		return true
	}
	for n := range races {
		key, errs := t.Key(fmt.Sprint("race-", n)), make([]error, racers)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { errs[i] = t.raw.Put(t.ctx, key, bytes.Repeat([]byte{byte(i)}, 64<<10)) })
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			}
		}
		got, err := t.s.Get(t.ctx, key, 0, -1)
		if err != nil {
			return t.bad("race", errors.Join(append(errs, err)...))
		}
		if i := int(got[0]); won != 1 || !bytes.Equal(got, bytes.Repeat(got[:1], 64<<10)) || errs[i] != nil {
			t.OneWinner = false
			t.Say("race", Bad, "of %d puts of one name at once %d won", racers, won)
			return true
		}
	}
	t.Say("race", OK, "of %d puts of one name at once one wins (%d times)", racers, races)
	return true
}

// CleanUp deletes all that was put, and says whether that was allowed.
func (t *Trial) CleanUp() (deleted bool) {
	var errs []error
	for _, key := range t.put {
		if err := t.s.Delete(t.ctx, key); err != nil {
			if errs = append(errs, err); errors.Is(err, blob.ErrDenied) {
				break
			}
		}
	}
	left := 0
	for _, err := range t.s.List(t.ctx, t.dir) {
		if err != nil {
			errs = append(errs, err)
			break
		}
		left++
	}
	if left == 0 && len(errs) == 0 {
		t.Say("delete", OK, "all that the probe put is gone")
		return true
	}
	t.Say("delete", Note, "%d objects stay behind in %s: %v", left, t.dir, errors.Join(errs...))
	return false
}

func noise(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2].Round(10 * time.Microsecond)
}

func rate(d time.Duration) float64 { return bigBytes / 1e6 / d.Seconds() }

func orNil(err error) error {
	if err == nil {
		return errors.New("no error")
	}
	return err
}
