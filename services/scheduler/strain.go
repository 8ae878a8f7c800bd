package scheduler

import (
	"bytes"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
)

// answered is how long reads of a lease take where it reads now.
type answered struct {
	attempt uint64
	store   string
	took    time.Duration
}

// reading takes the word that a lease is still read, or waits for a limit of the
// exporter's own: of neither the auditor may have anything to tell for hours.
func (s *state) reading(m *machine, o *schemas.OpenRun, e *schemas.ExportEnded, now time.Time, fx *effects) {
	if o.GetState() != schemas.OpenRun_STATE_LEASED || !bytes.Equal(o.GetRun().GetLease(), e.GetRun().GetLease()) {
		return
	}
	s.progressed(m, now)
	if now.Sub(m.wrote) >= rowEvery {
		fx.write(m, now)
	}
	if us := e.GetLatencyUs(); us > 0 {
		if m.source.answers == nil {
			m.source.answers = map[*machine]answered{}
		}
		m.source.answers[m] = answered{uint64(o.GetRun().GetAttempt()), e.GetStore(), time.Duration(us) * time.Microsecond}
	}
	s.grant(m.source, now, fx)
}

// strained says in words that the source answers reads too slowly for one more to
// begin; empty: it does not. That is so when all stores that are read do; where one
// alone does, its readers step back, and others are leased. Once nobody reads,
// nothing is known, and somebody must find out.
func (s *source) strained() string {
	limit := time.Duration(s.found.GetLatencyHoldUs()) * time.Microsecond
	if limit == 0 {
		return ""
	}
	sum, n := map[string]time.Duration{}, map[string]time.Duration{}
	for m, a := range s.answers {
		if m.row.GetOpen().GetConnectionSlot() != a.attempt {
			delete(s.answers, m) // it reads no more
			continue
		}
		sum[a.store] += a.took
		n[a.store]++
	}
	fastest := time.Duration(0)
	for store := range sum {
		if mean := sum[store] / n[store]; fastest == 0 || mean < fastest {
			fastest = mean
		}
	}
	if fastest <= limit {
		return ""
	}
	return fmt.Sprintf("source %s to answer faster: a read takes %v, and nothing new begins above %v", s.name, fastest.Round(time.Millisecond/10), limit)
}
