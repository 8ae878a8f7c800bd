package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-backup/holdfast/libs/blob"
	"github.com/holdfast-backup/holdfast/libs/blob/blobtest"
	"github.com/holdfast-backup/holdfast/libs/blob/file"
	"github.com/holdfast-backup/holdfast/libs/blob/mem"
)

func rigSettings(k, m int) Settings {
	return Settings{Name: "v", Region: "local", GridBytes: 64 << 10, Compression: "zstd-fastest", K: k, M: m}
}

// rig is a vault on targets that fail on demand.
type rig struct {
	t       testing.TB
	stores  []*mem.Store
	faults  []*blobtest.Faulty
	targets []Target
	v       *Vault
}

func newRig(t testing.TB, k, m int, seed uint64) *rig {
	t.Helper()
	r := &rig{t: t}
	for i := range k + m {
		r.stores = append(r.stores, mem.New())
		r.faults = append(r.faults, blobtest.NewFaulty(r.stores[i], seed<<8+uint64(i)))
		r.targets = append(r.targets, Target{fmt.Sprint("t", i), r.faults[i]})
	}
	r.must(Init(context.Background(), r.targets, rigSettings(k, m), nil))
	r.open()
	return r
}

func (r *rig) open() {
	r.t.Helper()
	v, err := Open(context.Background(), r.targets)
	r.must(err)
	r.v = v
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// bubble runs f for each seed in virtual time.
func bubble(t *testing.T, seeds int, f func(t *testing.T, seed uint64)) {
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { f(t, seed) }) })
	}
}

// Every put of Init and after it may be the last of a process, or its answer may
// be lost. The same Init again finishes the vault, and there is one in the end.
func TestInitIsFinishedByTheSameInit(t *testing.T) {
	bubble(t, 30, func(t *testing.T, seed uint64) {
		r := &rig{t: t}
		for i := range 3 {
			r.stores = append(r.stores, mem.New())
			r.faults = append(r.faults, blobtest.NewFaulty(r.stores[i], seed<<8+uint64(i)).Lose(0.4).Ghost(0.4))
			r.targets = append(r.targets, Target{fmt.Sprint("t", i), r.faults[i]})
		}
		keys := []KeyObject{{ID: "k1", Body: []byte("wrapped")}}
		tries := 1
		for ; Init(t.Context(), r.targets, rigSettings(2, 1), keys) != nil; tries++ {
			if tries > 1000 {
				t.Fatal("never made")
			}
		}
		for _, f := range r.faults {
			f.Lose(0).Ghost(0)
		}
		r.open()
		for _, key := range []string{"keys/k1", "epochs/1", "vault.json"} {
			for i, s := range r.stores {
				if _, err := s.Stat(t.Context(), key); err != nil {
					t.Errorf("target %d after %d tries: %v", i, tries, err)
				}
			}
		}
		if n, err := r.v.Epoch(t.Context()); n != 1 || err != nil {
			t.Errorf("epoch %d, %v", n, err)
		}
		if b, err := r.v.Small(t.Context(), "keys/k1"); string(b) != "wrapped" || err != nil {
			t.Errorf("keys/k1 is %q, %v", b, err)
		}
	})
}

