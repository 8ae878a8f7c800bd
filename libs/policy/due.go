package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// timed compiles calendar or RPO.
func (p *Policy) timed() error {
	switch {
	case len(p.Calendar) == 0 && p.RPOMinutes == 0:
		return errors.New("data: says not when: want calendar or rpoMinutes")
	case len(p.Calendar) > 0 && p.RPOMinutes > 0:
		return errors.New("data: has both calendar and rpoMinutes: of two promises one would be broken; make two policies")
	case len(p.Calendar) > timesMax:
		return fmt.Errorf("data.calendar: %d are too many, at most %d", len(p.Calendar), timesMax)
	}
	if _, err := zoneOf(p.Zone); err != nil {
		return fmt.Errorf("data.%w", err)
	}
	for i, line := range p.Calendar {
		c, err := newClock(line.Cron, orElse(line.Zone, p.Zone))
		if err != nil {
			return fmt.Errorf("data.calendar[%d].%w", i, err)
		}
		if c.after(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
			return fmt.Errorf("data.calendar[%d].cron: %q never comes", i, line.Cron)
		}
		p.calendar = append(p.calendar, c)
	}
	return nil
}

func orElse(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// RPO is how old the last point may grow; 0: it goes by a calendar.
func (p *Policy) RPO() time.Duration { return time.Duration(p.RPOMinutes) * time.Minute }

// Next is when the calendar comes next after t; zero: it goes by an RPO, or comes no
// more in five years.
func (p *Policy) Next(t time.Time) (next time.Time) {
	if len(p.calendar) == 0 {
		return time.Time{}
	}
	if p.memo.at.Equal(t) && !p.memo.next.IsZero() {
		return p.memo.next
	}
	for _, c := range p.calendar {
		if at := c.after(t); next.IsZero() || !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	p.memo.at, p.memo.next = t, next
	return next
}

// Last is the newest time of the calendar that is no later than t, from due on, which
// is one; and how many were passed over on the way.
func (p *Policy) Last(due, t time.Time) (last time.Time, missed int) {
	for last = due; ; missed++ {
		next := p.Next(last)
		if next.IsZero() || next.After(t) {
			return last, missed
		}
		last = next
	}
}

// Previous is the newest time of the calendar that is no later than t; zero: none is,
// of the last five years.
func (p *Policy) Previous(t time.Time) time.Time {
	const years = 5 * 366 * 24 * time.Hour
	for back := time.Hour; len(p.calendar) > 0 && back < 2*years; back *= 2 {
		if first := p.Next(t.Add(-back)); !first.IsZero() && !first.After(t) {
			last, _ := p.Last(first, t)
			return last
		}
	}
	return time.Time{}
}

// Kept reports whether a machine whose last point is of a moment has what it was
// promised at now; never is the zero time. What is due has its spread and a window to
// be done.
func (p *Policy) Kept(point, now time.Time) bool {
	if point.IsZero() {
		return false
	}
	if p.RPOMinutes > 0 {
		return now.Sub(point) <= p.RPO()
	}
	due := p.Previous(now)
	if now.Before(due.Add(p.spreadAt(due) + p.window())) {
		due = p.Previous(due.Add(-time.Second))
	}
	return !point.Before(due)
}

func (p *Policy) window() time.Duration {
	if p.WindowMinutes == 0 {
		return leadMax * time.Minute
	}
	return time.Duration(p.WindowMinutes) * time.Minute
}

// Promise is how long after due the next is due.
func (p *Policy) Promise(due time.Time) time.Duration {
	if len(p.calendar) == 0 {
		return p.RPO()
	}
	if next := p.Next(due); !next.IsZero() {
		return next.Sub(due)
	}
	return 0
}

// Expires is when it is too late to begin what was due, at the latest when the next is
// due; zero: it never is.
func (p *Policy) Expires(due time.Time) time.Time {
	if len(p.calendar) == 0 {
		return time.Time{}
	}
	next := p.Next(due)
	if end := due.Add(time.Duration(p.NotAfterMinutes) * time.Minute); p.NotAfterMinutes > 0 && (next.IsZero() || end.Before(next)) {
		return end
	}
	return next
}

// lead is how long before its RPO ends a backup is begun, so that its point is there
// in time: a quarter of it, and no more than the window that is promised.
func (p *Policy) lead() time.Duration { return min(p.RPO()/4, leadMax*time.Minute) }

func (p *Policy) spread() uint32 {
	if p.SpreadMinutes == nil {
		return spreadIfNone
	}
	return *p.SpreadMinutes
}

// spreadAt is the spread of what is due then: never more than half of the way to what
// is due next.
func (p *Policy) spreadAt(due time.Time) time.Duration {
	spread := time.Duration(p.spread()) * time.Minute
	if gap := p.Promise(due); gap > 0 {
		spread = min(spread, gap/2)
	}
	return spread
}

// Begin is the first moment, from one on, at which a machine may begin what is due:
// at its own place in the spread, and outside of blackouts. Who is late begins at the
// same place of a later spread, so that machines that were all held up don't come all
// at once, and a scheduler that starts again and again comes to the same moment.
func (p *Policy) Begin(due, from time.Time, source, machine string) time.Time {
	spread := p.spreadAt(due)
	place := p.place(source, machine, spread)
	at := due.Add(place)
	if p.RPOMinutes > 0 {
		if at = due.Add(-p.lead()); at.Before(from) { // else points are spread as those before them were
			at = at.Add(place)
		}
	}
	for range chainMax {
		at = phase(at, from, spread)
		end := p.Held(at)
		if end.IsZero() {
			return at
		}
		from = end
	}
	return at
}

// phase is at, or where that is before from, at and as many spreads as it takes.
func phase(at, from time.Time, spread time.Duration) time.Time {
	late := from.Sub(at)
	switch {
	case late <= 0:
		return at
	case spread <= 0:
		return from
	}
	return at.Add((late + spread - 1) / spread * spread)
}

// place is a machine's in the spread: as good as random, and always the same.
func (p *Policy) place(source, machine string, spread time.Duration) time.Duration {
	if spread <= 0 {
		return 0
	}
	sum := sha256.Sum256([]byte(p.Name + "\n" + source + "\n" + machine))
	return time.Duration(binary.BigEndian.Uint64(sum[:]) % uint64(spread)).Truncate(time.Millisecond)
}
