//go:build synctests

package sim

import (
	"context"
	"encoding/binary"
	"path"

	"github.com/holdfast-backup/holdfast/libs/shard"
	"github.com/holdfast-backup/holdfast/libs/vault"
)

// seals reads every pack of the vault: no content key is in two, no counter seals
// two chunks of one, and no object was ever put again with other bytes.
func (w *world) seals() {
	for _, t := range w.targets {
		for _, key := range t.twice {
			w.check(false, 11, "object %s was put at %s again with other bytes", key, t.name)
		}
	}
	v, err := vault.Open(context.Background(), w.cold(nil))
	w.must(err)
	list, keys := v.Packs(false), map[any]vault.PackID{}
	for p := range list.All(context.Background()) {
		body := w.join(p.ID)
		if body == nil {
			continue
		}
		tail, more, err := vault.ReadPackTail(body, int64(len(body)), p.ID)
		if err != nil || more > 0 {
			w.check(false, 4, "pack %s: %v", p.ID, err)
			continue
		}
		own, err := tail.Keys(w.ring)
		w.check(err == nil, 11, "keys of pack %s: %v", p.ID, err)
		for _, k := range own {
			other, used := keys[k]
			w.check(!used, 11, "packs %s and %s are sealed with one key", other, p.ID)
			keys[k] = p.ID
		}
		entries, err := tail.Table(w.ring.Map)
		w.check(err == nil && len(entries) > 0, 4, "table of pack %s: %d entries, %v", p.ID, len(entries), err)
		counters := map[uint32]bool{}
		for _, e := range entries {
			n := binary.BigEndian.Uint32(body[e.Offset+2:]) // slot u8, codec u8, counter u32
			w.check(!counters[n], 11, "pack %s: counter %d seals two chunks", p.ID, n)
			counters[n] = true
		}
	}
	w.check(list.Err() == nil, 4, "packs are not listed: %v", list.Err())
}

// join puts a pack together from its data shards; nil: they are not all there.
func (w *world) join(id vault.PackID) (body []byte) {
	length := uint64(0)
	for i := range w.k {
		b, err := w.targets[i].store.Get(context.Background(), vault.ShardKey(id, false, uint8(i), 0), 0, -1)
		if err != nil {
			return nil
		}
		h, err := shard.ParseHeader(b)
		w.check(err == nil, 5, "shard %d of pack %s: %v", i, id, err)
		length = h.Length
		body = append(body, b[shard.HeaderBytes:]...)
	}
	return body[:length]
}

// gone restores every point with as many targets gone as it must bear: any q-k, and
// where every pack has all its shards, any m.
func (w *world) gone(points map[string]*vault.Point) {
	whole := w.wholeShards("packs/") && w.wholeShards("maps/")
	lost := w.rng.Perm(len(w.targets))[:1]
	if whole {
		lost = w.rng.Perm(len(w.targets))[:w.m]
	}
	r := w.coldReader(lost...)
	for path, p := range points {
		if err := w.same(r, p); err != nil {
			w.check(false, 2, "point %s without targets %v: %v", path, lost, err)
		}
	}
}

// wholeShards reports whether every target has its shard of every pack.
func (w *world) wholeShards(prefix string) bool {
	for _, t := range w.targets {
		for o, err := range t.store.List(context.Background(), prefix) {
			w.must(err)
			for i, u := range w.targets {
				if _, err := u.store.Stat(context.Background(), sprintf("%s/%d.g0", path.Dir(o.Key), i)); err != nil {
					return false
				}
			}
		}
	}
	return true
}
