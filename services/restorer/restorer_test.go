//go:build synctests

package restorer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// seeds are 6, or as many as SEEDS says.
func seeds() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("SEEDS"), 10, 64); err == nil {
		return n
	}
	return 6
}

// Goal: whenever the process dies, each request has one end, told in the same
// words however often; restored files are equal to the point, and nobody's file is
// written over without force. Method: a whole Kafka and a slow vault in virtual
// time, both faulty; a process lives for some seconds at a time; requests come
// twice; then all is well, and files and words are compared.
func TestProcessDiesAtAnyPoint(t *testing.T) {
	lib := newLibrary(t)
	seeded(t, seeds(), func(t *testing.T, seed uint64) {
		run(t, seed, lib, func(w *world) {
			foreign := w.put("taken/disk0.raw", "somebody's")
			w.put("forced/disk0.raw", "old")
			forced := w.to("forced")
			forced.Force = true
			at := time.Now()
			w.b.Weather(0.05)
			ids := map[string]schemas.UUID{}
			for dir, req := range map[string]schemas.RestoreRequested{"plain": w.to("plain"), "taken": w.to("taken"), "forced": forced} {
				ids[dir] = w.send(dir, at, req)
				w.send(dir, at, req)
			}
			for range 12 {
				p := w.join(0.02, 0.2, 400*time.Millisecond)
				time.Sleep(time.Duration(4000+w.b.Rand.IntN(9000)) * time.Millisecond)
				p.m.Crash()
			}
			w.join(0, 0, 100*time.Millisecond)
			for dir, want := range map[string]string{"plain": statusCompleted, "taken": statusRefused, "forced": statusCompleted} {
				if c := w.end(ids[dir]); c.Status != want {
					t.Errorf("%s: %s, want %s: %s", dir, c.Status, want, c.Reason)
				}
			}
			for range 60 {
				if w.b.Settled() && w.row(ids["plain"]).GetTold() && w.row(ids["taken"]).GetTold() && w.row(ids["forced"]).GetTold() {
					break
				}
			}
			w.equal("plain")
			w.equal("forced")
			w.untouched(foreign, "somebody's")
			for dir, id := range ids {
				w.told(id)
				if row := w.row(id); !row.GetTold() {
					t.Errorf("%s: its row says %v", dir, row)
				}
			}
		})
	})
}

