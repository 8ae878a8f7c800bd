package scheduler

import (
	"cmp"
	"container/heap"
	"time"
)

// dueHeap has who is to be looked at first on top; of equals the order never changes
// from run to run.
type dueHeap []*membership

func (h dueHeap) Len() int { return len(h) }

func (h dueHeap) Less(i, j int) bool {
	a, b := h[i], h[j]
	return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.machine.key, b.machine.key), cmp.Compare(a.plan.Name, b.plan.Name)) < 0
}

func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].spot, h[j].spot = i, j
}

func (h *dueHeap) Push(x any) {
	ms := x.(*membership)
	ms.spot = len(*h)
	*h = append(*h, ms)
}

func (h *dueHeap) Pop() any {
	old := *h
	ms := old[len(old)-1]
	ms.spot = -1
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return ms
}

// arm has ms looked at then.
func (h *dueHeap) arm(ms *membership, at time.Time) {
	ms.at = at
	if ms.spot < 0 {
		heap.Push(h, ms)
		return
	}
	heap.Fix(h, ms.spot)
}

func (h *dueHeap) disarm(ms *membership) {
	if ms.spot >= 0 {
		heap.Remove(h, ms.spot)
	}
}

// next is who is to be looked at by now; nil: nobody is.
func (h *dueHeap) next(now time.Time) *membership {
	if len(*h) == 0 || (*h)[0].at.After(now) {
		return nil
	}
	return heap.Pop(h).(*membership)
}
