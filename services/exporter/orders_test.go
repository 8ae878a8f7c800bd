package exporter

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/source/images"
	"github.com/holdfast-backup/holdfast/libs/source/sourcetest"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/libs/staging"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// bench runs the stage on a folder of images and a fake, in calm weather.
func bench(t *testing.T, f func(b *stagetest.Bench, dir string, fake *sourcetest.Fake, share *staging.Share)) {
	dir := t.TempDir()
	share, err := staging.Open(t.TempDir(), staging.Options{})
	if err != nil {
		t.Fatal(err)
	}
	img, err := images.Open(dir, images.Options{})
	if err != nil {
		t.Fatal(err)
	}
	fake := sourcetest.NewFake(1)
	limit := Provider{Share: share, ShareBytes: 4 << 20, WindowBytes: 1 << 20, Limits: Limits{Snapshots: 3, PerHost: 4, PerDatastore: 5, Connections: 6, Hold: 7 * time.Millisecond}, CheckOneIn: 7}
	a, b := limit, limit
	a.Source, b.Source = img, fake
	s := Stage(Default(), Deps{Grid: testGrid, Sources: map[string]Provider{"images": a, "fake": b}})
	stagetest.Run(t, 1, s, testParts, func(b *stagetest.Bench) { f(b, dir, fake, share) })
}

func order(source, machine string, n byte) *schemas.BackupLeased {
	return &schemas.BackupLeased{Verb: schemas.BackupLeased_VERB_LEASED, Machine: &schemas.Machine{Source: source, Id: machine, Name: machine},
		Run: &schemas.Run{Backup: fmt.Appendf(nil, "%016d", n), Attempt: 1, Lease: fmt.Appendf(nil, "%016d", n+100), Epoch: 1}}
}

func send(b *stagetest.Bench, o *schemas.BackupLeased, change func(*schemas.BackupLeased)) {
	if change != nil {
		change(o)
	}
	b.Send(topics.BackupsLeased.Event(o.Run.Backup, o))
	b.Settled()
	time.Sleep(20 * time.Second)
}

func ending(o *schemas.BackupLeased) { o.Verb = schemas.BackupLeased_VERB_ENDED }

// answers are the words for a lease, with their reasons.
func answers(b *stagetest.Bench, o *schemas.BackupLeased) (said []string) {
	for _, e := range stagetest.Read(b, topics.ExportsEnded) {
		if string(e.Run.Lease) == string(o.Run.Lease) {
			s := strings.ToLower(strings.TrimPrefix(e.Word.String(), "WORD_"))
			if e.Permanent {
				s += " for good"
			}
			if e.Reason != "" {
				s += ": " + e.Reason
			}
			said = append(said, s)
		}
	}
	return said
}

