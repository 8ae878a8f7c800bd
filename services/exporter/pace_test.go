package exporter

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/rate"
	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/source/sourcetest"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/libs/staging"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// counting sees what a source is asked for, and when. Its files lie on one store.
type counting struct {
	source.Source
	mu    sync.Mutex
	reads []asking
}

type asking struct {
	at time.Time
	n  int
}

type countedSnapshot struct {
	source.Snapshot
	c *counting
}

type countedReader struct {
	source.Reader
	c *counting
}

func (c *counting) Prepare(ctx context.Context, o source.Order) (source.Snapshot, error) {
	s, err := c.Source.Prepare(ctx, o)
	return countedSnapshot{s, c}, err
}

func (c *counting) Resume(ctx context.Context, o source.Order, id string) (source.Snapshot, error) {
	s, err := c.Source.Resume(ctx, o, id)
	return countedSnapshot{s, c}, err
}

func (s countedSnapshot) Files() (all []source.File) {
	for _, f := range s.Snapshot.Files() {
		f.Store = "ds1"
		all = append(all, f)
	}
	return all
}

func (s countedSnapshot) Open(ctx context.Context, f source.File, from int64) (source.Reader, error) {
	r, err := s.Snapshot.Open(ctx, f, from)
	return countedReader{r, s.c}, err
}

func (r countedReader) ReadAt(ctx context.Context, p []byte, off int64) error {
	r.c.mu.Lock()
	r.c.reads = append(r.c.reads, asking{time.Now(), len(p)})
	r.c.mu.Unlock()
	return r.Reader.ReadAt(ctx, p, off)
}

// pacing is a bench of exporters of one fake source, each with a limiter of its own.
type pacing struct {
	*stagetest.Bench
	c      *counting
	stage  func() (*rate.Limiter, Deps)
	config Config
}

func pacingBench(t *testing.T, limit rate.Rate, window uint64, f func(*pacing, *sourcetest.Fake)) {
	t.Helper()
	share, err := staging.Open(t.TempDir(), staging.Options{})
	if err != nil {
		t.Fatal(err)
	}
	fake := sourcetest.NewFake(1)
	c := &counting{Source: fake}
	deps := func() (*rate.Limiter, Deps) {
		l := rate.New(rate.Plan{Rate: limit})
		return l, Deps{Grid: testGrid, ExtentBytes: testExtent, Rooms: rate.NewRooms(stageName, 1, l), Sources: map[string]Provider{"fake": {Source: c, Share: share, Limit: l,
			ShareBytes: 64 * window, WindowBytes: window, Limits: Limits{Snapshots: 99}}}}
	}
	_, d := deps()
	stagetest.Run(t, 1, Stage(Default(), d), 4, func(b *stagetest.Bench) { f(&pacing{b, c, deps, Default()}, fake) })
}

func (p *pacing) join() (*stagetest.Member, *rate.Limiter) {
	l, d := p.stage()
	p.Stage = Stage(p.config, d)
	return p.Join(0), l
}

// read is how much was read since a moment; and nowhere, since then, more than the
// limit allowed and what each of so many processes may pass at once.
func (p *pacing) read(since time.Time, limit rate.Rate, processes int) (sum int) {
	p.T.Helper()
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	most := 0
	for _, r := range p.c.reads {
		most = max(most, r.n)
	}
	for i, r := range p.c.reads {
		if r.at.Before(since) {
			continue
		}
		sum += r.n
		n := 0
		for _, r2 := range p.c.reads[i:] {
			if n += r2.n; float64(n) > float64(limit)*r2.at.Sub(r.at).Seconds()+float64(processes*most) {
				p.T.Fatalf("%d bytes were read in %v at %v", n, r2.at.Sub(r.at), limit)
			}
		}
	}
	return sum
}

