package vault

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/holdfast-backup/holdfast/libs/blob"
	"github.com/holdfast-backup/holdfast/libs/shard"
	"github.com/holdfast-backup/holdfast/schemas"
)

// Verified is what a look at the vault found.
type Verified struct {
	Points, Packs, MapPacks int
	Shards                  int       // that must be there
	Missing                 []Problem // a shard that its target does not have, or can't be asked for
	Damaged                 []Problem // a shard whose bytes are wrong (deep)
	Lost                    []Problem // what can't be restored
}

// Whole reports whether everything is as it was written.
func (v *Verified) Whole() bool { return len(v.Missing)+len(v.Damaged)+len(v.Lost) == 0 }

// Problem is one thing that is wrong, and where.
type Problem struct {
	Object string `json:"object"`
	Shard  int    `json:"shard"` // -1: not of one shard
	Target string `json:"target,omitempty"`
	Why    string `json:"why"`
}

// Verify looks for every shard of everything that the points name. deep reads
// and checks each shard, and opens each chunk where the ring can.
func (r *Reader) Verify(ctx context.Context, paths []string, deep bool) (*Verified, error) {
	found := &Verified{Points: len(paths)}
	packs, maps := map[PackID]bool{}, map[PackID]bool{}
	for _, path := range paths {
		p, err := r.Point(ctx, path)
		if err != nil {
			found.Lost = append(found.Lost, Problem{path, -1, "", err.Error()})
			continue
		}
		for _, m := range p.MapPacks {
			id, err := PackIDFromProto(m)
			if err != nil {
				return nil, fmt.Errorf("point %s: %w", path, err)
			}
			if maps[id] {
				continue
			}
			maps[id] = true
			heads, err := r.Heads(ctx, id)
			if err != nil {
				found.Lost = append(found.Lost, Problem{"map pack " + id.String(), -1, "", err.Error()})
			}
			for _, h := range heads {
				for _, use := range h.Packs {
					packs[use.Pack] = true
				}
			}
		}
		if deep && r.ring.Need(NameKey, PrivateKey) == nil {
			for _, f := range p.Files {
				if err := r.Restore(ctx, p, f, nowhere{}, RestoreOptions{}); err != nil {
					found.Lost = append(found.Lost, Problem{path + " " + f.Name, -1, "", err.Error()})
				}
			}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	found.Packs, found.MapPacks = len(packs), len(maps)
	found.Shards = (len(packs) + len(maps)) * r.v.N()
	for id := range packs {
		r.look(ctx, found, id, false, deep)
	}
	for id := range maps {
		r.look(ctx, found, id, true, deep)
	}
	return found, ctx.Err()
}

// look asks each target for its shard of one object.
func (r *Reader) look(ctx context.Context, found *Verified, id PackID, maps, deep bool) {
	sound := 0
	for n := range r.v.N() {
		err := r.lookShard(ctx, id, maps, n, deep)
		if err == nil {
			sound++
			continue
		}
		p := Problem{objectName(id, maps), n, r.v.Target(n), err.Error()}
		if errors.Is(err, ErrDamaged) || errors.Is(err, shard.ErrCorrupt) || !errors.Is(err, blob.ErrNotExist) && deep {
			found.Damaged = append(found.Damaged, p)
		} else {
			found.Missing = append(found.Missing, p)
		}
	}
	if sound < r.v.K {
		found.Lost = append(found.Lost, Problem{objectName(id, maps), -1, "", fmt.Sprintf("%d sound shards, %d are needed", sound, r.v.K)})
	}
}

func (r *Reader) lookShard(ctx context.Context, id PackID, maps bool, n int, deep bool) error {
	if deep {
		_, _, err := r.checked(ctx, id, maps, n)
		return err
	}
	store, err := r.v.Store(ctx, n)
	if err != nil {
		return err
	}
	_, err = store.Stat(ctx, ShardKey(id, maps, uint8(n), 0))
	if errors.Is(err, blob.ErrNotExist) {
		_, err = newestShard(ctx, store, id, maps, n)
	}
	return err
}

// nowhere is a sink for verifying.
type nowhere struct{}

func (nowhere) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }
func (nowhere) ReadAt([]byte, int64) (int, error)      { return 0, errors.New("nothing was kept") }

// FileOf returns the file of a point that has this name or key.
func FileOf(p *Point, name string) (*schemas.PointFile, error) {
	i := slices.IndexFunc(p.Files, func(f *schemas.PointFile) bool { return f.Name == name || f.Key == name })
	if i < 0 {
		names := make([]string, len(p.Files))
		for j, f := range p.Files {
			names[j] = f.Name
		}
		return nil, fmt.Errorf("the point has no file %q; it has %q", name, names)
	}
	return p.Files[i], nil
}
