package scheduler

import (
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// workers are an exporter and an auditor of one region, who complete what is leased.
type workers struct {
	b        *stagetest.Bench
	region   string
	answered map[string]bool // by lease
}

func (w *workers) work() {
	for _, l := range stagetest.ReadIn(w.b, w.region, topics.BackupsLeased) {
		if lease := string(l.GetRun().GetLease()); l.GetVerb() == schemas.BackupLeased_VERB_LEASED && !w.answered[lease] {
			w.answered[lease] = true
			source := []byte(l.GetMachine().GetSource())
			w.b.Send(topics.BackupsJudged.Event(source, &schemas.BackupJudged{Run: l.GetRun(), Machine: l.GetMachine(),
				Word: &schemas.BackupJudged_Verdict{Verdict: &schemas.Verdict{Status: schemas.Status_STATUS_COMPLETED, Point: &schemas.Point{Path: "p"}}}}).For(w.region))
			for _, word := range []schemas.ExportEnded_Word{schemas.ExportEnded_WORD_SNAPSHOT_REMOVED, schemas.ExportEnded_WORD_DIR_REMOVED} {
				w.b.Send(topics.ExportsEnded.Event(source, &schemas.ExportEnded{Run: l.GetRun(), Machine: l.GetMachine(), Word: word}).For(w.region))
			}
		}
	}
}

// done counts machines of the region that had so many backups and are at rest.
func (w *workers) done(backups int) (n int) {
	rows := map[string]*schemas.MachineTended{}
	for _, row := range stagetest.ReadIn(w.b, w.region, topics.MachinesTended) {
		rows[machineKey(row.GetMachine())] = row
	}
	for _, row := range rows {
		if row.GetOpen() == nil && len(row.GetPending()) == 0 && len(row.GetDone()) == backups {
			n++
		}
	}
	return n
}

// until has the workers work, until so many machines had so many backups.
func (w *workers) until(backups, machines int) {
	w.b.T.Helper()
	for range 200 {
		w.work()
		if w.done(backups) == machines {
			return
		}
		time.Sleep(5 * time.Second)
	}
	w.b.Dump(20)
	w.b.T.Fatalf("region %s: %d machines of %d had %d backups", w.region, w.done(backups), machines, backups)
}

// Goal: what befalls one region is no other's matter. Method: two regions on one
// coordinator, whose wire is torn. In one all workers are down, its topics go, and come
// back empty; the coordinator is killed and another begins. In the other every backup
// is completed all the while; and in the first, once it is there again.
func TestRegionsStandAlone(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed-", seed), func(t *testing.T) {
			coordinate(t, seed, func(b *stagetest.Bench) { standAlone(b) })
		})
	}
}

func standAlone(b *stagetest.Bench) {
	const each = 3 // machines of a source, which bears two snapshots
	here, there := &workers{b, home, map[string]bool{}}, &workers{b, other, map[string]bool{}}
	rows := func(region, source string) {
		b.Send(opened(region), foundRow(source, "", "").For(region))
		for i := range each {
			b.Send(foundRow(source, fmt.Sprint("vm-", i), fmt.Sprint(source, "-", i)).For(region))
		}
	}
	rows(home, "vc-a")
	rows(other, "vc-u")
	c := start(b)
	defer func() { c.leave() }()
	ask := func(id, source string) { b.Send(backupEvent(id, fmt.Sprintf(`{"selectors":[{"source":%q}]}`, source))) }

	b.Send(backupEvent("all", `{"selectors":[{"name":"*"}]}`))
	here.until(1, each)
	if n := len(stagetest.ReadIn(b, other, topics.MachinesTended)); n == 0 || there.done(1) != 0 {
		b.T.Fatalf("in the region without workers %d rows, %d machines done", n, there.done(1))
	}
	c.crash()
	c = start(b)
	ask("two", "vc-a")
	ask("pending", "vc-u")
	here.until(2, each)
	b.Raze(other, Stage(Default()), Intake(Default()))
	ask("lost", "vc-u") // while nobody knows yet that the region is gone
	ask("three", "vc-a")
	here.until(3, each)
	time.Sleep(3 * time.Minute)
	found(b, other)
	rows(other, "vc-u")
	ask("four", "vc-a")
	time.Sleep(time.Minute)
	ask("again", "vc-u")
	here.until(4, each)
	there.until(1, each)
}
