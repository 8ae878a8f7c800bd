package stage

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/holdfast-backup/holdfast/topics"
)

const (
	// lookEvery is how often the brokers are asked which regions they have. An answer is
	// 60 topics x 64 partitions x 50 B = 190 KB a region: ten regions are 65 KB/s. Who
	// needs to know sooner asks (Regions.Fresh).
	lookEvery = 30 * time.Second
	// goneAfter is how long a region must not be seen until it counts as gone: what one
	// broker leaves out of one answer ends nothing.
	goneAfter = time.Minute
)

// Region is one that a process serves, as its stages see it.
type Region struct {
	Name string
	// Read says that a room was shown all rows that the region's table held when it
	// met the region; see Across.
	Read bool
	// Gone says that it is served no more.
	Gone bool

	parts map[string]int32    // by the house's name
	ids   map[string][16]byte // by the house's name
}

// Parts is the partition count of a topic in the region, of those that the process
// needs; 0 of any other.
func (g Region) Parts(s topics.Spec) int32 { return g.parts[s.Name] }

// Regions are those that a process serves, of those that the brokers have: a region is
// there when its topics are, and for as long. The brokers are the one thing that all
// processes of a house agree on, so that two coordinators serve the same regions though
// nobody tells them, and a region that is added needs no restart of anybody.
// Safe for concurrent use.
type Regions struct {
	serves func(name string) bool
	need   []topics.Spec

	mu     sync.Mutex
	there  map[string]sight
	looked time.Time     // when the last look began that was answered; zero: none was
	turned chan struct{} // closed when there has changed, or was looked for the first time
	bell   chan struct{}
}

type sight struct {
	Region
	last time.Time
}

// NewRegions are the regions whose names are served and that have every topic which
// these stages read or write. Nothing is known before Keep.
func NewRegions(serves func(name string) bool, stages ...Stage) *Regions {
	r := &Regions{serves: serves, there: map[string]sight{}, turned: make(chan struct{}), bell: make(chan struct{}, 1)}
	for _, s := range stages {
		for _, t := range slices.Concat(s.Streams, s.Tables, s.Wholes, s.Writes) {
			if t.Kind != topics.Public {
				r.need = append(r.need, t)
			}
		}
	}
	return r
}

// Keep looks, again and again, until ctx ends.
func (r *Regions) Keep(ctx context.Context, env Env) error {
	cl, err := kgo.NewClient(env.Kafka...)
	if err != nil {
		return fmt.Errorf("look for regions: %w", err)
	}
	defer cl.Close()
	again := patience(lookEvery)
	for ctx.Err() == nil {
		wait := lookEvery
		if err := r.look(ctx, cl); err == nil {
			again.Reset()
		} else if ctx.Err() == nil {
			wait = again.NextBackOff()
			env.Log.Warn("the brokers do not say which regions there are", "err", err)
		}
		select {
		case <-time.After(wait):
		case <-r.bell:
		case <-ctx.Done():
		}
	}
	return nil
}

// Fresh reports whether what is known of the regions is no older than age. If it is, the
// brokers are asked anew, and it is worth while to come again in a moment.
func (r *Regions) Fresh(age time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.looked) <= age {
		return true
	}
	select {
	case r.bell <- struct{}{}:
	default:
	}
	return false
}

// Names are those that are served now, sorted.
func (r *Regions) Names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.there))
}

// look asks the brokers once.
func (r *Regions) look(ctx context.Context, cl *kgo.Client) error {
	now, found := time.Now(), map[string]sight{}
	ctx, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	resp, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	seen := map[string]kmsg.MetadataResponseTopic{}
	var names []string
	for _, t := range resp.Topics {
		if t.Topic != nil && t.ErrorCode == 0 && len(t.Partitions) > 0 {
			seen[*t.Topic] = t
			names = append(names, *t.Topic)
		}
	}
	for _, name := range topics.Regions(names, r.need...) {
		if !r.serves(name) {
			continue
		}
		g := sight{Region{Name: name, parts: map[string]int32{}, ids: map[string][16]byte{}}, now}
		for _, t := range r.need {
			g.parts[t.Name], g.ids[t.Name] = int32(len(seen[t.In(name)].Partitions)), seen[t.In(name)].TopicID
		}
		found[name] = g
	}
	r.take(found, now)
	return nil
}

// take notes what a look has found that began at now.
func (r *Regions) take(found map[string]sight, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	turned := r.looked.IsZero()
	for name, g := range found {
		old, ok := r.there[name]
		turned = turned || !ok || !maps.Equal(old.ids, g.ids)
		r.there[name] = g
	}
	for name, g := range r.there {
		if _, ok := found[name]; !ok && now.Sub(g.last) >= goneAfter {
			delete(r.there, name)
			turned = true
		}
	}
	r.looked = now
	if turned {
		close(r.turned)
		r.turned = make(chan struct{})
	}
}

// now is what is there, and a channel that closes when that changes. known is false
// before the first look.
func (r *Regions) now() (there map[string]Region, known bool, turned <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	there = map[string]Region{}
	for name, g := range r.there {
		there[name] = g.Region
	}
	return there, !r.looked.IsZero(), r.turned
}

// Follow calls begin for each region that is there, and what it returned when the
// region goes, or is another of the same name. It waits for the first look and begins
// what that found before it returns; the rest it does in one goroutine, until ctx ends
// or stop is called, which ends what is left.
func (r *Regions) Follow(ctx context.Context, begin func(Region) (end func())) (stop func()) {
	type begun struct {
		Region
		end func()
	}
	all := map[string]begun{}
	round := func() (known bool, turned <-chan struct{}) {
		there, known, turned := r.now()
		for _, name := range slices.Sorted(maps.Keys(all)) {
			if g, ok := there[name]; !ok || !maps.Equal(g.ids, all[name].ids) {
				all[name].end()
				delete(all, name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(there)) {
			if _, ok := all[name]; !ok {
				all[name] = begun{there[name], begin(there[name])}
			}
		}
		return known, turned
	}
	ctx, cancel := context.WithCancel(ctx)
	known, turned := round()
	for !known && ctx.Err() == nil {
		select {
		case <-turned:
			known, turned = round()
		case <-ctx.Done():
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			select {
			case <-turned:
				_, turned = round()
			case <-ctx.Done():
			}
		}
	}()
	return func() {
		cancel()
		<-ended
		for _, name := range slices.Sorted(maps.Keys(all)) {
			all[name].end()
		}
	}
}

// RunEach runs s in each region that env serves, from when it comes until it goes or
// ctx ends. What ends s in one region is told, and s begins there again: it is no
// matter of the others.
func RunEach(ctx context.Context, s Stage, env Env) error {
	if env.Regions == nil {
		return Run(ctx, s, env)
	}
	stop := env.Regions.Follow(ctx, func(g Region) func() {
		ctx, cancel := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			runIn(ctx, s, env, g.Name)
		}()
		return func() { cancel(); <-ended }
	})
	<-ctx.Done()
	stop()
	return nil
}

// runIn runs s in one region until ctx ends, whatever it says.
func runIn(ctx context.Context, s Stage, env Env, region string) {
	env.Region, env.Regions, env.Log = region, nil, env.Log.With("region", region)
	env.Log.Info("the region is served", "stage", s.Name)
	for again := patience(time.Minute); ctx.Err() == nil; pause(ctx, again.NextBackOff()) {
		if err := Run(ctx, s, env); err != nil {
			env.Log.Error("the region is not served", "stage", s.Name, "err", err)
		}
	}
	env.Log.Info("the region is served no more", "stage", s.Name)
}