// Two exporters read eight machines of one source, each as much as its rooms allow;
// then one dies, and the other takes its rooms, its leases and its share. At no time
// do they read more than the limit, and they use it.
func TestExportersShareALimit(t *testing.T) {
	const limit, size = 256 << 10, 6 << 20
	pacingBench(t, limit, 16<<20, func(p *pacing, fake *sourcetest.Fake) {
		_, a := p.join()
		second, b := p.join()
		time.Sleep(time.Minute)
		if a.Now() != limit/2 || b.Now() != limit/2 {
			p.T.Errorf("of %v the one has %v, the other %v", rate.Rate(limit), a.Now(), b.Now())
		}
		begun := time.Now()
		for i := range 8 {
			m := fmt.Sprint("m", i)
			fake.Set(m, "d", bytes.Repeat([]byte{byte(i + 1)}, size))
			o := order("fake", m, byte(i))
			p.Send(topics.BackupsLeased.Event(o.Run.Backup, o))
		}
		time.Sleep(60 * time.Second)
		if sum := p.read(begun, limit, 2); sum < 50*limit {
			p.T.Errorf("%d KiB in a minute of two at %v", sum>>10, rate.Rate(limit))
		}
		second.Crash()
		time.Sleep(40 * time.Second) // until its session has ended
		if a.Now() != limit {
			p.T.Errorf("alone it has %v", a.Now())
		}
		begun = time.Now()
		time.Sleep(50 * time.Second)
		if sum := p.read(begun, limit, 2); sum < 40*limit {
			p.T.Errorf("%d KiB in 50 s of one at %v", sum>>10, rate.Rate(limit))
		}
		for _, e := range stagetest.Read(p.Bench, topics.ExtentsExported) {
			if e.ReadUs > 1000 {
				p.T.Errorf("an extent that was waited for counts as %d us of reading", e.ReadUs)
			}
		}
		if a.Waited() == 0 || a.Passed() == 0 {
			p.T.Errorf("waited %v, passed %d", a.Waited(), a.Passed())
		}
	})
}

// A machine that is read slowly by our own will, and one that waits for its turn
// behind it, are told of all the time: nothing is filed of them for longer than a
// lease may be silent. One that waits for its window is not: there the rest of the
// house must get on.
func TestWhoIsSlowByOurWillIsNotSilent(t *testing.T) {
	const limit = 8 << 10
	pacingBench(t, limit, 4<<20, func(p *pacing, fake *sourcetest.Fake) {
		p.config.Readers = 1
		first, second := order("fake", "m1", 1), order("fake", "m2", 2)
		fake.Set("m1", "d", bytes.Repeat([]byte{1}, 9<<20))
		fake.Set("m2", "d", []byte{2})
		p.join()
		begun := time.Now()
		p.Send(topics.BackupsLeased.Event(first.Run.Backup, first))
		time.Sleep(time.Second)
		p.Send(topics.BackupsLeased.Event(second.Run.Backup, second))
		time.Sleep(10 * time.Minute)
		for _, o := range []*schemas.BackupLeased{first, second} {
			said, store, latency := p.beats(o)
			if said < 19 || said > 20 {
				p.T.Errorf("machine %s was told of %d times in 10 minutes", o.Machine.Id, said)
			}
			if reads := o == first; reads != (store == "ds1") || reads != (latency > 0) {
				p.T.Errorf("machine %s: reads of %q take %d us", o.Machine.Id, store, latency)
			}
		}
		time.Sleep(10 * time.Minute) // 9.4 MiB could be read, and the window is full after 4
		before, _, _ := p.beats(first)
		time.Sleep(10 * time.Minute)
		after, _, _ := p.beats(first)
		if after != before {
			p.T.Errorf("a lease whose window is full was told of %d times", after-before)
		}
		if sum := p.read(begun, limit, 1); sum < 4<<20 || sum > 9<<20 {
			p.T.Errorf("%d bytes were read", sum)
		}
	})
}

// beats counts the words that a lease still reads, and returns what the last says.
func (p *pacing) beats(o *schemas.BackupLeased) (n int, store string, latency uint32) {
	p.T.Helper()
	for _, e := range stagetest.Read(p.Bench, topics.ExportsEnded) {
		if string(e.Run.Lease) != string(o.Run.Lease) {
			continue
		}
		if e.Word != schemas.ExportEnded_WORD_READING {
			p.T.Errorf("machine %s: %v", o.Machine.Id, e)
			continue
		}
		if e.Run.Attempt != 0 || string(e.Run.Backup) != string(o.Run.Backup) || e.Machine.GetId() != o.Machine.Id {
			p.T.Errorf("told of %v", e)
		}
		n, store, latency = n+1, e.Store, e.LatencyUs
	}
	return n, store, latency
}
