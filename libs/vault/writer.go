package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/libs/blob"
	"github.com/holdfast-backup/holdfast/libs/rate"
	"github.com/holdfast-backup/holdfast/libs/shard"
)

const (
	// stragglersMax is how long targets are waited for beyond the quorum, as long
	// as their breaker is closed.
	stragglersMax = 30 * time.Second
	// youngerPacks end the wait for an older pack, so that a slow target does not
	// fill the sealed area: its reserve counts with 64 packs of 16 MiB held.
	youngerPacks = 64
	// youngerMaps is 8 x 4 MiB, since map packs are nowhere but in memory. Whole
	// objects are small.
	youngerMaps  = 8
	youngerSmall = 64
	// smallGrace is how long a whole object's other targets are waited for. It is
	// durable by then; a listing finds the thin ones.
	smallGrace = 2 * time.Second
)

// WriterOptions of a process.
type WriterOptions struct {
	// Region that this process writes for. A vault belongs to one.
	Region string
	Now    func() time.Time // nil: the real one; only for Turn.Since
	Log    *slog.Logger     // nil: slog.Default()
	// Limits are our own of what goes to a target, by name. A target that has none
	// is given what it takes.
	Limits map[string]*rate.Limiter
	// OnTurn is told of each target that goes down or comes back, of a few in
	// order, never at once. It must not block. Nil: nobody listens; see Turns.
	OnTurn func(Turn)
	// OnPut is told of each attempt to put an object, for metrics: the target, how
	// much, how long, and the outcome. Called concurrently. Nil: nobody listens.
	OnPut func(target string, bytes int, took time.Duration, err error)
}

// Writer puts packs and whole objects on the targets of a vault, as many as
// durability needs before it says so, and as many more as answer. There is one
// in a process; all its methods may be called from many goroutines.
//
// A target whose puts fail is left alone after 5 failures (its breaker opens)
// and asked again each 10 seconds. What needs it is either durable without it,
// or waits: a Writer returns no error because targets are down.
type Writer struct {
	v     *Vault
	o     WriterOptions
	code  *shard.Code
	lanes []*lane

	life context.Context
	end  context.CancelFunc
	work sync.WaitGroup // probes and shipments

	mu     sync.Mutex // of all breakers and of young
	young  [3][]*parcel
	told   sync.Mutex // of OnTurn
	closed bool
}

type kind int

const (
	ofPack kind = iota
	ofMap
	ofSmall
)

func (k kind) younger() int { return [...]int{youngerPacks, youngerMaps, youngerSmall}[k] }

// NewWriter returns the writer of a process. It refuses a vault of another region,
// whose collector would not know of our backups, and one of which not all targets
// are given. Close ends it.
func NewWriter(v *Vault, o WriterOptions) (*Writer, error) {
	if o.Region != v.Region {
		return nil, fmt.Errorf("vault %s belongs to region %q: a process of region %q must not write to it", v, v.Region, o.Region)
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	code, err := shard.New(v.K, v.M)
	if err != nil {
		return nil, fmt.Errorf("vault %s: %w", v, err)
	}
	w := &Writer{v: v, o: o, code: code}
	w.life, w.end = context.WithCancel(context.Background())
	for i, s := range v.slots {
		if s.store == nil {
			return nil, fmt.Errorf("vault %s has %d targets: for %s %w", v, v.N(), s.name, errNotConfigured)
		}
		w.lanes = append(w.lanes, newLane(w, i, s))
	}
	for _, l := range w.lanes {
		if !l.slot.proven.Load() {
			l.trip(errors.New("did not answer when the vault was opened"))
		}
	}
	return w, nil
}

// Close ends what is under way, as if the process had died, and waits for it.
// A put that hangs in a store is left behind.
func (w *Writer) Close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.end()
	w.work.Wait()
}

// Vault is what w writes to.
func (w *Writer) Vault() *Vault { return w.v }

// Pack cuts a pack or map pack into shards, puts each on its target and returns
// when a quorum is durable. Until then it waits for targets as long as ctx lives;
// after that the context no longer matters. A shard that is there counts: the
// same pack may be put again, at once or after a crash, with the same bytes. The
// writer keeps data for as long as it likes: nobody may change it any more.
func (w *Writer) Pack(ctx context.Context, id PackID, mapPack bool, data []byte) (*Landed, error) {
	return w.PackLent(ctx, id, mapPack, data, nil, func() {})
}

