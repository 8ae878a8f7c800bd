package vault

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/holdfast-backup/holdfast/schemas"
)

// PackID names a pack or a map pack: the epoch of its birth, the highest epoch of
// the runs whose chunks or pages it holds, and 128 random bits. The birth is part
// of the name so that a listing alone tells which packs may be condemned.
type PackID struct {
	Birth uint64
	ID    [16]byte
}

// NewPackID returns a fresh id.
func NewPackID(birth uint64) PackID {
	p := PackID{Birth: birth}
	rand.Read(p.ID[:])
	return p
}

// String is "e<birth>-<32 hex>".
func (p PackID) String() string {
	return "e" + strconv.FormatUint(p.Birth, 10) + "-" + hex.EncodeToString(p.ID[:])
}

// Hex is the random half of the name, as it stands in object names.
func (p PackID) Hex() string { return hex.EncodeToString(p.ID[:]) }

// IsZero reports whether p names nothing.
func (p PackID) IsZero() bool { return p == PackID{} }

// Compare orders by birth, then by id.
func (p PackID) Compare(q PackID) int {
	if c := cmp.Compare(p.Birth, q.Birth); c != 0 {
		return c
	}
	return bytes.Compare(p.ID[:], q.ID[:])
}

// ParsePackID is the inverse of String. Other spellings of the same id are refused.
func ParsePackID(s string) (PackID, error) {
	birth, id, ok := strings.Cut(strings.TrimPrefix(s, "e"), "-")
	if !ok || !strings.HasPrefix(s, "e") {
		return PackID{}, fmt.Errorf("pack id %.80q: want e<birth>-<32 hex>", s)
	}
	p, err := packIDFrom(birth, id)
	if err != nil {
		return PackID{}, fmt.Errorf("pack id %.80q: %w", s, err)
	}
	return p, nil
}

func packIDFrom(birth, id string) (p PackID, err error) {
	if p.Birth, err = strconv.ParseUint(birth, 10, 64); err != nil {
		return PackID{}, fmt.Errorf("birth: %w", err)
	}
	if len(id) != 2*len(p.ID) {
		return PackID{}, fmt.Errorf("%d hex digits, want %d", len(id), 2*len(p.ID))
	}
	if _, err := hex.Decode(p.ID[:], []byte(id)); err != nil {
		return PackID{}, err
	}
	if p.Hex() != id || strconv.FormatUint(p.Birth, 10) != birth {
		return PackID{}, fmt.Errorf("not in the one spelling, which is %s", p)
	}
	return p, nil
}

// Key is the id as a record key: birth u64 big-endian, id.
func (p PackID) Key() [24]byte {
	var k [24]byte
	binary.BigEndian.PutUint64(k[:8], p.Birth)
	copy(k[8:], p.ID[:])
	return k
}

// PackIDFromKey is the inverse of Key.
func PackIDFromKey(key []byte) (PackID, error) {
	if len(key) != 24 {
		return PackID{}, fmt.Errorf("pack key of %d bytes, want 24", len(key))
	}
	return PackID{binary.BigEndian.Uint64(key), [16]byte(key[8:])}, nil
}

// Proto is the id as it stands in messages.
func (p PackID) Proto() *schemas.Pack {
	return &schemas.Pack{Birth: p.Birth, Id: p.ID[:]}
}

// PackIDFromProto is the inverse of Proto.
func PackIDFromProto(m *schemas.Pack) (PackID, error) {
	if len(m.GetId()) != 16 {
		return PackID{}, fmt.Errorf("pack of birth %d: id of %d bytes, want 16", m.GetBirth(), len(m.GetId()))
	}
	return PackID{m.Birth, [16]byte(m.Id)}, nil
}

const (
	packsDir = "packs/"
	mapsDir  = "maps/"
)

// Prefix is under what the shards of a pack are: "packs/<birth>/<32 hex>/".
func (p PackID) Prefix() string { return packsDir + p.path() }

// MapPrefix is under what the shards of a map pack are: "maps/<birth>/<32 hex>/".
func (p PackID) MapPrefix() string { return mapsDir + p.path() }

func (p PackID) path() string {
	return strconv.FormatUint(p.Birth, 10) + "/" + p.Hex() + "/"
}

// PackIDFromObject reads the id out of the name of a shard of a pack or map pack
// and tells which of the two it is. rest is what follows the prefix.
func PackIDFromObject(key string) (p PackID, mapPack bool, rest string, err error) {
	tail, ok := strings.CutPrefix(key, packsDir)
	if !ok {
		if tail, ok = strings.CutPrefix(key, mapsDir); !ok {
			return PackID{}, false, "", fmt.Errorf("object %.120q: neither of a pack nor of a map pack", key)
		}
		mapPack = true
	}
	birth, tail, _ := strings.Cut(tail, "/")
	id, rest, ok := strings.Cut(tail, "/")
	if !ok {
		return PackID{}, false, "", fmt.Errorf("object %.120q: want <birth>/<id>/<shard>", key)
	}
	if p, err = packIDFrom(birth, id); err != nil {
		return PackID{}, false, "", fmt.Errorf("object %.120q: %w", key, err)
	}
	return p, mapPack, rest, nil
}
