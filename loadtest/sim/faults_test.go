//go:build synctests

package sim

import (
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-backup/holdfast/libs/ledger/ledgertest"
)

// anyPost draws a post.
func (w *world) anyPost() *post { return w.posts[w.rng.IntN(len(w.posts))] }

func (w *world) planCrashes() {
	for range 1 + w.rng.IntN(6) {
		o, rest := w.anyPost(), w.between(0, 15*time.Second)
		at := w.moment()
		w.plan(at, func() { w.crash(o) }, "%s crashes", o.name)
		w.plan(at+rest, func() { w.ready(o) }, "%s is started again", o.name)
	}
}

// crash kills who is at a post, and begins no other.
func (w *world) crash(o *post) {
	if o.up != nil {
		o.up.crash()
	}
}

func (w *world) ready(o *post) {
	if o.up == nil {
		o.start()
	}
}

func (w *world) planRebalances() {
	for range 1 + w.rng.IntN(6) {
		o, at := w.anyPost(), w.moment()
		w.plan(at, func() {
			if o.up != nil {
				o.up.leave()
			}
		}, "%s leaves in good order", o.name)
		w.plan(at+w.between(0, 10*time.Second), func() { w.ready(o) }, "%s joins", o.name)
	}
}

// planMidcalls: whoever makes a snapshot just then dies, and the snapshot is there or not.
func (w *world) planMidcalls() {
	for _, s := range w.sites {
		s.slow = max(s.slow, 300*time.Millisecond)
	}
	for range 40 {
		at := w.between(time.Second, 60*time.Second)
		var hit []*post
		w.plan(at, func() {
			for _, s := range w.sites {
				s.set(func() {
					for p := range s.calling {
						hit = append(hit, p.post)
					}
				})
			}
			for _, o := range hit {
				w.tale("  %s dies", o.name)
				w.crash(o)
			}
		}, "who makes a snapshot dies")
		w.plan(at+w.between(0, 5*time.Second), func() {
			for _, o := range hit {
				w.ready(o)
			}
		}, "and is started again")
	}
}

// planFreezes: longer than a session, so that others take its rooms, or shorter.
func (w *world) planFreezes() {
	for range 1 + w.rng.IntN(3) {
		o, at, d := w.anyPost(), w.moment(), w.between(time.Second, 50*time.Second)
		var p *process
		w.plan(at, func() {
			if p = o.up; p != nil {
				p.freeze()
			}
		}, "%s freezes for %v", o.name, d)
		w.plan(at+d, func() {
			if p != nil {
				p.thaw()
			}
		}, "%s thaws", o.name)
	}
}

func (w *world) planCuts() {
	for range 1 + w.rng.IntN(3) {
		o, at, d := w.anyPost(), w.moment(), w.between(time.Second, 30*time.Second)
		var p *process
		w.plan(at, func() {
			if p = o.up; p != nil {
				p.Cut()
			}
		}, "%s is cut off from Kafka for %v", o.name, d)
		w.plan(at+d, func() {
			if p != nil && !p.isDead() {
				p.Heal()
			}
		}, "%s reaches Kafka again", o.name)
	}
}

// planAbsences: a process is put out of its groups, does not know for some seconds,
// and works beside its successor. Orders come just then.
func (w *world) planAbsences() {
	for range 1 + w.rng.IntN(2) {
		o, at := w.anyPost(), w.between(time.Second, 40*time.Second)
		var p *process
		w.plan(at, func() {
			if p = o.up; p != nil {
				p.Absent(true)
			}
		}, "%s is out of its groups", o.name)
		w.plan(at+w.between(15*time.Second, 30*time.Second), func() {
			if p != nil {
				p.Absent(false)
			}
		}, "%s is back in its groups", o.name)
		for i := range 4 {
			s := w.sites[w.rng.IntN(len(w.sites))]
			m := sprintf("%s/vm-%d", s.name, w.rng.IntN(len(s.machines)))
			w.plan(at+w.between(8*time.Second, 15*time.Second), func() { w.scribble(s); w.order(false, m) }, "order %d meanwhile", i)
			w.plan(at+w.between(8*time.Second, 16*time.Second), func() { w.scribble(s) }, "guests write meanwhile")
		}
	}
}

