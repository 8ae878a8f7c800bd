package scheduler

import (
	"context"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/topics"
)

// What inputs lead to is written in groups. While the rows of one are on their way,
// inputs go on, on a state that runs ahead of the log, and what they lead to is the
// next group: so a room is as fast as its state, and not as slow as its log. A
// thousand machines are 13,000 inputs, and each would wait twice for an answer.

// owed is what one input or beat leads to, in the order in which it is written.
type owed struct {
	hold              *stage.Hold // keeps the input undone until then; nil: a beat
	first, rows, then []topics.Event
}

// owe takes down what an input leads to, as it is now. An input that comes while
// others are owed is done after them, even if it leads to nothing: it may do so
// because of what they changed, and would be missed if they came again alone.
func (r *room) owe(in *stage.In, fx effects) {
	o := owed{first: words(fx.first), rows: r.rows(fx.rows), then: words(fx.then)}
	idle := len(o.first)+len(o.rows)+len(o.then) == 0
	if idle && (in.Topic == "" || !r.writing) {
		return
	}
	if in.Topic != "" {
		o.hold = in.Hold()
	}
	r.owed = append(r.owed, o)
	r.write()
}

// write carries out what is owed, group after group. A group ends before an input
// that has words to say first: they must not overtake those of the inputs before it.
func (r *room) write() {
	if r.writing || len(r.owed) == 0 {
		return
	}
	n := 1
	for n < len(r.owed) && len(r.owed[n].first) == 0 {
		n++
	}
	group := r.owed[:n:n]
	r.owed, r.writing = r.owed[n:], true
	r.room.Go(func(context.Context) func() {
		if r.tell(group) != nil {
			return nil // the room has ended, and the state with it
		}
		return func() { r.writing = false; r.write() }
	})
}

// tell writes a group. Where it returns an error, the bus has ended the room.
func (r *room) tell(group []owed) error {
	var rows []topics.Event
	for _, o := range group {
		rows = append(rows, o.rows...)
	}
	if err := r.put(group[0].first); err != nil {
		return err
	}
	if err := r.put(rows); err != nil {
		return err
	}
	for _, o := range group {
		if o.hold != nil {
			o.hold.Release(o.then...)
		} else if err := r.put(o.then); err != nil {
			return err
		}
	}
	return nil
}
