package stage

import (
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/topics"
)

// holdMax is when a hold is told of where the stage sets no age of its own: 20
// minutes, above the deduper's last resort of 15 (PROTOCOLS A3.4).
const holdMax = 20 * time.Minute

// Hold is the promise that the consequences of some inputs are still to come.
// It may gather inputs of any room of the process. All methods are safe for
// concurrent use.
type Hold struct {
	mem   *member
	first origin
	items []*item // guarded by mem.holds, because a hold may span rooms
	spent bool
}

// Add takes the input too. Inputs of one hold are done together. Add reports
// false if the hold is already released.
func (h *Hold) Add(in *In) bool {
	if in.item == nil {
		panic("stage: a beat has no input to hold")
	}
	h.mem.holds.Lock()
	defer h.mem.holds.Unlock()
	if h.spent {
		return false
	}
	h.items = append(h.items, in.item)
	in.item.keep(h)
	in.holds = append(in.holds, h)
	return true
}

// Release writes events, and when all are acknowledged the held inputs are
// done. If one is lost, every room with an input in h ends and starts again.
// Releasing twice writes nothing.
func (h *Hold) Release(events ...topics.Event) {
	for _, e := range events {
		h.mem.run.declared(e)
	}
	items := h.spend()
	if len(items) == 0 {
		return
	}
	from := h.first
	if len(items) > 1 {
		from.stamps = nil // of many ways there is no one way: it begins anew
	}
	h.mem.emit(h.mem.life, h.mem.records(h.mem.fitting(events), from), func(err error) {
		for _, it := range items {
			it.settle(h, err)
		}
	})
}

func (h *Hold) spend() []*item {
	h.mem.holds.Lock()
	defer h.mem.holds.Unlock()
	if h.spent {
		return nil
	}
	h.spent = true
	return h.items
}

// void takes back what a failed attempt held. A hold that other inputs share
// stays theirs.
func (in *In) void() {
	in.room.mem.holds.Lock()
	defer in.room.mem.holds.Unlock()
	for _, h := range in.holds {
		if !h.spent {
			at := slices.Index(h.items, in.item)
			h.items = slices.Delete(h.items, at, at+1)
			in.item.settle(h, nil)
		}
	}
	in.holds, in.emits, in.after = nil, nil, nil
}
