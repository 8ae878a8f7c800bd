//go:build synctests

package sim

import (
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/libs/seal"
)

// walk is one seed: a house, its load, its faults, its rest, and the judgement.
func walk(w *world) {
	w.draw()
	machines := w.build()
	w.foresee()
	w.load(machines)
	w.haunt()
	for _, o := range w.posts {
		if !o.late {
			o.start()
		}
	}
	go w.watch()
	w.hurt()
	w.calm()
	w.rest("the faults")
	w.order(true, machines...)
	w.rest("a backup of every machine in calm weather")
	w.judge()
}

// build draws the house: sources and their machines, processes and their stages.
func (w *world) build() (machines []string) {
	for i := range 1 + w.rng.IntN(2) {
		s := newSite(fmt.Sprint("site-", i), w.seed)
		s.tracks, s.limit, s.slow = w.rng.IntN(3) > 0, 1+w.rng.IntN(3), w.between(time.Millisecond, 400*time.Millisecond)
		w.sites = append(w.sites, s)
		for range 1 + w.rng.IntN(2) {
			machines = append(machines, w.machine(s, 1+w.rng.IntN(2), 1+w.rng.IntN(5)))
		}
	}
	for _, t := range w.targets {
		t.slow = w.between(time.Millisecond, 300*time.Millisecond)
	}
	w.codec = seal.Methods[len(seal.Methods)-1-w.rng.IntN(2)]
	w.settle()
	return machines
}

// settle draws which process runs what: one house for all, two of them, one for
// each half and one that helps, or one for each stage.
func (w *world) settle() {
	at := func(name string, stages ...string) *post {
		o := &post{w: w, name: name, stages: stages}
		w.posts = append(w.posts, o)
		return o
	}
	some := func(n int) (names []string) {
		for _, i := range w.rng.Perm(len(catalogue))[:n] {
			names = append(names, catalogue[i])
		}
		return names
	}
	switch w.rng.IntN(6) {
	case 0:
		at("all", catalogue...)
	case 1, 2:
		at("one", catalogue...)
		at("two", catalogue...).late = w.rng.IntN(2) == 0
	case 3, 4:
		half := len(catalogue)/3 + w.rng.IntN(len(catalogue)/3)
		at("front", catalogue[:half]...)
		at("back", catalogue[half:]...)
		at("helper", some(2+w.rng.IntN(5))...).late = w.rng.IntN(2) == 0
	default:
		for _, name := range catalogue {
			at(name, name)
		}
		at("helper", some(1+w.rng.IntN(3))...)
	}
	if w.kinds["absent"] { // who is put out of a group must have somebody who takes its place
		at("twin", "exporter", "deduper", "uploader", "auditor")
	}
	for _, o := range w.posts {
		if o.late {
			w.plan(w.moment(), func() { w.ready(o) }, "%s joins for the first time", o.name)
		}
	}
}

// load plans what people want.
func (w *world) load(machines []string) {
	w.plan(0, func() {
		if len(machines) > 1 && w.rng.IntN(2) == 0 {
			w.order(false, machines[:1]...)
			w.order(false, machines[1:]...)
		} else {
			w.order(false, machines...)
		}
	}, "orders")
	for range 4 {
		w.plan(w.between(time.Second, faulty), func() {
			for _, s := range w.sites {
				w.scribble(s)
			}
		}, "guests write")
	}
	for range 1 + w.rng.IntN(2) {
		m := machines[w.rng.IntN(len(machines))]
		w.plan(w.between(10*time.Second, faulty), func() { w.order(false, m) }, "one more order")
	}
	if w.rng.IntN(2) == 0 {
		w.plan(w.between(15*time.Second, faulty), w.bringSome, "somebody wants a machine back")
	}
}

// bringSome orders a restore of some point that is told, if there is one.
func (w *world) bringSome() {
	w.scribe.mu.Lock()
	point := ""
	for _, all := range w.scribe.ends {
		point = max(point, all[0].Point)
	}
	w.scribe.mu.Unlock()
	if point != "" {
		w.bring(point)
	}
}

// judge checks every invariant of a house at rest.
func (w *world) judge() {
	w.t.Helper()
	points := w.coldPoints()
	w.endings(points)
	w.returns(points)
	w.pages(points)
	w.gone(points)
	w.chain()
	w.closings()
	w.intents()
	w.seals()
	w.counts(points)
	w.haunting()
}
