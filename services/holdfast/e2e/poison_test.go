//go:build synctests

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/ledger/ledgertest"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
	"github.com/holdfast-backup/holdfast/services/holdfast/up"
	"github.com/holdfast-backup/holdfast/services/recorder"
	"github.com/holdfast-backup/holdfast/topics"
)

const (
	poisonParts = 2
	absurdEach  = 24 // absurd messages for each topic of each stage, and seed
)

// theRun is of a lease that everybody could know.
var theRun = &schemas.Run{Backup: bytes.Repeat([]byte{7}, 16), Attempt: 1, Lease: bytes.Repeat([]byte{8}, 16), Epoch: 1}

// Goal: poison in any topic stops nothing else: no panic, no room that ends, no input
// that is retried for ever; what is behind it is handled, and a good record has its
// effect. Method: every stage of the house, on a whole Kafka in virtual time, with
// every kind of poison in every stream and table that it reads; SEEDS=n for more.
func TestPoisonStopsNothing(t *testing.T) {
	u := lay(t, map[string]map[string][]byte{"vm": {"disk.img": noise(1, 1<<20)}})
	c, err := up.Configure(u.options(up.Options{Say: io.Discard, Log: slog.New(slog.DiscardHandler)}))
	u.must(err)
	u.must(up.FirstKeys(t.Context(), c, io.Discard))
	seeds, _ := strconv.Atoi(os.Getenv("SEEDS"))
	for _, s := range house.Catalogue {
		for seed := range uint64(max(seeds, 2)) {
			for _, st := range opened(t, c, s) {
				t.Run(fmt.Sprintf("%s/seed=%d", st.Name, seed), func(t *testing.T) {
					stagetest.Run(t, seed, st, poisonParts, func(b *stagetest.Bench) { poisoned(b, st, seed) })
				})
			}
		}
	}
}

// opened are the stages of a service with parts of their own; the recorder's ledger
// is one in memory.
func opened(t *testing.T, c *conf.Config, s house.Service) []stage.Stage {
	t.Helper()
	if s.Name == "recorder" {
		return []stage.Stage{recorder.Stage(recorder.Default(), recorder.Deps{Ledger: &ledgertest.Fake{}, Vault: "v"})}
	}
	p := house.NewParts(t.Context(), c, slog.New(slog.DiscardHandler))
	t.Cleanup(p.Close)
	all, err := s.Open(p)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func poisoned(b *stagetest.Bench, s stage.Stage, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 99))
	for _, table := range slices.Concat(s.Tables, s.Wholes) { // before the room is born, and so in its recall
		b.Send(absurd(rng, table)...)
	}
	b.Join(0)
	for _, in := range s.Streams {
		b.Send(poison(rng, in)...)
	}
	for _, table := range slices.Concat(s.Tables, s.Wholes) {
		b.Send(absurd(rng, table)...)
	}
	good, effect := goodOf(s.Name)
	if good.Topic.Name != "" {
		b.Send(good)
	}
	settled := false
	for range 4 { // ten minutes each: what is held for a lease or an epoch that never comes is held for 20
		settled = settled || b.Settled()
	}
	if !settled {
		b.Dump(20)
		b.T.Fatal("records behind the poison are not handled")
	}
	for _, n := range b.Notes(stage.Failed) {
		b.T.Errorf("a room ended: %v", n.Err)
	}
	for _, n := range b.Notes(stage.Retry) {
		if n.Count > 20 {
			b.T.Errorf("%s/%d@%d was tried %d times: %v", n.Topic, n.Part, n.Offset, n.Count, n.Err)
		}
	}
	if good.Topic.Name != "" && !says(b, effect) {
		b.Dump(20)
		b.T.Errorf("a good record of %s behind the poison had no effect on %s", good.Topic.Name, effect.Name)
	}
	for _, in := range s.Streams {
		if n := len(stagetest.ReadRaw(b, in.Refused())); n == 0 && s.Name != "recorder" {
			b.T.Errorf("nothing of %s was refused", in.Name)
		}
	}
}

