//go:build synctests

package auditor

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// simple is a machine of one disk of two exported pages in one extent, all fresh.
func (c *court) simple(n int) *world {
	w := &world{leased: &schemas.BackupLeased{Verb: schemas.BackupLeased_VERB_LEASED,
		Run:     &schemas.Run{Backup: id("backup", n), Attempt: 1, Lease: id("lease", n), Epoch: 2},
		Machine: &schemas.Machine{Source: "s", Id: fmt.Sprint("m", n)}, Job: &schemas.Job{Id: id("job", 0), Of: 1},
		LeasedMs: time.Now().UnixMilli()}}
	w.fill()
	return w
}

// again is the next attempt at a world.
func (w *world) again(lease int) *world {
	l := proto.CloneOf(w.leased)
	l.Run.Attempt++
	l.Run.Lease = id("lease", lease)
	n := &world{leased: l}
	n.fill()
	return n
}

func (w *world) fill() {
	w.truth, w.sizes = truthOf(2), map[uint32]uint64{0: 2 * 64 * testGrid}
	e := w.extent(0, shape{w.sizes[0], testGrid})
	for no := range uint32(2) {
		w.dataPage(e, no, w.truth[0][no*64:no*64+64])
	}
	w.facts = []*schemas.FileExported{
		{Run: w.leased.Run, Key: "k", Name: "disk", Kind: schemas.FileExported_KIND_DISK, SizeBytes: w.sizes[0], GridBytes: testGrid,
			Runs: []*schemas.PageRun{{Count: 2, What: schemas.PageRun_WHAT_EXPORTED}}, Parts: 1},
		{Run: w.leased.Run, Finished: &schemas.Finished{Files: 1, SnapshotId: "snap", Disks: 1}}}
}

func (c *court) lease(w *world) {
	c.Send(topics.BackupsLeased.Event(w.leased.Run.Backup, w.leased))
}

func (c *court) say(w *world, v schemas.BackupLeased_Verb, s schemas.Status, reason string) {
	l := proto.CloneOf(w.leased)
	l.Verb, l.Status, l.Reason = v, s, reason
	c.Send(topics.BackupsLeased.Event(l.Run.Backup, l))
}

func (c *court) withdraw(w *world) {
	c.say(w, schemas.BackupLeased_VERB_WITHDRAWN, schemas.Status_STATUS_CANCELLED, "somebody asked")
}

func (c *court) answers(w *world) {
	for _, a := range w.said {
		c.Send(topics.ChunksLanded.Event(w.leased.Run.Backup, &schemas.ChunksLanded{Run: w.leased.Run, File: a.ext.file, Extent: a.ext.no, Places: a.places, Redundancy: 3}))
	}
}

func (c *court) cuts(w *world) {
	for _, e := range w.cuts {
		c.Send(topics.ExtentsCut.Event(w.leased.Run.Backup, e))
	}
}

func (c *court) facts(w *world) {
	for _, f := range w.facts {
		c.Send(topics.FilesExported.Event(w.leased.Run.Backup, f))
	}
}

// failed waits for the word that an attempt of w failed.
func (c *court) failed(w *world) *schemas.AttemptFailed {
	c.t.Helper()
	for range 60 {
		for _, j := range stagetest.Read(c.Bench, topics.BackupsJudged) {
			if f := j.GetAttemptFailed(); f != nil && string(j.Run.Lease) == string(w.leased.Run.Lease) {
				return f
			}
		}
		time.Sleep(time.Second)
	}
	c.t.Fatalf("lease %x was not said to have failed", w.leased.Run.Lease)
	return nil
}

// failsOnce runs f on a fresh backup, demands that its attempt fails with code, and
// that the next attempt, which goes well, completes.
func failsOnce(t *testing.T, code string, f func(*court, *world)) {
	t.Helper()
	sit(t, 1, 1, func(c *court) {
		c.Join(0)
		w := c.simple(1)
		c.lease(w)
		f(c, w)
		if got := c.failed(w); got.Code != code {
			c.t.Fatalf("code %q (%s), want %q", got.Code, got.Reason, code)
		}
		if n := len(c.completions(w.leased.Run.Backup)); n > 0 {
			c.t.Fatal("a failed attempt ended the backup")
		}
		next := w.again(2)
		c.lease(next)
		c.cuts(next)
		c.cuts(w) // of a dead lease
		c.answers(next)
		c.facts(w)
		c.facts(next)
		if d := c.ended(w.leased.Run.Backup); d.Status != "completed" || d.Attempt != 2 {
			c.t.Fatalf("%s of attempt %d: %s", d.Status, d.Attempt, d.Reason)
		} else {
			c.whole(next, d.Point)
		}
		if !c.Settled() {
			c.t.Fatal("records are held for ever")
		}
		time.Sleep(10 * time.Second)
		c.told(next)
	})
}

