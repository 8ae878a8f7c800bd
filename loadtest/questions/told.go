package main

import (
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/libs/ledger"
)

// Versions as the recorder makes them, near enough: rank, then step.
const (
	queuedVersion  = 1 << 60
	runningVersion = 2 << 60
	judgedVersion  = 4 << 60
)

// reasons of failures: words, with the numbers and names that differ each time.
func (r run) reason() string {
	m, d := r.key()
	dice := r.hash(ofEnd, m, d, 1)
	host := fmt.Sprint("esx-", dice>>8%40)
	return []string{
		fmt.Sprintf("export: read extent %s/disk-0.vmdk/%d: dial tcp 10.0.%d.7:902: i/o timeout", r.machine(r.m).Name, dice>>20, dice>>8%250),
		fmt.Sprintf("no progress for 15m0s; lease %s was withdrawn", r.attempt().Lease),
		"snapshot of " + r.machine(r.m).Name + ": the task was cancelled by a user",
		"host " + host + " does not answer",
	}[dice%4]
}

// waiting names what a queued backup waits for.
func (r run) waiting() string {
	if r.m%3 == 0 {
		return "a slot of " + r.machine(r.m).Source
	}
	return "a slot of the region"
}

func (r run) turn(n int, at time.Time, s ledger.State, version uint64) ledger.Turn {
	t := ledger.Turn{Origin: r.origin("backups.judged", at, n), Vault: "vault", Tenant: "tenant-" + string(rune('a'+r.m%5)), Machine: r.machine(r.m),
		Attempt: r.attempt(), State: s, QueuedMs: r.begins.Add(-queueTime).UnixMilli(), Version: version | uint64(at.UnixMilli())}
	t.Region = r.region(r.m)
	return t
}

// turns of a backup, so far as it came.
func (r run) turns() (all ledger.Turns) {
	queued := r.turn(0, r.begins.Add(-queueTime), ledger.Queued, queuedVersion)
	queued.WaitingFor, queued.Attempt.No = r.waiting(), 0
	all = append(all, queued)
	if r.begins.After(r.Now) {
		return all
	}
	running := r.turn(1, r.begins, ledger.Running, runningVersion)
	running.LeasedMs = r.begins.UnixMilli()
	all = append(all, running)
	if !r.ended() {
		return all
	}
	end := r.turn(2, r.begins.Add(r.took()), ledger.Completed, judgedVersion)
	end.LeasedMs, end.DoneMs, end.SnapshotMs = r.begins.UnixMilli(), end.AtMs, r.begins.Add(time.Second).UnixMilli()
	if r.fails() {
		end.State, end.Reason, end.SnapshotMs = ledger.Failed, r.reason(), 0
		return append(all, end)
	}
	n := uint64(r.places())
	end.Totals = ledger.Totals{Size: 40 << 30, Read: n * grid, Fresh: n * grid / 2, Known: n * grid / 2, Stored: n * grid / 4, Places: n, Files: 2, Disks: 1}
	end.Totals.Inherited = end.Totals.Size - n*grid
	end.Point, end.Consistency, end.Redundancy = fmt.Sprintf("points/%s/%s", r.machine(r.m).ID, end.Attempt.Backup), "filesystem", 3
	end.WindowKept = r.took() <= 15*time.Minute
	return append(all, end)
}

// told is how far a running attempt says it is.
const told = 15 * time.Second

func (r run) progress() (all ledger.Progresses) {
	count, steps := r.places(), int(r.took()/told)
	for i := 1; i <= steps; i++ {
		at := r.begins.Add(told * time.Duration(i))
		if at.After(r.Now) {
			break
		}
		all = append(all, ledger.Progress{Origin: r.origin("backups.judged", at, 2+i), Attempt: r.attempt(), ReadBytes: uint64(count*i/steps) * grid, FiledPages: uint64(count * i / steps / 8)})
	}
	return all
}

// found is the inventory, as it was listed some days ago. One in ninety is gone, and
// a few were never asked for.
func (f *fleet) found(daysAgo int) (all ledger.Founds) {
	for m := range f.Machines + strangers {
		all = append(all, ledger.Found{Origin: ledger.Origin{AtMs: f.Now.Add(-time.Duration(daysAgo) * day).UnixMilli(), Region: f.region(m)}, Machine: f.machine(m),
			Folder: "/dc/vm/app", Host: fmt.Sprint("esx-", m%40), Tags: []string{"tier=app"}, Disks: 1, DiskBytes: 40 << 30, Gone: f.gone(m)})
	}
	return all
}

const strangers = 5

func (f *fleet) gone(m int) bool { return m%90 == 11 }

// troubles of the last two days: a store that answers late, again and again, and
// records that no retry cures.
func (f *fleet) troubles() (all ledger.Troubles) {
	for i := range 2 * 24 * 60 {
		at := f.Now.Add(-time.Duration(i) * time.Minute)
		t := ledger.Trouble{Origin: ledger.Origin{AtMs: at.UnixMilli(), Region: f.region(i), Topic: "inputs.troubled", Part: uint16(i % rooms), Offset: uint64(i)}, Stage: "uploader", Worker: "w-1",
			InputTopic: "packs.sealed", InputPart: uint32(i % 7), InputOffset: uint64(1 << 20 / (i/40 + 1)), Outcome: ledger.HitchRetried, Tries: uint32(1 + i%40),
			SinceMs: at.Add(-time.Minute).UnixMilli(), Reason: fmt.Sprintf("put shard %d: 503 slow down", i%6)}
		switch {
		case i%40 == 39:
			t.Outcome = ledger.HitchDone
		case i%97 == 5:
			t.Outcome, t.Stage, t.InputTopic, t.Reason = ledger.HitchRefused, "chunker", "extents.exported", fmt.Sprintf("extent %d has no ranges", i)
		}
		all = append(all, t)
	}
	return all
}

func (f *fleet) gaps() ledger.Gaps {
	at := f.Now.Add(-2 * day).UnixMilli()
	return ledger.Gaps{{Origin: ledger.Origin{AtMs: at, Region: f.region(0), Topic: "chunks.cut", Part: 3, Offset: 1 << 30}, SinceMs: at - 60_000, Records: 1234}}
}
