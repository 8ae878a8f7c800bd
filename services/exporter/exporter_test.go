package exporter

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/libs/source/sourcetest"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/libs/staging"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

const (
	testWindow = 2 << 20
	testParts  = 2
	testExtent = 600 << 10
)

// house plays scheduler, chunker and auditor around the stage, believing only records.
type house struct {
	*stagetest.Bench
	fake  *sourcetest.Fake
	share *staging.Share
	runs  []*course
	calm  bool // no more faults

	zombies bool // members are cut off and come back
	mixes   int  // leases of two snapshots
}

// course is one backup on its way: its attempts, one after another.
type course struct {
	backup, machine string
	order           *schemas.BackupLeased
	base            *point
	verdict         schemas.Status // of the last attempt; unspecified: it runs
	ended           map[string]bool
	attempts        int
	points          []*point
}

func uuid(r *rand.Rand) []byte {
	b := make([]byte, 16)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func (h *house) say(o *schemas.BackupLeased) {
	h.Send(topics.BackupsLeased.Event(o.Run.Backup, o))
}

// lease opens the next attempt.
func (h *house) lease(c *course) {
	c.attempts++
	c.verdict = schemas.Status_STATUS_UNSPECIFIED
	c.order = &schemas.BackupLeased{Verb: schemas.BackupLeased_VERB_LEASED, Machine: &schemas.Machine{Source: "fake", Id: c.machine, Name: c.machine}, WindowBytes: testWindow,
		Run: &schemas.Run{Backup: []byte(c.backup), Attempt: uint32(c.attempts), Lease: uuid(h.Rand), Epoch: 1}}
	if c.base != nil {
		c.order.Base = &schemas.Point{Path: "p", Lease: c.base.lease[:]}
		for _, f := range c.base.base {
			c.order.Base.Files = append(c.order.Base.Files, f)
		}
	}
	h.say(c.order)
}

func (h *house) end(c *course, status schemas.Status) {
	c.verdict = status
	o := proto.CloneOf(c.order)
	o.Verb, o.Status, o.Base = schemas.BackupLeased_VERB_ENDED, status, nil
	if status == schemas.Status_STATUS_CANCELLED {
		o.Verb = schemas.BackupLeased_VERB_WITHDRAWN
	}
	c.ended[string(o.Run.Lease)] = true
	h.say(o)
}

// words of a lease, in order.
func words(all []*schemas.ExportEnded, lease []byte) (got map[schemas.ExportEnded_Word]int) {
	got = map[schemas.ExportEnded_Word]int{}
	for _, e := range all {
		if bytes.Equal(e.Run.Lease, lease) {
			got[e.Word]++
		}
	}
	return got
}

// step plays the other stages once. It reports whether all backups have ended.
func (h *house) step() bool {
	ended := stagetest.Read(h.Bench, topics.ExportsEnded)
	files := stagetest.Read(h.Bench, topics.FilesExported)
	extents := stagetest.Read(h.Bench, topics.ExtentsExported)
	rest := true
	for _, c := range h.runs {
		lease := c.order.Run.Lease
		said := words(ended, lease)
		if !c.ended[string(lease)] {
			rest = false
			switch {
			case said[schemas.ExportEnded_WORD_DIR_REMOVED] > 0:
				h.T.Errorf("the folder of a lease is removed before its end")
			case said[schemas.ExportEnded_WORD_FAILED]+said[schemas.ExportEnded_WORD_LOST] > 0:
				h.end(c, schemas.Status_STATUS_UNSPECIFIED)
			case !h.calm && h.Rand.IntN(60) == 0:
				h.end(c, schemas.Status_STATUS_CANCELLED)
			case !h.calm && h.Rand.IntN(60) == 0: // a rival scheduler: the attempt is passed over
				c.ended[string(lease)] = true
				h.lease(c)
			case h.mixed(files, extents, lease):
				if h.mixes++; h.mixes > mixesMax {
					h.T.Errorf("%d leases tell of two snapshots each: that is no accident", h.mixes)
				}
				h.end(c, schemas.Status_STATUS_UNSPECIFIED)
			case h.finished(files, lease):
				h.complete(c, files, extents)
				h.end(c, schemas.Status_STATUS_COMPLETED)
			}
			continue
		}
		if said[schemas.ExportEnded_WORD_SNAPSHOT_REMOVED] == 0 || said[schemas.ExportEnded_WORD_DIR_REMOVED] == 0 {
			rest = false
			if h.Rand.IntN(20) == 0 {
				h.end(c, c.verdict) // said again, as the scheduler does
			}
			continue
		}
		if c.verdict == schemas.Status_STATUS_UNSPECIFIED && c.attempts < 40 {
			rest = false
			h.lease(c)
		}
	}
	h.close(extents)
	return rest
}

// answered checks that the slots of every lease there ever was are free.
func (h *house) answered() {
	all := stagetest.Read(h.Bench, topics.ExportsEnded)
	for _, c := range h.runs {
		for lease := range c.ended {
			if said := words(all, []byte(lease)); said[schemas.ExportEnded_WORD_SNAPSHOT_REMOVED] == 0 || said[schemas.ExportEnded_WORD_DIR_REMOVED] == 0 {
				h.T.Errorf("lease %x of %s: only %v was said", lease, c.machine, said)
			}
		}
	}
}

func (h *house) finished(files []*schemas.FileExported, lease []byte) bool {
	for _, f := range files {
		if f.Finished != nil && bytes.Equal(f.Run.Lease, lease) {
			return true
		}
	}
	return false
}

// mixesMax is how many leases of a run may be mixed: one in 200 runs has one.
const mixesMax = 2

// mixed reports whether a lease tells of two snapshots. An exporter that was thought
// dead may make one beside its successor; the auditor fails such an attempt, and so
// does this.
func (h *house) mixed(files []*schemas.FileExported, extents []*schemas.ExtentExported, lease []byte) bool {
	ids := map[string]bool{}
	for _, f := range files {
		if f.Finished != nil && bytes.Equal(f.Run.Lease, lease) {
			ids[f.Finished.SnapshotId] = true
		}
	}
	for _, e := range extents {
		if bytes.Equal(e.Run.Lease, lease) {
			ids[e.SnapshotId] = true
		}
	}
	return len(ids) > 1
}

// close says of some extents that their pages are durable, of old ones again.
func (h *house) close(extents []*schemas.ExtentExported) {
	for _, e := range extents {
		if h.Rand.IntN(6) == 0 {
			h.Send(topics.ExtentsClosed.Event(e.Run.Backup, &schemas.ExtentsClosed{Run: e.Run, Extents: []*schemas.ClosedExtent{{File: e.File, Extent: e.Extent}}}))
		}
	}
}

// complete makes the point of the current lease, as the later stages would: from
// the first record of each extent. It checks it against the source.
func (h *house) complete(c *course, files []*schemas.FileExported, extents []*schemas.ExtentExported) {
	lease := c.order.Run.Lease
	p := &point{lease: schemas.UUID(lease), files: map[string][]byte{}, base: map[string]*schemas.BaseFile{}}
	k := &catcher{t: h.T, base: c.base, out: p, extents: map[string]*schemas.ExtentExported{}, blobs: map[string][]byte{}, told: map[string]*schemas.FileExported{}}
	var fin *schemas.Finished
	for _, f := range files {
		if !bytes.Equal(f.Run.Lease, lease) {
			continue
		}
		if f.Finished != nil {
			if fin != nil && !proto.Equal(fin, f.Finished) {
				h.T.Error("finished is told in two ways")
			}
			fin = f.Finished
			continue
		}
		if f.Via != sourcetest.Via {
			h.T.Errorf("file %q is told to be read via %q, want %q", f.Key, f.Via, sourcetest.Via)
		}
		k.file(context.Background(), f)
	}
	state := h.fake.State(fin.SnapshotId)
	if int(fin.Files) != len(k.told) || len(state) != len(k.told) {
		h.T.Errorf("finished says %d files, %d are told, the source has %d", fin.Files, len(k.told), len(state))
	}
	for _, e := range extents {
		if !bytes.Equal(e.Run.Lease, lease) {
			continue
		}
		if e.SnapshotId != fin.SnapshotId {
			h.T.Error("extents of two snapshots in one lease")
		}
		name := fmt.Sprintf("%d/%d", e.File, e.Extent)
		if old := k.extents[name]; old != nil {
			if !bytes.Equal(old.Digests, e.Digests) || !proto.Equal(&schemas.ExtentExported{Pages: old.Pages}, &schemas.ExtentExported{Pages: e.Pages}) {
				h.T.Errorf("extent %s is cut otherwise after a crash", name)
			}
			continue
		}
		k.extents[name] = e
		for key, f := range k.told {
			if f.File == e.File {
				k.blobs[name] = blobOf(e, state[key]) // the blob may be freed: its hash stands for it
			}
		}
		h.check(e, k.blobs[name])
	}
	k.restore()
	for key, want := range state {
		if !bytes.Equal(p.files[key], want) {
			h.T.Errorf("%s/%s is not what it was", c.machine, key)
		}
	}
	if fin.BaseLease != nil && !bytes.Equal(fin.BaseLease, c.base.lease[:]) {
		h.T.Error("finished names a base that the order did not")
	}
	c.points = append(c.points, p)
}

func blobOf(e *schemas.ExtentExported, file []byte) (blob []byte) {
	for _, p := range e.Pages {
		for i := range int64(64) {
			if p.Data&(1<<i) != 0 {
				at := (int64(p.No)*64 + i) * int64(e.GridBytes)
				blob = append(blob, file[at:min(at+int64(e.GridBytes), int64(len(file)))]...)
			}
		}
	}
	return blob
}

func (h *house) check(e *schemas.ExtentExported, blob []byte) {
	if !bytes.Equal(digests(blob), e.Digests) || len(blob) != int(e.LengthBytes) || len(blob) > testExtent {
		h.T.Errorf("extent %d/%d does not hold the bytes of its snapshot", e.File, e.Extent)
	}
}

// watch looks all the time whether a lease passes its window.
func (h *house) watch(stop <-chan struct{}) {
	passed := map[string]bool{}
	const most = testWindow + 3*testExtent // see window; and seldom two are thought dead at once
	for {
		select {
		case <-stop:
			return
		case <-time.After(50 * time.Millisecond):
		}
		leases, _ := h.share.Leases()
		for _, l := range leases {
			blobs, _ := h.share.Blobs(l)
			sum := int64(0)
			for _, b := range blobs {
				sum += b.Bytes
			}
			if sum > most && !passed[l] {
				passed[l] = true
				h.T.Errorf("%d bytes in %d blobs of lease %s, want %d at most", sum, len(blobs), l, most)
			}
		}
	}
}

func disk(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for at := 0; at < n; at += 10000 {
		if r.IntN(3) > 0 {
			for i := at; i < min(at+10000, n); i++ {
				b[i] = byte(r.Uint32())
			}
		}
	}
	return b
}

func seeds(t *testing.T, few int) int {
	if s, err := strconv.Atoi(os.Getenv("SEEDS")); err == nil {
		return s
	}
	return few
}

// Goal: whatever dies when, each lease ends with its snapshot and its folder
// gone and both said; no window is passed; what is told makes up one snapshot's
// bytes, and a crash cuts nothing otherwise. Method: the stage on a bench, a
// source that is slow and fails, lost or ghost; members join, leave, crash and
// are cut off and healed; a house that plays the other stages, cancels now and
// then and backs each machine up a second time on the first point.
func TestNothingIsLeftBehind(t *testing.T) {
	for seed := range uint64(seeds(t, 8)) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { crashes(t, seed) })
	}
}

