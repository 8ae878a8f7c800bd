package policy

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // a zone must not depend on what is installed where we run

	"github.com/robfig/cron/v3"
)

// clock is a line of a calendar.
type clock struct {
	spec  *cron.SpecSchedule
	zone  *time.Location
	hours bool // it comes in every hour
}

var lines = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

func newClock(line, zone string) (clock, error) {
	if strings.Contains(line, "=") {
		return clock{}, fmt.Errorf("cron: %q: say the zone beside it", line)
	}
	s, err := lines.Parse(line)
	if err != nil {
		return clock{}, fmt.Errorf("cron: %q: %w", line, err)
	}
	spec, ok := s.(*cron.SpecSchedule)
	if !ok {
		return clock{}, fmt.Errorf("cron: %q is no time of day: for a distance say rpoMinutes", line)
	}
	const everyHour = 1<<24 - 1
	c := clock{spec: spec, hours: spec.Hour&everyHour == everyHour}
	if c.zone, err = zoneOf(zone); err != nil {
		return clock{}, err
	}
	return c, nil
}

func zoneOf(name string) (*time.Location, error) {
	if name == "" {
		name = zoneIfNone
	}
	z, err := time.LoadLocation(name)
	if err != nil || z == time.Local {
		return nil, fmt.Errorf("zone: %q is none: want an IANA name, such as Europe/Berlin or UTC", name)
	}
	return z, nil
}

// after is the next time of the line behind t; zero: none in five years. Where clocks
// are set, a line of certain hours comes as often as on any day: at the leap, if its
// time is leapt over, and once, at the first, if its time is shown twice. A line of
// every hour goes on by the hours that pass.
func (c clock) after(t time.Time) time.Time {
	spec := *c.spec
	if c.hours {
		spec.Location = c.zone
		return spec.Next(t).UTC()
	}
	spec.Location = time.UTC
	for wall := spec.Next(shown(t.In(c.zone))); !wall.IsZero(); wall = spec.Next(wall) {
		if at := instant(wall, c.zone); at.After(t) {
			return at
		}
	}
	return time.Time{}
}

// shown is what a clock shows at t, as if it were UTC's.
func shown(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
}

// instant is when clocks of a zone show wall: the first time of two, and where they
// leap over it, the leap.
func instant(wall time.Time, zone *time.Location) time.Time {
	t := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), 0, zone)
	begin, end := t.ZoneBounds()
	switch now := shown(t); {
	case now.After(wall):
		return begin.UTC()
	case now.Before(wall):
		return end.UTC()
	}
	if begin.IsZero() {
		return t.UTC()
	}
	_, is := t.Zone()
	_, was := begin.Add(-time.Second).Zone()
	if first := t.Add(time.Duration(is-was) * time.Second); was > is && first.Before(begin) {
		return first.UTC()
	}
	return t.UTC()
}
