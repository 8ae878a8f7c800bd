// Package scheduler decides which machine is backed up when. It alone opens and
// withdraws leases, one open Run a machine and never more at a source than its
// slots; it never says how a backup ended, that is the auditor's.
//
// A room owns the sources that hash to it, so that limits are a count in one
// goroutine and need no lock service. What it decides is a pure state machine
// (state.go): an input goes in, effects come out, and this file carries them
// out in an order that a crash may cut anywhere:
//
//  1. what must be told before its row goes,
//  2. rows of machines.tended, acknowledged,
//  3. what stands in a row, and is said again after a recall, to the letter.
//
// The way of an order: order.go takes it, grant.go leases it, attempt.go ends
// attempts, verdict.go hears the auditor, time.go does what only time brings.
// The way of a policy: plan.go takes it, enrol.go finds its machines, due.go makes
// orders of what is due, holdup.go takes them back for a blackout.
// The intake (intake.go) stands before all this: it reads requests of any
// partition and key, and makes of each a job.
package scheduler

import (
	"bytes"
	"crypto/rand"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/libs/policy"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// room carries a state's effects out.
type room struct {
	room   *stage.Room
	now    func() time.Time
	log    *slog.Logger
	writer []byte // of our rows
	state  *state
	dues   func(outcome string, n int)
	begun  bool                // the tables are recalled
	rivals map[string]*machine // rows that another wrote after our recall
	dials  *dials
}

func newRoom(c Config, env stage.Env, r *stage.Room) *room {
	out := &room{room: r, now: env.Now, log: env.Log, writer: newUUID().Bytes(),
		state: newState(c.Limits, newUUID), dues: c.Dues, rivals: map[string]*machine{}, dials: newDials(c.Gauge)}
	out.state.plans.vault = c.Vault
	return out
}

// newUUID is a lease: random, because two schedulers that grant the same
// attempt in a rebalance must still grant two leases.
func newUUID() (u schemas.UUID) {
	_, _ = rand.Read(u[:]) // never fails: crypto/rand ends the process instead
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u
}

func (r *room) found(key []byte, row *schemas.MachineFound) {
	if source, id, _ := strings.Cut(string(key), "\n"); id == "" {
		r.state.sourceFound(source, row.GetSource())
	} else {
		r.state.machineFound(string(key), row)
	}
}

// tended sees the table's rows: before our first input they are the truth;
// after it they are ours coming back, or those of a dead scheduler that reached
// the log late. A later recall would believe those, so ours is written again.
func (r *room) tended(key []byte, row *schemas.MachineTended) {
	source, id, _ := strings.Cut(string(key), "\n")
	switch {
	case !r.begun && row != nil:
		r.state.recalled(row)
	case r.begun && !bytes.Equal(row.GetWriter(), r.writer):
		r.rivals[string(key)] = r.state.machine(&schemas.Machine{Source: source, Id: id, Name: row.GetMachine().GetName()})
	}
}

func (r *room) epoch(_ []byte, row *schemas.EpochTurned) {
	if row != nil {
		r.state.epochTurned(row)
	}
}

func (r *room) target(key []byte, row *schemas.TargetTurned) {
	if row == nil {
		r.state.targetGone(string(key))
		return
	}
	r.state.targetTurned(row)
}

// policy takes the last good word on one. The intake wrote it, so what does not decode
// is of a newer house.
func (r *room) policy(raw stage.Raw) {
	d, _, err := policy.Taken(raw.Key, raw.Headers, raw.Value)
	if err != nil {
		r.log.Error("a policy is not understood, and goes on as it was", "policy", string(raw.Key), "why", err)
		return
	}
	r.state.policyTaken(d)
}

func (r *room) ordered(in *stage.In, q *schemas.BackupQueued) error {
	return r.do(in, func(now time.Time, fx *effects) error {
		if err := r.state.ordered(q, now, fx); err != nil {
			return stage.Refuse(err)
		}
		return nil
	})
}

func (r *room) exported(in *stage.In, e *schemas.ExportEnded) error {
	return r.do(in, func(now time.Time, fx *effects) error { r.state.exported(e, now, fx); return nil })
}

func (r *room) judged(in *stage.In, j *schemas.BackupJudged) error {
	return r.do(in, func(now time.Time, fx *effects) error { r.state.judged(j, now, fx); return nil })
}

func (r *room) tick(in *stage.In) error {
	return r.do(in, func(now time.Time, fx *effects) error {
		r.state.tick(now, fx)
		for _, key := range slices.Sorted(maps.Keys(r.rivals)) {
			r.log.Warn("a row of another scheduler came late, and is overwritten", "machine", key)
			fx.write(r.rivals[key], now)
		}
		clear(r.rivals)
		r.tell(&r.state.plans)
		r.dials.show(r.state, now)
		return nil
	})
}

// tell hands on what policies came to since the last beat.
func (r *room) tell(p *plans) {
	for outcome, n := range p.counts {
		if r.dues != nil && n > 0 {
			r.dues(outcome, n)
		}
	}
	for _, note := range p.notes {
		r.log.Warn(note)
	}
	clear(p.counts)
	p.notes = nil
}

// Close ends what the room shows of its sources.
func (r *room) Close() error { r.dials.close(); return nil }

// do runs one input. An error of the bus has ended the room, and the state,
// which ran ahead of the log, with it.
func (r *room) do(in *stage.In, input func(time.Time, *effects) error) error {
	now := r.now()
	if !r.begun {
		var fx effects
		r.state.begin(now, &fx)
		if err := r.put(words(fx.then)); err != nil {
			return err
		}
		r.begun = true
	}
	var fx effects
	if err := input(now, &fx); err != nil {
		return err
	}
	if err := r.put(words(fx.first)); err != nil {
		return err
	}
	if err := r.put(r.rows(fx.rows)); err != nil {
		return err
	}
	for _, e := range words(fx.then) {
		in.Emit(e)
	}
	return nil
}

func (r *room) put(events []topics.Event) error {
	if len(events) == 0 {
		return nil
	}
	return r.room.Put(events...)
}

func (r *room) rows(ms []*machine) []topics.Event {
	var rows []topics.Event
	for _, m := range ms {
		m.row.Writer = r.writer
		rows = append(rows, topics.MachinesTended.Event([]byte(m.key), m.row).To(r.room.Number))
	}
	return rows
}

func words(ws []*schemas.BackupLeased) []topics.Event {
	var events []topics.Event
	for _, w := range ws {
		events = append(events, topics.BackupsLeased.Event(w.GetRun().GetBackup(), w))
	}
	return events
}
