//go:build synctests

package auditor

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// simple is a machine of one disk of two exported pages in one extent, all fresh.
func (c *court) simple(n int) *world {
	w := &world{leased: &schemas.BackupLeased{Verb: schemas.BackupLeased_VERB_LEASED,
		Run:     &schemas.Run{Backup: id("backup", n), Attempt: 1, Lease: id("lease", n), Epoch: 2},
		Machine: &schemas.Machine{Source: "s", Id: fmt.Sprint("m", n)}, Job: &schemas.Job{Id: id("job", 0), Of: 1}, Policy: "gold",
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
