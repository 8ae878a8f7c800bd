package vault

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/seal"
)

// Entry says where a chunk lies in its pack. The frame itself says its slot, codec and counter.
type Entry struct {
	ID             cut.ID
	Offset, Framed uint32 // of the frame
	Plain          uint32
}

// The tail of a pack: sealed table, key slots, footer. See ops/docs/format.md.
const (
	entryBytes  = 32 + 4 + 4 + 4
	packFooter  = 32 + 8 + 16 + 4 + 4 + 1 + 7 + 8
	packMagic   = "HFpack\x00\x01"
	packInfo    = "holdfast/v1 pack table"
	packSlotMax = 255 // a frame's slot is a u8; a repack mixes at most that many keys

	// TailHint is how much of the end of a pack or map pack to read first: it covers
	// the tail of a full pack of 64 KiB chunks (about 500 entries, 22 KiB, and a slot of 1.2 KiB).
	TailHint = 64 << 10
)

// derive makes the key of one object of the map key and the object's salt.
func derive(mapKey, salt [32]byte, info string) cipher.AEAD {
	k, err := hkdf.Key(sha256.New, mapKey[:], salt[:], info, 32)
	if err != nil {
		panic(fmt.Sprintf("vault: 32 bytes of HKDF-SHA-256: %v", err))
	}
	return seal.AEAD([32]byte(k))
}

// tail is what a pack says of itself.
type tail struct {
	pack    PackID
	salt    [32]byte
	slots   []byte // packed, slotBytes each
	entries []Entry
}

func appendTail(dst []byte, mapKey [32]byte, t tail) ([]byte, error) {
	if len(t.slots) == 0 || len(t.slots) > packSlotMax*slotBytes || len(t.entries) > PackEntriesMax {
		return dst, fmt.Errorf("%d bytes of slots and %d entries", len(t.slots), len(t.entries))
	}
	frames := len(dst)
	for _, e := range t.entries {
		dst = append(dst, e.ID[:]...)
		dst = binary.BigEndian.AppendUint32(dst, e.Offset)
		dst = binary.BigEndian.AppendUint32(dst, e.Framed)
		dst = binary.BigEndian.AppendUint32(dst, e.Plain)
	}
	// The key is of this object alone, so its one use has nonce 0.
	trailer := appendPackFooter(append([]byte(nil), t.slots...), t, len(dst)-frames+seal.TagBytes)
	nonce := seal.Nonce(0)
	dst = derive(mapKey, t.salt, packInfo).Seal(dst[:frames], nonce[:], dst[frames:], trailer)
	return append(dst, trailer...), nil
}

func appendPackFooter(dst []byte, t tail, tableBytes int) []byte {
	dst = append(dst, t.salt[:]...)
	dst = binary.BigEndian.AppendUint64(dst, t.pack.Birth)
	dst = append(dst, t.pack.ID[:]...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(t.entries)))
	dst = binary.BigEndian.AppendUint32(dst, uint32(tableBytes))
	dst = append(dst, byte(len(t.slots)/slotBytes), 0, 0, 0, 0, 0, 0, 0)
	return append(dst, packMagic...)
}

// PackTail is the tail of a pack as it was read: unauthenticated until Table gave
// the entries.
type PackTail struct {
	Pack    PackID
	salt    [32]byte
	count   int
	table   []byte // sealed; nil: not within what was read
	slots   []byte
	trailer []byte // slots and footer, as they are
	frames  int64  // length of the frames
	Bytes   int64  // length of the whole tail
}

