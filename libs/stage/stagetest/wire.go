package stagetest

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Wire is one process's way to the broker. It is slow, tears a share of the
// produces and commits, and can be cut, healed, and frozen with the process behind it.
type Wire struct {
	over dial

	mu     sync.Mutex
	rng    *rand.Rand
	cut    bool
	frozen chan struct{} // not nil: nothing moves until it is closed
	conns  []net.Conn
	torn   float64 // the share of produces and commits whose wire breaks
	absent bool    // nothing of its groups gets through
}

// NewWire is a wire over d, whose faults are drawn from rng.
func NewWire(d func(context.Context, string, string) (net.Conn, error), rng *rand.Rand, torn float64) *Wire {
	return &Wire{over: d, rng: rng, torn: torn}
}

// Cut breaks the wire and keeps the process running: a zombie, if it is healed
// after its session. Heal mends the wire.
func (w *Wire) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	for _, c := range w.conns {
		c.Close()
	}
	w.conns = nil
}

func (w *Wire) Heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = false
}

// Freeze stops all that moves on the wire, in both directions, until Thaw: what
// the process says afterwards, it says late and on the same connections.
func (w *Wire) Freeze() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.frozen == nil {
		w.frozen = make(chan struct{})
	}
}

func (w *Wire) Thaw() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.frozen != nil {
		close(w.frozen)
		w.frozen = nil
	}
}

// Tear sets the share of produces and commits that break the wire: before the request,
// in its middle, or before the answer (done, but not told).
func (w *Wire) Tear(share float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.torn = share
}

// Absent keeps all that is said to groups from the broker, and lets the rest through:
// as where the coordinator is out of reach, and the leaders of partitions are not. The
// process is put out of its groups, and goes on for as long as it does not know.
func (w *Wire) Absent(absent bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.absent = absent
}

func (w *Wire) passes(key kmsg.Key) bool {
	switch key {
	case kmsg.Heartbeat, kmsg.JoinGroup, kmsg.SyncGroup, kmsg.LeaveGroup, kmsg.OffsetCommit, kmsg.OffsetFetch, kmsg.FindCoordinator:
		w.mu.Lock()
		defer w.mu.Unlock()
		return !w.absent
	}
	return true
}

var errCut = errors.New("wire is cut")

// Dial is for kgo.Dialer.
func (w *Wire) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	w.still()
	w.mu.Lock()
	cut := w.cut
	w.mu.Unlock()
	if cut {
		time.Sleep(50 * time.Millisecond) // if a dial fails in no time, kgo's InitProducerID spins and virtual time stands still
		return nil, errCut
	}
	c, err := w.over(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns = append(w.conns, c)
	return &conn{Conn: c, w: w, deaf: make(chan struct{})}, nil
}

// still waits while the wire is frozen.
func (w *Wire) still() {
	w.mu.Lock()
	frozen := w.frozen
	w.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
}

func (w *Wire) draw() (p, torn float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.Float64(), w.torn
}

type conn struct {
	net.Conn
	w    *Wire
	once sync.Once
	deaf chan struct{}
}

// slow is the longest delay of a request. It lies in the wire, because kfake's
// SleepControl loses the group's place when a delayed request's wire is cut.
const slow = 200 * time.Millisecond

func (c *conn) Write(b []byte) (int, error) {
	c.w.still()
	if p, _ := c.w.draw(); p < 0.3 {
		p, _ = c.w.draw()
		time.Sleep(time.Duration(p * float64(slow)))
	}
	if len(b) < 6 {
		return c.Conn.Write(b)
	}
	switch key := kmsg.Key(binary.BigEndian.Uint16(b[4:])); {
	case !c.w.passes(key):
		c.Close()
		return 0, errCut
	case key != kmsg.Produce && key != kmsg.OffsetCommit: // what writes records, and what commits them
		return c.Conn.Write(b)
	}
	if p, torn := c.w.draw(); p >= torn {
		return c.Conn.Write(b)
	}
	switch p, _ := c.w.draw(); {
	case p < 0.25: // lost
		c.Close()
		return 0, errCut
	case p < 0.5: // torn
		c.Conn.Write(b[:len(b)/2])
		c.Close()
		return 0, errCut
	default: // ghost
		c.once.Do(func() { close(c.deaf) })
		n, err := c.Conn.Write(b)
		time.AfterFunc(20*time.Millisecond, func() { c.Close() })
		return n, err
	}
}

// Read hears nothing more once the wire is deaf, but lets the broker talk.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.w.still()
	select {
	case <-c.deaf:
		for err == nil {
			_, err = c.Conn.Read(b)
		}
		return 0, err
	default:
		return n, err
	}
}
