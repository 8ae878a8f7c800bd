package scheduler

// brake holds a source's grants back while attempts don't get on, whatever the
// reason: a vault below its quorum, a staging share that is full, a vCenter that
// answers nothing. It opens by one with each completed backup and closes to half of
// what is in use with each attempt that ends without progress, so a dead sink is
// probed with single snapshots. An attempt that ends for good is its machine's
// fault, and brakes nobody. PROTOCOLS A2.2.
type brake struct{ at uint64 } // snapshots open at once; 0: not braked

// bears reports whether the brake lets another snapshot be made.
func (b *brake) bears(open uint64) bool { return b.at == 0 || open < b.at }

// close halves the slots in use; one is always left.
func (b *brake) close(open uint64) {
	half := max(1, open/2)
	if b.at == 0 || half < b.at {
		b.at = half
	}
}

// ease opens it by one, and lets go where nothing is held back any more.
func (b *brake) ease(limit uint64) {
	if b.at == 0 {
		return
	}
	if b.at++; b.at >= limit {
		b.at = 0
	}
}

func (s *source) ease() {
	limit, _ := s.limit()
	s.brake.ease(limit)
}

// recallBrake guesses what nobody remembers. Where an attempt waits to be tried again
// things may be as bad as they were: no more than what is open now, until one gets on.
func (s *source) recallBrake() {
	for _, m := range s.machines {
		if slotsWait(m) {
			s.brake.at = max(1, s.used.snapshots)
			return
		}
	}
}
