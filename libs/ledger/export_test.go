package ledger

import "time"

// Later is a minute later: the next insert looks at the tables again.
func (l *Ledger) Later() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looked = time.Now().Add(-lookEvery)
}
