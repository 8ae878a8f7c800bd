package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/holdfast-backup/holdfast/libs/blob"
	"github.com/holdfast-backup/holdfast/libs/shard"
)

// length asks the shards of an object, one after another, how long it is.
func (r *Reader) length(ctx context.Context, id PackID, maps bool) (int64, error) {
	if n, ok := r.lengths.Get(id); ok {
		return n, nil
	}
	var errs []error
	for _, n := range r.order() {
		b, err := r.shard(ctx, id, maps, n, 0, shard.HeaderBytes)
		if err == nil {
			var h shard.Header
			if h, err = r.header(b, id, n); err == nil {
				r.lengths.Add(id, int64(h.Length))
				return int64(h.Length), nil
			}
		}
		errs = append(errs, fmt.Errorf("shard %d: %w", n, err))
	}
	return 0, fmt.Errorf("%s: %w", objectName(id, maps), errors.Join(errs...))
}

func (r *Reader) header(b []byte, id PackID, n int) (shard.Header, error) {
	h, err := shard.ParseHeader(b)
	if err != nil {
		return h, err
	}
	limit := uint64(PackMax)
	if h.Pack != id.Key() || int(h.N) != n || int(h.K) != r.v.K || int(h.M) != r.v.M || h.Length == 0 || h.Length > limit {
		return h, fmt.Errorf("%w: the header is of shard %d of another object, or another code", ErrDamaged, h.N)
	}
	return h, nil
}

// span reads a range of an object out of its data shards. The bytes are as the
// targets gave them: nothing is checked yet.
func (r *Reader) span(ctx context.Context, id PackID, maps bool, off, n int64) ([]byte, error) {
	if b, ok := r.wholes.Get(id); ok && off >= 0 && n >= 0 && off+n <= int64(len(b)) {
		return b[off : off+n], nil
	}
	size, err := r.length(ctx, id, maps)
	if err != nil {
		return nil, err
	}
	if off < 0 || n < 0 || off+n > size {
		return nil, fmt.Errorf("%s: %w: bytes %d to %d of %d", objectName(id, maps), ErrDamaged, off, off+n, size)
	}
	per := int64(r.code.ShardBytes(int(size)))
	var out []byte
	for n > 0 {
		i, at := off/per, off%per
		part := min(n, per-at)
		if s := r.v.slots[i]; !s.speaks() {
			return nil, fmt.Errorf("%s: shard %d: %w", objectName(id, maps), i, s.fault(errSilent))
		}
		b, err := r.shard(ctx, id, maps, int(i), shard.HeaderBytes+at, part)
		if err != nil {
			return nil, fmt.Errorf("%s: shard %d: %w", objectName(id, maps), i, err)
		}
		if out == nil && part == n {
			return b, nil
		}
		out = append(out, b...)
		off, n = off+part, n-part
	}
	return out, nil
}

// shard reads a range of shard n, header included, from the newest generation
// that its target has; n < 0 is all of it.
func (r *Reader) shard(ctx context.Context, id PackID, maps bool, no int, off, n int64) (b []byte, err error) {
	defer func() { r.v.slots[no].heard(ctx, err) }()
	store, err := r.v.Store(ctx, no)
	if err != nil {
		return nil, err
	}
	b, err = store.Get(ctx, ShardKey(id, maps, uint8(no), 0), off, n)
	if !errors.Is(err, blob.ErrNotExist) {
		return b, err
	}
	key, err := newestShard(ctx, store, id, maps, no)
	if err != nil {
		return nil, err
	}
	return store.Get(ctx, key, off, n)
}

// newestShard looks for a mended shard, which has a generation above 0.
func newestShard(ctx context.Context, store blob.Store, id PackID, maps bool, no int) (key string, err error) {
	prefix := strings.TrimSuffix(ShardKey(id, maps, uint8(no), 0), "0")
	for i, err := range store.List(ctx, prefix) {
		if err != nil {
			return "", err
		}
		if key == "" || len(i.Key) > len(key) || len(i.Key) == len(key) && i.Key > key {
			key = i.Key
		}
	}
	if key == "" {
		return "", errAbsent
	}
	return key, nil
}

// whole puts an object together from k shards whose hashes are right.
func (r *Reader) whole(ctx context.Context, id PackID, maps bool) ([]byte, error) {
	if b, ok := r.wholes.Get(id); ok {
		return b, nil
	}
	shards := make([][]byte, r.v.N())
	var errs []error
	var size uint64
	have := 0
	for _, n := range r.order() {
		if have == r.v.K {
			break
		}
		h, payload, err := r.checked(ctx, id, maps, n)
		if err != nil {
			errs = append(errs, fmt.Errorf("shard %d on target %s: %w", n, r.v.Target(n), err))
			continue
		}
		if have > 0 && h.Length != size {
			errs = append(errs, fmt.Errorf("shard %d on target %s: %w: its object has %d bytes, that of another shard %d", n, r.v.Target(n), ErrDamaged, h.Length, size))
			continue
		}
		shards[n], size = payload, h.Length
		have++
	}
	if have < r.v.K {
		return nil, fmt.Errorf("%s: %d sound shards, %d are needed: %w", objectName(id, maps), have, r.v.K, errors.Join(errs...))
	}
	if err := r.code.RebuildData(shards); err != nil {
		return nil, fmt.Errorf("%s: rebuild: %w", objectName(id, maps), err)
	}
	b, err := r.code.Join(make([]byte, 0, size), shards, int(size))
	if err != nil {
		return nil, fmt.Errorf("%s: join: %w", objectName(id, maps), err)
	}
	r.wholes.Add(id, b)
	return b, nil
}

// checked reads one shard whole and checks it against its header.
func (r *Reader) checked(ctx context.Context, id PackID, maps bool, n int) (shard.Header, []byte, error) {
	b, err := r.shard(ctx, id, maps, n, 0, -1)
	if err != nil {
		return shard.Header{}, nil, err
	}
	h, err := r.header(b, id, n)
	if err != nil {
		return h, nil, err
	}
	return h, b[shard.HeaderBytes:], h.Check(b[shard.HeaderBytes:])
}
