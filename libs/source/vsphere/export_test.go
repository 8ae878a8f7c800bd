package vsphere

import (
	"context"
	"sort"
	"time"
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
