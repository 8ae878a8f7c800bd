package stage_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// snapper begins something at a source: the row that says so must be in the log
// before it is begun.
type snapper struct{ room *stage.Room }

type source struct {
	b     *stagetest.Bench
	mu    sync.Mutex
	begun map[string]bool
}

// begin wants the row of name to be at the broker already.
func (s *source) begin(name string) {
	if stagetest.Rows(s.b, open)[name] == nil {
		s.b.T.Errorf("%s is begun, and no row tells of it", name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun[name] = true
}

func snapping(src *source) stage.Stage {
	return stage.Define("snapper", func(stage.Env) (func(*stage.Room) (*snapper, error), error) {
		return func(m *stage.Room) (*snapper, error) { return &snapper{m}, nil }, nil
	},
		stage.Own(open, func(*snapper, []byte, words) {}),
		stage.On(leased, func(s *snapper, in *stage.In, j words) error {
			name, hold := string(in.Key), in.Hold()
			in.Go(func(context.Context) func() {
				if s.room.Put(say(open, name, "begun")) != nil {
					return nil // the room is over, and the input comes again
				}
				src.begin(name)
				return func() { hold.Release() }
			})
			return nil
		}))
}

// Goal: an intent is a row before it is an act, and every act is made. Method:
// Put from background work, in bad weather, with crashes; the act looks.
func TestAnIntentIsARowBeforeItIsAnAct(t *testing.T) {
	for seed := range seeds() {
		t.Run("seed="+strconv.FormatUint(seed, 10), func(t *testing.T) {
			src := &source{begun: map[string]bool{}}
			stagetest.Run(t, seed, snapping(src), 2, func(b *stagetest.Bench) {
				src.b = b
				n := 0
				churn(b, func(int) {
					for range 5 {
						n++
						b.Send(lease("job"+strconv.Itoa(n), "x"))
					}
				}, func() {})
				if !b.Settled() {
					b.Dump(20)
					b.T.Fatal("not settled")
				}
				if len(src.begun) != n {
					b.T.Errorf("%d of %d begun", len(src.begun), n)
				}
			})
		})
	}
}

// Goal: what an input leaves behind is removed only after the commit that covers
// it. Method: a remover asks the broker, at each removal, in bad weather.
func TestCommittedRunsAfterTheCommit(t *testing.T) {
	for seed := range seeds() {
		t.Run("seed="+strconv.FormatUint(seed, 10), func(t *testing.T) {
			var b *stagetest.Bench
			var mu sync.Mutex
			removed := map[stagetest.Sent]bool{}
			s := stage.Define("remover", func(stage.Env) (func(*stage.Room) (*snapper, error), error) {
				return func(m *stage.Room) (*snapper, error) { return &snapper{m}, nil }, nil
			}, stage.On(leased, func(r *snapper, in *stage.In, j words) error {
				if rand.N(40) == 0 {
					r.room.Fail(errWeather)
				}
				time.Sleep(rand.N(100 * time.Millisecond)) // a room may be at work when it is revoked
				hold := in.Hold()
				in.Go(func(ctx context.Context) func() { nap(ctx, 300*time.Millisecond); hold.Release(); return nil })
				at := stagetest.Sent{Part: in.Part, Offset: in.Offset}
				in.Committed(func() {
					if done := b.Committed(leased.Spec)[at.Part]; done <= at.Offset {
						b.T.Errorf("%v is removed at a commit of %d", at, done)
					}
					mu.Lock()
					defer mu.Unlock()
					removed[at] = true
				})
				return nil
			}))
			stagetest.Run(t, seed, s, 2, func(bench *stagetest.Bench) {
				b = bench
				b.Weather(0.03)
				up := []*stagetest.Member{b.Join(0.1)}
				var sent []stagetest.Sent
				for i := range 40 {
					sent = append(sent, b.Send(lease(strconv.Itoa(i), "x"))...)
					time.Sleep(200 * time.Millisecond)
					if i == 15 || i == 30 {
						up = append(up, b.Join(0.1))
					}
				}
				time.Sleep(300 * time.Millisecond)
				for _, m := range up {
					m.Leave() // the last commit is that of the revoke: the room is gone
				}
				mu.Lock()
				defer mu.Unlock()
				done := b.Committed(leased.Spec)
				for _, at := range sent {
					// A room that is revoked tries its last commit three times. If no answer comes to
					// any, nobody knows that it was taken: what lies there is swept a day later.
					if at.Offset < done[at.Part] && !removed[at] && !unheard(b, at.Part, done[at.Part]) {
						b.Dump(40)
						b.T.Errorf("%v is committed and never removed", at)
					}
				}
				if len(removed) < 20 {
					b.T.Errorf("only %d of 40 are removed", len(removed))
				}
			})
		})
	}
}

// unheard reports whether a commit was taken by the broker, and nobody heard of it.
func unheard(b *stagetest.Bench, part int32, offset int64) bool {
	said := slices.DeleteFunc(b.Notes(stage.Committed), func(n stage.Note) bool { return n.Part != part || n.Offset != offset })
	return len(said) > 0 && !slices.ContainsFunc(said, func(n stage.Note) bool { return n.Err == nil })
}

// A stop hands out nothing more, and ends what is begun: nothing comes twice.
func TestAStopInGoodOrderRepeatsNothing(t *testing.T) {
	var mu sync.Mutex
	times := map[int64]int{}
	s := stage.Define("copier", func(stage.Env) (func(*stage.Room) (*clerk, error), error) {
		return func(*stage.Room) (*clerk, error) { return &clerk{}, nil }, nil
	}, stage.On(items, func(_ *clerk, in *stage.In, n number) error {
		time.Sleep(30 * time.Millisecond)
		mu.Lock()
		times[n.Value]++
		mu.Unlock()
		in.Emit(say(packs, "x", strconv.FormatInt(n.Value, 10)))
		return nil
	}), stage.Emits[*clerk](packs.Spec))
	stagetest.Run(t, 0, s, 2, func(b *stagetest.Bench) {
		var all []topics.Event
		for id := range 1500 {
			all = append(all, item(id))
		}
		b.Send(all...)
		for range 9 {
			m := b.Join(0)
			time.Sleep(time.Duration(b.Rand.Int64N(int64(2 * time.Second))))
			m.Leave()
		}
		b.Join(0)
		b.Settled()
		if got := stagetest.Read(b, packs); len(got) != len(all) {
			b.T.Errorf("%d emitted", len(got))
		}
		for id, n := range times {
			if n != 1 {
				b.T.Errorf("item %d came %d times", id, n)
			}
		}
	})
}

// A refused record of a Run is told to the auditor; a refused fault is not, or
// it would breed another for ever. Faults go to the region of the stage.
func TestRefusedRunIsFaulted(t *testing.T) {
	run := &schemas.Run{Backup: []byte("0123456789abcdef"), Attempt: 2, Lease: []byte("fedcba9876543210")}
	s := stage.Define("picky", func(stage.Env) (func(*stage.Room) (*clerk, error), error) {
		return func(*stage.Room) (*clerk, error) { return &clerk{}, nil }, nil
	},
		stage.On(topics.ExtentsExported, func(*clerk, *stage.In, *schemas.ExtentExported) error { return stage.Refuse(errWeather) }),
		stage.On(topics.BackupsFaulted, func(*clerk, *stage.In, *schemas.BackupFaulted) error { return stage.Refuse(errWeather) }))
	stagetest.Run(t, 0, s, 1, func(b *stagetest.Bench) {
		b.Join(0)
		b.Send(topics.ExtentsExported.Event([]byte("k"), &schemas.ExtentExported{Run: run}),
			topics.ExtentsExported.Event([]byte("k"), &schemas.ExtentExported{}))
		b.Settled(topics.ExtentsExported.Spec)
		b.Settled()
		got := stagetest.Read(b, topics.BackupsFaulted)
		if len(got) != 1 || got[0].Code != "refused" || !got[0].Whole || got[0].Stage != "picky" || string(got[0].Run.GetLease()) != string(run.Lease) {
			b.T.Fatalf("faults: %v", got)
		}
		if key := b.Records(topics.BackupsFaulted.In(stagetest.Region))[0].Key; string(key) != string(run.Backup) {
			b.T.Errorf("keyed by %q", key)
		}
		if n := len(stagetest.ReadRaw(b, topics.BackupsFaulted.Refused())); n != 1 {
			b.T.Errorf("%d refused faults", n)
		}
	})
}
