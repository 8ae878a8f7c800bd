package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/holdfast-backup/holdfast/libs/blob"
	"github.com/holdfast-backup/holdfast/libs/shard"
)

// Reader reads points and what they name. It needs the map key; to read content
// it needs the name key and the private half too. Every byte that it returns was
// authenticated. It may be used by many goroutines.
type Reader struct {
	v    *Vault
	ring *Ring
	code *shard.Code

	lengths *lru.Cache[PackID, int64]    // of packs and map packs
	keys    *lru.Cache[PackID, PackKeys] // a decapsulation each
	tails   *lru.Cache[PackID, *MapTail]
	wholes  *lru.Cache[PackID, []byte] // rebuilt from other shards
}

// What a reader keeps: 24 + 8 bytes a length, about 100 a pack's keys, at most
// 1 MiB a map pack's tail (20 KiB of a full one), 16 MiB a rebuilt pack.
const (
	lengthsKept = 1 << 16
	keysKept    = 1 << 14
	tailsKept   = 256
	wholesKept  = 8
)

// Reader returns a reader of v that holds the keys of ring.
func (v *Vault) Reader(ring *Ring) (*Reader, error) {
	if err := ring.Need(MapKey); err != nil {
		return nil, fmt.Errorf("reader of vault %s: %w", v, err)
	}
	code, err := shard.New(v.K, v.M)
	if err != nil {
		return nil, fmt.Errorf("reader of vault %s: %w", v, err)
	}
	r := &Reader{v: v, ring: ring, code: code}
	r.lengths, _ = lru.New[PackID, int64](lengthsKept) // the only error is a size below one
	r.keys, _ = lru.New[PackID, PackKeys](keysKept)
	r.tails, _ = lru.New[PackID, *MapTail](tailsKept)
	r.wholes, _ = lru.New[PackID, []byte](wholesKept)
	return r, nil
}

// Points lists the paths of all points, from the union of k targets or more.
func (r *Reader) Points(ctx context.Context) ([]string, error) { return r.v.ListSmall(ctx, PointsDir) }