// Every order is answered: what can't be exported, what ends before it began,
// what was never heard of, what comes twice.
func TestEveryOrderIsAnswered(t *testing.T) {
	bench(t, func(b *stagetest.Bench, dir string, _ *sourcetest.Fake, share *staging.Share) {
		t := b.T
		os.Mkdir(filepath.Join(dir, "empty"), 0o755)
		os.MkdirAll(filepath.Join(dir, "vm"), 0o755)
		os.WriteFile(filepath.Join(dir, "vm", "vm.xml"), []byte("<domain/>"), 0o600)
		os.WriteFile(filepath.Join(dir, "vm", "swap.raw"), []byte("x"), 0o600)
		b.Join(0)
		const gone, freed = "snapshot_removed", "dir_removed"
		for i, c := range []struct {
			order *schemas.BackupLeased
			want  []string
		}{
			{order("images", "vm", 1), []string{"ok", gone}},
			{order("images", "nobody", 2), []string{`failed for good: machine "nobody": no folder`, gone}},
			{order("images", "../vm", 3), []string{`failed for good: machine "../vm": not the name`, gone}},
			{order("images", "empty", 4), []string{`failed for good: machine "empty": nothing to back up`, gone}},
			{order("elsewhere", "vm", 5), []string{`failed for good: source "elsewhere" is not configured here`, gone}},
		} {
			send(b, c.order, nil)
			send(b, c.order, nil) // again: nothing new is begun
			got := answers(b, c.order)
			for j := range max(len(got), len(c.want)) {
				if j >= len(got) || j >= len(c.want) || !strings.HasPrefix(got[j], c.want[j]) {
					t.Errorf("order %d is answered %q, want %q", i, got, c.want)
					break
				}
			}
			send(b, c.order, ending)
			if got := answers(b, c.order); got[len(got)-1] != freed {
				t.Errorf("the end of order %d is answered %q", i, got)
			}
			before := len(answers(b, c.order))
			send(b, c.order, nil) // both old words come again, months later
			send(b, c.order, ending)
			if got := answers(b, c.order); len(got) < before+2 || got[len(got)-1] != freed || got[len(got)-2] != gone {
				t.Errorf("an old end of order %d is answered %q", i, got[before:])
			}
		}
		never := order("images", "vm", 6)
		share.Put(folder(never.Run), "0-0-left", []byte("by whoever"))
		send(b, never, ending)
		if got := strings.Join(answers(b, never), ", "); got != "snapshot_removed, dir_removed" {
			t.Errorf("the end of a lease never heard of is answered %q", got)
		}
		send(b, never, func(o *schemas.BackupLeased) { o.Verb = schemas.BackupLeased_VERB_LEASED })
		if got := answers(b, never); len(got) > 4 || got[len(got)-1] != "dir_removed" {
			t.Errorf("a lease whose end came first is begun: %q", got)
		}
		bad := order("images", "vm", 7)
		send(b, bad, func(o *schemas.BackupLeased) { o.Options = &schemas.Options{ExcludedDisks: []string{"[a"}} })
		if got := answers(b, bad); len(got) == 0 || !strings.HasPrefix(got[0], `failed for good: excluded disk "[a"`) {
			t.Errorf("a bad pattern is answered %q", got)
		}
		send(b, bad, ending)
		// Two schedulers leased one attempt; the one that lives tells the end of its own.
		ours, theirs := order("images", "vm", 8), order("images", "vm", 8)
		theirs.Run.Lease = []byte("another's lease!")
		send(b, ours, nil)
		send(b, theirs, nil)
		send(b, theirs, ending)
		if got := answers(b, ours); len(got) == 0 || got[len(got)-1] != freed {
			t.Errorf("the end of a rival's lease of the same attempt is answered %q", got)
		}
		if left, _ := share.Leases(); len(left) > 0 {
			t.Errorf("folders are left: %v", left)
		}
	})
}

// An end that was heard is brought to its end, without being said again, also by
// the process that comes after.
func TestEndIsRemembered(t *testing.T) {
	bench(t, func(b *stagetest.Bench, _ string, fake *sourcetest.Fake, share *staging.Share) {
		t := b.T
		fake.Set("m", "d", make([]byte, 100))
		fake.Slow = time.Minute
		m := b.Join(0)
		o := order("fake", "m", 1)
		b.Send(topics.BackupsLeased.Event(o.Run.Backup, o))
		for len(fake.Snapshots()) == 0 {
			time.Sleep(time.Second)
		}
		fake.Weather(1)
		send(b, o, ending)
		if got := answers(b, o); len(got) > 0 {
			t.Errorf("the source gives nothing back, and the answer is %q", got)
		}
		m.Crash()
		fake.Weather(0)
		b.Join(0)
		time.Sleep(5 * time.Minute)
		if got := strings.Join(answers(b, o), ", "); got != "snapshot_removed, dir_removed" || len(fake.Snapshots()) > 0 {
			t.Errorf("answered %q, left %v", got, fake.Snapshots())
		}
	})
}

// An exporter that dies while a snapshot is made has told nobody its id: it is
// found by its name and goes, and no other is made for that lease.
func TestDeathWhilePreparing(t *testing.T) {
	bench(t, func(b *stagetest.Bench, _ string, fake *sourcetest.Fake, _ *staging.Share) {
		t := b.T
		fake.Set("m", "d", make([]byte, 100))
		fake.Slow = time.Hour
		m := b.Join(0)
		o := order("fake", "m", 1)
		send(b, o, nil)
		m.Crash() // its call goes on at the source, or not
		if row := stagetest.Rows(b, topics.ExportsOpen)[string(o.Run.Backup)]; row.GetPhase() != schemas.ExportOpen_PHASE_PREPARING {
			t.Errorf("a snapshot may be there, and the row says %v", row)
		}
		b.Join(0)
		time.Sleep(3 * time.Hour)
		if got := answers(b, o); len(got) != 2 || !strings.HasPrefix(got[0], "lost: ") || got[1] != "snapshot_removed" {
			t.Errorf("answered %q", got)
		}
		if left, twice := fake.Snapshots(), fake.Twice(); len(left)+len(twice) > 0 {
			t.Errorf("left %v, prepared twice %v", left, twice)
		}
	})
}