func TestAPageOfOtherChunksFails(t *testing.T) {
	failsOnce(t, codeDigest, func(c *court, w *world) {
		w.cuts[0].Pages[1].Digest[3] ^= 1
		c.cuts(w)
		c.answers(w)
	})
}

func TestTwoIDsForOnePlaceFail(t *testing.T) {
	failsOnce(t, codeID, func(c *court, w *world) {
		c.answers(w)
		a := w.said[0]
		a.places.Ids[5] ^= 1
		c.Send(topics.ChunksKnown.Event(w.leased.Run.Backup, w.known(a, 2)))
	})
}

func TestTwoSnapshotsFail(t *testing.T) {
	failsOnce(t, codeSnapshot, func(c *court, w *world) {
		c.cuts(w)
		w.facts[1].Finished.SnapshotId = "another"
		c.facts(w)
		c.answers(w)
	})
}

func TestFaultOfOpenExtentFails(t *testing.T) {
	failsOnce(t, "gone", func(c *court, w *world) {
		c.cuts(w)
		c.Send(faulted(w, "gone"))
	})
}

func TestWrongBaseFails(t *testing.T) {
	failsOnce(t, codeBase, func(c *court, w *world) {
		f := proto.CloneOf(w.facts[1])
		f.Finished.BaseLease = id("stranger", 0)
		c.cuts(w)
		c.answers(w)
		c.Send(topics.FilesExported.Event(w.leased.Run.Backup, w.facts[0]), topics.FilesExported.Event(w.leased.Run.Backup, f))
	})
}

// A page that is longer than what the exporter says the file is would be a hole.
func TestPageMapWithAHoleFails(t *testing.T) {
	failsOnce(t, codeShape, func(c *court, w *world) {
		f := proto.CloneOf(w.facts[0])
		f.Runs[0].Count = 1
		c.cuts(w)
		c.answers(w)
		c.Send(topics.FilesExported.Event(w.leased.Run.Backup, f), topics.FilesExported.Event(w.leased.Run.Backup, w.facts[1]))
	})
}

func TestClosedEpochFails(t *testing.T) {
	failsOnce(t, codeEpoch, func(c *court, w *world) {
		w.leased.Run.Epoch = 2
		for _, s := range c.targets {
			if err := s.Put(c.t.Context(), "epochs/2.closing", []byte("x")); err != nil {
				c.t.Fatal(err)
			}
		}
		c.cuts(w)
		c.answers(w)
		c.facts(w)
		c.failed(w)
		for _, s := range c.targets {
			if err := s.Delete(c.t.Context(), "epochs/2.closing"); err != nil { // for the next attempt, which would be of epoch 3
				c.t.Fatal(err)
			}
		}
	})
}

func faulted(w *world, code string) topics.Event {
	return topics.BackupsFaulted.Event(w.leased.Run.Backup, &schemas.BackupFaulted{Run: w.leased.Run, Stage: "chunker", Code: code, Reason: "bytes are gone"})
}

// A chunker that reads an extent again, whose bytes were freed, is no fault: not
// even for an auditor that was born since.
func TestFaultOfFiledExtentIsIgnored(t *testing.T) {
	sit(t, 2, 1, func(c *court) {
		m := c.Join(0)
		w := c.simple(1)
		c.lease(w)
		c.cuts(w)
		c.answers(w)
		time.Sleep(10 * time.Second)
		m.Leave()
		c.Join(0)
		c.Send(faulted(w, "gone"))
		time.Sleep(10 * time.Second)
		c.facts(w)
		if d := c.ended(w.leased.Run.Backup); d.Status != "completed" {
			c.t.Fatalf("%s: %s", d.Status, d.Reason)
		}
	})
}

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

// An answer that never comes: the attempt fails rather than hang, but only when
// it is not the vault that is waited for.
func TestLostAnswerFails(t *testing.T) {
	failsOnce(t, codeOverdue, func(c *court, w *world) {
		c.cuts(w)
		time.Sleep(30 * time.Minute)
	})
}

