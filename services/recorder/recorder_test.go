//go:build synctests

package recorder

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/libs/ledger/ledgertest"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

const parts = 3

const usualSeeds = 50

// seeds are 50, or as many as SEEDS says.
func seeds() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("SEEDS"), 10, 64); err == nil {
		return n
	}
	return usualSeeds
}

// record is where a record lies.
type record struct {
	topic string
	part  uint16
	off   uint64
}

// sky is the weather over a ledger: a share of calls fails, each in its way, and
// while it is down all do.
type sky struct {
	down  atomic.Bool
	share atomic.Int64 // percent
	rng   *rand.Rand
	turn  chan struct{} // guards rng
}

func (s *sky) fault() ledgertest.Fault {
	if s.down.Load() {
		return ledgertest.Lost
	}
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.rng.Int64N(100) >= s.share.Load() {
		return ledgertest.None
	}
	return ledgertest.Fault(1 + s.rng.IntN(4))
}

// Goal: each record of a region's streams is in the ledger once, and each of its
// places once, whatever happens to us, to Kafka or to the ledger, over midnight,
// over outages that are longer than the ledger remembers tokens, and by clocks that
// are wrong by a day. Method: a
// whole Kafka and a ledger in virtual time, both faulty; members join, leave,
// crash, freeze and come back; then all is well, and rows are counted.
func TestEachRecordIsThereOnce(t *testing.T) {
	for seed := range seeds() {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			fake := &ledgertest.Fake{Slow: 40 * time.Millisecond}
			if seed%5 == 4 {
				fake.Slow = 5 * time.Second
			}
			w := &sky{rng: rand.New(rand.NewPCG(seed, 7)), turn: make(chan struct{}, 1)}
			w.share.Store(10)
			fake.Weather = w.fault
			stagetest.Run(t, seed, Stage(Config{}, Deps{Ledger: fake, Vault: "v"}), parts, func(b *stagetest.Bench) {
				w.turn = make(chan struct{}, 1) // of the bubble
				time.Sleep(24*time.Hour - 20*time.Second)
				b.Weather(0.03)
				sent := storm(b, w, fake)
				w.down.Store(false)
				w.share.Store(0)
				b.Weather(0)
				b.Join(0)
				if !b.Settled() {
					b.Dump(40)
					b.T.Fatal("it does not settle")
				}
				check(b.T, fake, sent)
			})
		})
	}
}

// storm sends records while members come and go, and says what rows each must
// become.
func storm(b *stagetest.Bench, w *sky, fake *ledgertest.Fake) map[record]int {
	sent := map[record]int{}
	up := []*stagetest.Member{b.Join(0.1)}
	var cut *stagetest.Member
	for range 10 {
		for range 5 {
			send(b, sent)
			time.Sleep(time.Duration(b.Rand.IntN(2000)) * time.Millisecond)
		}
		switch k := b.Rand.IntN(7); {
		case k == 0 && len(up) < 3 || len(up) == 0:
			b.Skew = []time.Duration{0, 0, -24 * time.Hour, 24 * time.Hour}[b.Rand.IntN(4)]
			up = append(up, b.Join(0.1))
		case k == 1:
			up[0].Leave()
			up = up[1:]
		case k == 2 || k == 3:
			up[0].Crash()
			up = up[1:]
		case k == 4 && cut == nil:
			cut = up[0]
			cut.Cut()
		case k == 5 && cut != nil:
			cut.Heal()
			cut = nil
		case k == 6:
			w.down.Store(!w.down.Load())
			if b.Rand.IntN(2) == 0 {
				time.Sleep(2 * tokenAge)
				fake.Forget()
			}
		}
		if cut != nil && (len(up) == 0 || cut != up[0]) {
			cut.Heal()
			cut = nil
		}
	}
	if cut != nil {
		cut.Heal()
	}
	return sent
}

// send puts a handful of records of all kinds on the bus.
func send(b *stagetest.Bench, sent map[record]int) {
	run := &schemas.Run{Backup: id(b.Rand, 16), Attempt: 1 + b.Rand.Uint32N(3), Lease: id(b.Rand, 16)}
	var events []topics.Event
	var rows []int
	for range 1 + b.Rand.IntN(20) {
		var e topics.Event
		places := 0
		switch b.Rand.IntN(5) {
		case 0, 1:
			m := filed(b.Rand, run)
			places = len(m.Known) + len(m.Runs)
			e = topics.PlacesFiled.Event(run.Backup, m)
		case 2:
			e = topics.BackupsLeased.Event(run.Backup, &schemas.BackupLeased{Run: run, Verb: schemas.BackupLeased_VERB_LEASED})
		case 3:
			e = topics.ChunksCut.Event(id(b.Rand, 4), &schemas.ChunksCut{Run: run})
		default:
			e = topics.PlacesFiled.Event(run.Backup, filed(b.Rand, run))
			e.Value = append(e.Value[:len(e.Value)-1:len(e.Value)-1], 0xff, 0xff) // torn
		}
		events, rows = append(events, e), append(rows, places)
	}
	for i, at := range b.Send(events...) {
		sent[record{events[i].Topic.Name, uint16(at.Part), uint64(at.Offset)}] = rows[i]
	}
}