// Each order says one thing that is wrong; it is refused with the reason, at
// once, and nothing is written.
func TestOrdersThatAreRefused(t *testing.T) {
	lib := newLibrary(t)
	outside := t.TempDir()
	run(t, 1, lib, func(w *world) {
		w.must(os.Symlink(outside, filepath.Join(w.root, "door")))
		w.must(os.Symlink(filepath.Join(outside, "nothing"), filepath.Join(w.root, "dangling")))
		w.must(os.MkdirAll(filepath.Join(w.root, "inner"), 0o755))
		w.must(os.Symlink(outside, filepath.Join(w.root, "inner", "door")))
		foreign := w.put("taken/domain.xml", "somebody's")
		w.must(os.MkdirAll(filepath.Join(w.root, "folder", "domain.xml"), 0o755))
		w.join(0, 0, 10*time.Millisecond)
		for name, c := range map[string]struct {
			change func(*schemas.RestoreRequested)
			why    string
		}{
			"vault":    {func(r *schemas.RestoreRequested) { r.Vault = "other" }, `vault "other" is not here: this house has "v"`},
			"format":   {func(r *schemas.RestoreRequested) { r.As = "vhd" }, `"vhd" is none of`},
			"relative": {func(r *schemas.RestoreRequested) { r.Destination.Dir = "here" }, `destination "here" is no absolute path`},
			"outside":  {func(r *schemas.RestoreRequested) { r.Destination.Dir = outside }, "below none of restore.roots"},
			"sibling":  {func(r *schemas.RestoreRequested) { r.Destination.Dir = w.root + "-2" }, "below none of restore.roots"},
			"dots":     {func(r *schemas.RestoreRequested) { r.Destination.Dir = w.root + "/../x" }, "below none of restore.roots"},
			"link":     {func(r *schemas.RestoreRequested) { r.Destination.Dir = w.root + "/door" }, "below none of restore.roots"},
			"below link": {func(r *schemas.RestoreRequested) { r.Destination.Dir = w.root + "/door/new" },
				"below none of restore.roots"},
			"dangling": {func(r *schemas.RestoreRequested) { r.Destination.Dir = w.root + "/dangling/new" }, "a link that leads nowhere"},
			"mapped through a link": {func(r *schemas.RestoreRequested) {
				r.Destination.Dir, r.Mapping = w.root+"/inner", map[string]string{"domain.xml": "door/domain.xml"}
			}, "below none of restore.roots"},
			"mapped out": {func(r *schemas.RestoreRequested) { r.Mapping = map[string]string{"domain.xml": "../x"} }, "leads out of"},
			"taken":      {func(r *schemas.RestoreRequested) { r.Destination.Dir = w.root + "/taken" }, "domain.xml is there already"},
			"folder": {func(r *schemas.RestoreRequested) { r.Destination.Dir, r.Force = w.root+"/folder", true },
				"domain.xml is there already"},
			"no such point":   {func(r *schemas.RestoreRequested) { r.Point = strings.Replace(r.Point, "0", "1", 1) }, "not in the vault"},
			"no point's path": {func(r *schemas.RestoreRequested) { r.Point = "packs/x" }, "not in the vault"},
			"no path":         {func(r *schemas.RestoreRequested) { r.Point = "points/../../x" }, "not in the vault"},
			"no such file":    {func(r *schemas.RestoreRequested) { r.Files = []string{"disk7.raw"} }, `disk7.raw`},
		} {
			req := w.to("new-" + strings.ReplaceAll(name, " ", "-"))
			dir := req.Destination.Dir
			c.change(&req)
			began := time.Now()
			got := w.end(w.send(name, time.Now(), req))
			if got.Status != statusRefused || !strings.Contains(got.Reason, c.why) {
				t.Errorf("%s: %s, %s; want refused: %s", name, got.Status, got.Reason, c.why)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("%s: refused after %s, as if it were weather", name, took)
			}
			if _, err := os.Lstat(dir); err == nil {
				t.Errorf("%s: refused, and yet %s was made", name, dir)
			}
		}
		w.untouched(foreign, "somebody's")
		if there, err := os.ReadDir(outside); err != nil || len(there) > 0 {
			t.Errorf("outside of the root lies %v, %v", there, err)
		}
	})
}

func TestOrdersThatAreExpiredOrUnread(t *testing.T) {
	run(t, 1, newLibrary(t), func(w *world) {
		w.join(0, 0, 0)
		id := w.send("old", time.Now().Add(-expiry-time.Second), w.to("old"))
		if c := w.end(id); c.Status != statusRefused || !strings.Contains(c.Reason, "expired") || c.Point != w.lib.point {
			t.Errorf("an order of yesterday: %+v", c)
		}
		if c := w.end(w.send("young", time.Now().Add(-expiry+time.Minute), w.to("young"))); c.Status != statusCompleted {
			t.Errorf("an order of today: %+v", c)
		}
		sent := w.b.Send(topics.RestoresRequested.Event([]byte("k"), []byte("no event"), nil))[0]
		bad := schemas.PlaceID(topics.RestoresRequested.In(stagetest.Region), sent.Part, sent.Offset)
		if c := w.end(bad); c.Status != statusRefused || c.Reason == "" {
			t.Errorf("no event: %+v", c)
		}
		if n := len(stagetest.ReadRaw(w.b, topics.RestoresRequested.Refused())); n != 2 {
			t.Errorf("%d orders are kept as refused, want 2", n)
		}
	})
}

