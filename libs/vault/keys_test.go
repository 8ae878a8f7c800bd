package vault

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/cut"
)

func sameKeys(a, b *Ring) bool {
	return a.Name == b.Name && a.Map == b.Map && (a.Public == nil) == (b.Public == nil) && (a.Public == nil || bytes.Equal(a.Public.Bytes(), b.Public.Bytes()))
}

// Files give back what was saved, to each stage only what it asks for, and never the
// private half, which is not among them.
func TestKeyFilesComeBack(t *testing.T) {
	dir, r := filepath.Join(t.TempDir(), "keys"), testRing(t)
	if err := SaveRing(r, dir); err != nil {
		t.Fatal(err)
	}
	back, err := LoadRing(dir)
	if err != nil || !sameKeys(r, back) || back.Private != nil {
		t.Fatalf("%+v comes back as %+v: %v", r, back, err)
	}
	part, err := LoadRing(dir, NameKey)
	if err != nil || part.Name != r.Name || part.Need(MapKey) == nil || part.Need(PublicKey) == nil {
		t.Errorf("the name key alone: %+v, %v", part, err)
	}
	if _, err := LoadRing(dir, PrivateKey); err == nil {
		t.Error("there is a file of the private half")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 3 {
		t.Errorf("files %v, %v", files, err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", f, info.Mode(), err)
		}
	}
}

// Saving over a key would lose a vault.
func TestSavingReplacesNoKey(t *testing.T) {
	dir, r := t.TempDir(), testRing(t)
	if err := SaveRing(r, dir); err != nil {
		t.Fatal(err)
	}
	other, err := NewRing()
	if err != nil {
		t.Fatal(err)
	}
	if err := SaveRing(other, dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("saved over: %v", err)
	}
	if back, err := LoadRing(dir); err != nil || !sameKeys(r, back) {
		t.Errorf("the keys are gone: %v", err)
	}
}

// A file torn at any byte, or with any byte changed, is known for it.
func TestTornKeyFiles(t *testing.T) {
	r := testRing(t)
	for _, p := range []Part{NameKey, MapKey, PublicKey} {
		text := encodeKey(p, r.bytes(p))
		step := 1 + len(text)/200
		for i := 0; i < len(text); i += step {
			if _, err := decodeKey(p, text[:i]); err == nil {
				t.Fatalf("%s cut to %d of %d bytes is read", p, i, len(text))
			}
			bad := bytes.Clone(text)
			bad[i] ^= 1
			if _, err := decodeKey(p, bad); err == nil {
				t.Fatalf("%s with byte %d changed is read", p, i)
			}
		}
		if _, err := decodeKey(p, text[:len(text)/2]); !errors.Is(err, ErrTorn) {
			t.Errorf("%s torn: %v", p, err)
		}
	}
	if _, err := decodeKey(MapKey, encodeKey(NameKey, r.Name[:])); err == nil || errors.Is(err, ErrTorn) {
		t.Errorf("a name key for a map key: %v", err)
	}
}

func TestKeysOpenToEverybodyAreRefused(t *testing.T) {
	dir := t.TempDir()
	if err := SaveRing(testRing(t), dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, MapFile), 0o604); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadRing(dir, MapKey); err == nil {
		t.Error("a map key that everybody may read is taken")
	}
	if _, err := LoadRing(dir, NameKey, PublicKey); err != nil {
		t.Errorf("the others: %v", err)
	}
	if _, err := LoadRing(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestRingNeedsWhatItHas(t *testing.T) {
	whole, err := NewRing()
	if err != nil {
		t.Fatal(err)
	}
	if err := whole.Need(NameKey, MapKey, PublicKey, PrivateKey); err != nil {
		t.Error(err)
	}
	for _, p := range []Part{NameKey, MapKey, PublicKey, PrivateKey} {
		if err := new(Ring).Need(p); !errors.Is(err, ErrNoKey) || !strings.Contains(err.Error(), p.String()) {
			t.Errorf("an empty ring: %v", err)
		}
	}
	if f := whole.Fingerprint(); len(f) != 39 || strings.ReplaceAll(f, " ", "") != whole.ID().String() {
		t.Errorf("fingerprint %q of %s", f, whole.ID())
	}
}

func FuzzDecodeKey(f *testing.F) {
	f.Add(string(encodeKey(NameKey, noise(1, 32))))
	f.Add(string(encodeKey(MapKey, noise(1, 32))))
	f.Fuzz(func(t *testing.T, text string) {
		for _, p := range []Part{NameKey, MapKey, PublicKey} {
			if key, err := decodeKey(p, []byte(text)); err == nil && len(key) != p.size() {
				t.Fatalf("a %s of %d bytes", p, len(key))
			}
		}
	})
}

// Who reads machines gets the digest key and not the name key; who has the name key
// needs no file of the digest key.
func TestDigestKeyFollowsFromTheNameKey(t *testing.T) {
	r, err := NewRing()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := SaveRing(r, dir); err != nil {
		t.Fatal(err)
	}
	got := func() [32]byte {
		t.Helper()
		own, err := LoadRing(dir, DigestKey)
		if err != nil {
			t.Fatal(err)
		}
		if own.Need(NameKey) == nil {
			t.Error("who asked for the digest key got the name key")
		}
		return own.Digest
	}
	if d := got(); d != r.Digest || d != cut.DigestKey(r.Name) || d == r.Name {
		t.Errorf("digest key %x", d)
	}
	if err := os.Rename(filepath.Join(dir, DigestFile), filepath.Join(dir, "away")); err != nil {
		t.Fatal(err)
	}
	if got() != r.Digest {
		t.Error("another digest key follows from the name key")
	}
	if err := os.Remove(filepath.Join(dir, NameFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadRing(dir, DigestKey); err == nil || !strings.Contains(err.Error(), DigestFile) {
		t.Errorf("without either: %v", err)
	}
}
