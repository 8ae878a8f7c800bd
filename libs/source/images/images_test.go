package images_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/source/images"
	"github.com/holdfast-backup/holdfast/libs/source/sourcetest"
	"github.com/holdfast-backup/holdfast/schemas"
)

func open(t *testing.T, o images.Options) (*images.Source, string) {
	t.Helper()
	dir := t.TempDir()
	s, err := images.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}

// put writes a file, sparse where b is zero.
func put(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for off := 0; off < len(b); off += 4096 {
		p := b[off:min(off+4096, len(b))]
		if strings.Trim(string(p), "\x00") != "" {
			f.WriteAt(p, int64(off))
		}
	}
	if err := f.Truncate(int64(len(b))); err != nil {
		t.Fatal(err)
	}
}

func TestConformance(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T) sourcetest.World {
		root := t.TempDir()
		marks := t.TempDir()
		// A snapshot of a kind: pre leaves a mark under its name, post takes it away.
		s, err := images.Open(root, images.Options{
			Pre: `test -d "$HOLDFAST_DIR" && touch "` + marks + `/$HOLDFAST_SNAPSHOT"`, Post: `rm -f "` + marks + `/$HOLDFAST_SNAPSHOT"`})
		if err != nil {
			t.Fatal(err)
		}
		return sourcetest.World{Source: s,
			Set:     func(m, key string, b []byte) { put(t, filepath.Join(root, m, key), b) },
			Destroy: func(m string) { os.RemoveAll(filepath.Join(root, m)) },
			Left: func() (left []string) {
				all, _ := os.ReadDir(marks)
				for _, f := range all {
					left = append(left, f.Name())
				}
				return left
			}}
	})
}

// readAll reads every file of a snapshot by its ranges, or says why it can't.
func readAll(t *testing.T, s source.Snapshot) (bytes int64, err error) {
	for _, f := range s.Files() {
		r, err := s.Open(t.Context(), f, 0)
		if err != nil {
			return bytes, err
		}
		defer r.Close()
		for rg, err := range s.Changed(t.Context(), f, "") {
			if err != nil {
				return bytes, err
			}
			if err := r.ReadAt(t.Context(), make([]byte, rg.Len), rg.Off); err != nil {
				return bytes, err
			}
			bytes += rg.Len
		}
	}
	return bytes, nil
}

