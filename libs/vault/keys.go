package vault

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/libs/cut"
)

// Key files, as SaveRing names them. Each stage gets the files of the keys that it
// needs and no other.
const (
	NameFile   = "name.key"
	MapFile    = "map.key"
	PublicFile = "vault.pub"
	DigestFile = "digest.key"
)

// keyFileMax bounds a key file: a public half of 1216 bytes takes 2.6 KB.
const keyFileMax = 16 << 10

// ErrTorn means that a key file or wrapped key is cut short, mistyped or damaged:
// its checksum does not fit. It says nothing of the passphrase.
var ErrTorn = errors.New("torn or damaged key")

// SaveRing writes the parts that the ring holds to dir, but never the private half,
// which leaves a process only wrapped. It replaces no file: a key lost is data lost.
func SaveRing(r *Ring, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("save keys: %w", err)
	}
	for _, p := range []Part{NameKey, DigestKey, MapKey, PublicKey} {
		if r.Need(p) != nil {
			continue
		}
		if err := saveKey(filepath.Join(dir, p.file()), p, r.bytes(p)); err != nil {
			return fmt.Errorf("save the %s: %w", p, err)
		}
	}
	return nil
}

// LoadRing reads from dir the parts needed: of NameKey, MapKey, PublicKey and
// DigestKey; with none named, the first three. Whoever has the name key needs no
// file of the digest key.
func LoadRing(dir string, need ...Part) (*Ring, error) {
	if len(need) == 0 {
		need = []Part{NameKey, MapKey, PublicKey}
	}
	r := new(Ring)
	for _, p := range need {
		err := r.Load(p, filepath.Join(dir, p.file()))
		if p == DigestKey && errors.Is(err, fs.ErrNotExist) {
			err = r.derive(dir, err)
		}
		if err != nil {
			return nil, err
		}
	}
	return r, nil
}

// derive takes the digest key from the name key, if that is in dir.
func (r *Ring) derive(dir string, missing error) error {
	var other Ring
	if err := other.Load(NameKey, filepath.Join(dir, NameFile)); err != nil {
		return missing
	}
	r.Digest = cut.DigestKey(other.Name)
	return nil
}

// Load reads one part from its file. ErrTorn: the file is not whole. A file that
// everybody may read is refused, but a group may, as container secrets are mounted.
func (r *Ring) Load(p Part, path string) error {
	if p.file() == "" {
		return fmt.Errorf("load the %s: it is kept in no file, only wrapped in the vault", p)
	}
	key, err := loadKey(path, p)
	if err != nil {
		return fmt.Errorf("load the %s from %s: %w", p, path, err)
	}
	switch p {
	case NameKey:
		r.Name = [32]byte(key)
	case MapKey:
		r.Map = [32]byte(key)
	case DigestKey:
		r.Digest = [32]byte(key)
	case PublicKey:
		if r.Public, err = kem.NewPublicKey(key); err != nil {
			return fmt.Errorf("load the %s from %s: %w", p, path, err)
		}
	}
	return nil
}

func (p Part) file() string {
	return [...]string{NameFile, MapFile, PublicFile, "", DigestFile}[p]
}

// title is the first line of a part's file: what it is, and its version.
func (p Part) title() string {
	return "holdfast " + [...]string{"name key", "map key", "vault key, public half", "", "digest key"}[p] + " v1"
}

func (p Part) size() int {
	if p == PublicKey {
		return 1184 + 32
	}
	return 32
}

func (r *Ring) bytes(p Part) []byte {
	switch p {
	case NameKey:
		return r.Name[:]
	case MapKey:
		return r.Map[:]
	case DigestKey:
		return r.Digest[:]
	}
	return r.Public.Bytes()
}

// encodeKey is title, hex in lines of 64 digits, and a checksum over all before it.
func encodeKey(p Part, key []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, p.title())
	for line := range slices.Chunk(key, 32) {
		fmt.Fprintf(&b, "%x\n", line)
	}
	fmt.Fprintf(&b, "check %x\n", check(b.Bytes()))
	return b.Bytes()
}

func decodeKey(p Part, text []byte) ([]byte, error) {
	title, _, ok := strings.Cut(string(text), "\n")
	if !ok {
		return nil, fmt.Errorf("%w: no line in it", ErrTorn)
	}
	if title != p.title() {
		return nil, fmt.Errorf("the file says %.60q, want %q", title, p.title())
	}
	at := bytes.LastIndex(text, []byte("\ncheck ")) + 1
	if at == 0 || string(text[at:]) != fmt.Sprintf("check %x\n", check(text[:at])) {
		return nil, fmt.Errorf("%w: checksum", ErrTorn)
	}
	key, err := hex.DecodeString(strings.ReplaceAll(string(text[len(title)+1:at]), "\n", ""))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTorn, err)
	}
	if len(key) != p.size() {
		return nil, fmt.Errorf("%w: %d bytes, want %d", ErrTorn, len(key), p.size())
	}
	return key, nil
}

// check is the checksum of keys at rest, against typing and torn writes, not against people.
func check(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:8]
}

func saveKey(path string, p Part, key []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(encodeKey(p, key))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	// A link, unlike a rename, never takes the place of a key that is there.
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func loadKey(path string, p Part) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if p != PublicKey && info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("everybody may read it (mode %o): want 0600 or 0640", info.Mode().Perm())
	}
	if info.Size() > keyFileMax {
		return nil, fmt.Errorf("%w: %d bytes", ErrTorn, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return decodeKey(p, text)
}
