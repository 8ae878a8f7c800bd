package stage

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// endsEvery is how old the end of a log may be that a resting feed knows: one
// question to the broker in that time, and none where nothing rests.
const endsEvery = 10 * time.Second

// lookAtEnds asks where logs end that nobody fetches, because what was fetched of
// them waits: else the lag of a stage that is stuck would stand still, and look
// like that of one which keeps up.
func (m *member) lookAtEnds() {
	tick := time.NewTicker(endsEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-m.life.Done():
			return
		}
		if resting := m.resting(); len(resting) > 0 {
			ctx, cancel := context.WithTimeout(m.life, grace)
			ends, err := kadm.NewClient(m.cl).ListEndOffsets(ctx, resting...)
			cancel()
			if err == nil { // else the next look is as good
				m.reached(ends)
			}
		}
	}
}

// resting are the topics of feeds that are paused.
func (m *member) resting() []string {
	topics := map[string]bool{}
	m.each(func(f *feed) {
		if f.resting {
			topics[f.topic] = true
		}
	})
	return slices.Collect(maps.Keys(topics))
}

func (m *member) reached(ends kadm.ListedOffsets) {
	m.each(func(f *feed) {
		if end, ok := ends.Lookup(f.topic, f.part); ok && end.Err == nil && f.resting {
			f.high = max(f.high, end.Offset)
		}
	})
}

// each shows every feed, under its room's lock.
func (m *member) each(show func(*feed)) {
	m.mu.Lock()
	rooms := slices.Collect(maps.Values(m.rooms))
	m.mu.Unlock()
	for _, room := range rooms {
		room.mu.Lock()
		for _, f := range room.feeds {
			show(f)
		}
		room.mu.Unlock()
	}
}
