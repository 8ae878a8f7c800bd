package scheduler

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// Two regions of the coordinator; the bench's own, where the intake is at home, is the first.
const (
	home  = stagetest.Region
	other = "us-1"
	third = "ap-1"
)

// coordinator is one process that serves every region of a bench.
type coordinator struct {
	b    *stagetest.Bench
	wire *stagetest.Wire
	stop context.CancelFunc
	done chan struct{}
	in   *stagetest.Member
}

// coordinate gives f a bench with two regions, of which other may be far away: its
// topics are made, and nothing is in them.
func coordinate(t *testing.T, seed uint64, f func(*stagetest.Bench)) {
	stagetest.Run(t, seed, Intake(Default()), 2, func(b *stagetest.Bench) {
		found(b, home)
		found(b, other)
		f(b)
	})
}

func found(b *stagetest.Bench, region string) { b.Found(region, Intake(Default()), Stage(Default())) }

func start(b *stagetest.Bench) *coordinator {
	ctx, stop := context.WithCancel(context.Background())
	c := &coordinator{b: b, wire: stagetest.NewWire(b.Dial, rand.New(rand.NewPCG(1, b.Rand.Uint64())), 0.02), stop: stop, done: make(chan struct{})}
	b.Regions = stage.NewRegions(func(string) bool { return true }, Intake(Default()), Stage(Default()))
	env := stage.Env{Worker: "coordinator", Now: time.Now, Log: b.Log, Kafka: b.Kafka(c.wire.Dial), Watch: b, Regions: b.Regions}
	go func() {
		defer close(c.done)
		kept := make(chan struct{})
		go func() {
			defer close(kept)
			if err := b.Regions.Keep(ctx, env); err != nil {
				b.T.Error(err)
			}
		}()
		if err := stage.RunEach(ctx, Stage(Default()), env); err != nil {
			b.T.Error(err)
		}
		<-kept
	}()
	c.in = b.Join(0.02)
	return c
}

func (c *coordinator) leave() {
	c.in.Leave()
	c.stop()
	<-c.done
}

// crash ends it as a power cut would.
func (c *coordinator) crash() {
	c.in.Crash()
	c.wire.Cut()
	c.stop()
	<-c.done
}

// opened is a region's first epoch, without which nothing is leased.
func opened(region string) topics.Event {
	return topics.EpochsTurned.Event([]byte("opened/1"), &schemas.EpochTurned{Epoch: 1, Turn: schemas.EpochTurned_TURN_OPENED}).For(region)
}