func TestWithdrawal(t *testing.T) {
	for _, before := range []bool{true, false} {
		t.Run(fmt.Sprint("before=", before), func(t *testing.T) {
			sit(t, 4, 1, func(c *court) {
				c.Join(0)
				w := c.simple(1)
				c.lease(w)
				c.cuts(w)
				c.answers(w)
				want := "cancelled"
				if before {
					c.withdraw(w)
					time.Sleep(5 * time.Second)
				}
				c.facts(w)
				if !before {
					want = "completed"
					for len(stagetest.Rows(c.Bench, topics.PagesFiled)[string(w.leased.Run.Backup)+"/completing"].String()) < 10 {
						time.Sleep(50 * time.Millisecond)
					}
					c.withdraw(w)
				}
				if d := c.ended(w.leased.Run.Backup); d.Status != want {
					c.t.Fatalf("%s, want %s", d.Status, want)
				}
				if !c.Settled() {
					c.t.Fatal("records are held for ever")
				}
				c.asked(w, want)
			})
		})
	}
}

// asked demands that a backup that ended answers a later lease and withdrawal with
// the same verdict, for an auditor that was born since too.
func (c *court) asked(w *world, want string) {
	c.t.Helper()
	time.Sleep(10 * time.Second)
	c.Join(0)
	before := len(c.verdicts(w))
	c.lease(w)
	c.withdraw(w)
	time.Sleep(10 * time.Second)
	all := c.verdicts(w)
	if len(all) != before+2 {
		c.t.Errorf("%d answers to a lease and a withdrawal, want 2", len(all)-before)
	}
	for _, v := range all {
		if schemas.StatusWord(v.Status) != want {
			c.t.Errorf("verdict %s, want %s", v.Status, want)
		}
	}
	c.ended(w.leased.Run.Backup)
}

func (c *court) verdicts(w *world) (out []*schemas.Verdict) {
	for _, j := range stagetest.Read(c.Bench, topics.BackupsJudged) {
		if v := j.GetVerdict(); v != nil && string(j.Run.Backup) == string(w.leased.Run.Backup) {
			out = append(out, v)
		}
	}
	return out
}

// Goal: a withdrawal that races with completion, auditors that die and zombies that
// write rows of their own end in one verdict, told as often as anybody likes.
func TestOneVerdictThroughCrashes(t *testing.T) {
	for seed := range seeds(12) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			sit(t, seed, 1, func(c *court) {
				c.fault = 0.2
				m, n := c.Join(0.1), 1
				w := c.simple(1)
				c.lease(w)
				c.cuts(w)
				c.answers(w)
				c.facts(w)
				time.Sleep(time.Duration(c.Rand.IntN(6000)) * time.Millisecond)
				for range 3 {
					switch c.Rand.IntN(4) {
					case 0:
						c.crash(m, fmt.Sprint("member-", n))
						m, n = c.Join(0.1), n+1
					case 1:
						m.Cut()
						z := m
						m, n = c.Join(0.1), n+1
						time.AfterFunc(time.Duration(c.Rand.IntN(90))*time.Second, z.Heal)
					case 2:
						c.withdraw(w)
					}
					time.Sleep(time.Duration(c.Rand.IntN(3000)) * time.Millisecond)
				}
				c.withdraw(w)
				if !c.Settled() {
					c.Dump(30)
					c.t.Fatal("records are held for ever")
				}
				time.Sleep(2 * time.Minute)
				d := c.ended(w.leased.Run.Backup)
				if d.Status == "completed" {
					c.whole(w, d.Point)
				}
				for _, v := range c.verdicts(w) {
					if schemas.StatusWord(v.Status) != d.Status {
						c.t.Errorf("the house heard %s, the world %s", v.Status, d.Status)
					}
				}
			})
		})
	}
}

// Goal: a zombie that goes on to complete what its successor has seen withdrawn tells
// what the log says first, like its successor.
// Method: an auditor is cut off while it completes; another takes over and hears the
// withdrawal; the first is healed with its rows in hand.
func TestZombieTellsTheFirstVerdict(t *testing.T) {
	for seed := range seeds(10) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			sit(t, seed, 1, func(c *court) {
				c.Skew = 0
				z := c.Join(0)
				w := c.simple(1)
				c.lease(w)
				c.cuts(w)
				c.answers(w)
				time.Sleep(5 * time.Second)
				c.facts(w)
				time.Sleep(time.Duration(c.Rand.IntN(700)) * time.Millisecond)
				z.Cut()
				c.Join(0)
				c.withdraw(w)
				time.Sleep(time.Duration(c.Rand.IntN(90)) * time.Second)
				z.Heal()
				c.ended(w.leased.Run.Backup)
				if !c.Settled() {
					c.t.Fatal("records are held for ever")
				}
				time.Sleep(time.Minute)
				c.ended(w.leased.Run.Backup)
			})
		})
	}
}