// A frozen exporter's row cannot take a lease back to where it was.
func TestRowsDoNotGoBack(t *testing.T) {
	r := &room{open: map[string]*lease{}}
	row := func(attempt uint32, lease string, phase schemas.ExportOpen_Phase) {
		r.row([]byte("b"), &schemas.ExportOpen{Phase: phase, Order: &schemas.BackupLeased{Run: &schemas.Run{Attempt: attempt, Lease: []byte(lease)}}})
	}
	const reading, ended = schemas.ExportOpen_PHASE_READING, schemas.ExportOpen_PHASE_ENDED
	for i, c := range []struct {
		attempt uint32
		lease   string
		phase   schemas.ExportOpen_Phase
		taken   bool
	}{{1, "x", reading, true}, {1, "x", ended, true}, {1, "x", reading, false}, {2, "y", 0, true}, {1, "x", ended, false}, {2, "y", reading, true}} {
		row(c.attempt, c.lease, c.phase)
		is := r.open["b"]
		if got := is.run().Attempt == c.attempt && is.phase() == c.phase; got != c.taken {
			t.Errorf("row %d is taken: %v", i, got)
		}
	}
}

// Nor can it make us forget that the end was heard: nobody says it again once the
// slots are free.
func TestAnEndIsNotUnheard(t *testing.T) {
	r := &room{open: map[string]*lease{}}
	row := func(attempt uint32, lease string, phase schemas.ExportOpen_Phase, ending, completed bool) *schemas.ExportOpen {
		r.row([]byte("b"), &schemas.ExportOpen{Phase: phase, Ending: ending, Completed: completed,
			Order: &schemas.BackupLeased{Run: &schemas.Run{Attempt: attempt, Lease: []byte(lease)}}})
		return r.open["b"].state()
	}
	const reading, waiting = schemas.ExportOpen_PHASE_READING, schemas.ExportOpen_PHASE_WAITING
	row(1, "x", reading, true, true)
	for _, late := range []schemas.ExportOpen_Phase{reading, waiting} {
		if got := row(1, "x", late, false, false); got.Phase != late || !got.Ending || !got.Completed {
			t.Errorf("the end was heard, and after a late row in %v it is ending %v, completed %v", late, got.Ending, got.Completed)
		}
	}
	if got := row(2, "y", reading, false, false); got.Ending || got.Completed {
		t.Error("the end of one attempt is taken for that of the next")
	}
}

// A row that a dead exporter wrote and the log took late stands last in the table
// until the living one writes its own again: compaction would leave nothing else.
func TestALateRowIsOverwritten(t *testing.T) {
	bench(t, func(b *stagetest.Bench, _ string, fake *sourcetest.Fake, _ *staging.Share) {
		fake.Set("m", "d", make([]byte, 100))
		b.Join(0)
		o := order("fake", "m", 1)
		send(b, o, nil)
		send(b, o, ending)
		late := &schemas.ExportOpen{Order: o, Phase: schemas.ExportOpen_PHASE_WAITING, SnapshotRemoved: true, Writer: []byte("another")}
		b.Send(topics.ExportsOpen.Event(o.Run.Backup, late))
		time.Sleep(2 * tickEvery)
		if row := stagetest.Rows(b, topics.ExportsOpen)[string(o.Run.Backup)]; row.GetPhase() != schemas.ExportOpen_PHASE_ENDED {
			b.T.Errorf("the newest row says %v, and the lease has ended", row.GetPhase())
		}
	})
}

