package topics

import "time"

// Took says of events how long their stage worked at what they tell, each an even
// part, so that their sum is the whole. A stage that works beside its rooms, or
// holds its inputs, measures itself: the runner sees only how long a record lay
// there, and that is no work. What was told before is told with 0.
func Took(d time.Duration, events ...Event) []Event {
	for i := range events {
		events[i].took, events[i].timed = max(0, d)/time.Duration(len(events)), true
	}
	return events
}

// Took is what the stage said of itself; ok is false where it said nothing.
func (e Event) Took() (d time.Duration, ok bool) { return e.took, e.timed }
