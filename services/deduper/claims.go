package deduper

import (
	"bytes"
	"time"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/index"
	"github.com/holdfast-backup/holdfast/schemas"
)

const (
	// overtakenBy younger claims stored before it, a claim counts as lost: the
	// sink works, and 8 packs of 128 chunks a partition have passed it by.
	overtakenBy = 1024
	// overtakenAge keeps a busy sink's own order from looking like loss: at full
	// speed 1024 claims pass in a third of a second, while a chunk is seconds on
	// its way (200 ms gathering, 2 s in an open pack, 8 packs a sync).
	overtakenAge = 30 * time.Second
	// passAfter is well before the 15 minutes without progress that end a waiter's lease.
	passAfter = 5 * time.Minute
	// passAgain: while no target takes anything, a chunk is sent once in so long, not again and again.
	passAgain = 15 * time.Minute
)

// claims are the chunks that one backup is storing and the places of others that
// wait for them, so that a thousand clones started together store one copy. They
// live in memory: a lost claim costs a second copy. It is a plain state machine
// for one goroutine; it changes records, and take tells which.
type claims struct {
	byID    map[cut.ID]int32
	all     []claim
	spare   []int32
	waits   []wait
	spareW  []int32
	order   order
	touched []*record
	due     []int32 // scratch of tick
	waiting int     // places that wait
}

// claim is one chunk on its way to the vault: for whose place it was sent.
type claim struct {
	id          cut.ID
	run         *schemas.Run
	file        uint32
	place       uint64
	seq         uint64
	at, due     time.Time
	aged        bool  // it passed by age before
	first, last int32 // waits, in the order they came; none: first < 0
}

type wait struct {
	rec  *record
	ref  int32
	next int32
}

func newClaims() *claims { return &claims{byID: map[cut.ID]int32{}} }

// ask claims the chunk of a place that the index does not have. It reports true
// if the place must be sent fresh; else it waits for the claimant, which may be
// another place of the same record, or an older copy of the same.
func (c *claims) ask(r *record, ref int, now time.Time) bool {
	i, claimed := c.byID[r.id(ref)]
	if !claimed {
		i = c.add(claim{id: r.id(ref), first: -1, last: -1})
		c.byID[r.id(ref)] = i
		c.give(i, r, ref, now)
		return true
	}
	if later(r.cut.Run, c.all[i].run) { // the claimant's attempt is dead, and its bytes with it
		c.order.end(c.all[i].seq, false)
		c.give(i, r, ref, now)
		return true
	}
	c.wait(i, r, ref)
	return false
}

// has reports whether a chunk is on its way. What is, is not in the index.
func (c *claims) has(id cut.ID) bool { _, ok := c.byID[id]; return ok }

// stored resolves the claim of a chunk that is durable now, at an epoch applied.
func (c *claims) stored(id cut.ID, at index.Place, applied uint64, now time.Time) {
	i, ok := c.byID[id]
	if !ok {
		return
	}
	for w := c.all[i].first; w >= 0; w = c.drop(w) {
		if r := c.waits[w].rec; !r.over {
			r.answer(int(c.waits[w].ref), at, applied)
			c.waiting--
			c.touch(r)
		}
	}
	c.order.end(c.all[i].seq, true)
	c.remove(i)
	c.overtake(now)
}

// dropped gives a claim on if it is the one whose chunk was lost on the way.
func (c *claims) dropped(run *schemas.Run, file uint32, place uint64, id cut.ID, now time.Time) {
	i, ok := c.byID[id]
	if !ok {
		return
	}
	if l := &c.all[i]; l.file != file || l.place != place || !bytes.Equal(l.run.Lease, run.GetLease()) {
		return
	}
	c.pass(i, now)
}

// tick passes on what is overdue, and forgets claims for which nobody waits.
func (c *claims) tick(now time.Time) {
	c.due = c.due[:0]
	for i := range c.order.all() {
		if !now.Before(c.all[i].due) {
			c.due = append(c.due, i)
		}
	}
	for _, i := range c.due {
		l := &c.all[i]
		switch {
		case l.first >= 0:
			l.aged = true
			c.pass(i, now)
		case now.Sub(l.at) >= passAgain:
			c.pass(i, now)
		}
	}
	c.overtake(now)
}

