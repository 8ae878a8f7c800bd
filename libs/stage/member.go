package stage

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// grace is how long a leaving member waits for emits in flight, and again to
	// commit and to say goodbye: the most, where the house gives it longer.
	grace = 5 * time.Second
	// fetchWait is how long a broker may keep an empty fetch: it bounds the idle
	// cost, and costs no latency, because the first record ends it.
	fetchWait = time.Second
)

// member is one membership of the stage's group: one client, and a room per
// number that it owns.
type member struct {
	run      *runner
	cl       *kgo.Client
	begun    chan struct{}   // closed when cl is set: a group may call back before that
	polling  context.Context // ends when the member is to leave
	end      context.CancelCauseFunc
	life     context.Context // of rooms and emits: ends after the drain
	kill     context.CancelFunc
	draining atomic.Bool
	flying   atomic.Int64  // emits not acknowledged
	asking   atomic.Bool   // see spoiled
	holds    sync.Mutex    // see Hold; taken before a room's lock
	commits  chan struct{} // held over the network, so not a mutex: synctest must see us wait
	alive    sync.WaitGroup

	mu       sync.Mutex
	rooms    map[int32]*Room
	last     map[int32]*Room // the newest of each number, ended or not
	patience map[int32]*backoff.ExponentialBackOff
	seeks    []wish // of the poll loop
	failed   atomic.Bool
	unpoll   atomic.Pointer[context.CancelFunc]
}

// join is a member until ctx ends, or until the client must be given up.
func (r *runner) join(ctx context.Context) (err error) {
	m := &member{run: r, begun: make(chan struct{}), commits: make(chan struct{}, 1), rooms: map[int32]*Room{}, last: map[int32]*Room{}, patience: map[int32]*backoff.ExponentialBackOff{}}
	m.polling, m.end = context.WithCancelCause(ctx)
	defer m.end(nil)
	m.life, m.kill = context.WithCancel(context.WithoutCancel(ctx))
	defer m.kill()
	if m.cl, err = kgo.NewClient(append(m.options(), r.env.Kafka...)...); err != nil {
		return err
	}
	close(m.begun)
	m.alive.Go(m.commitEachSecond)
	m.alive.Go(m.lookAtEnds)
	for m.poll() {
	}
	m.leave()
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(m.polling)
}

func (m *member) options() []kgo.Opt {
	opts := []kgo.Opt{
		kgo.ClientID(m.run.group()), kgo.ConsumerGroup(m.run.group()),
		kgo.ConsumeTopics(append(m.run.streams, m.run.tables...)...),
		kgo.Balancers(newNumbers()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), // a gap is counted and read on, never waited for
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.SessionTimeout(10 * time.Second), kgo.RebalanceTimeout(15 * time.Second), kgo.HeartbeatInterval(2 * time.Second),
		kgo.FetchMaxWait(fetchWait), // a resumed feed waits for the fetch in flight
		kgo.OnPartitionsAssigned(m.assigned), kgo.OnPartitionsRevoked(m.revoked), kgo.OnPartitionsLost(m.lost),
		kgo.AdjustFetchOffsetsFn(m.adjust),
		kgo.RecordPartitioner(partitioner{}),
		kgo.ProducerLinger(time.Millisecond),
		clientLog(m.run.env.Log),
	}
	if h, ok := m.run.env.Watch.(hooked); ok {
		opts = append(opts, kgo.WithHooks(h.Hooks()...))
	}
	return opts
}

// poll moves what was fetched into the rooms, and never waits for one.
func (m *member) poll() bool {
	ctx, cancel := context.WithCancel(m.polling)
	defer cancel()
	m.unpoll.Store(&cancel)
	if m.failed.Load() {
		cancel()
	}
	got := m.cl.PollRecords(ctx, pollMax)
	defer m.cl.AllowRebalance()
	if m.polling.Err() != nil || got.IsClientClosed() {
		return false
	}
	got.EachError(func(t string, p int32, err error) {
		if !errors.Is(err, context.Canceled) {
			m.run.tell(Note{Kind: Trouble, Topic: t, Part: p, Err: err})
		}
	})
	got.EachPartition(func(p kgo.FetchTopicPartition) {
		if room := m.room(p.Partition); room != nil {
			if err := room.push(p); err != nil {
				room.Fail(err)
			}
		}
	})
	m.rebuild()
	return true
}

// poke makes the poll loop look for failed rooms and wishes.
func (m *member) poke() {
	m.failed.Store(true)
	if cancel := m.unpoll.Load(); cancel != nil {
		(*cancel)()
	}
}

// leave hands out nothing more, waits for what is in flight, commits, and says
// goodbye. It does not wait for holds: their inputs come again elsewhere.
func (m *member) leave() {
	m.draining.Store(true)
	for end := time.Now().Add(m.run.grace()); m.busy() && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.life), 2*m.run.grace())
	defer cancel()
	m.revoked(ctx, m.cl, nil)
	m.kill()
	m.cl.LeaveGroupContext(ctx)
	m.cl.Close()
	m.cl.AllowRebalance() // Close polls once more, which would leave its second farewell waiting for ever
	m.alive.Wait()
}

// busy reports whether a handler is at work or an emit in flight.
func (m *member) busy() bool {
	if m.flying.Load() > 0 {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, room := range m.rooms {
		if room.working.Load() {
			return true
		}
	}
	return false
}