// What becomes of an image under the read is told: what, which, why. Failed where
// bytes are missing, fuzzy where they may be of two moments.
func TestImagesChangeUnderTheRead(t *testing.T) {
	disk := func(dir string) string { return filepath.Join(dir, "vm", "disk.raw") }
	for _, c := range []struct {
		name   string
		before func(dir string) // before the first read
		after  func(dir string) // after the last one
		err    string           // of the read
		fuzzy  string           // warning
	}{
		{name: "nothing"},
		{name: "shrinks", before: func(d string) { os.Truncate(disk(d), 100) }, err: `machine "vm": file "disk.raw": shrank from 300000 to 100 bytes`},
		{name: "vanishes", before: func(d string) { os.Remove(disk(d)) }, err: `machine "vm": file "disk.raw": vanished`},
		{name: "is a link now", before: func(d string) { os.Remove(disk(d)); os.Symlink("/etc/passwd", disk(d)) }, err: `replaced by a link`},
		{name: "is a pipe now", before: func(d string) { os.Remove(disk(d)); syscall.Mkfifo(disk(d), 0o600) }, err: `replaced by another file`},
		{name: "is another file now", before: func(d string) {
			os.WriteFile(disk(d)+"2", make([]byte, 300000), 0o600)
			os.Rename(disk(d)+"2", disk(d))
		}, err: `replaced by another file`},
		{name: "grows", after: func(d string) { os.Truncate(disk(d), 400000) }, fuzzy: `"disk.raw" grew from 300000 to 400000 bytes`},
		{name: "shrinks later", after: func(d string) { os.Truncate(disk(d), 1) }, fuzzy: `"disk.raw" shrank from 300000 to 1 bytes`},
		{name: "vanishes later", after: func(d string) { os.Remove(disk(d)) }, fuzzy: `"disk.raw" vanished`},
		{name: "all vanishes later", after: func(d string) { os.RemoveAll(filepath.Dir(disk(d))) }, fuzzy: `"disk.raw" vanished; "vm.xml" vanished`},
		{name: "is written", after: func(d string) {
			f, _ := os.OpenFile(disk(d), os.O_WRONLY, 0)
			f.WriteAt([]byte("x"), 7)
			f.Close()
			os.Chtimes(disk(d), time.Unix(1, 0), time.Unix(1, 0)) // who sets mtime back moves ctime
		}, fuzzy: `"disk.raw" was written`},
		{name: "a file more", after: func(d string) { put(t, filepath.Join(d, "vm", "new.raw"), []byte("x")) }, fuzzy: `"new.raw" is new`},
	} {
		for _, quiesce := range []schemas.Options_Quiesce{schemas.Options_QUIESCE_UNSPECIFIED, schemas.Options_QUIESCE_REQUIRE} {
			t.Run(fmt.Sprint(c.name, "/", quiesce), func(t *testing.T) {
				s, dir := open(t, images.Options{})
				b := make([]byte, 300000)
				for i := range b {
					b[i] = 1
				}
				put(t, disk(dir), b)
				put(t, filepath.Join(dir, "vm", "vm.xml"), []byte("<domain/>"))
				snap, err := s.Prepare(t.Context(), source.Order{Machine: "vm", Name: "n", Quiesce: quiesce})
				if err != nil {
					t.Fatal(err)
				}
				if c.before != nil {
					c.before(dir)
				}
				_, err = readAll(t, snap)
				if c.err != "" {
					if err == nil || !strings.Contains(err.Error(), c.err) || source.IsPermanent(err) {
						t.Errorf("read says %v, want %s, for a retry", err, c.err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if c.after != nil {
					c.after(dir)
				}
				worth, err := snap.Check(t.Context())
				switch {
				case c.fuzzy == "":
					if err != nil || worth.Level != schemas.Consistency_CONSISTENCY_CRASH {
						t.Errorf("nothing changed, and it is worth %v, %v", worth, err)
					}
				case quiesce == schemas.Options_QUIESCE_REQUIRE:
					if !source.IsPermanent(err) || !strings.Contains(err.Error(), c.fuzzy) || !strings.Contains(err.Error(), `"vm"`) {
						t.Errorf("check says %v, want %s, permanent", err, c.fuzzy)
					}
				default:
					if err != nil || worth.Level != schemas.Consistency_CONSISTENCY_FUZZY || len(worth.Warnings) != 1 || !strings.Contains(worth.Warnings[0], c.fuzzy) {
						t.Errorf("check says %v, %v, want fuzzy: %s", worth, err, c.fuzzy)
					}
				}
				if c.fuzzy != "" {
					if _, err := s.Resume(t.Context(), source.Order{Machine: "vm", Name: "n"}, snap.ID()); !errors.Is(err, source.ErrGone) {
						t.Errorf("resume of what changed: %v, want ErrGone", err)
					}
				}
			})
		}
	}
}

// An image that shrinks between two reads is missing bytes, not zeros.
func TestShrinksInTheMiddle(t *testing.T) {
	s, dir := open(t, images.Options{})
	path := filepath.Join(dir, "vm", "disk.raw")
	put(t, path, []byte(strings.Repeat("x", 100000)))
	snap, _ := s.Prepare(t.Context(), source.Order{Machine: "vm"})
	r, err := snap.Open(t.Context(), snap.Files()[0], 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	os.Truncate(path, 5000)
	for _, off := range []int64{4096, 8192} {
		err = r.ReadAt(t.Context(), make([]byte, 4096), off)
		if err == nil || !strings.Contains(err.Error(), `machine "vm": file "disk.raw": shrank to 5000 bytes while it was read, it had 100000`) {
			t.Errorf("read at %d says %v", off, err)
		}
	}
}

// An image that we may not read is named, by whoever runs the test.
func TestUnreadable(t *testing.T) {
	s, dir := open(t, images.Options{})
	path := filepath.Join(dir, "vm", "disk.raw")
	put(t, path, []byte("x"))
	os.Chmod(path, 0)
	snap, err := s.Prepare(t.Context(), source.Order{Machine: "vm"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // in a thread that ends with it, because root reads all: there we are nobody
		defer close(done)
		runtime.LockOSThread()
		if os.Getuid() == 0 {
			if err := unix.Setfsuid(65534); err != nil {
				t.Error(err)
			}
		}
		_, err = snap.Open(t.Context(), snap.Files()[0], 0)
	}()
	<-done
	if err == nil || !strings.Contains(err.Error(), `machine "vm": file "disk.raw": unreadable`) {
		t.Errorf("open says %v", err)
	}
}

func TestOddNames(t *testing.T) {
	s, dir := open(t, images.Options{})
	names := []string{"my disk.raw", "..raw", "...", "a\nb.raw", "\U0001F4BE.raw", "bad\xff\xfe.raw", "sub dir/deep/disk.img", "%41.raw", "\uf7ff.raw", `back\slash.raw`, "-rf.raw"}
	for _, n := range names {
		put(t, filepath.Join(dir, "ma\nchine \xf0\U0001F4BE", n), []byte(n))
	}
	inv, err := s.List(t.Context())
	if err != nil || len(inv.Machines) != 1 {
		t.Fatal(inv, err)
	}
	snap, err := s.Prepare(t.Context(), source.Order{Machine: inv.Machines[0].ID})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, f := range snap.Files() {
		raw := source.Raw(f.Key)
		got[raw] = true
		r, err := snap.Open(t.Context(), f, 0)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, f.Size)
		if err := r.ReadAt(t.Context(), b, 0); err != nil || string(b) != raw {
			t.Errorf("file %q holds %q, %v", f.Key, b, err)
		}
		r.Close()
	}
	for _, n := range names {
		if !got[n] {
			t.Errorf("%q is missing", n)
		}
	}
	said := strings.Join(snap.Warnings(), "\n")
	if !strings.Contains(said, `"bad\xff\xfe.raw" is not UTF-8`) {
		t.Errorf("warnings: %s", said)
	}
}

func TestOddMachines(t *testing.T) {
	s, dir := open(t, images.Options{})
	os.Mkdir(filepath.Join(dir, "empty"), 0o755)
	put(t, filepath.Join(dir, "diskless", "vm.xml"), []byte("<domain/>"))
	put(t, filepath.Join(dir, "linked", "disk.raw"), []byte("x"))
	os.Symlink("/etc/passwd", filepath.Join(dir, "linked", "evil.raw"))
	syscall.Mkfifo(filepath.Join(dir, "linked", "pipe"), 0o600)
	put(t, filepath.Join(dir, "foreign", "disk.qcow2"), []byte("QFI\xfb and so on"))
	put(t, filepath.Join(dir, ".hidden", "disk.raw"), []byte("x"))
	put(t, filepath.Join(dir, "lost+found", "disk.raw"), []byte("x"))
	put(t, filepath.Join(dir, "stray.raw"), []byte("x"))
	os.Symlink(filepath.Join(dir, "linked"), filepath.Join(dir, "alias"))
	for d := filepath.Join(dir, "deep"); strings.Count(d, "/d") < 20; d += "/d" {
		os.MkdirAll(d, 0o755)
	}

	inv, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	findings := map[string]string{}
	for _, m := range inv.Machines {
		findings[m.ID] = strings.Join(m.Findings, "; ")
	}
	for id, want := range map[string]string{
		"empty": "has no file", "diskless": "no disk", "linked": `"evil.raw" is a link to "/etc/passwd": not followed`,
		"foreign": `"disk.qcow2" is a qcow2 image: kept as the file it is`, "deep": "folders more than",
	} {
		if got, ok := findings[id]; !ok || !strings.Contains(got, want) {
			t.Errorf("machine %s: findings %q, want %q", id, got, want)
		}
	}
	if len(inv.Machines) != 5 {
		t.Errorf("%d machines are listed: %v", len(inv.Machines), findings)
	}
	if said := strings.Join(inv.Findings, "; "); !strings.Contains(said, `"stray.raw" is no folder`) || !strings.Contains(said, `"alias" is a link`) {
		t.Errorf("the source's findings: %s", said)
	}

	if _, err := s.Prepare(t.Context(), source.Order{Machine: "empty"}); !source.IsPermanent(err) || !strings.Contains(err.Error(), `machine "empty": nothing to back up`) {
		t.Errorf("a machine with no file: %v", err)
	}
	if _, err := s.Prepare(t.Context(), source.Order{Machine: "alias"}); !errors.Is(err, source.ErrGone) {
		t.Errorf("a machine that is a link: %v", err)
	}
	snap, err := s.Prepare(t.Context(), source.Order{Machine: "diskless"})
	if err != nil || strings.Join(snap.Warnings(), "; ") != "no disk" {
		t.Errorf("a machine with no disk: %v, %v", snap, err)
	}
	snap, err = s.Prepare(t.Context(), source.Order{Machine: "linked"})
	if err != nil || len(snap.Files()) != 1 || len(snap.Warnings()) != 2 {
		t.Errorf("a machine with a link and a pipe: %v, %v", snap, err)
	}
}

func TestOddSizes(t *testing.T) {
	s, dir := open(t, images.Options{})
	put(t, filepath.Join(dir, "vm", "zero.raw"), nil)
	put(t, filepath.Join(dir, "vm", "one.raw"), []byte("x"))
	put(t, filepath.Join(dir, "vm", "odd.raw"), []byte(strings.Repeat("x", 65537)))
	huge := filepath.Join(dir, "vm", "huge.raw")
	put(t, huge, []byte("x"))
	if err := os.Truncate(huge, 8<<40); err != nil {
		t.Skip("the file system has no files of 8 TiB: ", err)
	}
	f, _ := os.OpenFile(huge, os.O_WRONLY, 0)
	f.WriteAt([]byte("end"), 8<<40-3)
	f.Close()
	snap, err := s.Prepare(t.Context(), source.Order{Machine: "vm"})
	if err != nil {
		t.Fatal(err)
	}
	n, err := readAll(t, snap)
	if err != nil || n < 65538 || n > 1<<20 {
		t.Errorf("%d bytes were read, %v; want what is allocated", n, err)
	}
}

func TestHooks(t *testing.T) {
	t.Run("fails", func(t *testing.T) {
		s, dir := open(t, images.Options{Pre: `echo no snapshot for "$HOLDFAST_MACHINE" >&2; exit 3`})
		put(t, filepath.Join(dir, "v m", "disk.raw"), []byte("x"))
		_, err := s.Prepare(t.Context(), source.Order{Machine: "v m"})
		if err == nil || source.IsPermanent(err) || err.Error() != `machine "v m": pre command: exit status 3: no snapshot for v m` {
			t.Errorf("prepare says %v", err)
		}
	})
	t.Run("hangs", func(t *testing.T) {
		s, dir := open(t, images.Options{Pre: `sleep 1000 & sleep 1000`, Timeout: 50 * time.Millisecond})
		put(t, filepath.Join(dir, "vm", "disk.raw"), []byte("x"))
		_, err := s.Prepare(t.Context(), source.Order{Machine: "vm"})
		if err == nil || !strings.Contains(err.Error(), "not done within 50ms") {
			t.Errorf("prepare says %v", err)
		}
	})
	t.Run("makes the disk", func(t *testing.T) {
		s, dir := open(t, images.Options{Pre: `cp "$HOLDFAST_DIR/live" "$HOLDFAST_DIR/disk.raw"`, Post: `rm -f "$HOLDFAST_DIR/disk.raw"`})
		put(t, filepath.Join(dir, "vm", "live"), []byte("x"))
		snap, err := s.Prepare(t.Context(), source.Order{Machine: "vm"})
		if err != nil || len(snap.Files()) != 2 {
			t.Fatal(snap, err)
		}
		if err := s.End(t.Context(), source.Order{Machine: "vm"}); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(dir, "vm", "disk.raw")); err == nil {
			t.Error("post did not run")
		}
	})
}

func TestOpen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	os.WriteFile(file, nil, 0o600)
	for _, path := range []string{file, filepath.Join(t.TempDir(), "none")} {
		if _, err := images.Open(path, images.Options{}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("open %s: %v", path, err)
		}
	}
	// A folder that goes away is an unmounted share: its machines are not gone.
	s, dir := open(t, images.Options{})
	os.Remove(dir)
	if _, err := s.List(t.Context()); err == nil {
		t.Error("a folder that is not there is listed")
	}
	if _, err := s.Prepare(t.Context(), source.Order{Machine: "vm"}); err == nil || errors.Is(err, source.ErrGone) {
		t.Errorf("prepare in a folder that is not there: %v", err)
	}
}
