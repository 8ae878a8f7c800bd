package stage_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/topics"
)

type (
	number = *wrapperspb.Int64Value
	words  = *wrapperspb.StringValue
)

var (
	items = topics.Topic[number]{Spec: topics.Spec{Name: "items.sent"}}
	packs = topics.Topic[words]{Spec: topics.Spec{Name: "packs.made"}}
)

func item(id int) topics.Event {
	return items.Event(strconv.AppendInt(nil, int64(id), 10), wrapperspb.Int64(int64(id)))
}

func say(t topics.Topic[words], key, text string) topics.Event {
	return t.Event([]byte(key), wrapperspb.String(text))
}

// packer holds its inputs until ten are gathered, or two seconds have passed.
type packer struct {
	hold *stage.Hold
	ids  []string
}

var packing = stage.Define("packer", func(stage.Env) (func(*stage.Room) (*packer, error), error) {
	return func(*stage.Room) (*packer, error) { return &packer{}, nil }, nil
},
	stage.On(items, (*packer).add),
	stage.Every(2*time.Second, func(p *packer, _ *stage.In) error { p.close(); return nil }),
	stage.Emits[*packer](packs.Spec),
)

var errWeather = errors.New("weather")

func (p *packer) add(in *stage.In, it number) error {
	if err := nap(in, rand.N(60*time.Millisecond)); err != nil {
		return err
	}
	switch rand.N(40) { // not from the seed: which attempt fails is not ours to say
	case 0:
		return errWeather
	case 1: // fails with a hold in its hand: the hold must be void
		in.Hold()
		return errWeather
	}
	if p.hold == nil {
		p.hold = in.Hold()
	} else {
		p.hold.Add(in)
	}
	if p.ids = append(p.ids, strconv.FormatInt(it.Value, 10)); len(p.ids) == 10 {
		p.close()
	}
	return nil
}

func (p *packer) close() {
	if p.hold != nil {
		p.hold.Release(say(packs, p.ids[0], strings.Join(p.ids, ",")))
		p.hold, p.ids = nil, nil
	}
}

// packed are the ids that lie in a pack.
func packed(b *stagetest.Bench) map[int]bool {
	in := map[int]bool{}
	for _, p := range stagetest.Read(b, packs) {
		for _, id := range strings.Split(p.Value, ",") {
			n, _ := strconv.Atoi(id)
			in[n] = true
		}
	}
	return in
}

func nap(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// seeds are 20, or as many as SEEDS says.
func seeds() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("SEEDS"), 10, 64); err == nil {
		return n
	}
	return 20
}

func eachSeed(t *testing.T, s stage.Stage, parts int32, f func(*stagetest.Bench)) {
	for seed := range seeds() {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { stagetest.Run(t, seed, s, parts, f) })
	}
}

// Goal: an input is in a pack, or it will come again. Method: one to three
// members join, leave, crash and come back as zombies while 400 inputs arrive;
// produces are lost, torn and ghosts, and some fail for good. After each step,
// no committed offset may pass an input that is in no pack; at the end every
// input must be in one.
func TestNothingHeldIsCommitted(t *testing.T) {
	eachSeed(t, packing, 3, func(b *stagetest.Bench) {
		at := map[int]stagetest.Sent{}
		churn(b, func(step int) {
			for i := range 40 {
				id := step*40 + i
				at[id] = b.Send(item(id))[0]
			}
		}, func() {
			done, in := b.Committed(items.Spec), packed(b)
			for id, s := range at {
				if s.Offset < done[s.Part] && !in[id] {
					b.T.Fatalf("item %d at %v is committed (%d) and in no pack", id, s, done[s.Part])
				}
			}
		})
		if !b.Settled(items.Spec) {
			b.Dump(25)
			b.T.Fatalf("still not committed: %v", b.Committed(items.Spec))
		}
		if in := packed(b); len(in) != len(at) {
			b.T.Errorf("%d items of %d are in a pack", len(in), len(at))
		}
	})
}

// churn makes ten steps of weather, work and changing members, and checks after each.
func churn(b *stagetest.Bench, work func(step int), check func()) {
	b.Weather(0.03)
	up := []*stagetest.Member{b.Join(0.1)}
	for step := range 10 {
		work(step)
		time.Sleep(time.Duration(b.Rand.Int64N(int64(8 * time.Second))))
		i := b.Rand.IntN(len(up))
		switch k := b.Rand.IntN(5); {
		case k == 0 && len(up) > 1:
			up[i].Leave()
			up = append(up[:i], up[i+1:]...)
		case k == 1:
			up[i].Crash()
			up[i] = b.Join(0.1)
		case k == 2: // a zombie: its session ends while it still works
			up[i].Cut()
			time.Sleep(time.Duration(b.Rand.Int64N(int64(20 * time.Second))))
			up[i].Heal()
		case len(up) < 3:
			up = append(up, b.Join(0.1))
		}
		check()
	}
}

// More than a room may buffer, for a slow room that fails now and then: a pause
// must end with its room, and what was dropped must come again.
func TestABurstRestsAndComesBack(t *testing.T) {
	stagetest.Run(t, 0, packing, 1, func(b *stagetest.Bench) {
		var all []topics.Event
		for id := range 5000 {
			all = append(all, item(id))
		}
		b.Send(all...)
		b.Weather(0.01)
		b.Join(0)
		if !b.Settled(items.Spec) {
			b.Dump(20)
			b.T.Fatalf("not settled: %v", b.Committed(items.Spec))
		}
		if in := packed(b); len(in) != len(all) {
			b.T.Errorf("%d of %d", len(in), len(all))
		}
	})
}
