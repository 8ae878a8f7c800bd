package e2e

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// What bounds records, by whose constant.
const (
	gridLeast   = 4 << 10              // cut.GridMin: the most places an extent can have
	extentMost  = 16 << 20 / gridLeast // 4096 places of data, in as many pages at most
	packMost    = 4096                 // the sealer's packChunks, each of an extent of its own at worst
	baseMost    = 64 << 10             // the scheduler's pointMax
	pendingMost = 16
	disksMost   = 64 * 256  // the intake's disksMax, in bytes
	rowMost     = 12_000    // the auditor's rowPages
	partMost    = 512 << 10 // of a file's page map, and of a point in its rows
	nameMost    = 1024
)

func times[T any](n int, one T) []T {
	all := make([]T, n)
	for i := range all {
		all[i] = one
	}
	return all
}

// Goal: each topic's largest record has its arithmetic, and fits its topic with room
// for headers. Method: each message at the limits that bound it, with numbers as long
// as they get; a topic that is new has no place here, and fails until it has.
func TestEveryRecordFits(t *testing.T) {
	id, long := strings.Repeat("i", 16), strings.Repeat("n", nameMost)
	run := &schemas.Run{Backup: []byte(id), Attempt: 1 << 14, Lease: []byte(id), Epoch: 1 << 40, Traceparent: strings.Repeat("t", 55)}
	machine := &schemas.Machine{Source: "a source", Id: long, Name: long}
	refs := &schemas.Refs{Ids: make([]byte, 32*extentMost), Places: times(extentMost, uint64(1)<<34), Offsets: times(extentMost, uint32(1)<<23), Lengths: times(extentMost, uint32(gridLeast))}
	pack := &schemas.Pack{Birth: 1 << 40, Id: []byte(id)}
	places := &schemas.Places{Places: refs.Places, Ids: refs.Ids, Packs: times(extentMost, pack), Pack: times(extentMost, uint32(extentMost)), Offsets: refs.Offsets,
		Framed: refs.Lengths, Lengths: refs.Lengths}
	one := &schemas.SealedExtent{Run: run, File: 1 << 14, Extent: 1 << 40, Ids: make([]byte, 32), Places: []uint64{1 << 34}, Offsets: []uint32{1 << 23}, Framed: []uint32{gridLeast},
		Lengths: []uint32{gridLeast}, ReadUs: 1 << 31, CutUs: 1 << 31, LookupUs: 1 << 31, SealUs: 1 << 31}
	base := &schemas.Point{Path: strings.Repeat("b", baseMost)}
	order := &schemas.BackupQueued{Job: &schemas.Job{Id: []byte(id), Of: 1}, Backup: []byte(id), Machine: machine, Tenant: long, Reason: long, Traceparent: run.Traceparent,
		Options: &schemas.Options{ExcludedDisks: []string{strings.Repeat("d", disksMost)}}}
	why := strings.Repeat("w", topics.WhyMax)
	leased := &schemas.BackupLeased{Run: run, Job: order.Job, Machine: machine, Tenant: long, Options: order.Options, Base: base, Reason: why}
	verdict := &schemas.Verdict{Run: run, Machine: machine, Reason: why, Warnings: times(50+10, why), Point: base}
	largest := map[string]proto.Message{
		topics.MachinesFound.Name: &schemas.MachineFound{Machine: machine, Folder: long, Tags: times(256, long), Datastores: times(64, long),
			Disks: times(256, &schemas.FoundDisk{Key: long}), Findings: times(50, long)},
		topics.BackupsQueued.Name:   order,
		topics.MachinesTended.Name:  &schemas.MachineTended{Machine: machine, Last: base, Open: &schemas.OpenRun{Run: run, Order: order, Base: base, Reason: why}, Pending: times(pendingMost, order), Done: times(16, []byte(id))},
		topics.BackupsLeased.Name:   leased,
		topics.ExportsOpen.Name:     &schemas.ExportOpen{Order: leased, Cursors: times(4096, &schemas.Cursor{File: 1 << 14, NextPlace: 1 << 34, Extent: 1 << 30}), Older: times(5, &schemas.ExportOpen{Order: leased}), Failure: why, Finished: &schemas.Finished{Warnings: times(50, long)}},
		topics.ExtentsExported.Name: &schemas.ExtentExported{Run: run, Source: long, Blob: long, Digests: refs.Ids, Pages: times(extentMost, &schemas.ExtentPage{No: 1 << 28, Data: 1, Zero: 1, Claimed: 1})},
		topics.FilesExported.Name:   &schemas.FileExported{Run: run, Key: long, Name: long, ChangeId: long, Runs: times(partMost/14, &schemas.PageRun{First: 1 << 28, Count: 1 << 28, What: 3})},
		topics.ExportsEnded.Name:    &schemas.ExportEnded{Run: run, Machine: machine, Reason: why},
		topics.ExtentsCut.Name:      &schemas.ExtentCut{Run: run, SnapshotId: long, Pages: times(extentMost, &schemas.CutPage{No: 1 << 28, Data: 1, Zero: 1, Claimed: 1, Digest: []byte(id)})},
		topics.ChunksCut.Name:       &schemas.ChunksCut{Run: run, Blob: long, Refs: refs},
		topics.ChunksKnown.Name:     &schemas.ChunksKnown{Run: run, Places: places},
		topics.ChunksFresh.Name:     &schemas.ChunksFresh{Run: run, Blob: long, Refs: refs},
		topics.ChunksDropped.Name:   &schemas.ChunksDropped{Run: run, Ids: refs.Ids, Places: refs.Places, Why: why},
		topics.PacksSealed.Name:     &schemas.PackSealed{Pack: pack, Blob: long, Blake3: make([]byte, 255*32), Extents: times(packMost, one)},
		topics.ChunksStored.Name:    &schemas.ChunksStored{Row: &schemas.ChunksStored_Pack{Pack: &schemas.StoredPack{Pack: pack, Ids: refs.Ids, Offsets: refs.Offsets, Framed: refs.Lengths}}},
		topics.ChunksLanded.Name:    &schemas.ChunksLanded{Run: run, Places: places},
		topics.TargetsTurned.Name:   &schemas.TargetTurned{Why: why},
		topics.PagesFiled.Name:      &schemas.PageFiled{Row: &schemas.PageFiled_Completing{Completing: &schemas.Completing{Run: run, Verdict: verdict, Point: make([]byte, partMost)}}},
		topics.PlacesFiled.Name:     &schemas.PlacesFiled{Run: run, Machine: machine, Name: long, Cut: places, Known: make([]byte, extentMost), Runs: times(rowMost, &schemas.PlaceRun{First: 1 << 34, Count: 1 << 28, Inherited: true})},
		topics.ExtentsClosed.Name:   &schemas.ExtentsClosed{Run: run, Extents: times(rowMost, &schemas.ClosedExtent{File: 1 << 14, Extent: 1 << 40})},
		topics.BackupsFaulted.Name:  &schemas.BackupFaulted{Run: run, Stage: long, Reason: why},
		topics.InputsTroubled.Name:  &schemas.InputTroubled{Run: run, Stage: long, Worker: long, Topic: long, Reason: why},
		topics.BackupsJudged.Name:   &schemas.BackupJudged{Run: run, Machine: machine, Word: &schemas.BackupJudged_Verdict{Verdict: verdict}},
		topics.EpochsTurned.Name:    &schemas.EpochTurned{Epoch: 1 << 40, Dropped: times(4096, strings.Repeat("p", 120))},
		topics.RestoresOpen.Name:    &schemas.RestoreOpen{Restore: []byte(id), Request: make([]byte, 256<<10)},
	}
	for _, s := range topics.All() {
		m := largest[s.Name]
		if s.Kind == topics.Public {
			continue // refused and cut by the runner, beyond it
		}
		if m == nil {
			t.Errorf("%s: what is its largest record?", s.Name)
			continue
		}
		if n := proto.Size(m); n > topics.RecordMax {
			t.Errorf("%s: its largest record has %d bytes, at most %d", s.Name, n, topics.RecordMax)
		} else {
			t.Logf("%-18s %7d bytes", s.Name, n)
		}
	}
}
