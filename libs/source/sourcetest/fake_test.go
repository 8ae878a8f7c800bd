package sourcetest_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/source/sourcetest"
)

func TestFake(t *testing.T) {
	for name, tracks := range map[string]bool{"tracking": true, "plain": false} {
		t.Run(name, func(t *testing.T) {
			sourcetest.Run(t, func(t *testing.T) sourcetest.World {
				f := sourcetest.NewFake(1)
				f.Tracks = tracks
				return sourcetest.World{Source: f, Set: f.Set, Destroy: f.Destroy, Left: f.Snapshots}
			})
		})
	}
}

func TestFakeDestination(t *testing.T) {
	for name, whole := range map[string]bool{"ranges": false, "whole disks": true} {
		t.Run(name, func(t *testing.T) {
			sourcetest.RunDestination(t, func(t *testing.T) sourcetest.DestinationWorld {
				f := sourcetest.NewFake(1)
				f.WholeDisks = whole
				disk := func(id string, n int) (string, []byte) {
					all := f.Disks(id)
					key := slices.Sorted(maps.Keys(all))[n]
					return key, all[key]
				}
				return sourcetest.DestinationWorld{Destination: f, Remove: f.Destroy, Machines: f.Machines,
					Add: func(name string, sizes ...int) source.Return {
						o := source.Return{Machine: name}
						for n, size := range sizes {
							key := fmt.Sprint("disk", n)
							f.Set(name, key, make([]byte, size))
							o.Files = append(o.Files, source.File{Key: key, Name: key, Size: int64(size)})
						}
						return o
					},
					Bytes: func(id string, n int) []byte { _, b := disk(id, n); return b },
					Write: func(id string, n int, off int64, b []byte) {
						key, now := disk(id, n)
						copy(now[off:], b)
						f.Set(id, key, now)
					}}
			})
		})
	}
}
