//go:build synctests

package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
)

// post is a place where a process of some stages runs, dies and is started again.
type post struct {
	w      *world
	name   string
	stages []string
	born   int
	late   bool     // it is not there at the start: it joins later
	up     *process // nil: nobody is there
}

// process is one life at a post.
type process struct {
	*stagetest.Wire
	post *post
	name string
	dir  string // links to the shares, and the index
	skew atomic.Int64
	stop context.CancelFunc
	done chan struct{}

	mu     sync.Mutex
	dead   bool
	frozen chan struct{}
}

// start begins a life. What the last one had in its index is there, as it would be
// on its disk.
func (o *post) start() *process {
	o.born++
	w := o.w
	p := &process{post: o, name: fmt.Sprintf("%s.%d", o.name, o.born), dir: filepath.Join(w.dir, fmt.Sprintf("%s.%d", o.name, o.born)), done: make(chan struct{}),
		Wire: stagetest.NewWire(w.kafka.dial, rand.New(rand.NewPCG(w.seed, w.rng.Uint64())), w.torn)}
	w.must(os.Mkdir(p.dir, 0o700))
	for _, share := range []string{"staging", "sealed"} {
		w.must(os.Symlink(filepath.Join(w.dir, share), filepath.Join(p.dir, share)))
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.stop, o.up = cancel, p
	go p.live(ctx)
	return p
}

// live runs the stages until ctx ends.
func (p *process) live(ctx context.Context) {
	defer close(p.done)
	parts := &parts{p: p, w: p.post.w, ctx: ctx}
	defer parts.close()
	var all sync.WaitGroup
	regions := p.regions()
	if regions != nil {
		all.Go(func() {
			if err := regions.Keep(ctx, p.env()); err != nil {
				p.post.w.t.Errorf("%s: %v", p.name, err)
			}
		})
	}
	for _, name := range p.post.stages {
		s, err := open(parts, name)
		for err != nil && ctx.Err() == nil { // as a supervisor starts it again
			time.Sleep(time.Second)
			s, err = open(parts, name)
		}
		if ctx.Err() != nil {
			break
		}
		p.post.w.reads(s)
		all.Go(func() {
			env, run := p.env(), stage.Run
			if name == "scheduler" {
				run = stage.RunEach
			}
			if name == "scheduler" || name == "intake" {
				env.Regions = regions
			}
			if err := run(ctx, s, env); err != nil {
				p.post.w.t.Errorf("%s stopped: %v", p.name, err)
			}
		})
	}
	all.Wait()
}

func (p *process) env() stage.Env {
	w := p.post.w
	return stage.Env{Region: region, Worker: p.name, Now: p.now, Log: w.log.With("process", p.name), Watch: w.ear,
		Kafka: append(w.kafka.reach(p.Dial), kgo.ClientID(p.name), kgo.FetchMaxWait(fetchWait), kgo.HeartbeatInterval(heartbeat))}
}

const (
	// fetchWait and heartbeat are longer than the house's own, because an idle house
	// costs the simulation most: nothing but a resumed feed waits for the first, and a
	// rebalance for the second.
	fetchWait = 5 * time.Second
	heartbeat = 3 * time.Second
)

// now is this process's clock.
func (p *process) now() time.Time { return time.Now().Add(time.Duration(p.skew.Load())) }

func (p *process) isDead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

// still waits while the process is frozen.
func (p *process) still() {
	p.mu.Lock()
	frozen := p.frozen
	p.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
}

// freeze stops all that the process asks of anybody until thaw.
func (p *process) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen == nil {
		p.frozen = make(chan struct{})
		p.Freeze()
	}
}

func (p *process) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen != nil {
		close(p.frozen)
		p.frozen = nil
		p.Thaw()
	}
}

// crash ends the process as a power cut would: first it is cut off from its shares,
// stores, sources and the bus, so that what it does on its way out counts no more.
func (p *process) crash() {
	p.mu.Lock()
	p.dead = true
	p.mu.Unlock()
	for _, share := range []string{"staging", "sealed"} {
		os.Remove(filepath.Join(p.dir, share))
	}
	p.Cut()
	p.thaw()
	p.stop()
	<-p.done
	p.post.up = nil
}

// leave ends it in good order.
func (p *process) leave() {
	p.thaw()
	p.stop()
	<-p.done
	p.post.up = nil
}
