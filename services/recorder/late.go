package recorder

import (
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
)

// late knows how far the ledger is behind, as far as this process's rooms go: the
// age of the oldest record that is being written, 0 where none is.
type late struct {
	now func() time.Time

	mu    sync.Mutex
	since map[*room]map[string]time.Time // by topic: when the block at hand begins
}

func newLate(now func() time.Time, gauge func(name, help string, value func() float64)) *late {
	l := &late{now: now, since: map[*room]map[string]time.Time{}}
	if gauge != nil {
		gauge("holdfast_ledger_behind_seconds", "Age of the oldest record that the recorder is writing to the ledger. It grows while the ledger is down; no backup waits for it.",
			func() float64 { return l.behind().Seconds() })
	}
	return l
}

func (l *late) begins(r *room, b *stage.Block) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(b.Records) == 0 || r.home.Context().Err() != nil { // gone may have been called already
		return
	}
	if l.since[r] == nil {
		l.since[r] = map[string]time.Time{}
	}
	l.since[r][b.Topic] = b.Records[0].Time
}

func (l *late) ends(r *room, b *stage.Block) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.since[r], b.Topic)
}

// gone forgets a room, whose successor begins with the same blocks.
func (l *late) gone(r *room) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.since, r)
}

func (l *late) behind() (most time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, topics := range l.since {
		for _, at := range topics {
			most = max(most, l.now().Sub(at))
		}
	}
	return most
}