func id(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func filed(rng *rand.Rand, run *schemas.Run) *schemas.PlacesFiled {
	n := 1 + rng.IntN(30)
	m := &schemas.PlacesFiled{Run: run, GridBytes: 64 << 10, Cut: &schemas.Places{Packs: []*schemas.Pack{{Id: id(rng, 16), Birth: 1}}, Ids: id(rng, n*idBytes)},
		Runs: []*schemas.PlaceRun{{First: 1000, Count: 64}}}
	for i := range n {
		m.Cut.Places = append(m.Cut.Places, uint64(i))
		m.Cut.Pack, m.Cut.Framed, m.Known = append(m.Cut.Pack, 0), append(m.Cut.Framed, 10), append(m.Known, byte(i%2))
	}
	return m
}

// check counts. What was sent twice by the bench's own weather is there too, so
// there may be more records than were sent, but none twice.
func check(t *testing.T, fake *ledgertest.Fake, sent map[record]int) {
	events := map[record]int{}
	fake.Each("stage_event", func(rows ledger.Rows, i int) {
		o := rows.Origin(i)
		events[record{o.Topic, o.Part, o.Offset}]++
	})
	places := map[record]int{}
	type place struct {
		record
		no uint64
	}
	each := map[place]int{}
	fake.Each("chunk_log", func(rows ledger.Rows, i int) {
		o := rows.Origin(i)
		at := record{o.Topic, o.Part, o.Offset}
		places[at]++
		each[place{at, rows.(ledger.Places)[i].Place}]++
	})
	for at, n := range sent {
		if events[at] != 1 {
			t.Errorf("%v is there %d times", at, events[at])
		}
		if places[at] != n {
			t.Errorf("%v has %d places, want %d", at, places[at], n)
		}
	}
	for at, n := range each {
		if n != 1 {
			t.Errorf("place %v is there %d times", at, n)
		}
	}
	for at, n := range events {
		if n != 1 {
			t.Errorf("%v, of the weather, is there %d times", at, n)
		}
	}
}

// The inventory comes from a table. What the ledger lost comes back at the next
// start, and a machine goes to the ledger from one room only.
func TestInventory(t *testing.T) {
	var ill atomic.Bool
	fake := &ledgertest.Fake{Slow: time.Millisecond, Weather: func() ledgertest.Fault {
		if ill.Load() {
			return ledgertest.Lost
		}
		return ledgertest.None
	}}
	stagetest.Run(t, 1, Stage(Config{}, Deps{Ledger: fake}), parts, func(b *stagetest.Bench) {
		found := func(source, id, name string, gone bool) topics.Event {
			return topics.MachinesFound.Event([]byte(source+"\n"+id), &schemas.MachineFound{AtMs: time.Now().UnixMilli(), Gone: gone,
				Machine: &schemas.Machine{Source: source, Id: id, Name: name}, Disks: []*schemas.FoundDisk{{SizeBytes: 5}, {SizeBytes: 6}}}).To(topics.KeyPart([]byte(source), parts))
		}
		b.Send(found("s1", "a", "A", false), found("s1", "", "", false), found("s2", "a", "B", false), topics.MachinesFound.Gone([]byte("s3\nx")).To(0))
		m := b.Join(0)
		time.Sleep(time.Minute)
		rows := func() (all []string) {
			fake.Each("machine", func(rows ledger.Rows, i int) {
				f := rows.(ledger.Founds)[i]
				all = append(all, fmt.Sprint(f.Machine, f.Disks, f.DiskBytes, f.Gone))
			})
			return all
		}
		if got := rows(); len(got) != 2 {
			b.T.Errorf("machines: %q", got)
		}
		ill.Store(true)
		b.Send(found("s1", "a", "A", true))
		time.Sleep(time.Minute)
		ill.Store(false)
		time.Sleep(time.Minute)
		if got := rows(); len(got) != 3 || got[2] != "{s1 a A}2 11 true" && got[2] != "{s1 a A} 2 11 true" {
			b.T.Errorf("after an outage: %q", got)
		}
		m.Leave()
		fake.Wipe()
		b.Join(0)
		time.Sleep(time.Minute)
		if got := rows(); len(got) != 2 {
			b.T.Errorf("after the ledger was lost: %q", got)
		}
	})
}

// A ledger that hangs stops nothing but us: we can still leave.
func TestLedgerThatHangs(t *testing.T) {
	fake := &ledgertest.Fake{Slow: 1000 * time.Hour}
	stagetest.Run(t, 1, Stage(Config{}, Deps{Ledger: fake}), parts, func(b *stagetest.Bench) {
		m := b.Join(0)
		b.Send(topics.ChunksCut.Event([]byte("k"), &schemas.ChunksCut{}))
		time.Sleep(time.Minute)
		began := time.Now()
		m.Leave()
		if took := time.Since(began); took > time.Minute {
			b.T.Errorf("leaving took %v", took)
		}
	})
}
