package rate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a container of ours has no zones of its own
)

const day = 24 * 60 // minutes

// Window is a time of the week with a rate of its own.
type Window struct {
	days     [7]bool // on which it begins, from Sunday
	from, to int     // minutes of the day's clock; to <= from is on the next day
	zone     *time.Location
	rate     Rate
	text     string
}

// Times says when a window holds, as people write it.
type Times struct {
	Days string // mon-fri, sat,sun or empty: every day. On which the window begins
	From string // 08:00, on the zone's clock
	To   string // 18:00, not included; before From it is on the next day; 24:00 is the day's end
	Zone string // Europe/Berlin
}

var names = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// Wrong is a Times that says nothing: which of its fields, and why.
type Wrong struct {
	Key string
	Err error
}

func (w *Wrong) Error() string { return w.Key + ": " + w.Err.Error() }
func (w *Wrong) Unwrap() error { return w.Err }

// NewWindow makes a window of r. Its errors are *Wrong.
func NewWindow(t Times, r Rate) (w Window, err error) {
	if w.days, err = parseDays(t.Days); err != nil {
		return w, &Wrong{"days", err}
	}
	if w.from, err = parseClock(t.From); err == nil && w.from == day {
		err = fmt.Errorf("%q ends a day; 00:00 begins the next", t.From)
	}
	if err != nil {
		return w, &Wrong{"from", err}
	}
	if w.to, err = parseClock(t.To); err != nil {
		return w, &Wrong{"to", err}
	}
	switch {
	case w.from == w.to:
		return w, &Wrong{"to", fmt.Errorf("%q is from, too: a whole day is from 00:00 to 24:00", t.To)}
	case strings.TrimSpace(t.Zone) == "":
		return w, &Wrong{"zone", errors.New("is missing: whose clock is meant, such as Europe/Berlin or UTC")}
	case t.Zone == "Local":
		return w, &Wrong{"zone", errors.New("time zone Local is another one on each machine: name it, as Europe/Berlin")}
	}
	if w.zone, err = time.LoadLocation(t.Zone); err != nil {
		return w, &Wrong{"zone", fmt.Errorf("%q is no time zone as Europe/Berlin: %w", t.Zone, err)}
	}
	days := t.Days
	if strings.TrimSpace(days) == "" {
		days = "every day"
	}
	w.rate, w.text = r, fmt.Sprintf("%s %02d:%02d-%02d:%02d %s", strings.TrimSpace(days), w.from/60, w.from%60, w.to/60, w.to%60, t.Zone)
	return w, nil
}

// parseDays reads days and spans of them; a span may pass the week's end: fri-mon.
func parseDays(s string) (days [7]bool, err error) {
	if strings.TrimSpace(s) == "" {
		return [7]bool{true, true, true, true, true, true, true}, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		first, last, span := strings.Cut(strings.TrimSpace(part), "-")
		if !span {
			last = first
		}
		from, to := slices.Index(names, strings.TrimSpace(first)), slices.Index(names, strings.TrimSpace(last))
		if from < 0 || to < 0 {
			return days, fmt.Errorf("%q is no day: write mon-fri or sat,sun, of mon tue wed thu fri sat sun", strings.TrimSpace(part))
		}
		for d := from; ; d = (d + 1) % 7 {
			if days[d] = true; d == to {
				break
			}
		}
	}
	return days, nil
}

func parseClock(s string) (minute int, err error) {
	if s == "24:00" {
		return day, nil
	}
	t, err := time.Parse("15:04", s)
	if err != nil || len(s) != len("15:04") {
		return 0, fmt.Errorf("%q is no time of day as 08:00", s)
	}
	return t.Hour()*60 + t.Minute(), nil
}

// holds reports whether the window is open at t, on its zone's clock: where that
// is set forward or back, so is the window.
func (w Window) holds(t time.Time) bool {
	t = t.In(w.zone)
	today, now := int(t.Weekday()), t.Hour()*60+t.Minute()
	if w.from < w.to {
		return w.days[today] && w.from <= now && now < w.to
	}
	return w.days[today] && w.from <= now || w.days[(today+6)%7] && now < w.to
}

// String says when, for people.
func (w Window) String() string { return w.text }
