//go:build synctests

package auditor

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// completions are the terminal events of a backup, in no order.
func (c *court) completions(backup []byte) (got []schemas.BackupCompleted) {
	c.t.Helper()
	for _, raw := range stagetest.ReadRaw(c.Bench, topics.BackupsCompleted.Spec) {
		e, err := schemas.DecodeEvent(raw.Headers, raw.Value)
		if err != nil {
			c.t.Fatal(err)
		}
		d, err := schemas.ReadData[schemas.BackupCompleted](e)
		if err != nil {
			c.t.Fatal(err)
		}
		if d.Backup == schemas.UUID(backup) {
			got = append(got, d)
		}
	}
	return got
}

// ended waits for the terminal event of a backup and demands that there is one
// status only, however often it is told.
func (c *court) ended(backup []byte) schemas.BackupCompleted {
	c.t.Helper()
	for range 120 {
		if got := c.completions(backup); len(got) > 0 {
			for _, d := range got {
				if d.Status != got[0].Status {
					c.t.Fatalf("backup %x: %s, and %s", backup, got[0].Status, d.Status)
				}
			}
			return got[0]
		}
		time.Sleep(5 * time.Second)
	}
	c.Dump(20)
	c.t.Fatalf("backup %x never ended", backup)
	return schemas.BackupCompleted{}
}

// whole demands that the vault holds the truth of a world under a point, without a hole.
func (c *court) whole(w *world, path string) {
	c.t.Helper()
	p, err := c.reader.Point(c.t.Context(), path)
	if err != nil {
		c.t.Fatal(err)
	}
	if len(p.Files) != len(w.sizes) {
		c.t.Fatalf("%d files in point %s, want %d", len(p.Files), path, len(w.sizes))
	}
	for _, f := range p.Files {
		var got []vault.PagePlace
		for r := range vault.Runs(p, f) {
			for i := range r.Count {
				places := make([]vault.PagePlace, (shape{f.SizeBytes, f.GridBytes}).places(r.First+i))
				for j := range places {
					places[j].Kind = vault.PlaceZero
				}
				if !r.Map.IsZero() {
					pages, err := c.reader.Pages(c.t.Context(), r.Map, []uint32{r.Slot + i})
					if err != nil {
						c.t.Fatal(err)
					}
					places = pages[0].Places
				}
				got = append(got, places...)
			}
		}
		if !slices.Equal(got, w.truth[f.No]) {
			c.t.Fatalf("point %s, file %d is not what the machine was", path, f.No)
		}
	}
}

// told demands that the ledger heard of each place of a world, and the exporter of
// each extent, and that only leases and the verdict are left of the rows.
func (c *court) told(w *world) {
	c.t.Helper()
	run := w.leased.Run
	places := map[[2]uint64]bool{}
	for _, p := range stagetest.Read(c.Bench, topics.PlacesFiled) {
		if string(p.Run.Backup) != string(run.Backup) {
			continue
		}
		for _, n := range p.Cut.Places {
			places[[2]uint64{uint64(p.File), n}] = true
		}
		for _, r := range p.Runs {
			for n := r.First; n < r.First+r.Count; n++ {
				places[[2]uint64{uint64(p.File), n}] = true
			}
		}
	}
	want := 0
	for _, places := range w.truth {
		want += len(places)
	}
	if len(places) != want {
		c.t.Errorf("backup %x: the ledger heard of %d places, there are %d", run.Backup, len(places), want)
	}
	closed := map[extentID]bool{}
	for _, e := range stagetest.Read(c.Bench, topics.ExtentsClosed) {
		for _, x := range e.Extents {
			if string(e.Run.Backup) == string(run.Backup) {
				closed[extentID{x.File, x.Extent}] = true
			}
		}
	}
	if len(closed) != len(w.cuts) {
		c.t.Errorf("backup %x: %d extents closed, of %d", run.Backup, len(closed), len(w.cuts))
	}
	c.ledgerFirst()
	for key := range stagetest.Rows(c.Bench, topics.PagesFiled) {
		if _, name, _, _, ok := splitKey([]byte(key)); !ok || name != rowVerdict && name[:len(leasePrefix)] != leasePrefix {
			c.t.Errorf("a row is left: %q", key)
		}
	}
}

