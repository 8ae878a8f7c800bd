package deduper

import "iter"

const (
	passed  = -1 // a claim that passed on or was forgotten
	settled = -2 // a claim whose chunk is stored
)

// order is claims by age, and how many younger than the oldest are stored.
type order struct {
	slots  []int32 // claims, passed or settled
	head   int     // of the oldest claim
	base   uint64  // sequence number of slots[0]
	stored int     // settled slots from head on
}

// push adds the youngest claim and returns its sequence number.
func (o *order) push(claim int32) uint64 {
	o.slots = append(o.slots, claim)
	return o.base + uint64(len(o.slots)-1)
}

// end takes a claim out.
func (o *order) end(seq uint64, stored bool) {
	o.slots[seq-o.base] = passed
	if stored {
		o.slots[seq-o.base] = settled
		o.stored++
	}
	for o.head < len(o.slots) && o.slots[o.head] < 0 {
		if o.slots[o.head] == settled {
			o.stored--
		}
		o.head++
	}
	if o.head > 4096 && o.head > len(o.slots)/2 {
		o.base += uint64(o.head)
		o.slots = o.slots[:copy(o.slots, o.slots[o.head:])]
		o.head = 0
	}
}

func (o *order) oldest() (claim int32, ok bool) {
	if o.head == len(o.slots) {
		return 0, false
	}
	return o.slots[o.head], true
}

// all yields the claims, oldest first.
func (o *order) all() iter.Seq[int32] {
	return func(yield func(int32) bool) {
		for _, i := range o.slots[o.head:] {
			if i >= 0 && !yield(i) {
				return
			}
		}
	}
}
