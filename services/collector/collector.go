// Package collector keeps the order of epochs, by which alone anything in a
// vault is ever deleted.
//
// Its first line is here: it reads the newest epoch from the vault, writes the
// epoch's control to every partition of chunks.stored, and when all of those
// are acknowledged it says that the epoch is open. In that order: a deduper
// must find the control, and the marks before it, in its own table before any
// lease of that epoch can ask it anything.
package collector

import (
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// room is the one room that epochs.turned has.
type room struct {
	room   *stage.Room
	env    stage.Env
	conf   Config
	vault  *vault.Vault
	parts  int32           // of chunks.stored
	opened map[uint64]bool // as the log says it
	next   time.Time       // when to ask again; zero: now
}

func (r *room) turned(_ []byte, row *schemas.EpochTurned) {
	if row.GetTurn() == schemas.EpochTurned_TURN_OPENED {
		r.opened[row.GetEpoch()] = true
	}
}

// beat says the newest epoch at every start and hourly, and what failed at the
// next beat: a vault that does not answer holds leases back, nothing else.
func (r *room) beat(in *stage.In) error {
	now := r.env.Now()
	if r.room.Number != 0 || now.Before(r.next) {
		return nil
	}
	n, err := r.vault.Epoch(in)
	if err != nil {
		return err
	}
	if err := r.open(n); err != nil {
		return err
	}
	r.next = now.Add(r.conf.Every)
	return nil
}

// open tells every deduper of epoch n, and then the schedulers. All of it may
// be said twice.
func (r *room) open(n uint64) error {
	control := topics.ChunksStored.Event(fmt.Appendf(nil, "epoch/%d", n), &schemas.ChunksStored{Row: &schemas.ChunksStored_Control{Control: n}})
	var controls []topics.Event
	for p := range r.parts {
		controls = append(controls, control.To(p))
	}
	if err := r.room.Put(controls...); err != nil {
		return fmt.Errorf("tell dedupers of epoch %d: %w", n, err)
	}
	if r.opened[n] {
		return nil
	}
	opened := topics.EpochsTurned.Event(fmt.Appendf(nil, "opened/%d", n), &schemas.EpochTurned{Epoch: n, Turn: schemas.EpochTurned_TURN_OPENED})
	if err := r.room.Put(opened.To(0)); err != nil {
		return fmt.Errorf("open epoch %d: %w", n, err)
	}
	r.env.Log.Info("epoch is open", "epoch", n, "vault", r.vault.String())
	return nil
}
