//go:build synctests

package sim

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/libs/shard"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
)

// witness looks at a record as it comes: what is said to be durable must be so at
// that moment. Objects are only added, so a look that comes late accuses nobody.
func (w *world) witness(m proto.Message) {
	switch m := m.(type) {
	case *schemas.ChunksStored:
		if p := m.GetPack(); p != nil {
			w.durable("chunks.stored", p.Pack, w.k+1)
		}
	case *schemas.ChunksLanded:
		for _, p := range m.GetPlaces().GetPacks() {
			w.durable("chunks.landed", p, w.k+1)
		}
	case *schemas.ChunksKnown:
		for _, p := range m.GetPlaces().GetPacks() {
			w.durable("chunks.known", p, w.k)
		}
	case *schemas.PageFiled:
		if p := m.GetPages(); p != nil && len(p.GetMapPack().GetId()) > 0 {
			id, err := vault.PackIDFromProto(p.MapPack)
			n := w.shards(id, true)
			w.check(err == nil && n >= w.k+1, 5, "pages are filed in map pack %s of %d shards, %d are needed", id, n, w.k+1)
		}
		if v := m.GetVerdict(); v.GetStatus() == schemas.Status_STATUS_COMPLETED {
			n := 0
			for _, t := range w.targets {
				if _, err := t.store.Stat(context.Background(), v.GetPoint().GetPath()); err == nil {
					n++
				}
			}
			w.check(n >= w.m+1, 1, "backup %s is judged completed, and %d targets have its point: %d must", schemas.IDText(v.GetRun().GetBackup()), n, w.m+1)
		}
	}
}

func (w *world) durable(where string, p *schemas.Pack, want int) {
	id, err := vault.PackIDFromProto(p)
	w.check(err == nil, 5, "%s names a pack: %v", where, err)
	n := w.shards(id, false)
	w.check(n >= want, 5, "%s names pack %s, which has %d sound shards: %d are needed", where, id, n, want)
}

// shards is how many targets hold a sound shard of a pack. Shards never change, so
// what was once counted whole is not counted again.
func (w *world) shards(id vault.PackID, maps bool) (n int) {
	w.mu.Lock()
	whole := w.whole[id]
	w.mu.Unlock()
	if whole {
		return len(w.targets)
	}
	for i, t := range w.targets {
		b, err := t.store.Get(context.Background(), vault.ShardKey(id, maps, uint8(i), 0), 0, -1)
		if err != nil {
			continue
		}
		h, err := shard.ParseHeader(b)
		if err == nil {
			err = h.Check(b[shard.HeaderBytes:])
		}
		w.check(err == nil, 5, "shard %d of pack %s: %v", i, id, err)
		n++
	}
	if n == len(w.targets) {
		w.mu.Lock()
		w.whole[id] = true
		w.mu.Unlock()
	}
	return n
}
