package kafka

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/holdfast-backup/holdfast/libs/stage/kafkatest"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
	"github.com/holdfast-backup/holdfast/topics"
)

const (
	machines  = 4
	killEvery = 3 * time.Second
	guestFor  = 6 * time.Second // a third process: a rebalance in, some work, a rebalance out
)

// A blackout: until every stage has noticed, and as long as they are looked at.
const darkSettled, dark = 2 * time.Second, 6 * time.Second

// tables are compacted at once in these tests, so that what is recalled is compacted.
var tables = []topics.Spec{topics.ChunksStored.Spec, topics.MachinesTended.Spec, topics.PagesFiled.Spec, topics.ExportsOpen.Spec}

// walk: two processes of each stage back machines up, one after the other, while a
// process is killed every three seconds, a third of some stage comes and goes, brokers are
// killed and restarted. Then nothing may be left, and every point must be what the
// disk was. After that all processes go, and new ones, who remember nothing, must find
// in tables that were compacted what the old ones knew.
func walk(t *testing.T, c *kafkatest.Cluster, binary string) {
	r := newRegion(t, c, binary, "walk")
	r.done(small...)
	for _, s := range tables {
		r.set(s.In(r.name), "segment.bytes", "1048576", "segment.ms", "1000", "max.compaction.lag.ms", "1000", "min.cleanable.dirty.ratio", "0.01")
	}
	r.born()
	for i := range machines {
		r.write(vm(i), noise(1, 1<<20)) // listed before the first order
	}
	f := r.fleet()
	stages := house.Without(house.Catalogue, "recorder")
	for _, s := range stages {
		f.start(s.Name, s.Name+"-a")
		f.start(s.Name, s.Name+"-b")
	}
	began := time.Now()
	l := r.load(machines)
	l.more(machines)
	r.Logf("%d processes of %d stages; a backup of each machine after %s", 2*len(stages), len(stages), time.Since(began).Round(time.Second))

	ctx, calm := context.WithCancel(t.Context())
	var storm sync.WaitGroup
	storm.Go(func() { f.storm(ctx, stages) })
	p, o := r.probe(), r.office()
	before := l.ended()
	c.Kill(0)
	c.WaitReady()
	p.silence("kill -9 of broker 0")
	l.more(2)
	c.Launch(0)
	c.WaitReady()
	p.silence("its return")
	for i := range c.Seeds() {
		c.Stop(i)
		c.Launch(i)
		c.WaitReady()
	}
	p.silence("a rolling restart")
	l.more(2)
	calm()
	storm.Wait()
	r.Logf("storm: %d backups in it, %d stage processes killed, %d guests came and left, the slowest in %s", l.ended()-before, f.kills, f.leaves, f.slowest.Round(time.Millisecond))
	f.blackout(c)
	l.more(2)
	l.end()
	o.end()
	r.zeros()
	r.tended()
	r.reborn(f, l, stages)
	r.zeros()
	l.restored()
}

// blackout ends all brokers at once, and looks at what the stages do meanwhile: they
// wait. A client that finds a port refused must not try again without a pause.
func (f *fleet) blackout(c *kafkatest.Cluster) {
	r := f.r
	r.Helper()
	for i := range c.Seeds() {
		c.Kill(i)
	}
	nap(r.Context(), darkSettled)
	was := map[*process]time.Duration{}
	for _, p := range f.all() {
		was[p] = p.cpu()
	}
	nap(r.Context(), dark)
	var sum, most time.Duration
	worst := ""
	for p, before := range was {
		used := p.cpu() - before
		sum += used
		if used > most {
			most, worst = used, p.data
		}
	}
	r.Logf("no broker for %s: %d processes use %.1f %% of a core each, most %s with %.1f %%", dark+darkSettled, len(was),
		100*sum.Seconds()/dark.Seconds()/float64(len(was)), worst, 100*most.Seconds()/dark.Seconds())
	if most > dark/10 {
		r.Errorf("%s spins while no broker is there: %s of CPU in %s", worst, most, dark)
	}
	for i := range c.Seeds() {
		c.Launch(i)
	}
	c.WaitReady()
}

// storm kills and invites, stage after stage.
func (f *fleet) storm(ctx context.Context, stages []house.Service) {
	var guests sync.WaitGroup
	defer guests.Wait()
	for i := 0; nap(ctx, killEvery); i++ {
		f.kill(f.of(stages[i%len(stages)].Name))
		if i%2 == 1 {
			continue
		}
		s := stages[(i+len(stages)/2)%len(stages)].Name
		guests.Go(func() {
			if p := f.start(s, s+"-guest-"+time.Now().Format("05.000")); p != nil {
				nap(ctx, guestFor)
				f.leave(p)
			}
		})
	}
}

// probe writes all the time, and knows how long no write was acknowledged.
type probe struct {
	r       *region
	longest atomic.Int64
	acks    atomic.Int64
}

func (r *region) probe() *probe {
	r.Helper()
	const topic, parts = "probe", 6
	two := "2"
	_, err := r.brokers.Admin().CreateTopic(r.Context(), parts, 3, map[string]*string{"min.insync.replicas": &two}, topic)
	r.must(err)
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.brokers.Seeds()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	r.must(err)
	ctx, stop := context.WithCancel(context.Background())
	p := &probe{r: r}
	var over sync.WaitGroup
	over.Go(func() {
		for nap(ctx, 20*time.Millisecond) {
			var batch []*kgo.Record
			for n := range int32(parts) {
				batch = append(batch, &kgo.Record{Topic: topic, Partition: n})
			}
			began := time.Now()
			if cl.ProduceSync(ctx, batch...).FirstErr() == nil {
				p.longest.Store(max(p.longest.Load(), int64(time.Since(began))))
				p.acks.Add(1)
			}
		}
	})
	r.Cleanup(func() { stop(); over.Wait(); cl.Close() })
	return p
}

// silence says how long no write was acknowledged since it was last asked.
func (p *probe) silence(after string) {
	p.r.Helper()
	n := p.acks.Load() + 1 // the write that is on its way counts
	p.r.until("a write to be acknowledged", func() string {
		if p.acks.Load() < n {
			return "none is"
		}
		return ""
	})
	p.r.Logf("longest silence of acknowledgements at %s: %s", after, time.Duration(p.longest.Swap(0)).Round(10*time.Millisecond))
}