// What was left out and what all of it is worth is in finished.
func TestWarningsAreTold(t *testing.T) {
	bench(t, func(b *stagetest.Bench, dir string, _ *sourcetest.Fake, _ *staging.Share) {
		t := b.T
		os.MkdirAll(filepath.Join(dir, "vm"), 0o755)
		for _, name := range []string{"root.raw", "swap.raw", "odd\xff.nvram", "zero.raw"} {
			os.WriteFile(filepath.Join(dir, "vm", name), []byte(strings.TrimPrefix(name, "zero.raw")), 0o600)
		}
		os.Symlink("/etc/passwd", filepath.Join(dir, "vm", "link"))
		b.Join(0)
		o := order("images", "vm", 1)
		o.Options = &schemas.Options{ExcludedDisks: []string{"swap*"}}
		send(b, o, nil)
		files := map[string]*schemas.FileExported{}
		var fin *schemas.Finished
		for _, f := range stagetest.Read(b, topics.FilesExported) {
			if f.Finished != nil {
				fin = f.Finished
				continue
			}
			files[source.Raw(f.Key)] = f
		}
		if fin == nil {
			t.Fatal("not finished: ", answers(b, o))
		}
		said := strings.Join(fin.Warnings, "; ")
		for _, want := range []string{`disk "swap.raw" is excluded`, `"link" is a link to "/etc/passwd"`, `"odd\xff.nvram" is not UTF-8`} {
			if !strings.Contains(said, want) {
				t.Errorf("warnings %q, want %s", said, want)
			}
		}
		if fin.Files != 3 || fin.Disks != 2 || fin.FullReason != "there is no base" || fin.Consistency != schemas.Consistency_CONSISTENCY_CRASH {
			t.Errorf("finished: %v", fin)
		}
		if f := files["odd\xff.nvram"]; f.GetKind() != schemas.FileExported_KIND_NVRAM || f.GetGridBytes() != testGrid || len(f.GetRuns()) != 1 {
			t.Errorf("nvram: %v", f)
		}
		if f := files["zero.raw"]; f == nil || f.SizeBytes != 0 || len(f.Runs) != 0 || f.Parts != 1 {
			t.Errorf("a file of no bytes: %v", f)
		}
		for _, e := range stagetest.Read(b, topics.ExtentsExported) {
			if e.LengthBytes == 0 {
				t.Errorf("an extent of nothing: %v", e)
			}
		}
		send(b, o, ending)
	})
}

// The inventory says what is new and what is gone, and nothing twice.
func TestInventory(t *testing.T) {
	bench(t, func(b *stagetest.Bench, _ string, fake *sourcetest.Fake, _ *staging.Share) {
		t := b.T
		fake.Set("m1", "d", make([]byte, 100))
		fake.Set("m2", "d", make([]byte, 200))
		b.Join(0)
		time.Sleep(12 * time.Minute)
		rows := stagetest.Rows(b, topics.MachinesFound)
		if r := rows["fake\nm2"]; r == nil || r.Disks[0].SizeBytes != 200 || r.Gone {
			t.Errorf("m2: %v", r)
		}
		if r := rows["fake\n"]; r == nil || r.Source.Machines != 2 || r.Source.SnapshotsMax != 3 || r.Source.PerHost != 4 || r.Source.PerDatastore != 5 || r.Source.Connections != 6 || r.Source.CheckOneIn != 7 || r.Source.WindowBytes != 1<<20 || r.Source.LatencyHoldUs != 7000 || r.Source.ListedMs == 0 {
			t.Errorf("the source: %v", r)
		}
		part := topics.KeyPart([]byte("fake"), testParts)
		n, announced := 0, false
		for _, rec := range b.Records(topics.MachinesFound.In(stagetest.Region)) {
			if strings.HasPrefix(string(rec.Key), "fake\n") && rec.Partition != part {
				t.Errorf("row %q lies in partition %d, its source's is %d", rec.Key, rec.Partition, part)
			}
			if string(rec.Key) == "fake\nm1" {
				n++
			}
			if row, err := topics.MachinesFound.Decode(rec.Value); err == nil && !announced && strings.HasPrefix(string(rec.Key), "fake\n") {
				announced = string(rec.Key) == "fake\n" && row.Source.ListedMs == 0
				if !announced {
					t.Errorf("row %q comes before the source is said to be listed yet: a request for another machine would be refused", rec.Key)
					announced = true
				}
			}
		}
		if n != 1 {
			t.Errorf("m1 is told %d times", n)
		}
		fake.Destroy("m1")
		time.Sleep(6 * time.Minute)
		if rows := stagetest.Rows(b, topics.MachinesFound); !rows["fake\nm1"].Gone || rows["fake\nm2"].Gone {
			t.Error("m1 is gone and not told, or m2 is told to be")
		}
		fake.Weather(1)
		fake.Destroy("m2")
		time.Sleep(6 * time.Minute)
		rows = stagetest.Rows(b, topics.MachinesFound)
		if rows["fake\nm2"].Gone || len(rows["fake\n"].Findings) != 1 || rows["fake\n"].Source.Machines != 1 {
			t.Errorf("a list that failed: %v", rows["fake\n"])
		}
		fake.Weather(0)
		fake.Set("m1", "d", nil)
		time.Sleep(6 * time.Minute)
		if rows := stagetest.Rows(b, topics.MachinesFound); rows["fake\nm1"].Gone || !rows["fake\nm2"].Gone || len(rows["fake\n"].Findings) != 0 {
			t.Error("m1 is back and m2 is gone, and it is not told")
		}
	})
}

