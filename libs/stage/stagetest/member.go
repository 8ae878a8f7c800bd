package stagetest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/holdfast-backup/holdfast/libs/stage"
)

type dial func(context.Context, string, string) (net.Conn, error)

// Kafka says how to reach the bench's broker through d.
func (b *Bench) Kafka(d dial) []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(b.Cluster.ListenAddrs()...), kgo.Dialer(d), kgo.DisableClientMetrics(),
		kgo.MetadataMinAge(100 * time.Millisecond)}
}

// Dial reaches the broker over a wire without faults.
func (b *Bench) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return b.net.DialContext(ctx, network, addr)
}

// Member is one process of the stage, with its own wire to the broker.
type Member struct {
	*Wire
	b    *Bench
	id   string
	stop context.CancelFunc
	done chan error
}

// Join starts a member. A share torn of its produces and commits breaks the wire:
// before the request, in its middle, or before the answer (done, but not told).
func (b *Bench) Join(torn float64) *Member {
	ctx, cancel := context.WithCancel(context.Background())
	b.born++
	m := &Member{b: b, id: fmt.Sprint("member-", b.born), stop: cancel, done: make(chan error, 1),
		Wire: NewWire(b.Dial, rand.New(rand.NewPCG(b.seed, 100+b.Rand.Uint64N(1<<32))), torn)}
	b.up = append(b.up, m)
	skew := b.Skew
	env := stage.Env{Region: Region, Worker: m.id, Now: func() time.Time { return time.Now().Add(skew) }, Log: b.Log, Kafka: append(b.Kafka(m.Dial), kgo.ClientID(m.id)), Watch: b, Regions: b.Regions}
	if b.Watch != nil {
		env.Watch = both{b, b.Watch}
	}
	of := b.Stage // the next to join may be of another
	go func() { m.done <- stage.Run(ctx, of, env) }()
	return m
}

// Leave stops the member in good order.
func (m *Member) Leave() {
	m.gone()
	m.stop()
	if err := <-m.done; err != nil {
		m.b.T.Errorf("member stopped badly: %v", err)
	}
}

// Crash ends the member as a power cut would: what is not at the broker now
// never comes there, no commit, no goodbye.
func (m *Member) Crash() {
	m.gone()
	m.Cut()
	m.stop()
	<-m.done
}

func (m *Member) gone() {
	m.b.up = slices.DeleteFunc(m.b.up, func(o *Member) bool { return o == m })
}

// Weather makes the broker fail a share of produces for good (not retriable,
// not written), of commits and of offset look-ups, from now on; 0 ends it. It hits
// the bench too.
func (b *Bench) Weather(share float64) {
	b.weather.Store(math.Float64bits(share))
	b.faulty.Do(func() {
		for i, key := range []kmsg.Key{kmsg.Produce, kmsg.OffsetCommit, kmsg.ListOffsets} {
			rng := rand.New(rand.NewPCG(b.seed, 10+uint64(i))) // the broker is one goroutine
			b.Cluster.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: kerr.UnknownServerError, Count: -1,
				When: func(kmsg.Request) bool { return rng.Float64() < math.Float64frombits(b.weather.Load()) }})
		}
	})
}
