package scheduler

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// Goal: on a whole Kafka, with members that crash, leave, freeze and write torn
// requests at any moment, every order comes to one verdict and all slots come
// back. Method: the test plays exporter and auditor from the topics alone; its
// memory outlives the scheduler's, as theirs would. SEEDS=n for more.
func TestSchedulerSurvives(t *testing.T) {
	seeds, _ := strconv.Atoi(os.Getenv("SEEDS"))
	for seed := range uint64(max(seeds, 6)) {
		t.Run(fmt.Sprint("seed-", seed), func(t *testing.T) { survive(t, seed) })
	}
}

func survive(t *testing.T, seed uint64) {
	stagetest.Run(t, seed, Stage(Default()), 2, func(b *stagetest.Bench) {
		b.Send(foundRow("vc-a", "", ""), foundRow("vc-b", "", ""))
		b.Send(topics.EpochsTurned.Event([]byte("opened/1"), &schemas.EpochTurned{Epoch: 1, Turn: schemas.EpochTurned_TURN_OPENED}))
		p := &players{b: b, exports: map[string]*played{}, verdicts: map[string]schemas.Status{}}
		if seed%2 == 1 {
			b.Weather(0.05)
		}
		members := []*stagetest.Member{b.Join(0.05), b.Join(0.05)}
		for step := range 24 {
			if step < 6 {
				p.order(step)
			}
			p.play()
			time.Sleep(time.Duration(1+b.Rand.IntN(8)) * time.Second)
			i := b.Rand.IntN(len(members))
			switch b.Rand.IntN(6) {
			case 0:
				members[i].Crash()
				members[i] = b.Join(0.05)
			case 1:
				members[i].Leave()
				members[i] = b.Join(0.05)
			case 2:
				if p.zombies = seed%4 >= 2; !p.zombies { // in the others limits are held
					break
				}
				members[i].Cut()
				time.Sleep(time.Duration(b.Rand.IntN(60)) * time.Second)
				members[i].Heal()
			}
		}
		for i := range 300 { // a source that is braked to one slot, whose attempts are lost, takes its time
			p.play()
			time.Sleep(20 * time.Second)
			if p.rest() == "" {
				return
			}
			if i%20 == 19 {
				b.Settled() // reaps members that the broker has not noticed are dead
			}
		}
		b.Dump(20)
		t.Fatal(p.rest())
	})
}

// players are an exporter and an auditor.
type players struct {
	b        *stagetest.Bench
	exports  map[string]*played
	verdicts map[string]schemas.Status
	orders   int
	zombies  bool // a frozen scheduler may grant what its heir granted to another
}

type played struct {
	word          *schemas.BackupLeased
	snapshot, dir bool
}

func (p *players) order(step int) {
	const machines = 6 // three a source, which bears two snapshots
	for n := range machines {
		m := &schemas.Machine{Source: []string{"vc-a", "vc-b"}[n%2], Id: fmt.Sprint("machine-", n)}
		job := schemas.JobID("/t", fmt.Sprint(step))
		p.b.Send(topics.BackupsQueued.Event([]byte(m.GetSource()), &schemas.BackupQueued{Job: &schemas.Job{Id: job.Bytes(), Of: machines}, Machine: m,
			Backup: schemas.BackupID(job, m.GetSource(), m.GetId()).Bytes(), SinceMs: time.Now().UnixMilli(), Options: &schemas.Options{}}))
		p.orders++
	}
	if step%4 == 3 {
		job := schemas.JobID("/t", fmt.Sprint(step-1))
		cancel := topics.BackupsQueued.Event(job.Bytes(), &schemas.BackupQueued{Job: &schemas.Job{Id: job.Bytes()}, Cancel: true})
		p.b.Send(cancel.To(0), cancel.To(1))
	}
}

func (p *players) play() {
	words := stagetest.Read(p.b, topics.BackupsLeased)
	p.checkRows(words)
	for _, w := range words { // all of them, each time: a reader may begin anew
		id := string(w.GetRun().GetBackup())
		e := p.exports[id]
		switch w.GetVerb() {
		case schemas.BackupLeased_VERB_LEASED:
			if e == nil || e.word.GetRun().GetAttempt() < w.GetRun().GetAttempt() {
				p.exports[id] = &played{word: w, snapshot: true, dir: true}
				p.count(w.GetMachine().GetSource())
			}
		case schemas.BackupLeased_VERB_WITHDRAWN, schemas.BackupLeased_VERB_REFUSED:
			p.judge(w, w.GetStatus())
			p.end(w, e)
		case schemas.BackupLeased_VERB_ENDED:
			p.end(w, e)
		}
	}
	for id, e := range p.exports {
		if e.snapshot && p.b.Rand.IntN(3) == 0 {
			e.snapshot = false
			if p.b.Rand.IntN(4) == 0 {
				p.answer(e.word, schemas.ExportEnded_WORD_LOST)
			} else if p.verdicts[id] == 0 {
				p.judge(e.word, schemas.Status_STATUS_COMPLETED)
			}
			p.answer(e.word, schemas.ExportEnded_WORD_SNAPSHOT_REMOVED)
		}
	}
}

