//go:build synctests

package sim

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// kind is one kind of fault: of what it makes events of a plan.
type kind struct {
	name string
	plan func(*world)
}

// kinds lists every fault that a seed may draw. What a zombie says is apart: it
// breaks limits that the living keep.
var kinds = []kind{
	{"crash", (*world).planCrashes},
	{"midcall", (*world).planMidcalls},
	{"rebalance", (*world).planRebalances},
	{"freeze", (*world).planFreezes},
	{"cut", (*world).planCuts},
	{"absent", (*world).planAbsences},
	{"clock", (*world).planClocks},
	{"torn", (*world).planTorn},
	{"broker", (*world).planBroker},
	{"lossy", (*world).planLossy},
	{"down", (*world).planDown},
	{"outage", (*world).planOutage},
	{"filled", (*world).planFilled},
	{"source", (*world).planSource},
	{"vanish", (*world).planVanish},
	{"full", (*world).planFull},
	{"flip", (*world).planFlips},
	{"ledger", (*world).planLedger},
	{"cancel", (*world).planCancels},
	{"old", (*world).planOld},
	{"zombie", (*world).planZombies},
	{"poison", (*world).planPoison},
	{"index", (*world).planIndex},
}

// faulty is how long faults go on.
const faulty = 80 * time.Second

// event is one thing that is done to the house, at a time after its start.
type event struct {
	at   time.Duration
	what string
	do   func()
}

// plan notes an event.
func (w *world) plan(at time.Duration, do func(), format string, args ...any) {
	w.events = append(w.events, event{at, fmt.Sprintf(format, args...), do})
}

// between draws a time.
func (w *world) between(from, to time.Duration) time.Duration {
	return from + time.Duration(w.rng.Int64N(int64(to-from)))
}

// moment draws when a fault begins: mostly while the first backups are under way.
func (w *world) moment() time.Duration {
	if w.rng.IntN(3) > 0 {
		return w.between(time.Second, 25*time.Second)
	}
	return w.between(time.Second, faulty)
}

// draw chooses the kinds of faults of a seed: a third has one, a third two or three, and a
// third as many as come. FAULTS=crash,cut chooses them by hand.
func (w *world) draw() {
	w.kinds = map[string]bool{}
	if text, ok := os.LookupEnv("FAULTS"); ok {
		for _, name := range strings.Split(text, ",") {
			w.kinds[name] = true
		}
	} else {
		n := []int{1, 2 + w.rng.IntN(2), 4 + w.rng.IntN(len(kinds)-4)}[w.rng.IntN(3)]
		for _, i := range w.rng.Perm(len(kinds))[:n] {
			w.kinds[kinds[i].name] = true
		}
	}
}

// foresee plans what kinds were drawn.
func (w *world) foresee() {
	for _, k := range kinds {
		if w.kinds[k.name] {
			w.tale("faults of kind %s", k.name)
			k.plan(w)
		}
	}
}

// hurt lets the plan happen.
func (w *world) hurt() {
	slices.SortStableFunc(w.events, func(a, b event) int { return int(a.at - b.at) })
	began := time.Now()
	for _, e := range w.events {
		if d := e.at - time.Since(began); d > 0 {
			time.Sleep(d)
		}
		w.tale("%s", e.what)
		e.do()
	}
}
