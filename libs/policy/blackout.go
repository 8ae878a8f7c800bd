package policy

import (
	"fmt"
	"slices"
	"time"
)

// blackout is a time of some days in which nothing is begun.
type blackout struct {
	days     [7]bool // on which it begins, from Sunday
	from, to int     // minutes of the day; to may be of the next
	zone     *time.Location
}

var days = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

const dayMinutes = 24 * 60

func newBlackout(on []string, from, to, zone string) (b blackout, err error) {
	if b.from, err = minuteOf(from); err != nil || b.from == dayMinutes {
		return b, fmt.Errorf("from: %q is no time of day: want one as 08:00", from)
	}
	if b.to, err = minuteOf(to); err != nil {
		return b, fmt.Errorf("to: %q is no time of day: want one as 18:00, or 24:00", to)
	}
	if b.to <= b.from {
		b.to += dayMinutes
	}
	if b.zone, err = zoneOf(zone); err != nil {
		return b, err
	}
	for i, day := range on {
		n := slices.Index(days, day)
		if n < 0 {
			return b, fmt.Errorf("days[%d]: %q is none of %v", i, day, days)
		}
		b.days[n] = true
	}
	if len(on) == 0 {
		b.days = [7]bool{true, true, true, true, true, true, true}
	}
	return b, nil
}

func minuteOf(s string) (int, error) {
	if s == "24:00" {
		return dayMinutes, nil
	}
	t, err := time.Parse("15:04", s)
	return t.Hour()*60 + t.Minute(), err
}

// end is when the blackout that t lies in ends; zero: it lies in none.
func (b blackout) end(t time.Time) time.Time {
	day := shown(t.In(b.zone)).Truncate(24 * time.Hour)
	for _, day := range []time.Time{day, day.AddDate(0, 0, -1)} {
		if !b.days[day.Weekday()] {
			continue
		}
		from, to := instant(day.Add(time.Duration(b.from)*time.Minute), b.zone), instant(day.Add(time.Duration(b.to)*time.Minute), b.zone)
		if !t.Before(from) && t.Before(to) {
			return to
		}
	}
	return time.Time{}
}

// chainMax is how many blackouts may follow one on another: those of a week.
const chainMax = 7 * blackoutsMax

// held compiles the blackouts. Those that leave no moment in a week are an error: what
// is due would never begin.
func (p *Policy) held() error {
	if n := len(p.Blackout); n > blackoutsMax {
		return fmt.Errorf("data.blackout: %d are too many, at most %d", n, blackoutsMax)
	}
	for i, d := range p.Blackout {
		b, err := newBlackout(d.Days, d.From, d.To, orElse(d.Zone, p.Zone))
		if err != nil {
			return fmt.Errorf("data.blackout[%d].%w", i, err)
		}
		p.blackouts = append(p.blackouts, b)
	}
	monday := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	if end, ok := p.chain(monday); !ok || end.After(monday.AddDate(0, 0, 7)) {
		return fmt.Errorf("data.blackout: leaves no moment in which anything may begin")
	}
	return nil
}

// Held is until when nothing is begun at t; zero: it is.
func (p *Policy) Held(t time.Time) time.Time {
	end, _ := p.chain(t)
	return end
}

// chain goes from the end of one blackout into the next. ok is false where they do not end.
func (p *Policy) chain(t time.Time) (end time.Time, ok bool) {
	for range chainMax {
		next := t
		for _, b := range p.blackouts {
			if e := b.end(t); e.After(next) {
				next = e
			}
		}
		if next.Equal(t) {
			return end, true
		}
		t, end = next, next
	}
	return end, false
}