// checkRows holds that what was begun stands in a row, in the partition where
// the next scheduler of its source recalls it.
func (p *players) checkRows(words []*schemas.BackupLeased) {
	leases := map[string]bool{}
	for _, rec := range p.b.Records(topics.MachinesTended.In(stagetest.Region)) {
		row, err := topics.MachinesTended.Decode(rec.Value)
		if source := row.GetMachine().GetSource(); err != nil || rec.Partition != topics.KeyPart([]byte(source), 2) {
			p.b.T.Fatalf("row %q of source %s in partition %d: %v", rec.Key, source, rec.Partition, err)
		}
		leases[string(row.GetOpen().GetRun().GetLease())] = true
	}
	for _, w := range words {
		if w.GetVerb() == schemas.BackupLeased_VERB_LEASED && !leases[string(w.GetRun().GetLease())] {
			p.b.T.Fatalf("leased and in no row: %v", w)
		}
	}
}

// end cleans up after an attempt, and always answers.
func (p *players) end(w *schemas.BackupLeased, e *played) {
	if e != nil && e.word.GetRun().GetAttempt() == w.GetRun().GetAttempt() {
		e.snapshot, e.dir = false, false
	}
	p.answer(w, schemas.ExportEnded_WORD_SNAPSHOT_REMOVED)
	p.answer(w, schemas.ExportEnded_WORD_DIR_REMOVED)
}

func (p *players) answer(w *schemas.BackupLeased, word schemas.ExportEnded_Word) {
	p.b.Send(topics.ExportsEnded.Event([]byte(w.GetMachine().GetSource()), &schemas.ExportEnded{Run: w.GetRun(), Machine: w.GetMachine(), Word: word, Reason: "as played"}))
}

func (p *players) judge(w *schemas.BackupLeased, s schemas.Status) {
	id := string(w.GetRun().GetBackup())
	if p.verdicts[id] == 0 {
		p.verdicts[id] = s
	}
	v := &schemas.Verdict{Status: p.verdicts[id], Point: &schemas.Point{Path: "p"}}
	p.b.Send(topics.BackupsJudged.Event([]byte(w.GetMachine().GetSource()), &schemas.BackupJudged{Run: w.GetRun(), Machine: w.GetMachine(),
		Word: &schemas.BackupJudged_Verdict{Verdict: v}}))
}

// count holds what is open at a source against its limits (foundRow: 2 and 4).
func (p *players) count(source string) {
	snapshots, dirs := 0, 0
	for _, e := range p.exports {
		if e.word.GetMachine().GetSource() == source && e.snapshot {
			snapshots++
		}
		if e.word.GetMachine().GetSource() == source && e.dir {
			dirs++
		}
	}
	if !p.zombies && (snapshots > 2 || dirs > 4) {
		p.b.T.Errorf("%d snapshots and %d folders are open at %s", snapshots, dirs, source)
	}
}

func (p *players) rest() string {
	if len(p.verdicts) < p.orders {
		return fmt.Sprintf("%d of %d orders have a verdict", len(p.verdicts), p.orders)
	}
	for key, row := range stagetest.Rows(p.b, topics.MachinesTended) {
		if row.GetOpen() != nil || len(row.GetPending()) > 0 {
			return fmt.Sprintf("%q is not at rest: %v", key, row)
		}
	}
	return ""
}

// A row that a dead scheduler's client brought to the log late must not be what
// the next one believes.
func TestLateRowOfARivalIsOverwritten(t *testing.T) {
	stagetest.Run(t, 0, Stage(Default()), 1, func(b *stagetest.Bench) {
		b.Send(foundRow("vc-a", "", "").To(0), topics.EpochsTurned.Event([]byte("opened/1"), &schemas.EpochTurned{Epoch: 1, Turn: schemas.EpochTurned_TURN_OPENED}))
		b.Join(0)
		q := orderOf(1, "m1")
		q.Machine.Source = "vc-a"
		b.Send(topics.BackupsQueued.Event([]byte("vc-a"), q))
		b.Settled()
		before := stagetest.Rows(b, topics.MachinesTended)["vc-a\nm1"]
		rival := proto.CloneOf(before)
		rival.Writer, rival.Open = []byte("rival"), nil
		b.Send(topics.MachinesTended.Event([]byte("vc-a\nm1"), rival).To(0))
		time.Sleep(5 * time.Second)
		if now := stagetest.Rows(b, topics.MachinesTended)["vc-a\nm1"]; before.GetOpen() == nil || !proto.Equal(now, before) {
			b.T.Errorf("before %v\nnow %v", before, now)
		}
	})
}