func TestInitRefuses(t *testing.T) {
	ctx := t.Context()
	fresh := func(n int) (ts []Target) {
		for i := range n {
			ts = append(ts, Target{fmt.Sprint("t", i), mem.New()})
		}
		return ts
	}
	other := rigSettings(2, 1)
	other.Region = "elsewhere"
	taken := fresh(3)
	if err := Init(ctx, taken[:1], rigSettings(1, 0), nil); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var folder []Target
	for _, name := range []string{"a", "b", "a/../b"} {
		s, err := file.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		folder = append(folder, Target{fmt.Sprint("t", len(folder)), s})
	}
	madeAs := fresh(3)
	if err := Init(ctx, madeAs, other, nil); err != nil {
		t.Fatal(err)
	}
	named := fresh(3)
	named[2].Name = "t0"
	for _, c := range []struct {
		why     string
		targets []Target
		s       Settings
		want    string
	}{
		{"too few targets", fresh(2), rigSettings(2, 1), "2 targets for 2+1 shards"},
		{"too many", fresh(4), rigSettings(2, 1), "4 targets for 2+1 shards"},
		{"one name twice", named, rigSettings(2, 1), "name of its own"},
		{"another vault's target", taken, rigSettings(2, 1), "target t0 holds vault v"},
		{"another region", madeAs, rigSettings(2, 1), "of region elsewhere"},
		{"one folder twice", folder, rigSettings(2, 1), "target t2 leads to the place of another"},
		{"in another order", []Target{madeAs[1], madeAs[0], madeAs[2]}, other, "already"},
		{"no name", fresh(3), Settings{Region: "local"}, "both want a name"},
		{"grid", fresh(3), Settings{Name: "v", Region: "r", GridBytes: 5}, "grid of 5"},
		{"compression", fresh(3), Settings{Name: "v", Region: "r", GridBytes: 65536, Compression: "rar"}, `compression "rar"`},
	} {
		if err := Init(ctx, c.targets, c.s, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.why, err, c.want)
		}
	}
	for i, target := range []Target{taken[1], taken[2]} {
		for o := range target.Store.List(ctx, "") {
			t.Errorf("target %d of a refused vault got %s", i+1, o.Key)
		}
	}
}

func TestOpen(t *testing.T) { synctest.Test(t, testOpen) }

func testOpen(t *testing.T) {
	a, b := newRig(t, 2, 1, 1), newRig(t, 2, 1, 2)
	gone := Target{"t1", blobtest.NewFaulty(mem.New(), 1).Down(true)}
	empty := Target{"t1", mem.New()}
	for _, c := range []struct {
		why     string
		targets []Target
		want    string // of the error
		missing string // of the vault that opens
	}{
		{"all", a.targets, "", ""},
		{"in any order", []Target{a.targets[2], a.targets[0], a.targets[1]}, "", ""},
		{"one is down", []Target{a.targets[0], gone, a.targets[2]}, "", "target t1: get vault.json: fault: target is down"},
		{"one is empty", []Target{a.targets[0], empty, a.targets[2]}, "", "target t1: is no target of this vault"},
		{"one is not given", a.targets[:2], "", "target t2: no store is configured"},
		{"two are down", []Target{a.targets[0], gone, {"t2", gone.Store}}, "too few targets answer: 1, 2 are needed", ""},
		{"all are down", []Target{gone, gone}, "target is down", ""},
		{"all are empty", []Target{empty, empty}, "no vault on t1, t1", ""},
		{"none", nil, "no targets given", ""},
		{"of two vaults", []Target{a.targets[0], b.targets[1], a.targets[2]}, "targets of two vaults: t0 has vault v", ""},
		{"one twice", []Target{a.targets[0], a.targets[1], {"x", a.targets[1].Store}}, "targets t1 and x lead to one place", ""},
		{"one too many", append(slices.Clone(a.targets), gone), "4 targets given", ""},
	} {
		v, err := Open(t.Context(), c.targets)
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", c.why, err, c.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		for i := range 3 {
			if v.Target(i) != a.targets[i].Name {
				t.Errorf("%s: shard %d lies on %s", c.why, i, v.Target(i))
			}
		}
		missing := fmt.Sprint(v.Missing(t.Context()))
		if c.missing == "" && missing != "<nil>" || !strings.Contains(missing, c.missing) {
			t.Errorf("%s: missing %s, want %q", c.why, missing, c.missing)
		}
	}
	if _, err := Open(t.Context(), []Target{empty}); !errors.Is(err, ErrNoVault) {
		t.Errorf("no vault: %v", err)
	}
}

// A target whose vault.json rots opens nothing, and does not stop the others.
func TestRottenSettings(t *testing.T) {
	r := newRig(t, 2, 1, 1)
	r.must(r.stores[1].Delete(t.Context(), settingsKey))
	r.must(r.stores[1].Put(t.Context(), settingsKey, []byte("{\"format\":1")))
	r.open()
	if err := r.v.Missing(t.Context()); !errors.Is(err, ErrDamaged) {
		t.Errorf("missing: %v", err)
	}
	if _, err := parseSettings([]byte(`{"format":2}`)); err == nil || !strings.Contains(err.Error(), "format 2") {
		t.Errorf("of a later format: %v", err)
	}
}