// Folders that nobody knows go when they were seen twice, an hour apart; ended
// rows when no old order can come any more.
func TestLeftoversGo(t *testing.T) {
	bench(t, func(b *stagetest.Bench, dir string, _ *sourcetest.Fake, share *staging.Share) {
		t := b.T
		os.MkdirAll(filepath.Join(dir, "vm"), 0o755)
		os.WriteFile(filepath.Join(dir, "vm", "disk.raw"), []byte("x"), 0o600)
		m := b.Join(0)
		o, stranger := order("images", "vm", 1), order("images", "vm", 2)
		send(b, o, nil)
		share.Put(folder(stranger.Run), "0-0-x", nil)
		share.Put("not-ours", "x", nil)
		time.Sleep(90 * time.Minute)
		if all, _ := share.Leases(); len(all) != 3 {
			t.Errorf("folders after an hour and a half: %v", all)
		}
		time.Sleep(time.Hour)
		if all, _ := share.Leases(); len(all) != 2 {
			t.Errorf("folders after two and a half: %v, want those of the open lease and of nobody", all)
		}
		send(b, o, ending)
		later := func(days time.Duration) {
			m.Leave()
			b.Skew = days * 24 * time.Hour
			m = b.Join(0)
			time.Sleep(65 * time.Minute)
		}
		later(7)
		if len(stagetest.Rows(b, topics.ExportsOpen)) != 1 {
			t.Error("the row of an ended lease is gone while its order may come again")
		}
		later(8)
		if n := len(stagetest.Rows(b, topics.ExportsOpen)); n != 0 {
			t.Errorf("%d rows are kept for ever", n)
		}
	})
}

// A snapshot of ours that no row knows is removed when it was seen so in two hunts,
// a few in each; what is an open lease's or not ours by its name stays.
func TestStrangeSnapshotsGo(t *testing.T) {
	bench(t, func(b *stagetest.Bench, _ string, fake *sourcetest.Fake, _ *staging.Share) {
		t := b.T
		fake.Set("m", "d", bytes.Repeat([]byte("x"), 20<<20)) // more than an extent, so its export waits for space
		fake.Set("other", "d", make([]byte, 100))
		fake.Slow = time.Second
		b.Join(0)
		o := order("fake", "m", 1)
		send(b, o, nil)
		ours := orderOf(o).Name
		part := topics.KeyPart(o.Run.Backup, testParts)
		lost := 0 // of one room, as many as take three hunts
		for n := byte(2); lost < 2*marksPerHunt+1; n++ {
			stranger := order("fake", "m", n)
			if topics.KeyPart(stranger.Run.Backup, testParts) != part {
				continue
			}
			lost++
			fake.Prepare(t.Context(), source.Order{Machine: "other", Name: orderOf(stranger).Name})
		}
		person := "holdfast-before-the-upgrade"
		fake.Prepare(t.Context(), source.Order{Machine: "other", Name: person})
		for i, want := range []int{lost, lost - marksPerHunt, lost - 2*marksPerHunt, 0} {
			wait := time.Hour + time.Minute
			if i == 0 {
				wait = 90 * time.Minute
			}
			time.Sleep(wait)
			left := fake.Snapshots()
			strange := 0
			for _, name := range left {
				if strings.HasPrefix(name, snapshotMark) && name != person && name != ours {
					strange++
				}
			}
			if strange != want {
				t.Errorf("after hunt %d there are %d strange snapshots, want %d", i+1, strange, want)
			}
			if !slices.Contains(left, person) || !slices.Contains(left, ours) {
				t.Errorf("after hunt %d a snapshot is gone that a person made, or an open lease: %q", i+1, left)
			}
		}
		send(b, o, ending)
	})
}

func TestTexts(t *testing.T) {
	long := texts([]string{"bad\xff", strings.Repeat("é", 1000)})
	if long[0] != "bad\uFFFD" || len(long[1]) > textBytes+4 {
		t.Errorf("texts: %q", long)
	}
	if all := texts(make([]string, 60)); len(all) != warningsMax+1 || all[warningsMax] != "and 10 more" {
		t.Errorf("%d warnings: %q", len(all), all[len(all)-1])
	}
}
