package deduper

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/holdfast-backup/holdfast/libs/index"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// Goal: what the vault has is known, whatever is lost of index and log. Method:
// chunks are stored, the deduper stops, something goes, and a clone asks.
func TestLostIndexIsRebuiltFromTheVault(t *testing.T) {
	for name, lose := range map[string]func(*world, *kadm.Client) (stale bool){
		"index alone":         func(*world, *kadm.Client) bool { return false },
		"index, start of log": func(w *world, k *kadm.Client) bool { w.cutLog(k); return false },
		"index is of before the start of the log": func(w *world, k *kadm.Client) bool {
			w.pack(nil)
			w.control(1)
			w.cutLog(k)
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			bench(t, 1, func(int) int { return 0 }, func(w *world, d *disks) {
				w.turn(func(vault.PackID) bool { return false })
				m := w.b.Join(0)
				for extent := range 4 {
					w.ask(1, 1, uint64(extent), 4*extent, 4*extent+1, 4*extent+2, 4*extent+3)
				}
				w.drained(always('s'))
				m.Leave()
				cl, err := kgo.NewClient(w.b.Kafka(w.b.Dial)...)
				if err != nil {
					t.Fatal(err)
				}
				defer cl.Close()
				if stale := lose(w, kadm.NewClient(cl)); stale {
					d.give("member-1")
				}
				w.control(1)
				w.b.Join(0)
				w.ask(2, 1, 9, 0, 3, 5, 8, 15)
				time.Sleep(10 * time.Second)
				w.drained(func(f *schemas.ChunksFresh, _ uint64) byte {
					if string(f.Run.Backup) == string(uuid(2)) {
						t.Errorf("chunks %x are stored, and sent fresh", f.Refs.Ids)
					}
					return 's'
				})
			})
		})
	}
}

// cutLog removes all that chunks.stored holds, as retention does.
func (w *world) cutLog(k *kadm.Client) {
	to := kadm.Offsets{}
	for _, p := range w.b.Cluster.PartitionInfos(topics.ChunksStored.In(stagetest.Region)) {
		to.AddOffset(topics.ChunksStored.In(stagetest.Region), p.Partition, p.HighWatermark, -1)
	}
	if _, err := k.DeleteRecords(w.b.T.Context(), to); err != nil {
		w.b.T.Fatal(err)
	}
}