// says looks for the good backup in what a topic holds.
func says(b *stagetest.Bench, t topics.Spec) bool {
	id := schemas.UUID(goodRun.Backup)
	for _, r := range stagetest.ReadRaw(b, t) {
		text := string(r.Key) + string(r.Value)
		if strings.Contains(text, string(goodRun.Backup)) || strings.Contains(text, id.String()) || strings.Contains(text, goodName) {
			return true
		}
	}
	return false
}

// poison is every kind that a stream may hold.
func poison(rng *rand.Rand, s topics.Spec) (all []topics.Event) {
	raw := func(value []byte, headers map[string]string) {
		all = append(all, topics.Event{Topic: s, Key: []byte("k"), Value: value, Headers: headers, Part: int32(len(all) % poisonParts)})
	}
	garbage := make([]byte, 300)
	for i := range garbage {
		garbage[i] = byte(rng.Uint32())
	}
	raw(garbage, nil)
	raw([]byte{0xff}, nil)
	raw([]byte{}, nil)
	raw(nil, nil)
	raw(bytes.Repeat([]byte{0}, 900_000), nil)
	raw([]byte{}, map[string]string{"stamps": "\xff\xff", "traceparent": "nonsense", topics.HeaderRegion: "elsewhere"})
	if s.Kind == topics.Public {
		for _, v := range []string{`{}`, `[]`, `[{"specversion":"1.0"}]`, `{"specversion":"9.0","id":"1","source":"/x","type":"dev.holdfast.backup.requested.v1"}`,
			`{"specversion":"1.0","id":"2","source":"/x","type":"dev.holdfast.backup.requested.v99","data":{}}`, `{"specversion":"1.0","id":"3","source":"/x","type":"com.example.other","data":{}}`,
			`{"specversion":"1.0","id":"4","source":"/x","type":"dev.holdfast.backup.requested.v1","data":{"machines":[{"name":-1}]}}`,
			`{"specversion":"1.0","id":"5","source":"/x","type":"dev.holdfast.restore.requested.v1","data":{"point":"../../../etc","destination":{"dir":"/"}}}`,
			`{"specversion":"1.0","id":"6","source":"/x","type":"dev.holdfast.backup.requested.v1","data":` + strings.Repeat("[", 20_000) + `}`,
			`{"specversion":"1.0","id":"7","source":"/x","time":"9999-99-99","type":"dev.holdfast.backup.cancel.v1","data":{"job":"x"}}`} {
			raw([]byte(v), nil)
		}
		raw([]byte(`{`), map[string]string{"ce_specversion": "1.0", "ce_id": "8", "ce_source": "/x", "ce_type": schemas.TypeBackupRequested, "content-type": "application/xml"})
		return all
	}
	whole := absurd(rng, s)
	cut := whole[len(whole)-1].Value
	raw(append(cut[:len(cut)/2:len(cut)/2], 0x80), nil)
	all = append(all, whole...)
	return all
}

// absurd are messages of a topic that decode and make no sense.
func absurd(rng *rand.Rand, s topics.Spec) (all []topics.Event) {
	for n := range absurdEach {
		m := blank(s)
		if m == nil {
			return nil // public: poison has its own
		}
		a := &absurdity{rng: rng, run: theRun, sane: []float64{0.2, 0.7, 0.9, 0.97}[n%4]}
		a.message(m.ProtoReflect(), 0)
		value, err := proto.Marshal(m)
		if err != nil {
			panic(err)
		}
		if _, _, err := topics.Message(s, value); err != nil && s.Kind == topics.Table {
			continue // it stops its readers, as it must
		}
		key := a.bytes("", 0)
		all = append(all, topics.Event{Topic: s, Key: key, Value: value, Part: int32(n) % min(poisonParts, width(s))})
	}
	return all
}

// blank is an empty message of a topic, or nil.
func blank(s topics.Spec) proto.Message {
	if s.Name == topics.ExportsOpen.Name {
		return &schemas.ExportOpen{}
	}
	m, _, _ := topics.Message(s, nil)
	return m
}