// A repeat is not run again, also not by the next process, nor when it says
// something else under the same id.
func TestRepeatedRequest(t *testing.T) {
	run(t, 1, newLibrary(t), func(w *world) {
		p := w.join(0, 0, 10*time.Millisecond)
		at := time.Now()
		id := w.send("a", at, w.to("a"))
		w.send("a", at, w.to("a"))
		first := w.end(id)
		if first.Status != statusCompleted || first.Size != uint64(len(w.lib.files["disk0.raw"])+len(w.lib.files["domain.xml"])) || len(first.Files) != 2 {
			t.Errorf("told %+v", first)
		}
		w.must(os.RemoveAll(filepath.Join(w.root, "a")))
		w.send("a", at, w.to("a"))
		w.send("a", at, w.to("b"))
		w.b.Settled()
		p.m.Leave()
		w.join(0, 0, 10*time.Millisecond)
		w.send("a", at, w.to("a"))
		w.b.Settled()
		time.Sleep(time.Minute)
		if n := len(w.told(id)); n != 1 {
			t.Errorf("its end is told %d times by processes that lived", n)
		}
		for _, dir := range []string{"a", "b"} {
			if _, err := os.Stat(filepath.Join(w.root, dir)); err == nil {
				t.Errorf("%s: a repeat was run", dir)
			}
		}
	})
}

// Force restores over files that are there, larger ones too, and some files may be
// asked for, under other names.
func TestForceAndChoice(t *testing.T) {
	run(t, 1, newLibrary(t), func(w *world) {
		w.put("a/domain.xml", strings.Repeat("older and longer", 1000))
		w.put("a/disk0.raw"+".holdfast-partial", strings.Repeat("left by another", 1<<19))
		w.join(0, 0, 10*time.Millisecond)
		req := w.to("a")
		req.Force, req.Vault, req.As = true, "v", "raw"
		if c := w.end(w.send("a", time.Now(), req)); c.Status != statusCompleted {
			t.Errorf("force: %+v", c)
		}
		w.equal("a")
		req = w.to("b")
		req.Files, req.Mapping = []string{"domain.xml"}, map[string]string{"domain.xml": "deep/other.xml"}
		if c := w.end(w.send("b", time.Now(), req)); c.Status != statusCompleted || len(c.Files) != 1 {
			t.Errorf("one file: %+v", c)
		}
		w.untouched(filepath.Join(w.root, "b/deep/other.xml"), "<domain/>")
	})
}

// Damage is told at once, with the file and the place, and no file gets its name.
func TestDamagedPack(t *testing.T) {
	lib := newLibrary(t)
	lib.flip(t)
	run(t, 1, lib, func(w *world) {
		w.join(0, 0, 10*time.Millisecond)
		began := time.Now()
		c := w.end(w.send("a", time.Now(), w.to("a")))
		if c.Status != statusFailed || !strings.Contains(c.Reason, "restore disk0.raw") || !strings.Contains(c.Reason, "pack e1-") {
			t.Errorf("told %+v", c)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("damage was waited for: %s", took)
		}
		if _, err := os.Stat(filepath.Join(w.root, "a", "disk0.raw")); err == nil {
			t.Error("the damaged disk has its name")
		}
	})
}

// Weather is waited for, and only so long.
func TestVaultThatDoesNotAnswer(t *testing.T) {
	run(t, 1, newLibrary(t), func(w *world) {
		p := w.join(0, 0, 10*time.Millisecond)
		down := func(down bool) {
			for _, f := range p.faults {
				f.Down(down)
			}
		}
		down(true)
		id := w.send("a", time.Now(), w.to("a"))
		time.Sleep(5 * time.Minute)
		down(false)
		if c := w.end(id); c.Status != statusCompleted {
			t.Errorf("after 5 minutes: %+v", c)
		}
		down(true)
		began := time.Now()
		if c := w.end(w.send("b", time.Now(), w.to("b"))); c.Status != statusFailed || !strings.Contains(c.Reason, "target is down") {
			t.Errorf("a vault that is gone: %+v", c)
		}
		if took := time.Since(began); took < patience/2 || took > 2*patience {
			t.Errorf("it was waited for %s", took)
		}
	})
}

