package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
)

// Whoever waits is told how far it is, and for what it waits: at once, and again
// when that has changed enough to be news. 20,000 orders that wait for a night and
// were told each minute would be 10 million words; so they are told when the number
// has fallen by a quarter, at most 35 times from 20,000 to 1.
const (
	tellEvery = time.Minute // an order is not told sooner, nor are positions counted
	tellMost  = 16          // words a source and tick: 8 KB/s
)

// said is what an order was last told.
type said struct {
	at    time.Time
	place int
	lacks spot
}

// survey is where those in a line stood a while ago.
type survey struct {
	at   time.Time
	news []*ticket // to be told, who was told longest ago first
}

// look counts where each ticket stands in its flow, and finds for whom that is
// news. It walks over all that wait, once a minute: 20,000 take some 50 ms
// on a busy core.
func (s *source) look(now time.Time) {
	s.survey = survey{at: now}
	of := map[*flow][]*ticket{}
	for _, t := range s.line.ages.items {
		of[t.bench.flow] = append(of[t.bench.flow], t.ticket)
	}
	for _, ts := range of {
		slices.SortFunc(ts, (*ticket).compare)
		for i, t := range ts {
			t.nth = i + 1
		}
	}
	for _, t := range s.line.ages.items {
		if t.m.row.GetOpen() == nil && now.Sub(t.said.at) >= tellEvery && s.isNews(t.ticket) {
			s.survey.news = append(s.survey.news, t.ticket)
		}
	}
	slices.SortFunc(s.survey.news, func(a, b *ticket) int { return cmp.Or(a.said.at.Compare(b.said.at), a.older(b)) })
}

func (s *source) isNews(t *ticket) bool {
	nth, _ := s.line.standing(t)
	return 4*nth <= 3*t.said.place || nth > t.said.place || s.lacksKind(t) != t.said.lacks
}

// lacksKind is what t waits for, without the figures, which change all the time.
func (s *source) lacksKind(t *ticket) spot {
	if p := t.bench.place.parked; p != nil && s.used.snapshots < uint64(s.found.GetSnapshotsMax()) {
		return *p
	}
	return spot{}
}

// standing is the place in line, and the line's length, as if nobody else came and
// all backups took as long: before the j-th of a flow go all of a higher rank; as
// many of each other policy of its tenant, or all that there are; and of each other
// tenant as many as of all those. Who came after the last look is the last of its flow.
func (l *line) standing(t *ticket) (nth, of int) {
	mine := t.bench.flow
	j := mine.size
	if t.nth != 0 {
		j = min(t.nth, j)
	}
	ours := 0 // of its tenant
	for _, f := range l.flows {
		if f.rank == mine.rank && f.tenant == mine.tenant {
			ours += min(f.size, j)
		}
	}
	theirs, tenant := 0, ""
	others := func() {
		nth += min(theirs, ours)
		theirs = 0
	}
	for _, f := range l.flows {
		of += f.size
		switch {
		case f.rank.compare(mine.rank) < 0:
			nth += f.size
		case f.rank != mine.rank || f.tenant == mine.tenant:
		default:
			if f.tenant != tenant {
				others()
			}
			tenant = f.tenant
			theirs += f.size
		}
	}
	others()
	return nth + ours, of
}

// tellPositions tells some of those who wait how far they are.
func (s *state) tellPositions(src *source, now time.Time, fx *effects) {
	if now.Sub(src.survey.at) >= tellEvery && len(src.line.flows) > 0 && s.epoch != 0 {
		src.look(now)
	}
	for told := 0; told < tellMost && len(src.survey.news) > 0; src.survey.news = src.survey.news[1:] {
		t := src.survey.news[0]
		if t.m.ticket == t { // else it waits no more
			fx.then = append(fx.then, queuedWord(t.order, s.waiting(t.m, t.order, now)))
			told++
		}
	}
}

// waiting says what order q of m waits for, and takes it that this will be told.
func (s *state) waiting(m *machine, q *schemas.BackupQueued, now time.Time) string {
	src, t := m.source, m.ticket
	switch {
	case s.epoch == 0:
		return "the vault's first epoch"
	case m.row.GetOpen() != nil:
		return fmt.Sprintf("backup %s of the same machine", schemas.IDText(m.row.GetOpen().GetRun().GetBackup()))
	case t == nil || t.order != q:
		return "an earlier order of the same machine"
	}
	nth, of := src.line.standing(t)
	t.said = said{now, nth, src.lacksKind(t)}
	at := fmt.Sprintf("position %d of %d at source %s", nth, of, src.name)
	why := src.full()
	if why == "" {
		why = src.lacks(t)
	}
	if why == "" {
		return at
	}
	return at + "; " + why
}
