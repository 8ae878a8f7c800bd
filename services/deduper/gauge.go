package deduper

import "sync/atomic"

// gauges are what the rooms of a process keep in memory. Claims and waiters are
// bounded by what is in flight: slots x window / grid places, 32k on one machine.
type gauges struct{ claims, waiters, dead atomic.Int64 }

func (s *shared) register() {
	if s.deps.Gauge == nil {
		return
	}
	of := func(n *atomic.Int64) func() float64 { return func() float64 { return float64(n.Load()) } }
	s.deps.Gauge("holdfast_deduper_claims", "Chunks on their way to the vault.", of(&s.gauges.claims))
	s.deps.Gauge("holdfast_deduper_waiters", "Places that wait for a chunk that another place claimed.", of(&s.gauges.waiters))
	s.deps.Gauge("holdfast_deduper_condemned_packs", "Packs that are dead to lookups and not yet forgotten.", of(&s.gauges.dead))
	s.deps.Gauge("holdfast_deduper_index_bytes", "Size of the index on disk.", func() float64 { return float64(s.dir.DiskBytes()) })
}

// tally is what a room has added to the gauges.
type tally struct{ claims, waiters, dead int64 }

func (g *gauges) count(was *tally, is tally) {
	g.claims.Add(is.claims - was.claims)
	g.waiters.Add(is.waiters - was.waiters)
	g.dead.Add(is.dead - was.dead)
	*was = is
}