// plain is a room that no runner runs, over an index that was at an epoch.
func plain(t *testing.T, dir *index.Dir, epoch uint64) *room {
	t.Helper()
	part, err := dir.Part(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { part.Close() })
	if err := part.Begin([16]byte{1}, 0); err != nil {
		t.Fatal(err)
	}
	s := &shared{env: stage.Env{Now: time.Now, Log: slog.New(slog.DiscardHandler)}, dir: dir}
	r := &room{shared: s, at: &stage.Room{Of: 1}, part: part, claims: newClaims(), held: map[hold]*record{}}
	if epoch > 0 {
		if err := part.Apply(epoch, 0); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func controlRow(n uint64) []byte {
	return topics.ChunksStored.Event(nil, &schemas.ChunksStored{Row: &schemas.ChunksStored_Control{Control: n}}).Value
}

// An index that comes back after more than two epochs may have missed the mark
// of a pack, and the tombstone too: compaction removes both. Live, epochs may go
// as far as they will.
func TestIndexTooFarBehindIsThrownAway(t *testing.T) {
	for _, c := range []struct {
		at, newest uint64
		end        int64
		away       bool
	}{{5, 8, 1, true}, {5, 7, 1, false}, {5, 8, 0, false}, {0, 8, 1, false}} {
		r := plain(t, index.At(t.TempDir(), index.Options{}), c.at)
		from, err := r.begin(stage.Log{ID: [16]byte{1}, End: c.end})
		if err != nil || from != 0 {
			t.Fatal(from, err)
		}
		err = r.learn([]byte("epoch/8"), controlRow(c.newest), 0)
		_, whole := r.part.State()
		if thrown := err != nil && !whole; thrown != c.away || !thrown && r.part.Applied() != c.newest {
			t.Errorf("at %d, table at %d: thrown away %v, applied %d (%v)", c.at, c.newest, thrown, r.part.Applied(), err)
		}
	}
}

// An index of another generation of the table, or outside its log, begins anew;
// another is read on from where it stands.
func TestIndexMustBeOfItsLog(t *testing.T) {
	ours, other := [16]byte{1}, [16]byte{2}
	for _, c := range []struct {
		log   stage.Log
		from  int64
		whole bool
	}{
		{stage.Log{ID: ours, Start: 0, End: 200}, 100, true},
		{stage.Log{ID: ours, Start: 100, End: 100}, 100, true},
		{stage.Log{ID: ours, Start: 101, End: 200}, 101, false},
		{stage.Log{ID: ours, Start: 0, End: 99}, 0, false},
		{stage.Log{ID: other, Start: 0, End: 200}, 0, false},
	} {
		r := plain(t, index.At(t.TempDir(), index.Options{}), 0)
		if err := r.part.Apply(4, 100); err != nil {
			t.Fatal(err)
		}
		from, err := r.begin(c.log)
		s, _ := r.part.State()
		if err != nil || from != c.from || (s.Applied == 4) != c.whole || s.Topic != c.log.ID {
			t.Errorf("%+v: from %d, %+v, %v", c.log, from, s, err)
		}
	}
}

// A row that nobody can read may be a mark: the pack that its key names is forgotten.
func TestBadRowForgetsItsPack(t *testing.T) {
	good := &schemas.StoredPack{Pack: pack(1).Proto(), Ids: make([]byte, 32), Offsets: []uint32{1}, Framed: []uint32{2}}
	torn := &schemas.StoredPack{Pack: pack(1).Proto(), Ids: make([]byte, 31), Offsets: []uint32{1}, Framed: []uint32{2}}
	value := func(p *schemas.StoredPack) []byte {
		return topics.ChunksStored.Event(nil, &schemas.ChunksStored{Row: &schemas.ChunksStored_Pack{Pack: p}}).Value
	}
	key := pack(1).Key()
	for name, bad := range map[string][]byte{"not a message": {0xff}, "no row": {}, "columns differ": value(torn), "tombstone": nil} {
		r := plain(t, index.At(t.TempDir(), index.Options{}), 1)
		if err := r.learn(key[:], value(good), 0); err != nil {
			t.Fatal(err)
		}
		if _, known, _ := r.part.Find(make([]byte, 32)); !known {
			t.Fatal("a good row is not known")
		}
		if err := r.learn(key[:], bad, 1); err != nil {
			t.Fatal(err)
		}
		if _, known, _ := r.part.Find(make([]byte, 32)); known {
			t.Errorf("%s: the pack is still known", name)
		}
		if s, _ := r.part.State(); s.Next != 2 {
			t.Errorf("%s: the index stands at %d", name, s.Next)
		}
	}
}

func TestFalseCutsAreTold(t *testing.T) {
	id0, id1 := chunk(1), chunk(2)
	id1[3] = 1
	for _, c := range []struct {
		want string
		mar  func(*schemas.ChunksCut)
	}{
		{"", func(*schemas.ChunksCut) {}},
		{"lease", func(c *schemas.ChunksCut) { c.Run.Lease = nil }},
		{"no places", func(c *schemas.ChunksCut) { c.Refs = nil }},
		{"1 offsets", func(c *schemas.ChunksCut) { c.Refs.Places = append(c.Refs.Places, 1) }},
		{"belongs to partition 1", func(c *schemas.ChunksCut) { c.Refs.Ids = id1[:] }},
	} {
		cut := cutOf(1, 1, 1)
		cut.Refs.Ids = id0[:]
		c.mar(cut)
		err := wrong(cut, 0, 2)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("want %q, got %v", c.want, err)
		}
	}
}
