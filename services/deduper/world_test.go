package deduper

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// world is all that surrounds the deduper: whoever cuts, stores, loses, and
// condemns. It is too simple to be wrong and remembers everything.
type world struct {
	b     *stagetest.Bench
	parts int32
	packs // the vault, for rebuilds

	epoch     uint64
	packsMade int
	condemned map[vault.PackID]uint64       // in which epoch
	rows      []topics.Event                // every row ever sent, to be repeated
	done      map[string]bool               // fresh places that are stored, dropped or lost
	stored    map[cut.ID]int                // how often
	asked     map[stagetest.Sent][]askedRef // cut records by where they are
}

type askedRef struct {
	id    cut.ID
	where string // lease, extent, place
	epoch uint64
}

func newWorld(b *stagetest.Bench, parts int32) *world {
	w := &world{b: b, parts: parts, condemned: map[vault.PackID]uint64{}, done: map[string]bool{}, stored: map[cut.ID]int{},
		asked: map[stagetest.Sent][]askedRef{}}
	w.packs.lost = map[vault.PackID]bool{}
	w.tables = map[vault.PackID][]vault.Entry{}
	return w
}

func where(run *schemas.Run, extent, place uint64) string {
	return fmt.Sprintf("%x/%d/%d", run.Lease, extent, place)
}

// spread is the id of chunk n, of whichever partition n falls to.
func (w *world) spread(n int) cut.ID {
	id := chunk(n)
	id[3] = byte(n % int(w.parts))
	return id
}

// ask cuts an extent: one record for each partition that has a chunk of it.
func (w *world) ask(backup, attempt int, extent uint64, chunks ...int) {
	for part := range w.parts {
		c := &schemas.ChunksCut{Run: &schemas.Run{Backup: uuid(backup), Attempt: uint32(attempt), Lease: uuid(1000*backup + attempt), Epoch: w.epoch},
			Extent: extent, Blob: "l/b", Refs: &schemas.Refs{}}
		var refs []askedRef
		for place, n := range chunks {
			id := w.spread(n)
			if topics.ChunkPart(id[:], w.parts) != part {
				continue
			}
			c.Refs.Ids, c.Refs.Places = append(c.Refs.Ids, id[:]...), append(c.Refs.Places, uint64(place))
			c.Refs.Offsets, c.Refs.Lengths = append(c.Refs.Offsets, uint32(place)), append(c.Refs.Lengths, 1)
			refs = append(refs, askedRef{id, where(c.Run, extent, uint64(place)), w.epoch})
		}
		if len(refs) > 0 {
			key := topics.ExtentKey(c.Run.Backup, 0, extent)
			w.asked[w.b.Send(topics.ChunksCut.Event(key, c).To(part))[0]] = refs
		}
	}
}

// pack stores places in one pack of the current epoch: durable first, then rows.
func (w *world) pack(ids []cut.ID) {
	w.packsMade++
	id := vault.PackID{Birth: w.epoch, ID: [16]byte(uuid(w.packsMade))}
	entries := make([]vault.Entry, len(ids))
	rows := make([]schemas.StoredPack, w.parts)
	for i, c := range ids {
		entries[i] = vault.Entry{ID: c, Offset: uint32(i), Framed: 7}
		r := &rows[topics.ChunkPart(c[:], w.parts)]
		r.Ids, r.Offsets, r.Framed = append(r.Ids, c[:]...), append(r.Offsets, uint32(i)), append(r.Framed, 7)
		w.stored[c]++
	}
	w.add(id, entries...)
	key := id.Key()
	for part := range w.parts {
		if r := &rows[part]; len(r.Offsets) > 0 {
			r.Pack = id.Proto()
			e := topics.ChunksStored.Event(key[:], &schemas.ChunksStored{Row: &schemas.ChunksStored_Pack{Pack: r}}).To(part)
			w.rows = append(w.rows, e)
			w.b.Send(e)
		}
	}
}

// work takes up to most fresh places that are still to do. What fate says of
// each: 's' stored, 'd' dropped and told, 'l' lost without a word.
func (w *world) work(most int, fate func(*schemas.ChunksFresh, uint64) byte) (n int) {
	var ids []cut.ID
	for _, f := range stagetest.Read(w.b, topics.ChunksFresh) {
		for i, place := range f.Refs.Places {
			at, id := where(f.Run, f.Extent, place), cut.ID(f.Refs.Ids[32*i:])
			if w.done[at] || n == most {
				continue
			}
			w.done[at] = true
			n++
			switch fate(f, place) {
			case 's':
				ids = append(ids, id)
			case 'd':
				d := &schemas.ChunksDropped{Run: f.Run, File: f.File, Extent: f.Extent, Places: []uint64{place}, Ids: id[:], Why: "gone"}
				w.b.Send(topics.ChunksDropped.Event(id[:], d).To(topics.ChunkPart(id[:], w.parts)))
			}
		}
	}
	if len(ids) > 0 {
		w.pack(ids)
	}
	return n
}