// Of two verdicts that rivals wrote the first in the log is the one, now and for
// whoever reads the table when the log has forgotten the first.
func TestFirstVerdictInTheLogStands(t *testing.T) {
	sit(t, 7, 1, func(c *court) {
		c.Join(0)
		w := c.simple(1)
		c.lease(w)
		time.Sleep(5 * time.Second)
		key := append(slices.Clone(w.leased.Run.Backup), "/verdict"...)
		for _, s := range []schemas.Status{schemas.Status_STATUS_CANCELLED, schemas.Status_STATUS_COMPLETED} {
			v := &schemas.Verdict{Run: w.leased.Run, Machine: w.leased.Machine, Status: s, DoneMs: time.Now().UnixMilli()}
			c.Send(topics.PagesFiled.Event(key, &schemas.PageFiled{Row: &schemas.PageFiled_Verdict{Verdict: v}}))
		}
		if d := c.ended(w.leased.Run.Backup); d.Status != "cancelled" {
			c.t.Fatalf("%s, want cancelled", d.Status)
		}
		time.Sleep(time.Minute)
		v := &schemas.Verdict{Run: w.leased.Run, Machine: w.leased.Machine, Status: schemas.Status_STATUS_COMPLETED}
		c.Send(topics.PagesFiled.Event(key, &schemas.PageFiled{Row: &schemas.PageFiled_Verdict{Verdict: v}}))
		time.Sleep(time.Minute)
		if v := stagetest.Rows(c.Bench, topics.PagesFiled)[string(key)].GetVerdict(); v.GetStatus() != schemas.Status_STATUS_CANCELLED || !v.Told {
			c.t.Fatalf("the table says %v", v)
		}
	})
}

// An attempt that was said to have failed stays so for an auditor that was born
// since, which answers a lease that comes again.
func TestFailedStaysFailed(t *testing.T) {
	sit(t, 8, 1, func(c *court) {
		m := c.Join(0)
		w := c.simple(1)
		c.lease(w)
		c.cuts(w)
		c.answers(w)
		time.Sleep(10 * time.Second)
		f := &schemas.BackupFaulted{Run: w.leased.Run, Stage: "exporter", Code: "lost", Whole: true, Permanent: true}
		c.Send(topics.BackupsFaulted.Event(w.leased.Run.Backup, f))
		c.failed(w)
		c.crash(m, "member-1")
		c.Join(0)
		time.Sleep(30 * time.Second)
		before := len(stagetest.Read(c.Bench, topics.BackupsJudged))
		c.lease(w)
		c.facts(w)
		time.Sleep(time.Minute)
		all := stagetest.Read(c.Bench, topics.BackupsJudged)
		if len(all) != before+1 || all[before].GetAttemptFailed().GetCode() != "lost" || !all[before].GetAttemptFailed().Permanent {
			c.t.Errorf("a failed lease that came again was answered by %v", all[before:])
		}
		if got := c.completions(w.leased.Run.Backup); len(got) > 0 {
			c.t.Errorf("a failed attempt ended the backup: %v", got)
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

// A point that is larger than a record lies in several rows, and an auditor born
// since puts the very same bytes.
func TestLargePointLiesInRows(t *testing.T) {
	for seed := range seeds(4) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			sit(t, seed, 1, func(c *court) {
				m := c.Join(0)
				w := c.simple(1)
				for no := range uint32(4) {
					w.sizes[no+1] = 0
					w.facts = append(w.facts, &schemas.FileExported{Run: w.leased.Run, File: no + 1, Key: fmt.Sprint(no), Parts: 1,
						Name: strings.Repeat("n", 200<<10), GridBytes: testGrid})
				}
				w.facts[1].Finished.Files = 5
				c.lease(w)
				c.cuts(w)
				c.answers(w)
				c.fault = 0.3
				c.facts(w)
				for stagetest.Rows(c.Bench, topics.PagesFiled)[string(w.leased.Run.Backup)+"/completing"] == nil {
					time.Sleep(20 * time.Millisecond)
				}
				time.Sleep(time.Duration(c.Rand.IntN(500)) * time.Millisecond)
				c.crash(m, "member-1")
				c.Join(0)
				c.fault = 0
				d := c.ended(w.leased.Run.Backup)
				if d.Status != "completed" || d.Attempt != 1 {
					c.t.Fatalf("%s: %s", d.Status, d.Reason)
				}
				c.whole(w, d.Point)
				if !c.Settled() {
					c.t.Fatal("records are held for ever")
				}
				time.Sleep(10 * time.Second)
				c.told(w)
			})
		})
	}
}

// A verdict is a row before anybody hears of it, on wires that are slow at will.
func TestVerdictIsARowBeforeItIsTold(t *testing.T) {
	for seed := range seeds(10) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			sit(t, seed, 1, func(c *court) {
				c.Join(0)
				first := c.simple(2) // the client learns of a topic when it first writes to it, and that takes a while
				c.lease(first)
				c.withdraw(first)
				c.ended(first.leased.Run.Backup)
				w := c.simple(1)
				c.lease(w)
				c.cuts(w)
				c.answers(w)
				time.Sleep(5 * time.Second)
				if seed%2 == 0 {
					c.withdraw(w)
				} else {
					c.facts(w)
				}
				for c.Cluster.PartitionInfo(topics.BackupsCompleted.Name, 0).HighWatermark < 2 {
					time.Sleep(time.Millisecond)
				}
				if stagetest.Rows(c.Bench, topics.PagesFiled)[string(w.leased.Run.Backup)+"/verdict"] == nil {
					c.t.Error("a verdict is told that is no row")
				}
			})
		})
	}
}

