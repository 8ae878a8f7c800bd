package exporter

import (
	"context"
	"time"

	"github.com/holdfast-backup/holdfast/libs/rate"
	"github.com/holdfast-backup/holdfast/libs/source"
)

// pieceBytes is the most that one read of a source asks for while it is limited or
// measured. It is what passes a limit at once, and short enough that a stream which
// is read slowly is never left alone for minutes: 8 readers at 1 MiB/s ask it every 8 s.
const pieceBytes = 1 << 20

// pace bounds how a source is read by this process. What counts are the bytes that
// are asked of a disk, before they are asked: what its storage has to read. A stream
// that comes compressed takes less of the line.
type pace struct {
	name   string
	limit  *rate.Limiter // nil: none
	slow   time.Duration // 0: reads are not thinned out
	most   int
	now    func() time.Time
	shared *shared
}

// gateOf is that of a store; nil: reads are not thinned out.
func (p *pace) gateOf(store string) *gate {
	if p.slow == 0 {
		return nil
	}
	s := p.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	key := p.name + "\n" + store
	if s.gates[key] == nil {
		g := newGate(p.slow, p.most, p.now)
		s.gates[key] = g
		if s.deps.Gauge != nil {
			labels := map[string]string{"source": p.name, "store": store}
			s.deps.Gauge("holdfast_source_reads_at_once", "Reads that this process may have under way of the store; fewer while it answers slowly.", labels, g.widthNow)
			s.deps.Gauge("holdfast_source_read_seconds", "How long a read of at most 1 MiB takes lately, as this process sees it.", labels, g.seconds)
		}
	}
	return s.gates[key]
}

func (s *shared) pace(name string, p Provider) *pace {
	return &pace{name: name, limit: p.Limit, slow: p.Limits.Slow, most: s.readers, now: s.env.Now, shared: s}
}

// paced is a reader that keeps the pace, and tells the pulse of its lease.
type paced struct {
	source.Reader
	*pace
	gate  *gate // nil: none
	pulse *pulse
	store string
}

// reader paces r, which reads bytes of a store.
func (p *pace) reader(r source.Reader, store string, pulse *pulse) source.Reader {
	if p == nil {
		return r
	}
	return &paced{Reader: r, pace: p, gate: p.gateOf(store), pulse: pulse, store: store}
}

func (r *paced) ReadAt(ctx context.Context, b []byte, off int64) error {
	for len(b) > 0 {
		n := min(len(b), pieceBytes)
		if err := r.piece(ctx, b[:n], off); err != nil {
			return err
		}
		b, off = b[n:], off+int64(n)
	}
	return nil
}

func (r *paced) piece(ctx context.Context, b []byte, off int64) error {
	err := r.pulse.wait(r.now, func() error {
		if err := r.limit.Wait(ctx, len(b)); err != nil || r.gate == nil {
			return err
		}
		return r.gate.enter(ctx)
	})
	if err != nil {
		return err
	}
	begun := r.now()
	err = r.Reader.ReadAt(ctx, b, off)
	took := r.now().Sub(begun)
	if r.gate != nil {
		r.gate.leave(took)
	}
	if err == nil {
		r.pulse.read(r.store, took)
	}
	return err
}
