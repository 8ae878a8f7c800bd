package recorder

import (
	"reflect"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

var (
	backup = schemas.UUID{1}
	lease  = schemas.UUID{2}
	run    = &schemas.Run{Backup: backup.Bytes(), Attempt: 3, Lease: lease.Bytes()}
	vm     = &schemas.Machine{Source: "s", Id: "i", Name: "n"}
)

// Bad records leave an event that says so, and the good ones around them go on.
func TestMalformedRecordsAreSkippedAndTold(t *testing.T) {
	good := &schemas.PlacesFiled{Run: run, GridBytes: 4, Known: []byte{1},
		Cut: &schemas.Places{Places: []uint64{5}, Ids: make([]byte, 32), Packs: []*schemas.Pack{{Id: make([]byte, 16)}}, Pack: []uint32{0}, Framed: []uint32{7}}}
	bad := func(f func(*schemas.PlacesFiled)) *schemas.PlacesFiled {
		m := proto.CloneOf(good)
		f(m)
		return m
	}
	b := block(topics.PlacesFiled, 0, 1, good,
		bad(func(m *schemas.PlacesFiled) { m.Cut.Ids = m.Cut.Ids[1:] }),
		bad(func(m *schemas.PlacesFiled) { m.Cut.Pack[0] = 1 }),
		bad(func(m *schemas.PlacesFiled) { m.Cut.Packs[0].Id = nil }),
		bad(func(m *schemas.PlacesFiled) { m.Known = nil }),
		bad(func(m *schemas.PlacesFiled) { m.Cut.Framed = nil }),
		bad(func(m *schemas.PlacesFiled) { m.Cut.Lengths = []uint32{1, 2} }),
		bad(func(m *schemas.PlacesFiled) { m.Run.Backup = []byte{1} }),
		bad(func(m *schemas.PlacesFiled) { m.Run.Lease = []byte{1} }),
		good, good, good)
	b.Records[9].Value = []byte{0xff}
	b.Records[10].Headers = stage.Headers{{Key: "stamps", Value: []byte{0xff}}}
	rows, told := newDesk().read(b)
	if told.count != 10 || told.first != 1 || told.why == nil {
		t.Errorf("told %+v", told)
	}
	if len(rows.places) != 2 || len(rows.events) != 12 {
		t.Errorf("%d places and %d events", len(rows.places), len(rows.events))
	}
	for i, e := range rows.events {
		if (e.Error == malformed) != (i > 0 && i < 11) {
			t.Errorf("event %d has error %q", i, e.Error)
		}
	}
}

func TestPlaces(t *testing.T) {
	m := &schemas.PlacesFiled{Run: run, Machine: vm, File: 9, Name: "disk", GridBytes: 65536, Known: []byte{0, 1}, SealUs: 4, Tenant: "acme", Job: &schemas.Job{Id: lease.Bytes()},
		Cut: &schemas.Places{Places: []uint64{5, 7}, Ids: slices.Concat(make([]byte, 32), []byte{31: 9, 0: 8}), Packs: []*schemas.Pack{{Id: lease.Bytes(), Birth: 2}, {Id: backup.Bytes(), Birth: 3}},
			Pack: []uint32{1, 0}, Framed: []uint32{100, 200}, Lengths: []uint32{0, 10}},
		Runs: []*schemas.PlaceRun{{First: 64, Count: 128}, {First: 192, Count: 64, Inherited: true}}}
	rows, _ := newDesk().read(block(topics.PlacesFiled, 2, 1, m))
	f := &ledger.Filed{Origin: ledger.Origin{AtMs: noon.UnixMilli(), Region: "r", Topic: "places.filed", Part: 2}, Vault: "v", Tenant: "acme", Machine: ledger.Machine{Source: "s", ID: "i", Name: "n"},
		Job: lease, Attempt: ledger.Attempt{Backup: backup, No: 3, Lease: lease}, FileNo: 9, File: "disk", GridBytes: 65536, SealUs: 4}
	want := ledger.Places{
		{Filed: f, Place: 5, Places: 1, LengthBytes: 65536, Outcome: ledger.Fresh, Pack: backup, PackBirth: 3, StoredBytes: 100},
		{Filed: f, Place: 7, Places: 1, LengthBytes: 10, Outcome: ledger.Known, Pack: lease, PackBirth: 2, StoredBytes: 200, Chunk: [32]byte{0: 8, 31: 9}},
		{Filed: f, Place: 64, Places: 128, LengthBytes: 128 * 65536, Outcome: ledger.Zero},
		{Filed: f, Place: 192, Places: 64, LengthBytes: 64 * 65536, Outcome: ledger.Inherited},
	}
	if !reflect.DeepEqual(rows.places, want) {
		t.Errorf("got %+v", rows.places)
	}
	if e := rows.events[0]; e.Chunks != 2 || e.Bytes != 10 || e.Stage != "auditor" || e.Attempt.Backup != backup {
		t.Errorf("event %+v", e)
	}
}

// In whatever order two topics say it, the last word of a backup wins.
func TestTurns(t *testing.T) {
	leased := func(verb schemas.BackupLeased_Verb, attempt uint32, s schemas.Status) *schemas.BackupLeased {
		return &schemas.BackupLeased{Run: &schemas.Run{Backup: backup.Bytes(), Attempt: attempt}, Verb: verb, Status: s, Machine: vm, Policy: "gold"}
	}
	judged := func(attempt uint32, m *schemas.BackupJudged) *schemas.BackupJudged {
		m.Run, m.Machine = &schemas.Run{Backup: backup.Bytes(), Attempt: attempt}, vm
		return m
	}
	failed := &schemas.BackupJudged{Word: &schemas.BackupJudged_AttemptFailed{AttemptFailed: &schemas.AttemptFailed{Reason: "torn", Code: "digest"}}}
	verdict := &schemas.BackupJudged{Word: &schemas.BackupJudged_Verdict{Verdict: &schemas.Verdict{Status: schemas.Status_STATUS_COMPLETED, Consistency: schemas.Consistency_CONSISTENCY_CRASH,
		Totals: &schemas.Totals{Bytes: 5}, Point: &schemas.Point{Path: "p"}, DoneMs: 7, Job: &schemas.Job{Of: 2}, Policy: "gold"}}}
	progress := &schemas.BackupJudged{Word: &schemas.BackupJudged_Progress{Progress: &schemas.Progress{ReadBytes: 6, FiledPages: 7}}}

	scheduler, _ := newDesk().read(block(topics.BackupsLeased, 0, 1,
		leased(schemas.BackupLeased_VERB_QUEUED, 0, 0), leased(schemas.BackupLeased_VERB_LEASED, 1, 0), leased(schemas.BackupLeased_VERB_ENDED, 1, 0),
		leased(schemas.BackupLeased_VERB_LEASED, 2, 0), leased(schemas.BackupLeased_VERB_ENDED, 2, schemas.Status_STATUS_COMPLETED),
		leased(schemas.BackupLeased_VERB_WITHDRAWN, 2, schemas.Status_STATUS_FAILED), leased(schemas.BackupLeased_VERB_REFUSED, 0, 0), leased(99, 1, 0)))
	auditor, _ := newDesk().read(block(topics.BackupsJudged, 0, 1, judged(1, failed), judged(2, progress), judged(2, verdict), judged(2, &schemas.BackupJudged{})))

	if len(auditor.progress) != 1 || auditor.progress[0].ReadBytes != 6 || auditor.progress[0].FiledPages != 7 || auditor.progress[0].Attempt.No != 2 {
		t.Errorf("progress %+v", auditor.progress)
	}
	turns := slices.Concat(scheduler.turns, auditor.turns)
	slices.SortStableFunc(turns, func(a, b ledger.Turn) int { return int(a.Version>>44) - int(b.Version>>44) })
	var got []ledger.State
	for _, turn := range turns {
		got = append(got, turn.State)
		if turn.Machine.ID != "i" || turn.Attempt.Backup != backup {
			t.Errorf("whose turn is %+v", turn)
		}
	}
	want := []ledger.State{ledger.Queued, ledger.Running, ledger.Running, ledger.Running, ledger.Running, ledger.Running, ledger.Refused, ledger.Completed}
	if !slices.Equal(got, want) {
		t.Errorf("states %v, want %v", got, want)
	}
	if turns[1].Attempt.No != 1 || turns[1].WaitingFor != "" || turns[3].Reason != "torn" || turns[4].Attempt.No != 2 {
		t.Errorf("attempts %+v", turns[1:5])
	}
	if v := turns[7]; v.Policy != "gold" || turns[0].Policy != "gold" || v.Totals.Size != 5 || v.Point != "p" || v.DoneMs != 7 || v.JobOf != 2 || v.Consistency != "crash" {
		t.Errorf("verdict %+v", v)
	}
	if e := auditor.events[0]; e.Error != "digest" {
		t.Errorf("a failed attempt leaves %+v", e)
	}
}

func TestStampOfTheWriter(t *testing.T) {
	raw, err := proto.Marshal(&schemas.Stamps{Stamps: []*schemas.Stamp{{Stage: "exporter", BusyUs: 1}, {Stage: "chunker", Worker: "w", BusyUs: 2, WaitUs: 3}}})
	if err != nil {
		t.Fatal(err)
	}
	b := block(topics.ChunksCut, 0, 1, &schemas.ChunksCut{Run: run, Refs: &schemas.Refs{Ids: make([]byte, 64), Lengths: []uint32{4, 5}}}, &schemas.ChunksCut{})
	b.Records[0].Headers = stage.Headers{{Key: "stamps", Value: raw}}
	rows, _ := newDesk().read(b)
	e := rows.events[0]
	if e.Stage != "chunker" || e.Worker != "w" || e.BusyUs != 2 || e.WaitUs != 3 || e.Chunks != 2 || e.Bytes != 9 {
		t.Errorf("event %+v", e)
	}
	if e := rows.events[1]; e.Stage != "chunker" || e.Worker != "" {
		t.Errorf("without a stamp: %+v", e)
	}
}

// A stream that is added to the catalogue must be readable here, or all of it
// would be malformed.
func TestEveryStreamHasADecoder(t *testing.T) {
	for _, s := range slices.Concat(news, ofPlaces, events) {
		if decoders[s.Name] == nil {
			t.Errorf("stream %s has no decoder", s.Name)
		}
	}
	if len(news) != 2 || len(ofPlaces) != 1 || len(events) == 0 {
		t.Errorf("%d streams with news, %d of places, %d others", len(news), len(ofPlaces), len(events))
	}
}

// Whatever a record holds, nothing panics, and it leaves its one event.
func FuzzRead(f *testing.F) {
	m, err := proto.Marshal(&schemas.PlacesFiled{Run: run, Known: []byte{1}, Cut: &schemas.Places{Places: []uint64{5}, Ids: make([]byte, 32), Packs: []*schemas.Pack{{Id: make([]byte, 16)}}, Pack: []uint32{0}, Framed: []uint32{7}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m, []byte{})
	f.Fuzz(func(t *testing.T, value, stamps []byte) {
		for _, s := range slices.Concat(news, ofPlaces, events) {
			rows, _ := newDesk().read(&stage.Block{Spec: s, Topic: s.In("r"), Records: []stage.Record{{Value: value, Headers: stage.Headers{{Key: "stamps", Value: stamps}}}}})
			if len(rows.events) != 1 {
				t.Errorf("%s: %d events", s.Name, len(rows.events))
			}
		}
	})
}