// Point reads one point. blob.ErrNotExist: there is none at that path.
// ErrDamaged: no copy is sound, or it is of another map key.
func (r *Reader) Point(ctx context.Context, path string) (*Point, error) {
	if !strings.HasPrefix(path, PointsDir) {
		return nil, fmt.Errorf("point %q: a path of a point begins with %s", path, PointsDir)
	}
	b, err := r.v.SmallSound(ctx, path, func(b []byte) error {
		p, err := DecodePoint(r.ring.Map, b)
		if err != nil {
			return err
		}
		at, err := PathOf(r.ring.Map, p)
		if err == nil && at != path {
			err = fmt.Errorf("%w: it is the point of %s", ErrDamaged, at)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return DecodePoint(r.ring.Map, b)
}

// Pages reads the pages in some slots of a map pack, in the order of slots.
func (r *Reader) Pages(ctx context.Context, id PackID, slots []uint32) ([]Page, error) {
	if len(slots) == 0 {
		return nil, nil
	}
	t, err := r.tail(ctx, id)
	if err != nil {
		return nil, err
	}
	pages := make([]Page, len(slots))
	for i := 0; i < len(slots); { // neighbours in one read
		j := i + 1
		for j < len(slots) && slots[j] == slots[j-1]+1 && j-i < pagesAtOnce {
			j++
		}
		from, _, err := t.Slot(slots[i])
		if err != nil {
			return nil, err
		}
		last, n, err := t.Slot(slots[j-1])
		if err != nil {
			return nil, err
		}
		span := last + n - from
		open := func(b []byte) error {
			for k := i; k < j; k++ {
				off, n, err := t.Slot(slots[k])
				if err != nil {
					return err
				}
				if pages[k], err = t.Open(slots[k], b[off-from:off-from+n]); err != nil {
					return err
				}
			}
			return nil
		}
		if err := r.sound(ctx, id, true, from, span, open); err != nil {
			return nil, err
		}
		i = j
	}
	return pages, nil
}

// pagesAtOnce bounds one read of a map pack: 512 full pages are 1.4 MiB.
const pagesAtOnce = 512

// Heads reads the heads of all pages of a map pack: which packs they name.
func (r *Reader) Heads(ctx context.Context, id PackID) (heads []PageHead, err error) {
	t, err := r.tail(ctx, id)
	if err != nil {
		return nil, err
	}
	off, n := t.Heads()
	err = r.sound(ctx, id, true, off, n, func(b []byte) error {
		heads, err = t.OpenHeads(b)
		return err
	})
	return heads, err
}

func (r *Reader) tail(ctx context.Context, id PackID) (*MapTail, error) {
	if t, ok := r.tails.Get(id); ok {
		return t, nil
	}
	var t *MapTail
	err := r.end(ctx, id, true, func(end []byte, size int64) (more int64, err error) {
		t, more, err = ReadMapTail(r.ring.Map, end, size, id)
		return more, err
	})
	if err == nil {
		r.tails.Add(id, t)
	}
	return t, err
}

// PackTable reads which chunks a pack holds. It needs the map key alone.
func (r *Reader) PackTable(ctx context.Context, id PackID) (entries []Entry, err error) {
	err = r.end(ctx, id, false, func(end []byte, size int64) (int64, error) {
		t, more, err := ReadPackTail(end, size, id)
		if err != nil || more > 0 {
			return more, err
		}
		entries, err = t.Table(r.ring.Map)
		return 0, err
	})
	return entries, err
}

func (r *Reader) packKeys(ctx context.Context, id PackID) (keys PackKeys, err error) {
	if keys, ok := r.keys.Get(id); ok {
		return keys, nil
	}
	err = r.end(ctx, id, false, func(end []byte, size int64) (int64, error) {
		t, more, err := ReadPackTail(end, size, id)
		if err != nil || more > 0 {
			return more, err
		}
		keys, err = t.Keys(r.ring)
		return 0, err
	})
	if err == nil {
		r.keys.Add(id, keys)
	}
	return keys, err
}

// end gives f the last bytes of an object, and more of them if f asks.
func (r *Reader) end(ctx context.Context, id PackID, maps bool, f func(end []byte, size int64) (more int64, err error)) error {
	size, err := r.length(ctx, id, maps)
	if err != nil {
		return err
	}
	for n := min(size, TailHint); ; {
		var more int64
		err := r.sound(ctx, id, maps, size-n, n, func(b []byte) (err error) {
			more, err = f(b, size)
			return err
		})
		if err != nil || more <= n {
			return err
		}
		n = more
	}
}

// sound reads a range and has f open it. Where the range can't be read, or f
// finds it damaged, the whole object is put together from k checked shards and
// f is asked again: what is wrong then is beyond repair.
func (r *Reader) sound(ctx context.Context, id PackID, maps bool, off, n int64, f func([]byte) error) error {
	b, err := r.span(ctx, id, maps, off, n)
	if err == nil {
		if err = f(b); err == nil || !curable(err) {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	whole, bad := r.whole(ctx, id, maps)
	if bad != nil {
		return errors.Join(err, bad)
	}
	if off < 0 || n < 0 || off+n > int64(len(whole)) {
		return fmt.Errorf("%s: %w: bytes %d to %d of %d", objectName(id, maps), ErrDamaged, off, off+n, len(whole))
	}
	return f(whole[off : off+n])
}

// curable reports whether other shards may help.
func curable(err error) bool {
	_, sink := errors.AsType[sinkError](err)
	return !sink && !errors.Is(err, ErrWrongKey) && !errors.Is(err, ErrNoKey)
}

func objectName(id PackID, maps bool) string {
	if maps {
		return "map pack " + id.String()
	}
	return "pack " + id.String()
}

var errAbsent = fmt.Errorf("no shard is there: %w", blob.ErrNotExist)
