package vault

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime/debug"

	"golang.org/x/crypto/argon2"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/seal"
)

// KeysDir is where wrapped keys lie in a vault.
const KeysDir = "keys/"

// KeyObject is a wrapped ring on its way to a vault, where it is keys/<ID>. With it
// and its passphrase the vault is all that a restore needs.
type KeyObject struct {
	ID   string // of the body, so that a rewrap is a new object
	Body []byte
}

// ErrPassphrase means that the object is whole and the passphrase is not its.
var ErrPassphrase = errors.New("wrong passphrase")

// WrapCost is what one guess at the passphrase costs. It is stored with the object.
type WrapCost struct {
	Passes    uint32
	MemoryKiB uint32
	Threads   uint8
}

// WrapCostDefault is about half a second and 256 MiB on a server: four times the
// memory of RFC 9106's second choice, since a vault is attacked offline.
var WrapCostDefault = WrapCost{Passes: 3, MemoryKiB: 256 << 10, Threads: 4}

// WrapCostDrawn is a millisecond, for a passphrase of 128 random bits or more:
// stretching keeps people's words from being guessed, and these nobody guesses at
// any speed. The default would be a third of the CPU of a machine's restore.
var WrapCostDrawn = WrapCost{Passes: 1, MemoryKiB: 1 << 10, Threads: 1}

// Bounds on what a stored object may make us spend: 4 GiB and 64 passes.
const (
	wrapPassesMax    = 64
	wrapMemoryKiBMax = 4 << 20
)

const (
	wrapMagic  = "HFkeys\x00\x01"
	wrapArgon2 = 1 // Argon2id, version 0x13
	wrapHead   = 8 + 16 + 1 + 4 + 4 + 1 + 32
	wrapPlain  = 32 + 32 + 32 // name key, map key, seed of the private half
	wrapCheck  = 8
	wrapBytes  = wrapHead + wrapPlain + seal.TagBytes + wrapCheck
)

// WrapAt seals a whole ring under a passphrase. The cost is to fit the passphrase:
// WrapCostDefault for a person's, WrapCostDrawn for one that was drawn.
func WrapAt(cost WrapCost, r *Ring, passphrase []byte) (KeyObject, error) {
	if err := r.Need(NameKey, MapKey, PrivateKey); err != nil {
		return KeyObject{}, fmt.Errorf("wrap the keys: %w", err)
	}
	if len(passphrase) == 0 {
		return KeyObject{}, errors.New("wrap the keys: the passphrase is empty")
	}
	if err := cost.check(); err != nil {
		return KeyObject{}, fmt.Errorf("wrap the keys: %w", err)
	}
	seed, err := r.Private.Bytes()
	if err != nil {
		return KeyObject{}, fmt.Errorf("wrap the keys: %w", err)
	}
	var salt [32]byte
	rand.Read(salt[:])
	id := keyID(r.Private.PublicKey())
	b := append([]byte(wrapMagic), id[:]...)
	b = append(b, wrapArgon2)
	b = binary.BigEndian.AppendUint32(b, cost.Passes)
	b = binary.BigEndian.AppendUint32(b, cost.MemoryKiB)
	b = append(append(b, cost.Threads), salt[:]...)
	plain := bytes.Join([][]byte{r.Name[:], r.Map[:], seed}, nil)
	nonce := seal.Nonce(0) // the key is of this salt alone
	b = seal.AEAD(cost.key(passphrase, salt[:])).Seal(b, nonce[:], plain, b)
	b = append(b, check(b)...)
	if len(b) != wrapBytes {
		return KeyObject{}, fmt.Errorf("wrap the keys: %d bytes, want %d", len(b), wrapBytes)
	}
	return KeyObject{hex.EncodeToString(check(b)), b}, nil
}

// handBackKiB of memory and more are given back at once: a process unwraps once, and
// would keep the 256 MiB for as long as it lives, since its heap need not grow again.
const handBackKiB = 32 << 10

func (c WrapCost) key(passphrase, salt []byte) [32]byte {
	key := [32]byte(argon2.IDKey(passphrase, salt, c.Passes, c.MemoryKiB, c.Threads, 32))
	if c.MemoryKiB >= handBackKiB {
		debug.FreeOSMemory()
	}
	return key
}

func (c WrapCost) check() error {
	if c.Passes < 1 || c.Passes > wrapPassesMax || c.Threads < 1 || c.MemoryKiB < 8*uint32(c.Threads) || c.MemoryKiB > wrapMemoryKiBMax {
		return fmt.Errorf("Argon2id with %d passes, %d KiB, %d threads: out of bounds", c.Passes, c.MemoryKiB, c.Threads)
	}
	return nil
}

// Wrapped is a wrapped ring whose checksum fits.
type Wrapped struct {
	Vault KeyID // the vault key within
	Cost  WrapCost
	body  []byte
}

// ParseWrapped reads a wrapped ring without its passphrase. ErrTorn: it is not whole.
func ParseWrapped(body []byte) (*Wrapped, error) {
	if len(body) != wrapBytes {
		return nil, fmt.Errorf("wrapped keys: %w: %d bytes, want %d", ErrTorn, len(body), wrapBytes)
	}
	if !bytes.Equal(body[wrapBytes-wrapCheck:], check(body[:wrapBytes-wrapCheck])) {
		return nil, fmt.Errorf("wrapped keys: %w: checksum", ErrTorn)
	}
	if string(body[:8]) != wrapMagic || body[24] != wrapArgon2 {
		return nil, fmt.Errorf("wrapped keys: not of a version that this program knows")
	}
	w := &Wrapped{Vault: KeyID(body[8:]), body: body,
		Cost: WrapCost{binary.BigEndian.Uint32(body[25:]), binary.BigEndian.Uint32(body[29:]), body[33]}}
	if err := w.Cost.check(); err != nil {
		return nil, fmt.Errorf("wrapped keys: %w", err)
	}
	return w, nil
}

// Object is the wrapped ring on its way to a vault.
func (w *Wrapped) Object() KeyObject { return KeyObject{hex.EncodeToString(check(w.body)), w.body} }

// Unwrap opens a wrapped ring. ErrTorn: the object is not whole. ErrPassphrase: it
// is, and the passphrase is another.
func Unwrap(body, passphrase []byte) (*Ring, error) {
	w, err := ParseWrapped(body)
	if err != nil {
		return nil, err
	}
	nonce := seal.Nonce(0)
	key := w.Cost.key(passphrase, body[34:wrapHead])
	plain, err := seal.AEAD(key).Open(nil, nonce[:], body[wrapHead:wrapBytes-wrapCheck], body[:wrapHead])
	if err != nil {
		return nil, fmt.Errorf("wrapped keys of vault key %s: %w", w.Vault, ErrPassphrase)
	}
	private, err := kem.NewPrivateKey(plain[64:])
	if err != nil {
		return nil, fmt.Errorf("wrapped keys of vault key %s: %w", w.Vault, err)
	}
	r := &Ring{Name: [32]byte(plain), Map: [32]byte(plain[32:]), Public: private.PublicKey(), Private: private}
	r.Digest = cut.DigestKey(r.Name)
	if r.ID() != w.Vault {
		return nil, fmt.Errorf("wrapped keys of vault key %s: %w: the key within is %s", w.Vault, ErrWrongKey, r.ID())
	}
	return r, nil
}