// Progress grows to the size of all files and tells no more than that.
func TestProgressIncreases(t *testing.T) {
	run(t, 1, newLibrary(t), func(w *world) {
		w.join(0, 0, 2*time.Second)
		id := w.send("a", time.Now(), w.to("a"))
		done := w.end(id)
		var last uint64
		n := 0
		for _, raw := range stagetest.ReadRaw(w.b, topics.RestoresProgressed.Spec) {
			e, err := schemas.DecodeEvent(raw.Headers, raw.Value)
			w.must(err)
			p, err := schemas.ReadData[schemas.RestoreProgressed](e)
			w.must(err)
			if p.Restore != id || p.Size != done.Size || p.Done <= last || p.Done > p.Size {
				t.Errorf("after %d: %+v", last, p)
			}
			last = p.Done
			n++
		}
		if n < 3 || last < done.Size*9/10 {
			t.Errorf("told %d times, at last %d of %d bytes", n, last, done.Size)
		}
	})
}

// Rows go after their time, also in a process that lives as long, and an order
// that is replayed then is too old.
func TestRowsAreForgotten(t *testing.T) {
	run(t, 1, newLibrary(t), func(w *world) {
		w.keep = expiry + 2*time.Hour
		w.join(0, 0, 0)
		at := time.Now()
		ended := w.send("a", at, w.to("a"))
		refused := w.send("b", at, schemas.RestoreRequested{Point: w.lib.point, Destination: schemas.RestoreDestination{Dir: "here"}})
		old := w.send("c", at.Add(-48*time.Hour), w.to("c"))
		for _, id := range []schemas.UUID{ended, refused, old} {
			w.end(id)
		}
		time.Sleep(w.keep - time.Hour)
		for _, id := range []schemas.UUID{ended, refused, old} {
			if w.row(id) == nil {
				t.Errorf("%s is forgotten too early", id)
			}
		}
		time.Sleep(2 * time.Hour)
		for _, id := range []schemas.UUID{ended, refused, old} {
			if row := w.row(id); row != nil {
				t.Errorf("%s is kept: %v", id, row)
			}
		}
		w.must(os.RemoveAll(filepath.Join(w.root, "a")))
		w.send("a", at, w.to("a"))
		w.b.Settled()
		if _, err := os.Stat(filepath.Join(w.root, "a")); err == nil {
			t.Error("an order that was forgotten was run again")
		}
		if n := w.b.Count(stage.Failed); n > 0 {
			t.Errorf("%d failures", n)
		}
	})
}

// Of several regions that of the vault answers, and it alone; where ours is the only
// one, a vault that is not here is told. A request that does not say is nobody's.
func TestOtherRegionsVault(t *testing.T) {
	run(t, 1, newLibrary(t), func(w *world) {
		alone, unsure := false, errors.New("no broker answers")
		w.alone = func(context.Context) (bool, error) {
			err := unsure
			unsure = nil
			return alone, err
		}
		w.join(0, 0, 10*time.Millisecond)
		ask := func(name, vault string) schemas.UUID {
			req := w.to(name)
			req.Vault = vault
			return w.send(name, time.Now(), req)
		}
		others := ask("others", "of another region")
		if c := w.end(ask("ours", "v")); c.Status != statusCompleted {
			t.Errorf("ours: %+v", c)
		}
		if c := w.end(ask("whose", "")); c.Status != statusRefused || c.Reason != errWhose.Error() {
			t.Errorf("of no vault: %+v", c)
		}
		if told := w.told(others); len(told) > 0 || !w.b.Settled() {
			t.Errorf("another region's was answered: %+v", told)
		}
		alone = true
		if c := w.end(ask("nobody", "of another region")); c.Status != statusRefused {
			t.Errorf("of a vault that nobody has: %+v", c)
		}
	})
}
