package vault

// Landed is a pack that a quorum of targets holds.
type Landed struct{ p *parcel }

// Redundancy is how many of its shards are durable now: at least the quorum, and
// it may still rise until Done.
func (l *Landed) Redundancy() int { return int(l.p.landed.Load()) }

// Done is closed when no more answers are waited for: every target whose breaker
// is closed has answered, or 30 s have passed since the quorum, or 64 younger
// packs have landed (8 map packs). What is missing then is owed: a listing shows
// it, and it is mended from the others.
func (l *Landed) Done() <-chan struct{} { return l.p.done }