func FuzzParseSettings(f *testing.F) {
	f.Add(settingsFile{Format: 1, ID: "x", Settings: rigSettings(2, 1), Targets: []string{"a", "b", "c"}, Target: "b"}.encode())
	f.Add([]byte(`{"format":1,"k":0}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := parseSettings(b); err == nil {
			again, err := parseSettings(s.encode())
			if err != nil || !again.same(s) || again.no() != s.no() {
				t.Errorf("%+v came back as %+v, %v", s, again, err)
			}
		}
	})
}

// Whole objects are read by k: any m targets may be down, hung, wiped or rotten.
func TestSmallIsReadWithoutAnyM(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for lost := range 1 << 4 { // of 2+2
			for _, how := range []string{"down", "hung", "empty", "rotten"} {
				r := newRig(t, 2, 2, uint64(lost))
				n := 0
				for i := range 4 {
					body := []byte("body")
					if lost>>i&1 == 1 {
						n++
						if how == "rotten" {
							body = []byte("b0dy")
						}
						if how == "empty" {
							continue
						}
					}
					r.must(r.stores[i].Put(t.Context(), "points/1/x", body))
				}
				for i, f := range r.faults {
					f.Slow(time.Second).Down(lost>>i&1 == 1 && how == "down").Hang(lost>>i&1 == 1 && how == "hung")
				}
				b, err := r.v.SmallSound(t.Context(), "points/1/x", func(b []byte) error {
					if !bytes.Equal(b, []byte("body")) {
						return ErrDamaged
					}
					return nil
				})
				if n < 4 && (err != nil || string(b) != "body") {
					t.Errorf("%04b %s: %q, %v", lost, how, b, err)
				}
				if want := map[string]error{"down": ErrTooFew, "hung": ErrTooFew, "empty": blob.ErrNotExist, "rotten": ErrDamaged}[how]; n == 4 && !errors.Is(err, want) {
					t.Errorf("all are %s: %v", how, err)
				}
				keys, err := r.v.ListSmall(t.Context(), "points/")
				if up := 4 - n; how == "down" || how == "hung" {
					if (err == nil) != (up >= 2) || err != nil && !errors.Is(err, ErrTooFew) {
						t.Errorf("listed with %d up: %v", up, err)
					}
				} else if err != nil || len(keys) != min(1, up) && how == "empty" {
					t.Errorf("%04b %s: listed %q, %v", lost, how, keys, err)
				}
				for _, f := range r.faults {
					f.Hang(false)
				}
			}
		}
	})
}

// "There is none" is said by k that are sure, not by those that are down, and not
// by a folder that is not our target.
func TestAbsenceNeedsK(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2, 1, 1)
		if _, err := r.v.Small(t.Context(), "epochs/1.closing"); !errors.Is(err, blob.ErrNotExist) {
			t.Errorf("all are up: %v", err)
		}
		began := time.Now()
		r.faults[0].Hang(true)
		if _, err := r.v.Small(t.Context(), "epochs/1.closing"); !errors.Is(err, blob.ErrNotExist) || time.Since(began) > laggards {
			t.Errorf("one hangs: %v after %s", err, time.Since(began))
		}
		r.faults[0].Hang(false)
		r.faults[0].Down(true)
		r.faults[1].Down(true)
		if _, err := r.v.Small(t.Context(), "epochs/1.closing"); !errors.Is(err, ErrTooFew) || errors.Is(err, blob.ErrNotExist) {
			t.Errorf("two are down: %v", err)
		}
		r.faults[0].Down(false)
		r.faults[1].Down(false)
		r.targets[2].Store = mem.New() // where its share should be mounted
		r.open()
		r.faults[0].Down(true)
		if _, err := r.v.Small(t.Context(), "epochs/1.closing"); !errors.Is(err, ErrTooFew) || errors.Is(err, blob.ErrNotExist) {
			t.Errorf("an empty folder was believed: %v", err)
		}
	})
}
