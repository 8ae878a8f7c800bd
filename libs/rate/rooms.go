package rate

import "sync"

// Rooms keeps a process's share of limits in step with the rooms that it has of a
// stage: of R rooms in all, who has r takes part × r/R, so that the sum over all
// processes is the limit. It moves with each rebalance, in which the one lets go of
// a room before the other takes it. Rooms that have nothing to do keep their share.
// A nil one shares nothing.
type Rooms struct {
	stage  string
	part   float64
	limits []*Limiter

	mu sync.Mutex
	n  int32
}

// NewRooms shares limits among the processes that have rooms of a stage, which has
// this part of each: 1, where no other stage uses them.
func NewRooms(stage string, part float64, limits ...*Limiter) *Rooms {
	return &Rooms{stage: stage, part: part, limits: limits}
}

// Open counts a room in, one of so many.
func (r *Rooms) Open(of int32) { r.count(1, of) }

// Close counts a room out. Who has none left has the share of one: what still is on
// its way must end.
func (r *Rooms) Close(of int32) { r.count(-1, of) }

func (r *Rooms) count(change, of int32) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n += change
	for _, l := range r.limits {
		l.Share(r.stage, r.part*float64(max(r.n, 1))/float64(max(of, 1)))
	}
}