func crashes(t *testing.T, seed uint64) {
	share, err := staging.Open(t.TempDir(), staging.Options{PoolBytes: testWindow})
	if err != nil {
		t.Fatal(err)
	}
	fake := sourcetest.NewFake(seed)
	fake.Tracks, fake.Slow = seed%4 < 2, 300*time.Millisecond
	s := define(Default(), Deps{Grid: testGrid, Sources: map[string]Provider{"fake": {Source: fake, Share: share, WindowBytes: testWindow, ShareBytes: 4 * testWindow, Limits: Limits{Snapshots: 2}}}},
		limits{extentBytes: testExtent, cursorBytes: 1 << 20, cursorExtents: 2})
	stagetest.Run(t, seed, s, testParts, func(b *stagetest.Bench) {
		h := &house{Bench: b, fake: fake, share: share, zombies: seed%2 == 1}
		stop := make(chan struct{})
		defer close(stop)
		go h.watch(stop)
		for _, m := range []string{"m1", "m2"} {
			for i := range 2 {
				fake.Set(m, fmt.Sprint("disk", i), disk(b.Rand, b.Rand.IntN(4<<20)))
			}
			fake.Set(m, "settings", []byte("x"))
		}
		if seed%4 == 1 {
			b.Weather(0.02)
		}
		b.Join(0.05)
		var before []*course
		for range 2 {
			h.runs, h.calm = nil, false
			for _, m := range []string{"m1", "m2"} {
				c := &course{machine: m, backup: string(uuid(b.Rand)), ended: map[string]bool{}}
				for _, old := range before {
					if old.machine == m && len(old.points) > 0 {
						c.base = old.points[len(old.points)-1]
					}
				}
				h.runs = append(h.runs, c)
				h.lease(c)
			}
			fake.Weather([]float64{0, 0.002, 0.02}[seed%3])
			h.weather()
			h.calm = true
			fake.Weather(0)
			for i := 0; !h.step(); i++ {
				if time.Sleep(2 * time.Second); i%30 == 29 {
					b.Settled() // reaps members that the broker has not noticed are dead
				}
				if i == 300 {
					for key, row := range stagetest.Rows(b, topics.ExportsOpen) {
						t.Logf("row %x: attempt %d, %v, ending %v, %d older, failure %q", key, row.Order.Run.Attempt, row.Phase, row.Ending, len(row.Older), row.Failure)
					}
					b.T.Fatal("backups do not come to rest: snapshots ", fake.Snapshots())
				}
			}
			for _, m := range []string{"m1", "m2"} {
				fake.Set(m, "disk0", disk(b.Rand, b.Rand.IntN(4<<20)))
			}
			before = h.runs
			h.answered()
		}
		if !b.Settled() {
			b.T.Error("inputs are not done")
		}
		if len(fake.Snapshots()) > 0 { // of an exporter that was thought dead: the hunter's, in two hunts
			time.Sleep(3 * time.Duration(Default().Hunt))
		}
		if left := fake.Snapshots(); len(left) > 0 {
			t.Errorf("snapshots are left: %v", left)
		}
		if left, _ := share.Leases(); len(left) > 0 {
			t.Errorf("folders are left: %v", left)
		}
		for key, row := range stagetest.Rows(b, topics.ExportsOpen) {
			if row.Phase != schemas.ExportOpen_PHASE_ENDED || len(row.Older) > 0 {
				t.Errorf("row %x is left in %v", key, row.Phase)
			}
		}
	})
}

// weather lets members come and go for a while.
func (h *house) weather() {
	members := []*stagetest.Member{h.Join(0.05)}
	for range 25 {
		h.step()
		time.Sleep(time.Duration(h.Rand.IntN(4000)) * time.Millisecond)
		switch i := h.Rand.IntN(len(members) + 1); {
		case i == len(members) || len(members) == 1 && h.Rand.IntN(2) == 0:
			members = append(members, h.Join(0.05))
		case h.Rand.IntN(3) == 0:
			members[i].Leave()
			members = append(members[:i], members[i+1:]...)
		case !h.zombies || h.Rand.IntN(2) == 0:
			members[i].Crash()
			members = append(members[:i], members[i+1:]...)
		default:
			members[i].Cut()
			time.Sleep(time.Duration(h.Rand.IntN(20)) * time.Second)
			members[i].Heal()
		}
		if len(members) == 0 {
			members = append(members, h.Join(0.05))
		}
	}
}
