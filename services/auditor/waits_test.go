//go:build synctests

package auditor

import (
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// Answers that come before anybody said which lease is followed wait for it.
func TestRecordsWaitForTheirLease(t *testing.T) {
	sit(t, 3, 1, func(c *court) {
		c.Join(0)
		w := c.simple(1)
		c.answers(w)
		c.cuts(w)
		c.facts(w)
		c.Send(faulted(&world{leased: &schemas.BackupLeased{Run: &schemas.Run{Backup: w.leased.Run.Backup, Attempt: 1, Lease: id("rival", 1)}}}, "rival"))
		time.Sleep(time.Minute)
		c.lease(w)
		d := c.ended(w.leased.Run.Backup)
		if d.Status != "completed" {
			c.t.Fatalf("%s: %s", d.Status, d.Reason)
		}
		c.whole(w, d.Point)
		if !c.Settled() {
			c.t.Fatal("records are held for ever")
		}
	})
}

// Of a lease that nobody ever hears of, the records are let go.
func TestStrangersAreLetGo(t *testing.T) {
	sit(t, 3, 1, func(c *court) {
		c.Join(0)
		w := c.simple(1)
		c.answers(w)
		time.Sleep(30 * time.Minute)
		if !c.Settled() {
			c.t.Fatal("records are held for ever")
		}
	})
}

// Records of the next attempt may come before its lease is heard of.
func TestRecordsWaitForTheNextLease(t *testing.T) {
	sit(t, 9, 1, func(c *court) {
		c.Join(0)
		w := c.simple(1)
		c.lease(w)
		time.Sleep(5 * time.Second)
		next := w.again(2)
		c.answers(next)
		c.cuts(next)
		c.facts(next)
		time.Sleep(30 * time.Second)
		c.lease(next)
		if d := c.ended(w.leased.Run.Backup); d.Status != "completed" || d.Attempt != 2 {
			c.t.Fatalf("%s of attempt %d: %s", d.Status, d.Attempt, d.Reason)
		}
	})
}

// What the vault does not hold is no row, and no space is freed for it.
func TestNothingIsFiledBeforeItIsDurable(t *testing.T) {
	sit(t, 10, 1, func(c *court) {
		c.Join(0)
		w := c.simple(1)
		c.lease(w)
		time.Sleep(5 * time.Second)
		c.faults(2) // every put is lost
		c.cuts(w)
		c.answers(w)
		c.facts(w)
		time.Sleep(2 * time.Minute)
		for key, row := range stagetest.Rows(c.Bench, topics.PagesFiled) {
			if row.GetPages() != nil {
				c.t.Errorf("a row stands for pages that no target has: %q", key)
			}
		}
		if n := len(stagetest.Read(c.Bench, topics.ExtentsClosed)); n > 0 {
			c.t.Errorf("%d extents closed that no target has", n)
		}
		c.faults(0)
		d := c.ended(w.leased.Run.Backup)
		if d.Status != "completed" {
			c.t.Fatalf("%s: %s", d.Status, d.Reason)
		}
		c.whole(w, d.Point)
	})
}

// The last pages of a backup don't wait for others to fill their map pack, since
// nothing but they keeps its point.
func TestTheLastPagesGoAtOnce(t *testing.T) {
	sit(t, 10, 1, func(c *court) {
		c.Join(0)
		w := c.simple(1)
		c.lease(w)
		time.Sleep(5 * time.Second)
		c.cuts(w)
		c.facts(w)
		c.answers(w)
		time.Sleep(batchAge)
		if len(c.completions(w.leased.Run.Backup)) == 0 {
			c.t.Errorf("not completed %s after its last answer", batchAge)
		}
	})
}

// A backup whose pages are all filed is not completed before its point is durable.
func TestNothingIsToldBeforeThePoint(t *testing.T) {
	sit(t, 10, 1, func(c *court) {
		c.Join(0)
		w := c.simple(1)
		c.lease(w)
		c.cuts(w)
		c.answers(w)
		time.Sleep(20 * time.Second)
		c.full.Store(true)
		c.facts(w)
		time.Sleep(2 * time.Minute)
		if n := len(c.completions(w.leased.Run.Backup)); n > 0 {
			c.t.Error("it is told as completed, and no target has its point")
		}
		c.full.Store(false)
		d := c.ended(w.leased.Run.Backup)
		if d.Status != "completed" {
			c.t.Fatalf("%s: %s", d.Status, d.Reason)
		}
		c.whole(w, d.Point)
	})
}

// Space is freed when the row of its pages is in the log, on wires that are slow at
// will: a crash between the two would find neither the bytes nor the row.
func TestSpaceIsFreedAfterTheRow(t *testing.T) {
	for seed := range seeds(10) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			sit(t, seed, 1, func(c *court) {
				c.Join(0)
				w := c.simple(1)
				c.lease(w)
				c.cuts(w)
				c.answers(w)
				for c.Cluster.PartitionInfo(topics.ExtentsClosed.In(stagetest.Region), 0).HighWatermark == 0 {
					time.Sleep(time.Millisecond)
				}
				filed := 0
				for _, row := range stagetest.Rows(c.Bench, topics.PagesFiled) {
					filed += len(row.GetPages().GetClosed())
				}
				if filed == 0 {
					c.t.Error("an extent is closed whose pages are no row")
				}
			})
		})
	}
}

// The window does not wait for a slow target; the records do, so that a crash
// repeats what it has not got.
func TestRecordsWaitForStragglers(t *testing.T) {
	sit(t, 11, 1, func(c *court) {
		c.slow = 25 * time.Second
		c.Join(0)
		w := c.simple(1)
		c.lease(w)
		c.cuts(w)
		c.answers(w)
		time.Sleep(10 * time.Second)
		if n := len(stagetest.Read(c.Bench, topics.ExtentsClosed)); n != 1 {
			c.t.Errorf("%d extents closed at a quorum, want 1", n)
		}
		if at := c.Committed(topics.ExtentsCut.Spec)[0]; at > 0 {
			c.t.Error("a record is done while a target still writes its pages")
		}
		if !c.Settled() {
			c.t.Fatal("records are held for ever")
		}
	})
}

// A backup that stands still because a target is down stirs nothing; who watches it
// must be told all the same what it waits for, and when it does no more.
func TestWhatIsWaitedForIsTold(t *testing.T) {
	sit(t, 12, 1, func(c *court) {
		c.Join(0)
		w := c.simple(1)
		c.lease(w)
		time.Sleep(10 * time.Second)
		var told []string
		for i, up := range []bool{true, false, true} {
			c.Send(topics.TargetsTurned.Event([]byte("t1"), &schemas.TargetTurned{Target: "t1", Up: up, Quorum: up, SinceMs: int64(i)}))
			time.Sleep(10 * time.Second)
			all := stagetest.ReadRaw(c.Bench, topics.BackupsProgressed.Spec)
			e, err := schemas.DecodeEvent(all[len(all)-1].Headers, all[len(all)-1].Value)
			if err != nil {
				c.t.Fatal(err)
			}
			p, err := schemas.ReadData[schemas.BackupProgressed](e)
			if err != nil {
				c.t.Fatal(err)
			}
			told = append(told, p.WaitingFor)
		}
		if len(told) != 3 || told[0] != "" || told[1] != "target t1" || told[2] != "" {
			c.t.Errorf("while a target was up, down and up it was said to wait for %q", told)
		}
	})
}