// planClocks: beyond every deadline, both ways.
func (w *world) planClocks() {
	for range 1 + w.rng.IntN(3) {
		o := w.anyPost()
		skew := w.between(time.Second, 20*time.Minute)
		if w.rng.IntN(4) == 0 {
			skew = 24 * time.Hour
		}
		if w.rng.IntN(2) == 0 {
			skew = -skew
		}
		w.ahead = max(w.ahead, skew)
		w.plan(w.moment(), func() {
			if o.up != nil {
				o.up.skew.Store(int64(skew))
			}
		}, "the clock of %s jumps to %v from ours", o.name, skew)
	}
}

func (w *world) planTorn() { w.torn = 0.02 + 0.1*w.rng.Float64() }

func (w *world) planBroker() {
	share := 0.005 + 0.03*w.rng.Float64()
	at, d := w.moment(), w.between(5*time.Second, 40*time.Second)
	var undo func()
	w.plan(at, func() { undo = w.kafka.weather(share) }, "Kafka fails %.1f %% of all for %v", 100*share, d)
	w.plan(at+d, func() { undo() }, "Kafka is well")
}

func (w *world) planLossy() {
	for _, t := range w.targets {
		share := 0.25 * w.rng.Float64()
		w.plan(0, func() { t.set(func() { t.lost, t.ghost = share, share }) }, "target %s loses %.0f %% of all, and lies of as many", t.name, 100*share)
	}
}

// down: as many as a quorum can do without, for a while.
func (w *world) planDown() {
	for range 1 + w.rng.IntN(2) {
		t, at, d := w.targets[w.rng.IntN(len(w.targets))], w.moment(), w.between(5*time.Second, 90*time.Second)
		w.plan(at, func() { t.set(func() { t.down = true }) }, "target %s is down for %v", t.name, d)
		w.plan(at+d, func() { t.set(func() { t.down = false }) }, "target %s is up", t.name)
	}
}

// outage: fewer than a quorum are left, for so long that attempts are given up.
func (w *world) planOutage() {
	at, d, n := w.moment(), w.between(20*time.Second, 4*time.Minute), w.m+w.rng.IntN(w.k+1)
	gone := w.rng.Perm(len(w.targets))[:n]
	w.plan(at, func() {
		for _, i := range gone {
			w.targets[i].set(func() { w.targets[i].down = true })
		}
	}, "targets %v are down for %v", gone, d)
	w.plan(at+d, func() {
		for _, i := range gone {
			w.targets[i].set(func() { w.targets[i].down = false })
		}
	}, "targets %v are up", gone)
}

func (w *world) planFilled() {
	t, at, d := w.targets[w.rng.IntN(len(w.targets))], w.moment(), w.between(5*time.Second, 2*time.Minute)
	w.plan(at, func() { t.set(func() { t.full = true }) }, "target %s is full for %v", t.name, d)
	w.plan(at+d, func() { t.set(func() { t.full = false }) }, "target %s has room", t.name)
}

func (w *world) planSource() {
	for _, s := range w.sites {
		share := 0.05 * w.rng.Float64()
		w.plan(0, func() { s.set(func() { s.fail = share }) }, "source %s fails %.1f %% of all, half of it done", s.name, 100*share)
		if w.rng.IntN(2) == 0 {
			at, d := w.moment(), w.between(time.Second, 90*time.Second)
			w.plan(at, func() { s.set(func() { s.down = true }) }, "source %s is down for %v", s.name, d)
			w.plan(at+d, func() { s.set(func() { s.down = false }) }, "source %s is up", s.name)
		}
	}
}

// vanish: somebody removes our snapshots.
func (w *world) planVanish() {
	for range 1 + w.rng.IntN(3) {
		s := w.sites[w.rng.IntN(len(w.sites))]
		w.plan(w.moment(), func() { s.set(func() { clear(s.open) }) }, "the snapshots of source %s are gone", s.name)
	}
}

