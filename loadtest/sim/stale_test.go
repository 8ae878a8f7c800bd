//go:build synctests

package sim

import (
	"crypto/rand"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// forged marks a record that no stage wrote: it proves nothing of them.
const forged = "sim-forged"

func poison(rec *kgo.Record) bool {
	return slices.ContainsFunc(rec.Headers, func(h kgo.RecordHeader) bool { return h.Key == forged })
}

// planOld: records come again, of this attempt, of an earlier one, of long ago.
func (w *world) planOld() {
	for range 3 + w.rng.IntN(10) {
		pick, many := w.rng.Uint64(), 1+w.rng.IntN(8)
		name := streams[pick%uint64(len(streams))]
		w.plan(w.moment(), func() {
			w.scribe.mu.Lock()
			recs := w.scribe.records[name.Name]
			w.scribe.mu.Unlock()
			for i := range many {
				if len(recs) > 0 {
					rec := recs[(pick>>8+uint64(i)*7919)%uint64(len(recs))]
					w.again(name, rec.Key, rec.Value, rec.Partition)
				}
			}
		}, "%d old records of %s come again", many, name.Name)
	}
}

// streams are those of a region.
var streams = func() (all []topics.Spec) {
	for _, s := range topics.All() {
		if s.Kind == topics.Stream {
			all = append(all, s)
		}
	}
	return all
}()

func (w *world) again(s topics.Spec, key, value []byte, part int32) {
	w.kafka.send(topics.Event{Topic: s, Key: key, Value: value, Part: part, Headers: map[string]string{forged: "1"}})
}

// planZombies: a deduper that slept through an epoch answers from its old index,
// with packs that are long deleted.
func (w *world) planZombies() {
	for range 30 {
		pick := w.rng.Uint64()
		w.plan(w.between(time.Second, faulty), func() {
			cuts := all(w.scribe, topics.ChunksCut)
			if len(cuts) == 0 {
				return
			}
			c := cuts[len(cuts)-1-int(pick%uint64(min(4, len(cuts))))]
			n := len(c.Refs.GetPlaces())
			gone := &schemas.Pack{Birth: c.Run.Epoch, Id: make([]byte, 16)}
			rand.Read(gone.Id)
			k := &schemas.ChunksKnown{Run: c.Run, Judged: c.Run.Epoch - 1, File: c.File, Extent: c.Extent, Places: &schemas.Places{
				Places: c.Refs.GetPlaces(), Ids: c.Refs.GetIds(), Packs: []*schemas.Pack{gone}, Pack: make([]uint32, n),
				Offsets: make([]uint32, n), Framed: slices.Repeat([]uint32{100}, n), Lengths: c.Refs.GetLengths()}}
			b, err := proto.Marshal(k)
			w.must(err)
			w.again(topics.ChunksKnown.Spec, c.Run.Backup, b, -1)
		}, "a deduper of an older epoch answers")
	}
}

// planPoison: what nobody can read, or nobody should: noise in every stream, and
// in what anybody may write.
func (w *world) planPoison() {
	public := []topics.Spec{topics.BackupsRequested.Spec, topics.RestoresRequested.Spec}
	for _, s := range slices.Concat(streams, public) {
		noise := make([]byte, w.rng.IntN(60))
		for i := range noise {
			noise[i] = byte(w.rng.Uint32())
		}
		part := w.rng.Int32N(2)
		w.plan(w.moment(), func() { w.again(s, noise[:len(noise)/2], noise, part) }, "%d bytes of noise in %s/%d", len(noise), s.Name, part)
	}
}