// said lists what was told in a region, one line each.
func saidIn(b *stagetest.Bench, region string) string {
	var lines []string
	for _, q := range stagetest.ReadIn(b, region, topics.BackupsQueued) {
		line := fmt.Sprintf("order %s/%s of %d", q.GetMachine().GetSource(), q.GetMachine().GetId(), q.GetJob().GetOf())
		if q.GetCancel() {
			line = "cancel"
		}
		lines = append(lines, line)
	}
	for _, w := range stagetest.ReadIn(b, region, topics.BackupsLeased) {
		if w.GetVerb() == schemas.BackupLeased_VERB_REFUSED {
			lines = append(lines, fmt.Sprintf("refused of %d: %s", w.GetJob().GetOf(), w.GetReason()))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// A name is looked for in every region, and each order goes to the region of its machine.
func TestRequestsOverRegions(t *testing.T) {
	machines := []topics.Event{foundRow("vc-a", "", ""), foundRow("vc-a", "vm-1", "db-07"), foundRow("vc-a", "vm-2", "web-01"), foundRow("both", "", ""), foundRow("both", "vm-x", "same"),
		foundRow("vc-u", "", "").For(other), foundRow("vc-u", "vm-1", "db-07").For(other), foundRow("vc-u", "vm-7", "web-07").For(other),
		foundRow("both", "", "").For(other), foundRow("both", "vm-x", "same").For(other), foundRow("both", "vm-y", "mine").For(other)}
	contested := "regions test-1 and us-1 each have a source both: name the region, or call the sources otherwise"
	for name, c := range map[string]struct{ data, home, other string }{
		"over both":       {`{"machines":["web-01","vc-u/vm-1"]}`, "order vc-a/vm-2 of 2", "order vc-u/vm-1 of 2"},
		"one unknown":     {`{"machines":["web-07","web-1"]}`, `refused of 2: "web-1" is no machine; near: "web-01"`, "order vc-u/vm-7 of 2"},
		"ambiguous":       {`{"machines":["db-07"]}`, `refused of 0: "db-07" means 2 machines: "vc-a/vm-1" of region test-1, "vc-u/vm-1" of region us-1; say which, as source/id`, ""},
		"one region":      {`{"machines":["db-07"],"region":"us-1"}`, "", "order vc-u/vm-1 of 1"},
		"a list of all":   {`{"machines":["web-01","web-07","db-07","mine"],"region":"us-1"}`, "", "order both/vm-y of 3\norder vc-u/vm-1 of 3\norder vc-u/vm-7 of 3"},
		"all others'":     {`{"machines":["web-07","vm-7"],"region":"test-1"}`, "refused of 0: none of these machines is of region test-1: us-1 has 2", ""},
		"no such region":  {`{"machines":["web-07"],"region":"us-2"}`, `refused of 0: region "us-2" is not served here; there are: test-1, us-1`, ""},
		"selector":        {`{"selectors":[{"name":"web-*"}]}`, "order vc-a/vm-2 of 2", "order vc-u/vm-7 of 2"},
		"selector of one": {`{"selectors":[{"name":"*"}],"region":"test-1"}`, "order both/vm-x of 3\norder vc-a/vm-1 of 3\norder vc-a/vm-2 of 3", ""},
		"contested":       {`{"selectors":[{"name":"same"},{"name":"web-01"}]}`, "order vc-a/vm-2 of 2\nrefused of 2: " + contested, ""},
		"contested name":  {`{"machines":["both/vm-x"]}`, `refused of 0: "both/vm-x" means 2 machines: "both/vm-x" of region test-1, "both/vm-x" of region us-1; ` + contested, ""},
		"contested, said": {`{"machines":["both/vm-x"],"region":"us-1"}`, "", "order both/vm-x of 1"},
		"endless region":  {`{"machines":["web-01"],"region":"` + strings.Repeat("r", 64) + `"}`, "refused of 0: data.region: is a name of 64 bytes, at most 63", ""},
	} {
		t.Run(name, func(t *testing.T) {
			coordinate(t, 0, func(b *stagetest.Bench) {
				b.Send(machines...)
				defer start(b).leave()
				b.Send(backupEvent("x", c.data))
				if !b.Settled() {
					b.Dump(9)
					b.T.Fatal("not settled")
				}
				if home, other := saidIn(b, home), saidIn(b, other); home != c.home || other != c.other {
					b.T.Errorf("got\n%s\n-\n%s\nwant\n%s\n-\n%s", home, other, c.home, c.other)
				}
			})
		})
	}
	coordinate(t, 0, func(b *stagetest.Bench) {
		defer start(b).leave()
		b.Send(requestEvent("y", schemas.TypeBackupCancel, fmt.Sprintf(`{"job":%q}`, schemas.JobID("/t", "x"))))
		b.Settled()
		if saidIn(b, home) != "cancel\ncancel" || saidIn(b, other) != "cancel\ncancel" {
			b.T.Errorf("a cancel goes to each partition of each region, not: %s, %s", saidIn(b, home), saidIn(b, other))
		}
	})
}

// A region that is added while the coordinator runs is served from its first machine
// on; who asks for that at once is not told that there is none. A name that nobody has
// waits for the first listing of a region, and no other request waits longer for that.
func TestRegionIsAdded(t *testing.T) {
	coordinate(t, 0, func(b *stagetest.Bench) {
		b.Send(foundRow("vc-a", "", ""), foundRow("vc-a", "vm-1", "one"), foundRow("vc-u", "", "").For(other), foundRow("vc-u", "vm-1", "two").For(other))
		defer start(b).leave()
		time.Sleep(5*time.Minute + 10*time.Second) // between two looks
		found(b, third)
		b.Send(opened(third), foundRow("vc-x", "", "").For(third), foundRow("vc-x", "vm-1", "new").For(third))
		time.Sleep(known + time.Second) // an exporter was quicker than any is
		began := time.Now()
		b.Send(backupEvent("x", `{"machines":["new"]}`))
		b.Settled(topics.BackupsRequested.Spec)
		if got := saidIn(b, third); got != "order vc-x/vm-1 of 1" || time.Since(began) > 10*time.Second {
			b.T.Errorf("after %v: %s; at home %s", time.Since(began), got, saidIn(b, home))
		}
		leased := func() bool {
			return slices.ContainsFunc(stagetest.ReadIn(b, third, topics.BackupsLeased), func(w *schemas.BackupLeased) bool { return w.GetVerb() == schemas.BackupLeased_VERB_LEASED })
		}
		for range 30 {
			time.Sleep(time.Second)
		}
		if !leased() {
			b.Dump(20)
			b.T.Error("the new region's machine is not leased")
		}
	})
}

// A region that never lists anything costs those who ask for what nobody has a minute
// after it came, and later nothing; others it never costs.
func TestSilentRegionDelaysNobody(t *testing.T) {
	coordinate(t, 0, func(b *stagetest.Bench) {
		b.Send(foundRow("vc-a", "", ""), foundRow("vc-a", "vm-1", "one"))
		defer start(b).leave()
		ask := func(id, data string) time.Duration {
			began := time.Now()
			b.Send(backupEvent(id, data))
			b.Settled()
			return time.Since(began)
		}
		if took := ask("a", `{"machines":["one"]}`); took > 10*time.Second {
			b.T.Errorf("a known name took %v", took)
		}
		if took := ask("b", `{"machines":["nix"]}`); took < 40*time.Second || took > 3*time.Minute {
			b.T.Errorf("the first unknown name took %v", took)
		}
		if took := ask("c", `{"machines":["nix"]}`); took > 10*time.Second {
			b.T.Errorf("the second unknown name took %v", took)
		}
		line := `refused of 0: "nix" is no machine; region us-1 has listed no source yet`
		if got := saidIn(b, home); got != "order vc-a/vm-1 of 1\n"+line+"\n"+line {
			b.T.Errorf("got %s", got)
		}
	})
}
