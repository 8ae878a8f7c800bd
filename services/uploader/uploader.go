// Package uploader makes sealed packs durable.
//
// A pack is cut into k+m shards, one a target. Once a quorum of them is durable
// its chunks are known to all (chunks.stored) and its places are landed
// (chunks.landed). The record is done only when every target that is up has
// answered, so that a crash repeats the stragglers; and only after the commit
// that covers it the sealed file goes: too early would cost an attempt.
//
// All of it is the same twice: shards have the pack's name, so a repeat finds
// them there.
package uploader

import (
	"context"
	"errors"
	"fmt"

	"github.com/zeebo/blake3"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/staging"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// room is one partition number. Its packs are under way beside it.
type room struct {
	*shared
	at *stage.Room
}

// sealed takes one pack.
func (r *room) sealed(in *stage.In, m *schemas.PackSealed) error {
	id, err := check(m)
	if err != nil {
		return stage.Refuse(err)
	}
	hold := in.Hold()
	in.Committed(func() {
		if err := r.deps.Sealed.Remove(m.Blob); err != nil {
			r.env.Log.Warn("a sealed pack stays until it is swept", "pack", id, "err", err)
		}
	})
	in.Go(func(ctx context.Context) func() {
		r.upload(ctx, id, m, hold)
		return nil
	})
	return nil
}

// upload works until the pack is as durable as it gets now, or is lost.
func (r *room) upload(ctx context.Context, id vault.PackID, m *schemas.PackSealed, hold *stage.Hold) {
	select {
	case r.tokens <- struct{}{}:
	case <-ctx.Done():
		return
	}
	began := r.env.Now()
	body, err := r.read(m)
	var landed *vault.Landed
	if err == nil {
		landed, err = r.deps.Writer.Pack(ctx, id, false, body)
	}
	<-r.tokens
	switch {
	case ctx.Err() != nil:
		return // the next room takes it up
	case err != nil:
		hold.Release(r.lost(m, err)...)
		return
	}
	took := r.env.Now().Sub(began)
	r.at.Emit(r.rows(m)...)
	r.at.Emit(r.landed(m, landed.Redundancy(), took)...)
	select {
	case <-landed.Done():
		hold.Release()
	case <-ctx.Done():
	}
}

var errDamaged = errors.New("the sealed pack is damaged")

// read reads a pack from the sealed area and checks that it is the one.
func (r *room) read(m *schemas.PackSealed) ([]byte, error) {
	b, err := r.deps.Sealed.Read(m.Blob)
	if err != nil {
		return nil, err
	}
	if sum := blake3.Sum256(b); len(b) != int(m.SizeBytes) || [32]byte(m.Blake3) != sum {
		return nil, fmt.Errorf("sealed %s: %w", m.Blob, errDamaged)
	}
	return b, nil
}

// turns tells of targets that went down or came back.
func (r *room) turns(in *stage.In) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n, t := range r.deps.Writer.Turns() {
		if last, ok := r.told[t.Target]; ok && last.Up == t.Up && last.Quorum == t.Quorum {
			continue
		}
		free, _ := r.deps.Writer.Free(in, n)
		in.Emit(topics.TargetsTurned.Event([]byte(t.Target), &schemas.TargetTurned{Target: t.Target, Up: t.Up,
			SinceMs: t.Since.UnixMilli(), Why: t.Why, FreeBytes: uint64(free), Quorum: t.Quorum}))
		r.told[t.Target] = t
	}
	return nil
}

// overdue is where the sink is down: the pack waits on, with an alert, because
// nothing but its targets can end it.
func (r *room) overdue(*stage.Hold) {
	for _, t := range r.deps.Writer.Turns() {
		if !t.Up {
			r.env.Log.Error("packs wait for a target", "target", t.Target, "since", t.Since, "why", t.Why)
		}
	}
}

// missing reports whether a pack's bytes are gone for good, rather than out of reach.
func missing(err error) bool { return errors.Is(err, staging.ErrMissing) || errors.Is(err, errDamaged) }