// PackLent is Pack of data that its owner wants back: back is called, at most
// once, when no store reads them any more, which may be before PackLent returns
// and long after. Where something hangs or the writer is closed it is not called.
//
// sums, where there are any, are what shard.Sums told of the pack when it was made:
// other bytes are ErrDamaged, and nothing of them is put.
func (w *Writer) PackLent(ctx context.Context, id PackID, mapPack bool, data, sums []byte, back func()) (*Landed, error) {
	if sums != nil && len(sums) != 32*w.v.K {
		return nil, fmt.Errorf("put pack %s: %d bytes of hashes for %d data shards", id, len(sums), w.v.K)
	}
	set, err := w.code.Split(data)
	if err != nil {
		return nil, fmt.Errorf("put pack %s: %w", id, err)
	}
	k := ofPack
	if mapPack {
		k = ofMap
	}
	p := w.parcel(k, w.v.Quorum())
	p.spent = func() { set.Release(); back() }
	for n, payload := range set.Shards {
		h := shard.Header{Pack: id.Key(), N: uint8(n), K: uint8(w.v.K), M: uint8(w.v.M), Length: uint64(len(data)), Hash: shard.Sum(payload)}
		if n < w.v.K && sums != nil && !bytes.Equal(h.Hash[:], sums[32*n:32*n+32]) {
			p.end()
			p.spent()
			return nil, fmt.Errorf("put pack %s: %w: data shard %d is not what was made", id, ErrDamaged, n)
		}
		p.loads[n] = load{key: ShardKey(id, mapPack, uint8(n), 0), body: [][]byte{h.Append(make([]byte, 0, shard.HeaderBytes)), payload}}
	}
	set.Shards = nil // the loads hold them now, each until it is shipped
	if err := p.ship(ctx); err != nil {
		return nil, fmt.Errorf("put pack %s: %w", id, err)
	}
	return &Landed{p}, nil
}

// Small puts a whole object on every target that answers, and returns when it is
// durable on m+1 and the others had their chance. An object that is there with
// equal bytes counts; with others the error is ErrConflict. Waiting is as in Pack.
func (w *Writer) Small(ctx context.Context, key string, body []byte) error {
	p := w.parcel(ofSmall, w.v.Copies())
	p.settle = func(ctx context.Context, l *lane) error { return compare(ctx, l.slot.store, key, body) }
	for n := range p.loads {
		p.loads[n] = load{key: key, body: [][]byte{body}}
	}
	if err := p.ship(ctx); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	grace := time.NewTimer(smallGrace)
	defer grace.Stop()
	select {
	case <-p.done:
	case <-grace.C:
	}
	if err := p.fault(); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}

// Turn is how a target stands, as this process sees it.
type Turn struct {
	Target string
	Up     bool
	Since  time.Time
	Why    string // of a target that is down
	Quorum bool   // so many targets are up that packs can land
}

// Turns is how each target stands, in the order of shards.
func (w *Writer) Turns() []Turn {
	out := make([]Turn, len(w.lanes))
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, l := range w.lanes {
		out[i] = l.turn()
	}
	return out
}

// Free is the room left on target n, where it is known.
func (w *Writer) Free(ctx context.Context, n int) (bytes int64, known bool) {
	type free struct {
		bytes int64
		known bool
	}
	f, err := within(ctx, probeMax, func(ctx context.Context) (f free, _ error) {
		f.bytes, f.known = w.lanes[n].slot.store.Free(ctx)
		return f, nil
	})
	return f.bytes, f.known && err == nil
}

// put is one attempt, reported.
func (w *Writer) put(ctx context.Context, l *lane, o load) error {
	began := time.Now()
	err := l.slot.store.Put(ctx, o.key, o.body...)
	if w.o.OnPut != nil {
		n := 0
		for _, b := range o.body {
			n += len(b)
		}
		if errors.Is(err, blob.ErrExist) {
			err = nil
		}
		w.o.OnPut(l.slot.name, n, time.Since(began), err)
	}
	return err
}
