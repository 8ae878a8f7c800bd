package stage

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/holdfast-backup/holdfast/topics"
)

// In is one input on its way through a room, or one beat. As a context it ends
// with the room.
type In struct {
	context.Context
	Topic  string // physical name; empty for a beat
	Part   int32
	Offset int64
	Key    []byte
	Time   time.Time // when the record was written

	room  *Room
	rec   *kgo.Record // nil for a beat
	item  *item       // nil for a beat or a row
	msg   any         // as decoded
	start time.Time   // of the handler
	emits []topics.Event
	holds []*Hold
	after []func()
}

// Headers are those of the record, nil for a beat.
func (in *In) Headers() Headers {
	if in.rec == nil {
		return nil
	}
	return in.rec.Headers
}

// Emit writes e when the handler has returned nil. It cannot fail: if the bus
// loses e, the room ends and its inputs come again.
func (in *In) Emit(e topics.Event) {
	in.room.mem.run.declared(e)
	in.emits = append(in.emits, e)
}

// Hold keeps the input undone after the handler has returned. The committed
// offset never passes it. If the handler fails, the hold is void.
func (in *In) Hold() *Hold {
	h := &Hold{mem: in.room.mem, first: in.origin()}
	h.Add(in)
	return h
}

// Committed runs f after the commit that covers this input: in the room's
// goroutine, or in another one if the room is gone by then. If the input comes
// again first, f never runs; if the handler fails, f is forgotten.
func (in *In) Committed(f func()) {
	if in.item == nil {
		panic("stage: a beat has no input to commit")
	}
	in.after = append(in.after, f)
}

// Go runs work beside the room, and then, what it returns, in the room. work
// must end when its context does: the next room of the number waits for it.
func (in *In) Go(work func(context.Context) func()) { in.room.beside(in.spot(), work) }

func (in *In) String() string { return fmt.Sprintf("%s/%d@%d", in.Topic, in.Part, in.Offset) }
