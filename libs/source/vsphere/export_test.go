package vsphere

import (
	"context"
	"sort"
	"time"

	"github.com/holdfast-backup/holdfast/libs/source"
)

// Hurry makes tries to quiesce follow each other at once.
func (s *Source) Hurry() { s.pause = time.Millisecond }

// Keys are the keys of a machine's disks, by device.
func (s *Source) Keys(ctx context.Context, id string) ([]string, error) {
	m, err := s.find(ctx, id)
	if err != nil {
		return nil, err
	}
	all := disksOf(m.mo.Config.Hardware.Device)
	sort.Slice(all, func(i, j int) bool { return all[i].device < all[j].device })
	var keys []string
	for _, x := range all {
		keys = append(keys, x.key)
	}
	return keys, nil
}

// PrepareAt is Prepare where the machine's reference has come to name another one.
func (s *Source) PrepareAt(ctx context.Context, o source.Order, other string) (source.Snapshot, error) {
	m, err := s.find(ctx, o.Machine)
	if err != nil {
		return nil, err
	}
	at, err := s.find(ctx, other)
	if err != nil {
		return nil, err
	}
	m.ref = at.ref
	return m.prepare(ctx, o)
}

// Swap makes what a knows of its machine and snapshot that of b.
func Swap(a, b source.Snapshot) {
	x, y := a.(*snapshot), b.(*snapshot)
	x.m.ref, x.node = y.m.ref, y.node
}