// ledgerFirst demands that no page was a row before the ledger heard of it: a page
// whose row stands is never looked at again.
func (c *court) ledgerFirst() {
	c.t.Helper()
	heard := map[string]time.Time{}
	for _, rec := range c.Records(topics.PlacesFiled.In(stagetest.Region)) {
		p, err := topics.PlacesFiled.Decode(rec.Value)
		if err != nil {
			c.t.Fatal(err)
		}
		if key := p.MapPack.String(); p.MapPack != nil && (heard[key].IsZero() || rec.Timestamp.Before(heard[key])) {
			heard[key] = rec.Timestamp
		}
	}
	for _, rec := range c.Records(topics.PagesFiled.In(stagetest.Region)) {
		row, err := topics.PagesFiled.Decode(rec.Value)
		if err != nil {
			c.t.Fatal(err)
		}
		if m := row.GetPages().GetMapPack(); m != nil && (heard[m.String()].IsZero() || rec.Timestamp.Before(heard[m.String()])) {
			c.t.Errorf("pages of map pack %v were a row at %s, the ledger heard of them at %s", m, rec.Timestamp, heard[m.String()])
		}
	}
}

// seeds are so many, or as many as SEEDS says.
func seeds(few uint64) uint64 {
	if n, err := strconv.ParseUint(os.Getenv("SEEDS"), 10, 64); err == nil {
		return n
	}
	return few
}

// Goal: wherever auditors die, freeze or take over, whatever produces, puts and reads
// fail, each backup ends once, completed, with a point that is the machine's truth.
// Method: drawn machines; their records in drawn order, some twice, with those of
// zombie dedupers among them; members join, leave, crash and are cut off for longer
// than a session and healed.
func TestBackupsCompleteThroughCrashes(t *testing.T) {
	for seed := range seeds(8) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			sit(t, seed, 2, func(c *court) { c.storm(seed) })
		})
	}
}

func (c *court) storm(seed uint64) {
	var worlds []*world
	var events []topics.Event
	for n := range 3 {
		w := c.drawWorld(seed, n)
		worlds = append(worlds, w)
		events = append(events, w.records(c.Rand)...)
		lease := topics.BackupsLeased.Event(w.leased.Run.Backup, w.leased)
		at := c.Rand.IntN(len(events) + 1)
		events = slices.Insert(events, at, lease)
	}
	c.Rand.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	c.faults(0.2)
	type one struct {
		m    *stagetest.Member
		name string
	}
	born := 0
	join := func() one {
		born++
		return one{c.Join(0.1), fmt.Sprint("member-", born)}
	}
	up := []one{join()}
	for step := range 8 {
		n := len(events) / (8 - step)
		c.Send(events[:n]...)
		events = events[n:]
		time.Sleep(time.Duration(c.Rand.IntN(6000)) * time.Millisecond)
		switch i := c.Rand.IntN(len(up)); c.Rand.IntN(5) {
		case 0:
			c.crash(up[i].m, up[i].name)
			up[i] = join()
		case 1:
			if len(up) < 3 {
				up = append(up, join())
			}
		case 2:
			up[i].m.Leave()
			up[i] = join()
		case 3:
			up[i].m.Cut()
			time.Sleep(time.Duration(c.Rand.IntN(70)) * time.Second)
			up[i].m.Heal()
		}
	}
	c.faults(0)
	if !c.Settled() {
		c.Dump(30)
		c.t.Fatal("records are held for ever")
	}
	for _, w := range worlds {
		d := c.ended(w.leased.Run.Backup)
		if d.Status != "completed" {
			c.Dump(30)
			c.t.Fatalf("%s: %s", d.Status, d.Reason)
		}
		c.whole(w, d.Point)
	}
	time.Sleep(time.Minute)
	for _, w := range worlds {
		c.ended(w.leased.Run.Backup)
		c.told(w)
	}
	rows := len(c.Records(topics.PagesFiled.In(stagetest.Region)))
	c.Join(0)
	for _, o := range up {
		o.m.Leave()
	}
	time.Sleep(time.Minute)
	if n := len(c.Records(topics.PagesFiled.In(stagetest.Region))); n != rows {
		c.t.Errorf("a restart at rest wrote %d rows", n-rows)
	}
	if n := c.Count(stage.Refusal); n > 0 {
		c.t.Errorf("%d records refused", n)
	}
}
