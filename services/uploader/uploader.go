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
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/zeebo/blake3"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/staging"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
)

// room is one partition number. Its packs are under way beside it.
type room struct {
	*shared
	at *stage.Room
}

// Close gives the room's share of the targets' limits back.
func (r *room) Close() error {
	r.deps.Rooms.Close(r.at.Of)
	return nil
}

// pack is one record under way. Two promises keep it undone: its answer, which
// goes out at the quorum, and its stragglers. The answer rides on a promise
// because what is not in the log must come again.
type pack struct {
	id     vault.PackID
	msg    *schemas.PackSealed
	answer *stage.Hold
	rest   *stage.Hold
}

// sealed takes one pack.
func (r *room) sealed(in *stage.In, m *schemas.PackSealed) error {
	id, err := check(m, r.deps.Writer.Vault().K)
	if err != nil {
		return stage.Refuse(err)
	}
	in.Committed(func() {
		if err := r.deps.Sealed.Remove(m.Blob); err != nil {
			r.env.Log.Warn("a sealed pack stays until it is swept", "pack", id, "err", err)
		}
	})
	p := &pack{id, m, in.Hold(), in.Hold()}
	in.Go(func(ctx context.Context) func() {
		r.upload(ctx, p)
		return nil
	})
	return nil
}

// upload works until the pack is as durable as it gets now, or is lost, or the
// room ends: then the next one takes it up.
func (r *room) upload(ctx context.Context, p *pack) {
	landed, took, err := r.land(ctx, p)
	switch {
	case ctx.Err() != nil:
	case missing(err):
		p.answer.Release(r.lost(p.msg, err)...)
		p.rest.Release()
	case err != nil:
		r.at.Fail(err)
	default:
		p.answer.Release(append(r.rows(p.msg), r.landed(p.msg, landed.Redundancy(), took)...)...)
		select {
		case <-landed.Done():
			p.rest.Release()
		case <-ctx.Done():
		}
	}
}

// land brings the pack to a quorum of targets. It is one of at most AtOnce.
func (r *room) land(ctx context.Context, p *pack) (landed *vault.Landed, took time.Duration, err error) {
	select {
	case r.tokens <- struct{}{}:
		defer func() { <-r.tokens }()
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	began := r.env.Now()
	body, err := r.read(ctx, p.msg)
	if err != nil {
		return nil, 0, err
	}
	sums := p.msg.Blake3
	if k := r.deps.Writer.Vault().K; len(sums) != 32*k { // of a sealer of before
		if [32]byte(sums) != blake3.Sum256(body) {
			return nil, 0, fmt.Errorf("sealed %s: %w", p.msg.Blob, errDamaged)
		}
		sums = nil
	}
	landed, err = r.deps.Writer.PackLent(ctx, p.id, false, body, sums, func() { r.bodies.give(body) })
	if errors.Is(err, vault.ErrDamaged) {
		err = fmt.Errorf("sealed %s: %w: %w", p.msg.Blob, errDamaged, err)
	}
	return landed, r.env.Now().Sub(began), err
}

var errDamaged = errors.New("the sealed pack is damaged")

// missing reports whether a pack's bytes are gone for good, rather than out of reach.
func missing(err error) bool { return errors.Is(err, staging.ErrMissing) || errors.Is(err, errDamaged) }

// read reads a pack from the sealed area. Whether it is the one is found when its
// shards are hashed for their headers. A share that does not answer is waited for.
func (r *room) read(ctx context.Context, m *schemas.PackSealed) (b []byte, err error) {
	waits := backoff.NewExponentialBackOff(backoff.WithMaxInterval(readEvery), backoff.WithMaxElapsedTime(0))
	buf := r.bodies.take(int(m.SizeBytes))
	err = backoff.RetryNotify(func() error {
		if b, err = r.deps.Sealed.Read(m.Blob, buf); missing(err) {
			return backoff.Permanent(err)
		}
		return err
	}, backoff.WithContext(waits, ctx), func(err error, _ time.Duration) {
		r.env.Log.Warn("the sealed area does not answer", "blob", m.Blob, "err", err)
	})
	if err != nil {
		return nil, err
	}
	if len(b) != int(m.SizeBytes) {
		return nil, fmt.Errorf("sealed %s: %w: it has %d bytes, not %d", m.Blob, errDamaged, len(b), m.SizeBytes)
	}
	return b, nil
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