// ReadPackTail reads the tail of a pack of size bytes out of its last bytes, end.
// more says how many of the last bytes it wants where end is too short for the table:
// with them it is to be called again. ErrDamaged: no pack of ours, or not the pack want.
func ReadPackTail(end []byte, size int64, want PackID) (t *PackTail, more int64, err error) {
	bad := func(format string, a ...any) (*PackTail, int64, error) {
		return nil, 0, fmt.Errorf("pack %s: %w: %s", want, ErrDamaged, fmt.Sprintf(format, a...))
	}
	if size > PackMax || int64(len(end)) > size {
		return bad("%d bytes of %d, a pack has at most %d", len(end), size, PackMax)
	}
	if len(end) < packFooter {
		if size < packFooter {
			return bad("%d bytes, less than a footer", size)
		}
		return nil, min(size, TailHint), nil
	}
	f := end[len(end)-packFooter:]
	if string(f[packFooter-8:]) != packMagic {
		return bad("no footer of a version that this program knows")
	}
	t = &PackTail{salt: [32]byte(f), Pack: PackID{binary.BigEndian.Uint64(f[32:]), [16]byte(f[40:])}}
	if t.Pack != want {
		return bad("the footer says %s", t.Pack)
	}
	count, tableBytes, slots := int64(binary.BigEndian.Uint32(f[56:])), int64(binary.BigEndian.Uint32(f[60:])), int64(f[64])
	t.count, t.Bytes = int(count), tableBytes+slots*slotBytes+packFooter
	t.frames = size - t.Bytes
	if slots == 0 || count == 0 || count > PackEntriesMax || tableBytes != count*entryBytes+seal.TagBytes || t.frames < count*seal.Overhead {
		return bad("the footer does not fit: %d entries, a table of %d bytes, %d slots, %d bytes", count, tableBytes, slots, size)
	}
	if int64(len(end)) < t.Bytes {
		return nil, t.Bytes, nil
	}
	end = end[int64(len(end))-t.Bytes:]
	t.table, t.trailer = end[:tableBytes], end[tableBytes:]
	t.slots = t.trailer[:slots*slotBytes]
	return t, 0, nil
}

// Table opens the table with the map key. Every entry lies within the frames.
func (t *PackTail) Table(mapKey [32]byte) ([]Entry, error) {
	nonce := seal.Nonce(0)
	plain, err := derive(mapKey, t.salt, packInfo).Open(nil, nonce[:], t.table, t.trailer)
	if err != nil {
		return nil, fmt.Errorf("table of pack %s: %w, or another map key: %w", t.Pack, ErrDamaged, err)
	}
	entries := make([]Entry, t.count)
	for i := range entries {
		p := plain[i*entryBytes:]
		e := Entry{cut.ID(p), binary.BigEndian.Uint32(p[32:]), binary.BigEndian.Uint32(p[36:]), binary.BigEndian.Uint32(p[40:])}
		if e.Framed < seal.Overhead || int64(e.Offset)+int64(e.Framed) > t.frames || e.Plain == 0 || e.Plain > seal.PlainMax {
			return nil, fmt.Errorf("table of pack %s: %w: entry %d lies at %d+%d of %d", t.Pack, ErrDamaged, i, e.Offset, e.Framed, t.frames)
		}
		entries[i] = e
	}
	return entries, nil
}

// PackKeys are the content keys of one pack, by slot. Reading one costs a
// decapsulation; keep them while the pack is read.
type PackKeys []cipher.AEAD

// Keys opens the key slots with the private half. A slot of another vault key is
// left out; ErrWrongKey only if all are.
func (t *PackTail) Keys(ring *Ring) (PackKeys, error) {
	keys := make(PackKeys, len(t.slots)/slotBytes)
	var failed error
	opened := false
	for i := range keys {
		content, err := ring.openSlot(t.slots[i*slotBytes : (i+1)*slotBytes])
		if err != nil {
			failed = fmt.Errorf("pack %s, slot %d: %w", t.Pack, i, err)
			continue
		}
		keys[i], opened = seal.AEAD(content), true
	}
	if !opened {
		return nil, failed
	}
	return keys, nil
}

// Open appends to dst the plain bytes of the chunk id, whose frame is given. The
// caller compares the name of what comes out: the seal proves who wrote it, the name
// what it is.
func (k PackKeys) Open(o *seal.Opener, dst []byte, id cut.ID, frame []byte) ([]byte, error) {
	h, err := seal.ParseHead(frame)
	if err != nil {
		return dst, err
	}
	if int(h.Slot) >= len(k) || k[h.Slot] == nil {
		return dst, fmt.Errorf("chunk %s: %w: its slot %d is not among the %d of the pack that we can open", id, ErrDamaged, h.Slot, len(k))
	}
	return o.Open(dst, k[h.Slot], id, frame)
}
