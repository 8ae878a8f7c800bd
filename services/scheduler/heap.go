package scheduler

import "container/heap"

// queue is a heap of things that know where they sit in it, so that any of them
// can leave, or move when what it is ordered by has changed. Not to be sat in is
// seat -1: who makes a thing sets it so.
type queue[T seated[T]] struct{ items []T }

type seated[T any] interface {
	before(T) bool
	seat() *int
}

// first is who goes first; the zero value where nobody waits.
func (q *queue[T]) first() (x T) {
	if len(q.items) > 0 {
		x = q.items[0]
	}
	return x
}

// put seats x, or moves it to where it belongs now.
func (q *queue[T]) put(x T) {
	if *x.seat() >= 0 {
		heap.Fix(q, *x.seat())
		return
	}
	heap.Push(q, x)
}

// drop unseats x, if it sits.
func (q *queue[T]) drop(x T) {
	if *x.seat() >= 0 {
		heap.Remove(q, *x.seat())
	}
}

// Len, Less, Swap, Push and Pop are for container/heap alone.
func (q *queue[T]) Len() int           { return len(q.items) }
func (q *queue[T]) Less(i, j int) bool { return q.items[i].before(q.items[j]) }

func (q *queue[T]) Swap(i, j int) {
	q.items[i], q.items[j] = q.items[j], q.items[i]
	*q.items[i].seat(), *q.items[j].seat() = i, j
}

func (q *queue[T]) Push(x any) {
	t := x.(T)
	*t.seat() = len(q.items)
	q.items = append(q.items, t)
}

func (q *queue[T]) Pop() any {
	last := len(q.items) - 1
	x := q.items[last]
	var none T
	q.items[last] = none // else it is never freed
	q.items = q.items[:last]
	*x.seat() = -1
	return x
}
