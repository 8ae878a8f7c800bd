//go:build synctests

package auditor

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

func TestWithdrawal(t *testing.T) {
	for _, before := range []bool{true, false} {
		t.Run(fmt.Sprint("before=", before), func(t *testing.T) {
			sit(t, 4, 1, func(c *court) {
				c.Join(0)
				w := c.simple(1)
				w.leased.Options = &schemas.Options{WindowMs: 1}
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
				if d := c.ended(w.leased.Run.Backup); d.Status != want || d.Policy != "gold" || d.WindowKept {
					c.t.Fatalf("%s of policy %q, window kept: %v; want %s of gold, which promised a millisecond", d.Status, d.Policy, d.WindowKept, want)
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
				c.faults(0.2)
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

// A point that is larger than a record lies in several rows, and an auditor born
// since puts the very same bytes, also of an attempt that was superseded meanwhile.
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
				time.Sleep(10 * time.Second)
				c.faults(2) // no point gets through
				c.facts(w)
				for stagetest.Rows(c.Bench, topics.PagesFiled)[string(w.leased.Run.Backup)+"/completing"] == nil {
					time.Sleep(20 * time.Millisecond)
				}
				if seed%2 == 1 {
					c.lease(w.again(2))
				}
				time.Sleep(time.Duration(c.Rand.IntN(5000)) * time.Millisecond)
				c.crash(m, "member-1")
				c.Join(0)
				c.faults(0)
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

// While a backup runs the scheduler hears of progress, which moves its deadline,
// and the world hears how far it is.
func TestProgressIsTold(t *testing.T) {
	sit(t, 13, 1, func(c *court) {
		c.Join(0)
		w := c.simple(1)
		c.lease(w)
		c.cuts(w)
		c.answers(w)
		time.Sleep(30 * time.Second)
		n := 0
		for _, j := range stagetest.Read(c.Bench, topics.BackupsJudged) {
			if p := j.GetProgress(); p != nil {
				n++
				if p.ReadBytes != w.sizes[0] || p.FiledPages != 2 {
					c.t.Errorf("progress %v", p)
				}
			}
		}
		if n != 1 {
			c.t.Errorf("progress was judged %d times, want once: nothing else was filed", n)
		}
		raw := stagetest.ReadRaw(c.Bench, topics.BackupsProgressed.Spec)
		e, err := schemas.DecodeEvent(raw[len(raw)-1].Headers, raw[len(raw)-1].Value)
		if err != nil {
			c.t.Fatal(err)
		}
		d, err := schemas.ReadData[schemas.BackupProgressed](e)
		if err != nil || d.State != "running" || d.Bytes.Read != w.sizes[0] || d.Bytes.Size != w.sizes[0] {
			c.t.Errorf("progressed %+v, %v", d, err)
		}
		if len(raw) > 3 {
			c.t.Errorf("%d events of progress in half a minute of nothing", len(raw))
		}
		c.facts(w)
		v := c.ended(w.leased.Run.Backup)
		if !v.WindowKept || v.Bytes.Fresh != w.sizes[0] || v.Redundancy < 3 || v.Files != 1 {
			c.t.Errorf("completed %+v", v)
		}
	})
}

// The window is the one that the order's policy promised, or else the house, and
// counts from the first lease to the end.
func TestTheWindowThatWasPromisedIsMeasured(t *testing.T) {
	for promised, kept := range map[time.Duration]bool{0: true, 20 * time.Second: false, 10 * time.Minute: true} {
		t.Run(promised.String(), func(t *testing.T) {
			sit(t, 15, 1, func(c *court) {
				c.Join(0)
				w := c.simple(1)
				w.leased.Options = &schemas.Options{WindowMs: promised.Milliseconds()}
				c.lease(w)
				c.cuts(w)
				c.answers(w)
				time.Sleep(30 * time.Second)
				c.facts(w)
				if d := c.ended(w.leased.Run.Backup); d.WindowKept != kept || d.WindowSeconds < 30 {
					c.t.Errorf("kept is %v after %v s of a window of %v", d.WindowKept, d.WindowSeconds, promised)
				}
			})
		})
	}
}