// turn opens the next epoch as the collector does: marks of it in every
// partition, then its control, and only then is anything leased in it.
func (w *world) turn(condemn func(vault.PackID) bool) {
	n := w.epoch + 1
	w.mu.Lock()
	var order []vault.PackID
	for _, id := range w.order {
		if w.condemned[id] == 0 && id.Birth+2 <= n && condemn(id) {
			w.condemned[id] = n
		} else {
			order = append(order, id)
		}
	}
	w.mu.Unlock()
	for id, in := range w.condemned {
		for part := range w.parts {
			key := id.Key()
			switch in {
			case n:
				w.b.Send(topics.ChunksStored.Event(key[:], &schemas.ChunksStored{Row: &schemas.ChunksStored_Mark{
					Mark: &schemas.CondemnedPack{Pack: id.Proto(), Epoch: n}}}).To(part))
			case n - 3: // its control n-1 is long acknowledged
				w.b.Send(topics.ChunksStored.Gone(key[:]).To(part))
			}
		}
	}
	w.control(n)
	w.mu.Lock()
	w.order = order // what an epoch condemns is not listed for a rebuild
	w.mu.Unlock()
	w.epoch = n
}

// repeat sends a row again, as an uploader does that has not heard of its commit:
// more often than not one of a condemned pack.
func (w *world) repeat() {
	var rows []topics.Event
	for _, e := range w.rows {
		if id, err := vault.PackIDFromKey(e.Key); err == nil && w.condemned[id] != 0 {
			rows = append(rows, e)
		}
	}
	if len(rows) == 0 || w.b.Rand.IntN(3) == 0 {
		rows = w.rows
	}
	if len(rows) > 0 {
		w.b.Send(rows[w.b.Rand.IntN(len(rows))])
	}
}

func (w *world) control(n uint64) {
	for part := range w.parts {
		w.b.Send(topics.ChunksStored.Event(fmt.Appendf(nil, "epoch/%d", n), &schemas.ChunksStored{Row: &schemas.ChunksStored_Control{Control: n}}).To(part))
	}
}

// check fails if an answer is false, or a record is committed before its places are answered.
func (w *world) check() {
	w.b.T.Helper()
	committed := w.b.Committed(topics.ChunksCut.Spec) // before the answers are read
	fresh, judged := map[string]bool{}, map[string]uint64{}
	for _, f := range stagetest.Read(w.b, topics.ChunksFresh) {
		for _, place := range f.Refs.Places {
			fresh[where(f.Run, f.Extent, place)] = true
		}
	}
	for _, k := range stagetest.Read(w.b, topics.ChunksKnown) {
		w.sound(k)
		for _, place := range k.Places.Places {
			at := where(k.Run, k.Extent, place)
			judged[at] = max(judged[at], k.Judged)
		}
	}
	for at, refs := range w.asked {
		if at.Offset >= committed[at.Part] {
			continue
		}
		for _, r := range refs {
			if !fresh[r.where] && (judged[r.where] == 0 || judged[r.where] < r.epoch) {
				w.b.T.Fatalf("%s of epoch %d at %v is committed (%d): fresh %v, judged %d", r.where, r.epoch, at, committed[at.Part], fresh[r.where], judged[r.where])
			}
		}
	}
}

// sound fails if a known place is not durable there, or was judged in an epoch
// that condemns its pack.
func (w *world) sound(k *schemas.ChunksKnown) {
	w.b.T.Helper()
	p := k.Places
	for i, place := range p.Places {
		id, err := vault.PackIDFromProto(p.Packs[p.Pack[i]])
		if err != nil {
			w.b.T.Fatal(err)
		}
		c := cut.ID(p.Ids[32*i:])
		w.mu.Lock()
		entries := w.tables[id]
		w.mu.Unlock()
		if int(p.Offsets[i]) >= len(entries) || entries[p.Offsets[i]].ID != c || p.Framed[i] != 7 {
			w.b.T.Fatalf("%s: chunk %s is called known in pack %s, which does not hold it there", where(k.Run, k.Extent, place), c, id)
		}
		if n := w.condemned[id]; n != 0 && n <= k.Judged {
			w.b.T.Fatalf("%s: pack %s was condemned in %d and called known by %d", where(k.Run, k.Extent, place), id, n, k.Judged)
		}
	}
}

// disks hands each process a directory for its index: a new one, or one that
// another left, however old; and takes it away.
type disks struct {
	mu   sync.Mutex
	base string
	n    int
	of   map[string]string // by worker
	left []string
}

func (d *disks) take(env stage.Env, pick func(int) int) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := pick(len(d.left) + 1)
	if i == len(d.left) {
		d.n++
		d.left = append(d.left, filepath.Join(d.base, fmt.Sprint(d.n)))
	}
	dir := d.left[i]
	d.left = append(d.left[:i], d.left[i+1:]...)
	d.of[env.Worker] = dir
	return dir
}

// give takes back what a process that is gone had, as it is or as it was.
func (d *disks) give(worker string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if dir, ok := d.of[worker]; ok {
		d.left = append(d.left, dir)
		delete(d.of, worker)
	}
}

// old keeps a copy of a directory that no one has, so that it comes back stale.
func (d *disks) old(pick func(n int) int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := pick(len(d.left) + 1)
	if i == len(d.left) {
		return nil
	}
	if _, err := os.Stat(d.left[i]); err != nil {
		return nil // its process never opened it
	}
	d.n++
	dir := filepath.Join(d.base, fmt.Sprint(d.n))
	if err := os.CopyFS(dir, os.DirFS(d.left[i])); err != nil {
		return err
	}
	d.left = append(d.left, dir)
	return nil
}
