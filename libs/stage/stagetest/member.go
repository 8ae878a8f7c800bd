package stagetest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
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
	b    *Bench
	id   string
	stop context.CancelFunc
	done chan error

	mu    sync.Mutex
	rng   *rand.Rand
	cut   bool
	conns []net.Conn
	torn  float64 // the share of produces and commits whose wire breaks
}

// Join starts a member. A share torn of its produces and commits breaks the wire:
// before the request, in its middle, or before the answer (done, but not told).
func (b *Bench) Join(torn float64) *Member {
	ctx, cancel := context.WithCancel(context.Background())
	b.born++
	m := &Member{b: b, id: fmt.Sprint("member-", b.born), stop: cancel, done: make(chan error, 1), torn: torn,
		rng: rand.New(rand.NewPCG(b.seed, 100+b.Rand.Uint64N(1<<32)))}
	b.up = append(b.up, m)
	skew := b.Skew
	env := stage.Env{Region: Region, Worker: m.id, Now: func() time.Time { return time.Now().Add(skew) }, Log: b.Log, Kafka: append(b.Kafka(m.dial), kgo.ClientID(m.id)), Watch: b}
	if b.Watch != nil {
		env.Watch = both{b, b.Watch}
	}
	go func() { m.done <- stage.Run(ctx, b.Stage, env) }()
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

// Cut breaks the wire and keeps the member running: a zombie, if it is healed
// after its session. Heal mends the wire.
func (m *Member) Cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cut = true
	for _, c := range m.conns {
		c.Close()
	}
	m.conns = nil
}

func (m *Member) Heal() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cut = false
}

func (m *Member) gone() {
	m.b.up = slices.DeleteFunc(m.b.up, func(o *Member) bool { return o == m })
}

var errCut = errors.New("wire is cut")

func (m *Member) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	m.mu.Lock()
	cut := m.cut
	m.mu.Unlock()
	if cut {
		time.Sleep(50 * time.Millisecond) // if a dial fails in no time, kgo's InitProducerID spins and virtual time stands still
		return nil, errCut
	}
	c, err := m.b.net.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conns = append(m.conns, c)
	return &wire{Conn: c, m: m, deaf: make(chan struct{})}, nil
}

type wire struct {
	net.Conn
	m    *Member
	once sync.Once
	deaf chan struct{}
}

// slow is the longest delay of a request. It lies in the wire, because kfake's
// SleepControl loses the group's place when a delayed request's wire is cut.
const slow = 200 * time.Millisecond

func (w *wire) Write(b []byte) (int, error) {
	if w.m.draw() < 0.3 {
		time.Sleep(time.Duration(w.m.draw() * float64(slow)))
	}
	if !breaks(b) || w.m.draw() >= w.m.torn {
		return w.Conn.Write(b)
	}
	switch p := w.m.draw(); {
	case p < 0.25: // lost
		w.Close()
		return 0, errCut
	case p < 0.5: // torn
		w.Conn.Write(b[:len(b)/2])
		w.Close()
		return 0, errCut
	default: // ghost
		w.once.Do(func() { close(w.deaf) })
		n, err := w.Conn.Write(b)
		time.AfterFunc(20*time.Millisecond, func() { w.Close() })
		return n, err
	}
}

// breaks reports whether b is a request on which the wire may break: what writes
// records, and what commits them.
func breaks(b []byte) bool {
	if len(b) < 6 {
		return false
	}
	key := binary.BigEndian.Uint16(b[4:])
	return key == uint16(kmsg.Produce) || key == uint16(kmsg.OffsetCommit)
}

// Read hears nothing more once the wire is deaf, but lets the broker talk.
func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	select {
	case <-w.deaf:
		for err == nil {
			_, err = w.Conn.Read(b)
		}
		return 0, err
	default:
		return n, err
	}
}

func (m *Member) draw() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rng.Float64()
}

// Weather makes the broker fail a share of produces for good (not retriable,
// not written), of commits and of offset look-ups. It hits the bench too.
func (b *Bench) Weather(share float64) {
	for i, key := range []kmsg.Key{kmsg.Produce, kmsg.OffsetCommit, kmsg.ListOffsets} {
		rng := rand.New(rand.NewPCG(b.seed, 10+uint64(i))) // the broker is one goroutine
		b.Cluster.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: kerr.UnknownServerError, Count: -1,
			When: func(kmsg.Request) bool { return rng.Float64() < share }})
	}
}
