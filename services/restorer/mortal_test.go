//go:build synctests

package restorer

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/source/sourcetest"
)

// mortal is a source as one process sees it: dead processes are not heard, whatever
// they would put in order on their way out.
type mortal struct {
	*sourcetest.Fake
	dead *atomic.Bool
}

var errDead = errors.New("the process is dead")

func (m mortal) heard() error {
	if m.dead.Load() {
		return errDead
	}
	return nil
}

func (m mortal) EndReturn(ctx context.Context, o source.Return) (*source.Returned, error) {
	if err := m.heard(); err != nil {
		return nil, err
	}
	return m.Fake.EndReturn(ctx, o)
}

func (m mortal) Return(ctx context.Context, o source.Return) (source.Returning, error) {
	if err := m.heard(); err != nil {
		return nil, err
	}
	r, err := m.Fake.Return(ctx, o)
	if err != nil {
		return nil, err
	}
	return mortalReturning{r, m}, nil
}

type mortalReturning struct {
	source.Returning
	m mortal
}

func (r mortalReturning) Abort(ctx context.Context) error {
	if err := r.m.heard(); err != nil {
		return err
	}
	return r.Returning.Abort(ctx)
}

func (r mortalReturning) Finish(ctx context.Context) (*source.Returned, error) {
	if err := r.m.heard(); err != nil {
		return nil, err
	}
	return r.Returning.Finish(ctx)
}
