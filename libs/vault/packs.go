package vault

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/holdfast-backup/holdfast/libs/blob"
)

// Listed is what the targets say they hold of one pack.
type Listed struct {
	ID     PackID
	Shards []ListedShard // by number, of one number the newest generation first
}

// ListedShard is one shard on one target. Its name is all that is known of it.
type ListedShard struct {
	N, Gen uint8
	Target int
	Size   int64 // with its header
}

// Sound is how many different shards are listed.
func (l Listed) Sound() (n int) {
	for i, s := range l.Shards {
		if i == 0 || l.Shards[i-1].N != s.N {
			n++
		}
	}
	return n
}

// Listing is a walk over all packs, or all map packs, of a vault.
type Listing struct {
	v    *Vault
	dir  string
	errs []error // by target
	err  error
}

// Packs prepares a walk. Nothing is read before All.
func (v *Vault) Packs(mapPacks bool) *Listing {
	l := &Listing{v: v, dir: packsDir, errs: make([]error, len(v.slots))}
	if mapPacks {
		l.dir = mapsDir
	}
	return l
}

// All yields every pack of which any target lists a shard, in one order that is
// the same in each walk. It holds one object of each target in memory. A target
// that fails is left out from there on; when fewer than k are left the walk
// ends. Ask Err, and, before a shard that is not listed is called missing, Down.
func (l *Listing) All(ctx context.Context) iter.Seq[Listed] {
	return func(yield func(Listed) bool) {
		heads := make([]*head, 0, len(l.v.slots))
		defer func() {
			for _, h := range heads {
				h.stop()
			}
		}()
		for i := range l.v.slots {
			if h := l.begin(ctx, i); h != nil {
				heads = append(heads, h)
			}
		}
		for l.enough() {
			first := (*head)(nil)
			for _, h := range heads {
				if h.ok && (first == nil || h.dir < first.dir) {
					first = h
				}
			}
			if first == nil {
				return
			}
			out := Listed{ID: first.id}
			for dir, i := first.dir, 0; i < len(heads); i++ {
				for h := heads[i]; h.ok && h.dir == dir; h.next(l) {
					out.Shards = append(out.Shards, h.shard)
				}
			}
			slices.SortStableFunc(out.Shards, func(a, b ListedShard) int {
				if a.N != b.N {
					return int(a.N) - int(b.N)
				}
				return int(b.Gen) - int(a.Gen)
			})
			if l.enough() && !yield(out) {
				return
			}
		}
	}
}

// Err is why the walk ended before its end, if it did.
func (l *Listing) Err() error { return l.err }

// Down is why target n was not listed to its end, or nil if it was.
func (l *Listing) Down(n int) error { return l.errs[n] }

func (l *Listing) begin(ctx context.Context, target int) *head {
	store, err := l.v.Store(ctx, target)
	if err != nil {
		l.errs[target] = err
		return nil
	}
	h := &head{target: target, ok: true}
	h.pull, h.stop = iter.Pull2(store.List(ctx, l.dir))
	h.next(l)
	return h
}

func (l *Listing) enough() bool {
	up := 0
	for _, err := range l.errs {
		if err == nil {
			up++
		}
	}
	if up < l.v.K {
		l.err = fmt.Errorf("list %s: %w: %d, %d are needed: %w", l.dir, ErrTooFew, up, l.v.K, errors.Join(l.errs...))
	}
	return l.err == nil
}

// head is where one target's listing stands.
type head struct {
	target int
	pull   func() (blob.Info, error, bool)
	stop   func()
	ok     bool
	id     PackID
	dir    string // what the keys of one pack share; targets list in its order
	shard  ListedShard
}

// next goes to the next shard. What has no name of ours is passed over: a
// folder has lost+found, and worse.
func (h *head) next(l *Listing) {
	for {
		i, err, ok := h.pull()
		if err != nil {
			l.errs[h.target] = l.v.slots[h.target].fault(err)
		}
		if h.ok = ok && err == nil; !h.ok {
			return
		}
		id, _, rest, err := PackIDFromObject(i.Key)
		if err != nil {
			continue
		}
		if n, gen, ok := parseShardName(rest); ok {
			h.id, h.dir = id, strings.TrimSuffix(i.Key, rest)
			h.shard = ListedShard{n, gen, h.target, i.Size}
			return
		}
	}
}

// ShardKey names shard n of a pack or map pack, in one generation.
func ShardKey(id PackID, mapPack bool, n, gen uint8) string {
	prefix := id.Prefix()
	if mapPack {
		prefix = id.MapPrefix()
	}
	return prefix + strconv.Itoa(int(n)) + ".g" + strconv.Itoa(int(gen))
}

// parseShardName reads "<n>.g<gen>" in its one spelling.
func parseShardName(s string) (n, gen uint8, ok bool) {
	a, b, _ := strings.Cut(s, ".g")
	x, err := strconv.ParseUint(a, 10, 8)
	y, err2 := strconv.ParseUint(b, 10, 8)
	if err != nil || err2 != nil || s != strconv.FormatUint(x, 10)+".g"+strconv.FormatUint(y, 10) {
		return 0, 0, false
	}
	return uint8(x), uint8(y), true
}