func width(s topics.Spec) int32 {
	if s.Width == topics.Single {
		return 1
	}
	return poisonParts
}

const goodName = "the good machine"

// goodRun is later than theRun, of another backup, and of an epoch that needs no word.
var goodRun = &schemas.Run{Backup: bytes.Repeat([]byte{0x41}, 16), Attempt: 1, Lease: bytes.Repeat([]byte{0x42}, 16)}

// goodOf is a good record for a stage, and where it must be heard of.
func goodOf(name string) (topics.Event, topics.Spec) {
	id := append(make([]byte, 28), 1, 2, 3, 4) // of partition 0
	refs := &schemas.Refs{Ids: id, Places: []uint64{0}, Offsets: []uint32{0}, Lengths: []uint32{4096}}
	machine := &schemas.Machine{Source: goodName, Id: "m", Name: "m"}
	key := goodRun.Backup
	switch name {
	case "intake":
		e, err := schemas.NewEvent("good", "/test", time.Now(), "", schemas.BackupRequested{Machines: []string{goodName}})
		if err != nil {
			panic(err)
		}
		headers, value, err := schemas.EncodeEvent(e)
		if err != nil {
			panic(err)
		}
		return topics.BackupsRequested.Event(key, value, headers), topics.BackupsLeased.Spec
	case "scheduler":
		return topics.BackupsQueued.Event(key, &schemas.BackupQueued{Job: &schemas.Job{Id: goodRun.Lease, Of: 1}, Backup: key, Machine: machine, Options: &schemas.Options{},
			SinceMs: time.Now().UnixMilli()}), topics.BackupsLeased.Spec
	case "exporter":
		return topics.BackupsLeased.Event(key, &schemas.BackupLeased{Run: goodRun, Verb: schemas.BackupLeased_VERB_LEASED, Machine: machine, WindowBytes: 1 << 20}), topics.ExportsEnded.Spec
	case "chunker":
		return topics.ExtentsExported.Event(key, &schemas.ExtentExported{Run: goodRun, SnapshotId: "s", FileBytes: 65536, GridBytes: 65536, Blob: "lease/blob",
			Pages: []*schemas.ExtentPage{{Data: 1}}, LengthBytes: 65536, Digests: make([]byte, 32)}), topics.ExtentsCut.Spec
	case "deduper":
		return topics.ChunksCut.Event(key, &schemas.ChunksCut{Run: goodRun, Blob: "lease/blob", Refs: refs}).To(0), topics.ChunksFresh.Spec
	case "compressor-encryptor":
		return topics.ChunksFresh.Event(key, &schemas.ChunksFresh{Run: goodRun, Blob: "lease/nothing", Refs: refs}), topics.BackupsFaulted.Spec
	case "uploader":
		return topics.PacksSealed.Event(key, &schemas.PackSealed{Pack: &schemas.Pack{Birth: 1, Id: goodRun.Lease}, Blob: "process/nothing", SizeBytes: 100, Blake3: make([]byte, 2*32),
			Extents: []*schemas.SealedExtent{{Run: goodRun, Places: []uint64{0}, Ids: id, Offsets: []uint32{0}, Framed: []uint32{100}, Lengths: []uint32{4096}}}}), topics.BackupsFaulted.Spec
	case "auditor":
		return topics.BackupsLeased.Event(key, &schemas.BackupLeased{Run: goodRun, Verb: schemas.BackupLeased_VERB_REFUSED, Status: schemas.Status_STATUS_REFUSED, Machine: machine,
			Reason: "because"}), topics.BackupsCompleted.Spec
	case "restorer":
		e, err := schemas.NewEvent("good", "/test", time.Now(), "", schemas.RestoreRequested{Point: goodName, Destination: schemas.RestoreDestination{Dir: "/nowhere"}})
		if err != nil {
			panic(err)
		}
		headers, value, err := schemas.EncodeEvent(e)
		if err != nil {
			panic(err)
		}
		return topics.RestoresRequested.Event(key, value, headers), topics.RestoresCompleted.Spec
	}
	return topics.Event{}, topics.Spec{}
}
