package up

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
)

// Half a second for each guess at a passphrase would be half a minute of these tests.
func init() { vault.WrapCostDefault = vault.WrapCost{Passes: 1, MemoryKiB: 2 << 10, Threads: 1} }

func options(t *testing.T) Options {
	t.Helper()
	dir := t.TempDir()
	images := filepath.Join(dir, "machines")
	if err := os.MkdirAll(images, 0o755); err != nil {
		t.Fatal(err)
	}
	return Options{Data: filepath.Join(dir, "data"), Images: []string{images}, K: 2, M: 1, Blind: true, Say: io.Discard, Log: slog.New(slog.DiscardHandler)}
}

// begin is the start as far as the keys; it opens no port.
func begin(t *testing.T, o Options) (*conf.Config, error) {
	t.Helper()
	c, err := Configure(o)
	if err != nil {
		return nil, err
	}
	return c, FirstKeys(t.Context(), c, o.Say)
}

// A first start may be killed after any of its writes; the next one finishes it,
// with the same keys, or makes them anew where nothing was sealed to them yet.
func TestAFirstStartIsFinishedByTheNext(t *testing.T) {
	for _, lost := range []string{"keys/vault.pub", "keys/name.key keys/map.key keys/vault.pub", "keys/wrapped keys/name.key keys/map.key keys/vault.pub",
		"vault/t3/vault.json", "vault/*/epochs/1", "vault/*/epochs/1 vault/*/keys/*", "vault/*/epochs/1 vault/*/keys/* vault/t3/vault.json",
		"vault/*/epochs/1 vault/*/keys/* vault/*/vault.json keys/map.key keys/vault.pub"} {
		t.Run(lost, func(t *testing.T) {
			o := options(t)
			c, err := begin(t, o)
			if err != nil {
				t.Fatal(err)
			}
			first, err := vault.LoadRing(c.Keys.Dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, pattern := range append(strings.Fields(lost), "keys/"+madeFile) { // which is written last
				all, err := filepath.Glob(filepath.Join(o.Data, pattern))
				if err != nil || len(all) == 0 {
					t.Fatalf("%s: %v, %v", pattern, all, err)
				}
				for _, name := range all {
					if err := os.Remove(name); err != nil {
						t.Fatal(err)
					}
				}
			}
			if _, err := begin(t, o); err != nil {
				t.Fatalf("the next start: %v", err)
			}
			again, err := vault.LoadRing(c.Keys.Dir)
			if err != nil || again.Fingerprint() != first.Fingerprint() {
				t.Errorf("the keys are others after the next start: %v", err)
			}
			if n, err := opened(t, c).Epoch(t.Context()); n != 1 || err != nil {
				t.Errorf("the vault is in epoch %d, %v", n, err)
			}
			if !strings.Contains(lost, "vault/*/keys") {
				return
			}
			if _, err := begin(t, o); err != nil { // which compares them with those that were put there anew
				t.Errorf("the start after it: %v", err)
			}
		})
	}
}

// The shares of all targets are not mounted at a start: the folders under them are no
// empty targets. The start says so and writes nothing there, and with the shares it
// goes on; with those of another vault it doesn't.
func TestUnmountedTargetsAreNoNewVault(t *testing.T) {
	o := options(t)
	if _, err := begin(t, o); err != nil {
		t.Fatal(err)
	}
	targets, away := filepath.Join(o.Data, "vault"), filepath.Join(o.Data, "away")
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	move(targets, away)
	for range 2 {
		if _, err := begin(t, o); err == nil || !strings.Contains(err.Error(), "one was made on them: are the shares mounted?") || !strings.Contains(err.Error(), "t1") {
			t.Errorf("the start says %v", err)
		}
		if all, _ := filepath.Glob(filepath.Join(targets, "*", "*")); len(all) > 0 {
			t.Fatalf("it wrote %v", all)
		}
	}
	if err := os.RemoveAll(targets); err != nil {
		t.Fatal(err)
	}
	move(away, targets)
	if _, err := begin(t, o); err != nil {
		t.Errorf("with the shares: %v", err)
	}
	if err := os.WriteFile(filepath.Join(o.Data, "keys", madeFile), []byte(strings.Repeat("0", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := begin(t, o); err == nil || !strings.Contains(err.Error(), "are the right shares mounted?") {
		t.Errorf("another vault's shares: %v", err)
	}
}

func opened(t *testing.T, c *conf.Config) *vault.Vault {
	t.Helper()
	targets, err := house.Targets(c)
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.Open(t.Context(), targets)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Each case breaks one thing; the start must say which, and change nothing.
func TestBadStartsAreRefused(t *testing.T) {
	for _, c := range []struct {
		name, want string
		harm       func(t *testing.T, o *Options)
	}{
		{"data is a file", "is a file", func(t *testing.T, o *Options) { put(t, o.Data, "x") }},
		{"another version", `is of version "9"`, func(t *testing.T, o *Options) { put(t, filepath.Join(o.Data, "version"), "9\n") }},
		{"in use", "in use by another process", func(t *testing.T, o *Options) {
			f, err := openFolder(o.Data)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(f.close)
		}},
		{"images are not there", "no such file", func(t *testing.T, o *Options) { o.Images = []string{"/nowhere"} }},
		{"vcenter without a user", "sources[1].user: is missing", func(t *testing.T, o *Options) { o.VCenter.URL = "https://vc.example.org" }},
		{"password is not there", "sources[1].password_file: open /nowhere", func(t *testing.T, o *Options) {
			o.VCenter = VCenter{"https://vc.example.org", "u", "/nowhere", ""}
		}},
		{"one folder twice", "is the folder of target", func(t *testing.T, o *Options) {
			dir := t.TempDir()
			o.Targets, o.K, o.M = []string{dir, dir + "/."}, 1, 1
		}},
		{"k+m and targets", "k+m is 3", func(t *testing.T, o *Options) { o.Targets = []string{t.TempDir()} }},
		{"a target is a file", "is a file, not a folder", func(t *testing.T, o *Options) {
			file := filepath.Join(t.TempDir(), "f")
			put(t, file, "x")
			o.Targets, o.K, o.M = []string{file}, 1, 0
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := options(t)
			c.harm(t, &o)
			ctx, stop := context.WithCancel(t.Context())
			o.Ready = func(house.RunFile) { stop() } // a start that should have been refused
			err := Up(ctx, o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if _, err := os.Stat(filepath.Join(o.Data, "holdfast.yaml")); err == nil {
				t.Error("a configuration that was refused is left for the next start")
			}
		})
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Keys that are not the vault's would make backups that nobody can restore.
func TestWrongKeysStopTheStart(t *testing.T) {
	o, other := options(t), options(t)
	c, err := begin(t, o)
	if err != nil {
		t.Fatal(err)
	}
	d, err := begin(t, other)
	if err != nil {
		t.Fatal(err)
	}
	pass, err := os.ReadFile(c.Keys.PassphraseFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(c.Keys.Dir); err != nil {
		t.Fatal(err)
	}
	if _, err := begin(t, o); err == nil || !strings.Contains(err.Error(), "keys are not") || !strings.Contains(err.Error(), c.Keys.PassphraseFile+": no such file") {
		t.Errorf("no keys and no passphrase: %v", err)
	}
	if err := os.CopyFS(c.Keys.Dir, os.DirFS(d.Keys.Dir)); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"name.key", "map.key", "vault.pub", "passphrase"} {
		if err := os.Chmod(filepath.Join(c.Keys.Dir, f), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := begin(t, o); err == nil || !strings.Contains(err.Error(), "passphrase") {
		t.Errorf("the keys of another vault: %v", err)
	}
	if err := os.WriteFile(c.Keys.PassphraseFile, pass, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := begin(t, o); err == nil || !strings.Contains(err.Error(), "are not those of the vault") {
		t.Errorf("the keys of another vault beside the passphrase of this one: %v", err)
	}
}

// A start opens the wrapped keys once, for its own comparison and for whoever needs
// the private half: the first start as any later one, and that which finds key files
// missing. Where the passphrase is kept elsewhere there is nothing to open.
func TestAStartOpensItsKeysOnce(t *testing.T) {
	o := options(t)
	c, err := Configure(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, which := range []string{"the first start", "a later one", "one without key files"} {
		if which == "one without key files" {
			if err := os.Remove(filepath.Join(c.Keys.Dir, "vault.pub")); err != nil {
				t.Fatal(err)
			}
		}
		ring, err := firstKeys(t.Context(), c, o.Say)
		if err != nil {
			t.Fatal(err)
		}
		saved, err := vault.LoadRing(c.Keys.Dir)
		if err != nil {
			t.Fatal(err)
		}
		if ring == nil || ring.Fingerprint() != saved.Fingerprint() || ring.Need(vault.PrivateKey) != nil {
			t.Errorf("%s: the ring that it opened is not handed on whole", which)
		}
	}
	if err := os.Remove(c.Keys.PassphraseFile); err != nil {
		t.Fatal(err)
	}
	if ring, err := firstKeys(t.Context(), c, o.Say); ring != nil || err != nil {
		t.Errorf("without a passphrase: %v, %v", ring, err)
	}
}

// A passphrase that a person chose is stretched at the full cost; one of 160 random
// bits is not, or each restore from the vault alone would pay for it.
func TestThePassphraseSaysWhatAGuessCosts(t *testing.T) {
	for _, chosen := range []bool{false, true} {
		o, want := options(t), vault.WrapCostDrawn
		c, err := Configure(o)
		if err != nil {
			t.Fatal(err)
		}
		if chosen {
			want = vault.WrapCostDefault
			if err := writeNew(c.Keys.PassphraseFile, []byte("correct horse\n")); err != nil {
				t.Fatal(err)
			}
		}
		if err := FirstKeys(t.Context(), c, o.Say); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(c.Keys.Dir, "wrapped"))
		if err != nil {
			t.Fatal(err)
		}
		w, err := vault.ParseWrapped(b)
		if err != nil {
			t.Fatal(err)
		}
		if w.Cost != want {
			t.Errorf("chosen %v: %+v, want %+v", chosen, w.Cost, want)
		}
	}
}

// Options that contradict the file are refused, because the file is the operator's.
func TestTheFileWins(t *testing.T) {
	o := options(t)
	if _, err := begin(t, o); err != nil {
		t.Fatal(err)
	}
	o.Images = []string{t.TempDir()}
	if _, err := begin(t, o); err == nil || !strings.Contains(err.Error(), "--images") {
		t.Errorf("got %v", err)
	}
	o.Images, o.Targets = nil, []string{t.TempDir()}
	if _, err := begin(t, o); err == nil || !strings.Contains(err.Error(), "--target") {
		t.Errorf("got %v", err)
	}
	o.Targets, o.Compression = nil, "minlz"
	if _, err := begin(t, o); err == nil || !strings.Contains(err.Error(), "--compression") {
		t.Errorf("got %v", err)
	}
	o.Compression = "zstd-fastest"
	if _, err := begin(t, o); err != nil {
		t.Error(err)
	}
}

// A compression that is named becomes the vault's; one that is not known makes nothing.
func TestCompressionIsTheVaults(t *testing.T) {
	o := options(t)
	o.Compression = "rar"
	if _, err := begin(t, o); err == nil || !strings.Contains(err.Error(), "zstd-fastest") {
		t.Errorf("got %v", err)
	}
	o.Compression = "minlz"
	c, err := begin(t, o)
	if err != nil {
		t.Fatal(err)
	}
	if v := opened(t, c); v.Compression != "minlz" {
		t.Errorf("the vault says %q", v.Compression)
	}
}

// A vCenter that options name is in the first configuration, and no other may be
// named later.
func TestVCenterOfTheFirstConfiguration(t *testing.T) {
	o := options(t)
	secret := filepath.Join(t.TempDir(), "secret: #1")
	put(t, secret, "p\n")
	o.VCenter = VCenter{"https://vc.example.org", `dom\u "x"`, secret, strings.TrimSuffix(strings.Repeat("AB:", 32), ":")}
	c, err := Configure(o)
	if err != nil {
		t.Fatal(err)
	}
	if s := c.Sources[1]; len(c.Sources) != 2 || s.Kind != "vsphere" || (VCenter{s.URL, s.User, s.PasswordFile, s.Thumbprint}) != o.VCenter {
		t.Errorf("configured is %+v", c.Sources)
	}
	if _, err := Configure(o); err != nil {
		t.Errorf("the same again: %v", err)
	}
	o.VCenter.User = "other"
	if _, err := Configure(o); err == nil || !strings.Contains(err.Error(), "--vcenter is") {
		t.Errorf("another user: %v", err)
	}
}
