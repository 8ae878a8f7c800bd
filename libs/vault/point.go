package vault

import (
	"crypto/rand"
	"fmt"
	"io"
	"strconv"

	"github.com/google/uuid"
	"github.com/zeebo/blake3"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/libs/seal"
	"github.com/holdfast-backup/holdfast/schemas"
)

// Point is a recovery point: self-contained but for the map packs it names.
type Point = schemas.PointObject

const (
	// PointsDir is where points lie, by epoch.
	PointsDir = "points/"
	// PointBytesMax bounds a point: a disk of 62 TiB, the largest of vSphere, whose
	// every page is a run of its own has 16.3 million runs of about 10 bytes.
	PointBytesMax = 256 << 20

	pointMagic = "HFpoint\x01"
	pointInfo  = "holdfast/v1 point"
	pointHead  = 8 + 32
)

// EncodePoint checks a point and seals it under the map key. Each call gives other
// bytes, so whoever may have to repeat a PUT keeps what it got.
func EncodePoint(mapKey [32]byte, p *Point) ([]byte, error) {
	return encodePoint(rand.Reader, mapKey, p)
}

func encodePoint(rnd io.Reader, mapKey [32]byte, p *Point) ([]byte, error) {
	if mapKey == [32]byte{} {
		return nil, fmt.Errorf("encode a point: %w: %s", ErrNoKey, MapKey)
	}
	if err := CheckPoint(p); err != nil {
		return nil, fmt.Errorf("encode a point: %w", err)
	}
	var salt [32]byte
	if _, err := io.ReadFull(rnd, salt[:]); err != nil {
		return nil, fmt.Errorf("encode a point: draw its salt: %w", err)
	}
	plain, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encode a point: %w", err)
	}
	if len(plain) > PointBytesMax {
		return nil, fmt.Errorf("encode a point: %d bytes, at most %d", len(plain), PointBytesMax)
	}
	out := make([]byte, 0, pointHead+len(plain)+seal.TagBytes)
	out = append(append(out, pointMagic...), salt[:]...)
	nonce := seal.Nonce(0)
	return derive(mapKey, salt, pointInfo).Seal(out, nonce[:], plain, out), nil
}

// DecodePoint opens a point. ErrDamaged: it is not whole, or of another map key.
// The caller compares the path it was read from with PathOf.
func DecodePoint(mapKey [32]byte, b []byte) (*Point, error) {
	if len(b) < pointHead+seal.TagBytes || len(b) > pointHead+PointBytesMax+seal.TagBytes {
		return nil, fmt.Errorf("point: %w: %d bytes", ErrDamaged, len(b))
	}
	if string(b[:8]) != pointMagic {
		return nil, fmt.Errorf("point: %w: not of a version that this program knows", ErrDamaged)
	}
	nonce := seal.Nonce(0)
	plain, err := derive(mapKey, [32]byte(b[8:]), pointInfo).Open(nil, nonce[:], b[pointHead:], b[:pointHead])
	if err != nil {
		return nil, fmt.Errorf("point: %w, or another map key: %w", ErrDamaged, err)
	}
	p := new(Point)
	if err := proto.Unmarshal(plain, p); err != nil {
		return nil, fmt.Errorf("point: %w: %w", ErrDamaged, err)
	}
	if err := CheckPoint(p); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return p, nil
}

// MachineHash is how a vault's object names tell one machine from another without
// naming it: the first 16 bytes, in hex, of BLAKE3, keyed by the map key, over
// source, a zero byte and the machine's id.
func MachineHash(mapKey [32]byte, source, machine string) string {
	h, err := blake3.NewKeyed(mapKey[:])
	if err != nil {
		panic(fmt.Sprintf("vault: a map key of 32 bytes: %v", err))
	}
	h.WriteString(source)
	h.Write([]byte{0})
	h.WriteString(machine)
	return fmt.Sprintf("%x", h.Sum(nil)[:16])
}

// PointPath names a point's object: points/<epoch>/<machine hash>/<backup>-<lease>.
// backup and lease are of 16 bytes.
func PointPath(mapKey [32]byte, epoch uint64, m *schemas.Machine, backup, lease []byte) (string, error) {
	b, err := uuid.FromBytes(backup)
	if err != nil {
		return "", fmt.Errorf("path of a point: backup id %x: %w", backup, err)
	}
	l, err := uuid.FromBytes(lease)
	if err != nil {
		return "", fmt.Errorf("path of a point: lease %x: %w", lease, err)
	}
	return PointsDir + strconv.FormatUint(epoch, 10) + "/" + MachineHash(mapKey, m.GetSource(), m.GetId()) + "/" + b.String() + "-" + l.String(), nil
}

// PathOf is the path at which p must lie: a point read from elsewhere was moved there.
func PathOf(mapKey [32]byte, p *Point) (string, error) {
	return PointPath(mapKey, p.GetRun().GetEpoch(), p.Machine, p.GetRun().GetBackup(), p.GetRun().GetLease())
}