// What the vault does not hold is no row, and no space is freed for it.
func TestNothingIsFiledBeforeItIsDurable(t *testing.T) {
	sit(t, 10, 1, func(c *court) {
		c.Join(0)
		w := c.simple(1)
		c.lease(w)
		time.Sleep(5 * time.Second)
		c.fault = 2 // every put is lost
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
		c.fault = 0
		d := c.ended(w.leased.Run.Backup)
		if d.Status != "completed" {
			c.t.Fatalf("%s: %s", d.Status, d.Reason)
		}
		c.whole(w, d.Point)
	})
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

// A job of which nothing can be backed up is refused as a whole: the world hears
// it once, no scheduler does.
func TestRefusedAndQueued(t *testing.T) {
	sit(t, 5, 1, func(c *court) {
		c.Join(0)
		w := &world{leased: &schemas.BackupLeased{Run: &schemas.Run{Backup: id("job", 9)}, Job: &schemas.Job{Id: id("job", 9)}}}
		c.say(w, schemas.BackupLeased_VERB_REFUSED, 0, "nothing matches")
		c.say(w, schemas.BackupLeased_VERB_REFUSED, 0, "nothing matches")
		if d := c.ended(w.leased.Run.Backup); d.Status != "refused" || d.Reason != "nothing matches" {
			c.t.Fatalf("%+v", d)
		}
		q := c.simple(3)
		c.say(q, schemas.BackupLeased_VERB_QUEUED, 0, "")
		time.Sleep(5 * time.Second)
		if got := stagetest.ReadRaw(c.Bench, topics.BackupsProgressed.Spec); len(got) != 1 {
			c.t.Errorf("%d progressed events of a queued backup, want 1", len(got))
		}
		if n := len(stagetest.Read(c.Bench, topics.BackupsJudged)); n != 0 {
			c.t.Errorf("a scheduler heard of a refused job: %d", n)
		}
	})
}

// Rows of leases and verdicts go after 8 days, when no record can be of them.
func TestRowsAreForgotten(t *testing.T) {
	sit(t, 6, 1, func(c *court) {
		m := c.Join(0)
		w := c.simple(1)
		c.lease(w)
		c.withdraw(w)
		c.ended(w.leased.Run.Backup)
		time.Sleep(time.Minute)
		m.Leave()
		c.Skew = memory + time.Hour
		c.Join(0)
		time.Sleep(time.Minute)
		if rows := stagetest.Rows(c.Bench, topics.PagesFiled); len(rows) > 0 {
			c.t.Errorf("%d rows are left", len(rows))
		}
		if !slices.ContainsFunc(c.completions(w.leased.Run.Backup), func(d schemas.BackupCompleted) bool { return d.Status == "cancelled" }) {
			c.t.Error("no word of the withdrawal")
		}
	})
}