// overtake passes on the oldest claims that too many younger ones have overtaken.
func (c *claims) overtake(now time.Time) {
	for {
		i, ok := c.order.oldest()
		if !ok || c.order.stored < overtakenBy || now.Sub(c.all[i].at) < overtakenAge {
			return
		}
		c.pass(i, now)
	}
}

// pass gives a claim to the first place that waits, of another lease if there is
// one, since what the claimant's lease lost it mostly lost whole. With nobody
// waiting the claim is forgotten, and the next to ask has it.
func (c *claims) pass(i int32, now time.Time) {
	l := &c.all[i]
	c.order.end(l.seq, false)
	before, found := int32(-1), int32(-1)
	for prev, w := int32(-1), l.first; w >= 0; prev, w = w, c.waits[w].next {
		r := c.waits[w].rec
		if r.over {
			continue
		}
		if found < 0 || !bytes.Equal(r.cut.Run.Lease, l.run.Lease) {
			before, found = prev, w
		}
		if !bytes.Equal(r.cut.Run.Lease, l.run.Lease) {
			break
		}
	}
	if found < 0 {
		for w := l.first; w >= 0; {
			w = c.drop(w)
		}
		c.remove(i)
		return
	}
	r, ref := c.waits[found].rec, int(c.waits[found].ref)
	next := c.drop(found)
	if before < 0 {
		l.first = next
	} else {
		c.waits[before].next = next
	}
	if l.last == found {
		l.last = before
	}
	c.waiting--
	r.send(ref)
	c.touch(r)
	c.give(i, r, ref, now)
}

// release ends the waiting of a record that waited too long: its places go on as
// fresh, each for itself.
func (c *claims) release(r *record) {
	for ref, waits := range r.waits {
		if waits {
			r.send(ref)
			c.waiting--
		}
	}
	r.over = true
	c.touch(r)
}

// give makes a place the claimant, as of now.
func (c *claims) give(i int32, r *record, ref int, now time.Time) {
	l := &c.all[i]
	l.run, l.file, l.place = r.cut.Run, r.cut.File, r.cut.Refs.Places[ref]
	l.seq, l.at, l.due = c.order.push(i), now, now.Add(passAfter)
	if l.aged {
		l.due = now.Add(passAgain)
	}
}

func (c *claims) wait(i int32, r *record, ref int) {
	w := wait{rec: r, ref: int32(ref), next: -1}
	n := int32(len(c.waits))
	if k := len(c.spareW); k > 0 {
		n, c.spareW = c.spareW[k-1], c.spareW[:k-1]
		c.waits[n] = w
	} else {
		c.waits = append(c.waits, w)
	}
	if l := &c.all[i]; l.first < 0 {
		l.first, l.last = n, n
	} else {
		c.waits[l.last].next, l.last = n, n
	}
	r.await(ref)
	c.waiting++
}

// drop frees a wait and returns the next of its claim.
func (c *claims) drop(w int32) int32 {
	next := c.waits[w].next
	c.waits[w] = wait{next: -1}
	c.spareW = append(c.spareW, w)
	return next
}

func (c *claims) add(l claim) int32 {
	if k := len(c.spare); k > 0 {
		i := c.spare[k-1]
		c.spare, c.all[i] = c.spare[:k-1], l
		return i
	}
	c.all = append(c.all, l)
	return int32(len(c.all) - 1)
}

func (c *claims) remove(i int32) {
	delete(c.byID, c.all[i].id)
	c.all[i] = claim{}
	c.spare = append(c.spare, i)
}

func (c *claims) touch(r *record) {
	if !r.touched {
		r.touched = true
		c.touched = append(c.touched, r)
	}
}

// take returns the records with something to tell since the last take.
func (c *claims) take() []*record {
	t := c.touched
	c.touched = nil
	for _, r := range t {
		r.touched = false
	}
	return t
}

// later reports whether a is a later attempt at the backup of b.
func later(a, b *schemas.Run) bool {
	return a.Attempt > b.Attempt && bytes.Equal(a.Backup, b.Backup)
}