func (w *world) planFull() {
	at, d := w.moment(), w.between(5*time.Second, 2*time.Minute)
	fill := func(full bool) func() {
		return func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.full = full
		}
	}
	w.plan(at, fill(true), "staging is full for %v", d)
	w.plan(at+d, fill(false), "staging has room")
}

// flips: of what lies in the shares, bits are turned over, files lost, or cut short.
func (w *world) planFlips() {
	for range 10 + w.rng.IntN(30) {
		glob, how, pick := []string{"staging/leases/*/*", "sealed/*/*"}[w.rng.IntN(2)], w.rng.IntN(3), w.rng.Uint64()
		w.plan(w.moment(), func() {
			files, err := filepath.Glob(filepath.Join(w.dir, glob))
			w.must(err)
			if len(files) == 0 {
				return
			}
			name := files[pick%uint64(len(files))]
			b, err := os.ReadFile(name)
			if err != nil || len(b) == 0 {
				return
			}
			w.tale("  it is %s", filepath.Base(name))
			switch how {
			case 0:
				os.Remove(name)
			case 1:
				os.Truncate(name, int64(pick%uint64(len(b))))
			default: // in place, as a bad disk would: who has it open sees it
				if f, err := os.OpenFile(name, os.O_WRONLY, 0); err == nil {
					at := int64(pick % uint64(len(b)))
					f.WriteAt([]byte{b[at] ^ 1}, at)
					f.Close()
				}
			}
		}, "a file of %s is %s", glob, []string{"lost", "cut short", "damaged"}[how])
	}
}

func (w *world) planLedger() {
	share := 0.3 * w.rng.Float64()
	at, d := w.moment(), w.between(time.Second, 3*time.Minute)
	var down bool
	w.ledger.Weather = func() ledgertest.Fault {
		w.mu.Lock()
		defer w.mu.Unlock()
		switch p := w.luck.Float64(); {
		case down || p < share/4:
			return ledgertest.Lost
		case p < 2*share/4:
			return ledgertest.Ghost
		case p < 3*share/4:
			return ledgertest.Torn
		case p < share:
			return ledgertest.Hollow
		}
		return ledgertest.None
	}
	set := func(to bool) func() {
		return func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			down = to
		}
	}
	w.plan(at, set(true), "the ledger is down for %v", d)
	w.plan(at+d, set(false), "the ledger is up")
}

func (w *world) planCancels() {
	for range 1 + w.rng.IntN(2) {
		pick := w.rng.Uint64()
		w.plan(w.moment(), func() { w.cancel(w.requests[pick%uint64(len(w.requests))]) }, "somebody thinks better of it")
	}
}

// index: at a start the index of a post is not there, or it is an older one.
func (w *world) planIndex() {
	for range 1 + w.rng.IntN(3) {
		o := w.anyPost()
		at := w.moment()
		w.plan(at, func() {
			w.crash(o)
			w.must(os.RemoveAll(filepath.Join(w.dir, o.name+".index")))
		}, "%s crashes and its index is lost", o.name)
		w.plan(at+w.between(0, 10*time.Second), func() { w.ready(o) }, "%s is started again", o.name)
	}
}

// calm ends all faults: whoever is down is started, whoever is frozen goes on, and
// all clocks are right again, as late as the latest of them ever was.
func (w *world) calm() {
	w.tale("all faults end")
	for _, t := range w.targets {
		t.set(func() { t.lost, t.ghost, t.down, t.full = 0, 0, false, false })
	}
	for _, s := range w.sites {
		s.set(func() { s.fail, s.down = 0, false })
	}
	w.mu.Lock()
	w.full = false
	w.mu.Unlock()
	w.ledger.Weather = nil
	w.torn, w.senders = 0, w.ahead
	for _, o := range w.posts {
		w.ready(o)
		o.up.thaw()
		o.up.Heal()
		o.up.Absent(false)
		o.up.Tear(0)
		o.up.skew.Store(int64(w.ahead))
	}
}
