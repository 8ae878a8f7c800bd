package rate

import (
	"fmt"
	"time"
)

// Plan is a rate, and windows with others. Of windows that overlap the first holds.
type Plan struct {
	Rate    Rate
	Windows []Window
}

// Limits reports whether there is a limit at any time.
func (p Plan) Limits() bool {
	for _, w := range p.Windows {
		if w.rate != 0 {
			return true
		}
	}
	return p.Rate != 0
}

// at is what holds at t; nil: no window does.
func (p Plan) at(t time.Time) (Rate, *Window) {
	for i := range p.Windows {
		if p.Windows[i].holds(t) {
			return p.Windows[i].rate, &p.Windows[i]
		}
	}
	return p.Rate, nil
}

// At is the rate at t, and until when it surely holds. Clocks show whole minutes in
// every zone, and are set by whole minutes: so it holds to the minute's end.
func (p Plan) At(t time.Time) (r Rate, until time.Time) {
	r, _ = p.at(t)
	return r, minuteAfter(t)
}

func minuteAfter(t time.Time) time.Time { return t.Truncate(time.Minute).Add(time.Minute) }

// horizon is how far Describe looks: a week is all there is, and a clock that is
// set back makes it an hour longer.
const horizon = 8 * 24 * time.Hour

// Describe says what holds at t, by which window, and what comes next.
func (p Plan) Describe(t time.Time) string {
	r, w := p.at(t)
	text := "no limit"
	if r != 0 {
		text = "at most " + r.String()
	}
	if w != nil {
		text += " (" + w.String() + ")"
	}
	for at := minuteAfter(t); at.Before(t.Add(horizon)); at = at.Add(time.Minute) {
		if next, _ := p.at(at); next != r {
			if w != nil {
				at = at.In(w.zone)
			} else if len(p.Windows) > 0 {
				at = at.In(p.Windows[0].zone)
			}
			return fmt.Sprintf("%s, from %s on %v", text, at.Format("Mon 15:04 MST"), next)
		}
	}
	return text
}

// Lowest is the lowest limit that ever holds; 0: none does.
func (p Plan) Lowest() (r Rate) {
	r = p.Rate
	for _, w := range p.Windows {
		if r == 0 || w.rate != 0 && w.rate < r {
			r = w.rate
		}
	}
	return r
}
