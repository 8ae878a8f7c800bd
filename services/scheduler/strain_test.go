package scheduler

import (
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
)

// reading says that the open lease of q is still read, and how long a read takes there.
func (x *table) reading(q *schemas.BackupQueued, store string, took time.Duration) string {
	run := x.open(q).GetRun()
	return x.do(func(fx *effects) {
		x.s.exported(&schemas.ExportEnded{Run: &schemas.Run{Backup: run.GetBackup(), Lease: run.GetLease()}, Machine: q.GetMachine(),
			Word: schemas.ExportEnded_WORD_READING, Store: store, LatencyUs: uint32(took.Microseconds())}, x.now, fx)
	})
}

// While reads take longer than the source's limit nothing is leased beside what reads;
// when they are faster, when another store is, and when nobody reads, it is.
func TestAStrainedSourceIsSpared(t *testing.T) {
	x := newTable(t)
	x.s.sourceFound("a", &schemas.SourceFound{SnapshotsMax: 9, ShareBytes: 9 << 20, WindowBytes: 1 << 20, LatencyHoldUs: 20_000})
	const slow, fast = 30 * time.Millisecond, 10 * time.Millisecond
	x.want(x.order(orderOf(1, "m1")), "queued m1 0; leased m1 1")
	x.want(x.reading(orderOf(1, "m1"), "d1", slow), "")
	x.want(x.order(orderOf(2, "m2")), "queued m2 0: position 1 of 1 at source a; source a to answer faster: a read takes 30ms, and nothing new begins above 20ms")
	x.want(x.reading(orderOf(1, "m1"), "d1", fast), "leased m2 1")
	x.want(x.reading(orderOf(1, "m1"), "d1", 50*time.Millisecond), "")
	x.want(x.reading(orderOf(2, "m2"), "d1", fast), "")
	x.want(x.order(orderOf(3, "m3")), "queued m3 0: position 1 of 1 at source a; source a to answer faster: a read takes 30ms, and nothing new begins above 20ms") // the mean
	x.want(x.reading(orderOf(2, "m2"), "d2", fast), "leased m3 1")
	x.want(x.reading(orderOf(2, "m2"), "d2", slow), "")
	x.want(x.order(orderOf(4, "m4")), "queued m4 0: position 1 of 1 at source a; source a to answer faster: a read takes 30ms, and nothing new begins above 20ms")
	x.want(x.export(orderOf(1, "m1"), schemas.ExportEnded_WORD_OK), "")
	x.want(x.export(orderOf(2, "m2"), schemas.ExportEnded_WORD_OK), "leased m4 1") // nobody reads that was measured
	x.s.sourceFound("a", &schemas.SourceFound{SnapshotsMax: 9, ShareBytes: 9 << 20, WindowBytes: 1 << 20})
	x.want(x.reading(orderOf(4, "m4"), "d2", time.Hour), "")
	x.want(x.order(orderOf(5, "m5")), "queued m5 0; leased m5 1") // no limit
}

// A lease that is read, or waits for our own limits, is not silent, though nothing
// is filed of it; and its connection stays its own. What is said of a lease that is
// over is not heard.
func TestReadingIsProgress(t *testing.T) {
	x := newTable(t)
	q := orderOf(1, "m1")
	x.want(x.order(q), "queued m1 0; leased m1 1")
	for range 8 {
		x.want(x.tick(10*time.Minute), "")
		x.want(x.reading(q, "", 0), "")
	}
	if x.open(q).GetConnectionSlot() != 1 || len(x.fx.rows) != 1 || x.open(q).GetDeadlineMs() != x.now.Add(15*time.Minute).UnixMilli() {
		t.Errorf("%v, %d rows", x.open(q), len(x.fx.rows))
	}
	x.want(x.reading(q, "", 0), "")
	if len(x.fx.rows) != 0 {
		t.Error("a row for each word")
	}
	x.tick(10 * time.Minute)
	x.do(func(fx *effects) {
		x.s.exported(&schemas.ExportEnded{Run: &schemas.Run{Backup: q.GetBackup(), Lease: []byte("another lease 16")}, Machine: q.GetMachine(),
			Word: schemas.ExportEnded_WORD_READING}, x.now, fx)
	})
	x.want(x.tick(5*time.Minute), "ended m1 1: attempt 1 made no progress for 15m0s")
	x.want(x.reading(q, "", 0), "")
}
