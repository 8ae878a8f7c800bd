package vault

import (
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/holdfast-backup/holdfast/libs/cut"
)

// KeyID names a vault key: the first 16 bytes of the SHA-256 of its public half.
type KeyID [16]byte

func (k KeyID) String() string { return hex.EncodeToString(k[:]) }

// Ring is what a process holds of a vault's keys. What it does not hold is zero:
// an exporter has only Digest, a chunker Name, a collector Map, and nobody but a
// restorer Private.
type Ring struct {
	Name    [32]byte        // names chunks
	Digest  [32]byte        // takes the digests that names are made of; follows from Name
	Map     [32]byte        // seals pages, points and pack tables
	Public  hpke.PublicKey  // content keys of packs are sealed to it
	Private hpke.PrivateKey // opens them
}

// Part is one of the keys of a ring.
type Part int

const (
	NameKey Part = iota
	MapKey
	PublicKey
	PrivateKey
	DigestKey
)

func (p Part) String() string {
	return [...]string{"name key", "map key", "public half of the vault key", "private half of the vault key", "digest key"}[p]
}

// ErrNoKey means that a ring does not hold a key that the work needs.
var ErrNoKey = errors.New("key not held")

// The one suite of this version: ML-KEM-768 with X25519, HKDF-SHA-256, AES-256-GCM.
// A key sealed today is safe from a quantum computer of tomorrow, which matters for
// what is kept for years.
var (
	kem  = hpke.MLKEM768X25519()
	kdf  = hpke.HKDFSHA256()
	aead = hpke.AES256GCM()
)

// NewRing draws the keys of a new vault, all of them.
func NewRing() (*Ring, error) {
	private, err := kem.GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("draw a vault key: %w", err)
	}
	r := &Ring{Public: private.PublicKey(), Private: private}
	rand.Read(r.Name[:])
	rand.Read(r.Map[:])
	r.Digest = cut.DigestKey(r.Name)
	return r, nil
}

// Need returns ErrNoKey if one of the parts is not held.
func (r *Ring) Need(parts ...Part) error {
	for _, p := range parts {
		held := false
		switch p {
		case NameKey:
			held = r.Name != [32]byte{}
		case MapKey:
			held = r.Map != [32]byte{}
		case PublicKey:
			held = r.Public != nil
		case PrivateKey:
			held = r.Private != nil
		case DigestKey:
			held = r.Digest != [32]byte{}
		}
		if !held {
			return fmt.Errorf("%w: %s", ErrNoKey, p)
		}
	}
	return nil
}

// ID names the vault key of which the ring holds the public half.
func (r *Ring) ID() KeyID { return keyID(r.Public) }

func keyID(pub hpke.PublicKey) KeyID {
	sum := sha256.Sum256(pub.Bytes())
	return KeyID(sum[:16])
}

// Fingerprint is the vault key's id as people compare it: 8 groups of 4 hex digits.
func (r *Ring) Fingerprint() string {
	id := r.ID().String()
	out := id[:4]
	for i := 4; i < len(id); i += 4 {
		out += " " + id[i:i+4]
	}
	return out
}

// contentInfo keeps what is sealed to a vault key for one use from being taken for
// another. It says nothing of the pack, since a slot is copied when frames move.
const contentInfo = "holdfast/v1 content key"

// slotBytes is the length of a key slot: key id, KEM ciphertext, sealed content key, tag.
const (
	kemBytes  = 1088 + 32
	slotBytes = 16 + kemBytes + 32 + 16
)

// sealSlot seals a content key to the ring's public half.
func (r *Ring) sealSlot(content [32]byte) ([]byte, error) {
	if err := r.Need(PublicKey); err != nil {
		return nil, fmt.Errorf("seal a content key: %w", err)
	}
	sealed, err := hpke.Seal(r.Public, kdf, aead, []byte(contentInfo), content[:])
	if err != nil {
		return nil, fmt.Errorf("seal a content key: %w", err)
	}
	id := r.ID()
	slot := append(id[:], sealed...)
	if len(slot) != slotBytes {
		return nil, fmt.Errorf("seal a content key: slot of %d bytes, want %d", len(slot), slotBytes)
	}
	return slot, nil
}

// openSlot gets the content key out of a slot. ErrWrongKey: it was sealed to another
// vault key.
func (r *Ring) openSlot(slot []byte) (content [32]byte, err error) {
	if err := r.Need(PrivateKey); err != nil {
		return content, fmt.Errorf("open a content key: %w", err)
	}
	if len(slot) != slotBytes {
		return content, fmt.Errorf("open a content key: %w: slot of %d bytes, want %d", ErrDamaged, len(slot), slotBytes)
	}
	if id, own := KeyID(slot[:16]), keyID(r.Private.PublicKey()); id != own {
		return content, fmt.Errorf("open a content key: %w: it is sealed to %s, ours is %s", ErrWrongKey, id, own)
	}
	plain, err := hpke.Open(r.Private, kdf, aead, []byte(contentInfo), slot[16:])
	if err != nil {
		return content, fmt.Errorf("open a content key: %w: %w", ErrDamaged, err)
	}
	if len(plain) != len(content) {
		return content, fmt.Errorf("open a content key: %w: %d bytes, want %d", ErrDamaged, len(plain), len(content))
	}
	return [32]byte(plain), nil
}

var (
	// ErrDamaged means that bytes of the vault are not as they were written, or not of this vault.
	ErrDamaged = errors.New("damaged")
	// ErrWrongKey means that the bytes are sound and sealed to a key that the ring does not hold.
	ErrWrongKey = errors.New("sealed to another key")
)
