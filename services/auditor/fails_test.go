//go:build synctests

package auditor

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

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
		next.leased.Reason = "what went wrong" // as the scheduler says it
		c.lease(next)
		c.cuts(next)
		c.cuts(w) // of a dead lease
		c.answers(next)
		c.facts(w)
		c.facts(next)
		if d := c.ended(w.leased.Run.Backup); d.Status != "completed" || d.Attempt != 2 {
			c.t.Fatalf("%s of attempt %d: %s", d.Status, d.Attempt, d.Reason)
		} else if !slices.Contains(d.Warnings, "attempt 1 failed: what went wrong") {
			c.t.Errorf("nobody learns why attempt 1 failed: %q", d.Warnings)
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

// An answer that never comes: the attempt fails rather than hang, but only when
// it is not the vault that is waited for.
func TestLostAnswerFails(t *testing.T) {
	failsOnce(t, codeOverdue, func(c *court, w *world) {
		c.cuts(w)
		time.Sleep(30 * time.Minute)
	})
}

// inherits reports whether a page of the world is inherited as a whole.
func (w *world) inherits() bool {
	for _, f := range w.facts {
		for _, r := range f.Runs {
			if r.What == schemas.PageRun_WHAT_INHERITED {
				return true
			}
		}
	}
	return false
}

// A point that was dropped before the lease was granted may lose its packs while the
// backup runs: it lends nothing. One that is not in the vault lends nothing either.
func TestDroppedOrMissingBaseFails(t *testing.T) {
	for _, how := range []string{"dropped", "missing"} {
		t.Run(how, func(t *testing.T) {
			sit(t, 12, 1, func(c *court) {
				w := c.drawWorld(0, 1)
				for n := 2; !w.inherits(); n++ {
					w = c.drawWorld(0, n)
				}
				if how == "dropped" {
					c.Send(topics.EpochsTurned.Event([]byte("opening/2"), &schemas.EpochTurned{Epoch: 2,
						Turn: schemas.EpochTurned_TURN_OPENING, Dropped: []string{w.leased.Base.Path}}))
				} else {
					for _, s := range c.targets {
						if err := s.Delete(c.t.Context(), w.leased.Base.Path); err != nil {
							c.t.Fatal(err)
						}
					}
				}
				c.Join(0)
				c.lease(w)
				c.Send(w.records(c.Rand)...)
				if f := c.failed(w); f.Code != codeBase {
					c.t.Errorf("%s: %s", f.Code, f.Reason)
				}
				if !c.Settled() {
					c.t.Fatal("records are held for ever")
				}
			})
		})
	}
}

// Where nothing is known of what the base held, all is read against none. The
// backup completes, and its point names no base.
func TestBaseThatNothingStandsOn(t *testing.T) {
	sit(t, 1, 1, func(c *court) {
		c.Join(0)
		w := c.simple(1)
		w.leased.Base = &schemas.Point{Path: "points/1/base", Lease: baseLease.Bytes(), Epoch: 1}
		c.lease(w)
		c.cuts(w)
		c.answers(w)
		c.facts(w)
		d := c.ended(w.leased.Run.Backup)
		if d.Status != "completed" {
			c.t.Fatalf("%s: %s", d.Status, d.Reason)
		}
		c.whole(w, d.Point)
		if p, err := c.reader.Point(c.t.Context(), d.Point); err != nil || len(p.BaseLease) > 0 || p.BasePath != "" {
			c.t.Errorf("the point names base %q of lease %x, %v", p.GetBasePath(), p.GetBaseLease(), err)
		}
	})
}

func TestFileOnABaseThatWasNotReadFails(t *testing.T) {
	failsOnce(t, codeBase, func(c *court, w *world) {
		f := proto.CloneOf(w.facts[0])
		f.HasBase = true
		c.cuts(w)
		c.answers(w)
		c.Send(topics.FilesExported.Event(w.leased.Run.Backup, f), topics.FilesExported.Event(w.leased.Run.Backup, w.facts[1]))
	})
}
