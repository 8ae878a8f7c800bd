package stage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/holdfast-backup/holdfast/topics"
)

// runner runs one stage in this process, through as many memberships of its
// group as that takes.
type runner struct {
	stage   Stage
	env     Env
	open    func(*Room) (body, error)
	streams []string // physical
	tables  []string
	writes  map[string]bool        // by the house's name
	refused map[string]string      // physical, by physical
	specs   map[string]topics.Spec // by physical
	ids     map[string][16]byte
	names   map[[16]byte]string // of ids
	shelves []*shelf

	mu      sync.Mutex // of what follows
	homes   map[*Room]bool
	abroads map[string]*abroad // by region

	blames  blames
	pardons pardons
}

// Run runs s until ctx ends, and then returns nil. It returns early only with
// an error that no waiting cures, such as topics that do not fit together.
func Run(ctx context.Context, s Stage, env Env) error {
	if err := run(ctx, s, env); err != nil && ctx.Err() == nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	return nil
}

func run(ctx context.Context, s Stage, env Env) error {
	if env.Watch == nil {
		env.Watch = nobody{}
	}
	if env.Now == nil {
		env.Now = time.Now
	}
	if env.Log == nil {
		env.Log = slog.Default()
	}
	if len(s.Streams)+len(s.Tables) == 0 {
		return errors.New("reads no stream and no table, so it has no rooms")
	}
	r := &runner{stage: s, env: env, writes: map[string]bool{}, refused: map[string]string{}, specs: map[string]topics.Spec{}, ids: map[string][16]byte{}, names: map[[16]byte]string{},
		homes: map[*Room]bool{}, abroads: map[string]*abroad{}}
	r.name()
	r.tell(Note{Kind: Starting})
	if err := r.check(ctx); err != nil {
		return err
	}
	open, err := s.open(r.env)
	if err != nil {
		return err
	}
	r.open = open
	done, err := r.openShelves(ctx)
	if err != nil {
		return err
	}
	defer done()
	defer r.goAbroad(ctx)()
	again := patience(30 * time.Second)
	for ctx.Err() == nil {
		began := time.Now()
		if err := r.join(ctx); err != nil {
			r.tell(Note{Kind: Renewed, Err: err})
			if time.Since(began) > time.Minute {
				again.Reset()
			}
			pause(ctx, again.NextBackOff())
		}
	}
	return nil
}

// grace is a third of what the house gives: for emits, for commits, for goodbyes.
func (r *runner) grace() time.Duration {
	if g := r.env.Grace / 3; g > 0 {
		return min(g, grace)
	}
	return grace
}

func (r *runner) group() string { return r.env.Region + "." + r.stage.Name }

func (r *runner) name() {
	name := func(t topics.Spec) string { s := t.In(r.env.Region); r.specs[s] = t; return s }
	for _, t := range r.stage.Streams {
		r.streams = append(r.streams, name(t))
		r.refused[t.In(r.env.Region)] = name(t.Refused())
	}
	for _, t := range r.stage.Tables {
		r.tables = append(r.tables, name(t))
		r.refused[t.In(r.env.Region)] = t.Refused().In(r.env.Region) // not waited for: who needs it finds it
	}
	for _, t := range r.stage.Wholes {
		name(t)
		r.refused[t.In(r.env.Region)] = t.Refused().In(r.env.Region)
	}
	for _, t := range r.stage.Writes {
		name(t)
		r.writes[t.Name] = true
	}
	if len(r.streams) > 0 {
		name(topics.BackupsFaulted.Spec)
	}
}

// check waits for each topic to be there, and wants all that rooms join to have
// one partition count.
func (r *runner) check(ctx context.Context) error {
	cl, err := kgo.NewClient(r.env.Kafka...)
	if err != nil {
		return err
	}
	defer cl.Close()
	var names []string
	for t := range r.specs {
		names = append(names, t)
	}
	return backoff.Retry(func() error {
		found, err := kadm.NewClient(cl).ListTopics(ctx, names...)
		if err == nil {
			err = found.Error()
		}
		if err != nil {
			r.tell(Note{Kind: Trouble, Err: fmt.Errorf("look for topics: %w", err)})
			return err
		}
		counts, joined := map[string]int32{}, map[string]int32{}
		for t, d := range found {
			counts[t], r.ids[t], r.names[d.ID] = int32(len(d.Partitions)), d.ID, t
		}
		for _, t := range append(r.streams, r.tables...) {
			joined[t] = counts[t]
		}
		r.env.counts = counts
		_, err = sameCount(joined)
		return backoff.Permanent(err)
	}, backoff.WithContext(patience(10*time.Second), ctx))
}

// openShelves starts to read whole tables, through one client without a group.
func (r *runner) openShelves(ctx context.Context) (done func(), err error) {
	from := map[string]map[int32]kgo.Offset{}
	var wholes []topics.Spec
	for _, t := range r.stage.Wholes {
		if r.stage.broad != nil && t == r.stage.broad.topic {
			continue
		}
		wholes = append(wholes, t)
		parts := map[int32]kgo.Offset{}
		for p := range r.env.Parts(t) {
			parts[p] = kgo.NewOffset().AtStart()
		}
		from[t.In(r.env.Region)] = parts
	}
	if len(wholes) == 0 {
		return func() {}, nil
	}
	cl, err := shelfClient(r.env, from)
	if err != nil {
		return nil, err
	}
	for _, t := range wholes {
		s := newShelf(r, cl, t, r.env.Region, r.stage.decode[t.Name])
		s.id, s.to = r.ids[s.topic], func(m *Room) func(row) { return m.body.shows[s.name] }
		r.shelves = append(r.shelves, s)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() { defer close(ended); r.readShelves(ctx, cl, r.shelves) }()
	return func() { cancel(); <-ended; cl.Close() }, nil
}

// shelfClient reads partitions from their beginning, without a group.
func shelfClient(env Env, from map[string]map[int32]kgo.Offset) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.ConsumePartitions(from), kgo.FetchMaxWait(fetchWait),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}, env.Kafka...)...)
}
