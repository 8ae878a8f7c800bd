package vault

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"

	"github.com/holdfast-backup/holdfast/libs/seal"
)

// A map pack: sealed pages, then the sealed heads of all of them, the sealed
// directory, the footer. See ops/docs/format.md.
const (
	mapFooter = 32 + 8 + 16 + 4 + 4 + 4 + 4 + 8
	mapMagic  = "HFmap\x00\x00\x01"
	mapInfo   = "holdfast/v1 map pack"
	slotEntry = 4 + 4

	// Nonce counters of what is not a page; a page's is its slot.
	headsCounter     = 1<<32 - 2
	directoryCounter = 1<<32 - 1
)

// MapTail is an opened map pack: where each page and the heads lie. It holds no
// page and may be used concurrently.
type MapTail struct {
	Pack   PackID
	key    cipher.AEAD
	slots  []byte
	heads  span
	footer []byte
}

type span struct{ off, n int64 }

// ReadMapTail reads a map pack's directory out of its last bytes, end, of size in
// all. more says how many of the last bytes it wants where end is too short: with
// them it is to be called again. ErrDamaged: no map pack of ours, or not want.
func ReadMapTail(mapKey [32]byte, end []byte, size int64, want PackID) (t *MapTail, more int64, err error) {
	bad := func(format string, a ...any) (*MapTail, int64, error) {
		return nil, 0, fmt.Errorf("map pack %s: %w: %s", want, ErrDamaged, fmt.Sprintf(format, a...))
	}
	if size > MapPackBytes || size < mapFooter || int64(len(end)) > size {
		return bad("%d bytes of %d, a map pack has at most %d", len(end), size, MapPackBytes)
	}
	if len(end) < mapFooter {
		return nil, min(size, TailHint), nil
	}
	f := end[len(end)-mapFooter:]
	if string(f[mapFooter-8:]) != mapMagic {
		return bad("no footer of a version that this program knows")
	}
	t = &MapTail{Pack: PackID{binary.BigEndian.Uint64(f[32:]), [16]byte(f[40:])}, footer: f}
	if t.Pack != want {
		return bad("the footer says %s", t.Pack)
	}
	slots, heads, directory := int64(binary.BigEndian.Uint32(f[56:])), int64(binary.BigEndian.Uint32(f[60:])), int64(binary.BigEndian.Uint32(f[64:]))
	t.heads = span{size - mapFooter - directory - heads, heads}
	if slots == 0 || slots > MapSlotsMax || directory != slots*slotEntry+seal.TagBytes ||
		heads < slots*headBytes+seal.TagBytes || t.heads.off < slots*(headBytes+seal.TagBytes) {
		return bad("the footer does not fit: %d slots, heads of %d bytes, directory of %d, %d in all", slots, heads, directory, size)
	}
	if int64(len(end)) < directory+mapFooter {
		return nil, directory + mapFooter, nil
	}
	t.key = derive(mapKey, [32]byte(f), mapInfo)
	nonce := seal.Nonce(directoryCounter)
	at := int64(len(end)) - mapFooter - directory
	if t.slots, err = t.key.Open(nil, nonce[:], end[at:at+directory], f); err != nil {
		return bad("directory, or another map key: %v", err)
	}
	if err := t.check(); err != nil {
		return nil, 0, err
	}
	return t, 0, nil
}

// check demands that the pages lie one behind the other, up to the heads.
func (t *MapTail) check() error {
	at := int64(0)
	for i := range t.Slots() {
		off, n := t.slot(i)
		if off != at || n < headBytes+seal.TagBytes || n > pageMax+seal.TagBytes {
			return fmt.Errorf("map pack %s: %w: slot %d lies at %d+%d, due at %d", t.Pack, ErrDamaged, i, off, n, at)
		}
		at += n
	}
	if at != t.heads.off {
		return fmt.Errorf("map pack %s: %w: pages end at %d, heads begin at %d", t.Pack, ErrDamaged, at, t.heads.off)
	}
	return nil
}

func (t *MapTail) slot(i int) (off, n int64) {
	b := t.slots[i*slotEntry:]
	return int64(binary.BigEndian.Uint32(b)), int64(binary.BigEndian.Uint32(b[4:]))
}

// Slots is how many pages the map pack has.
func (t *MapTail) Slots() int { return len(t.slots) / slotEntry }

// Slot says where a page lies. Slots lie one behind the other, in order.
func (t *MapTail) Slot(slot uint32) (off, n int64, err error) {
	if int64(slot) >= int64(t.Slots()) {
		return 0, 0, fmt.Errorf("map pack %s: slot %d of %d", t.Pack, slot, t.Slots())
	}
	off, n = t.slot(int(slot))
	return off, n, nil
}

// Open opens the sealed bytes of a slot.
func (t *MapTail) Open(slot uint32, sealed []byte) (Page, error) {
	nonce := seal.Nonce(slot)
	plain, err := t.key.Open(nil, nonce[:], sealed, nil)
	if err != nil || int(slot) >= t.Slots() {
		return Page{}, fmt.Errorf("map pack %s, slot %d of %d: %w: %v", t.Pack, slot, t.Slots(), ErrDamaged, err)
	}
	p, err := parsePage(plain)
	if err != nil {
		return Page{}, fmt.Errorf("map pack %s, slot %d: %w", t.Pack, slot, err)
	}
	return p, nil
}

// Heads says where the heads of all pages lie.
func (t *MapTail) Heads() (off, n int64) { return t.heads.off, t.heads.n }

// OpenHeads opens them: one for each slot, in order.
func (t *MapTail) OpenHeads(sealed []byte) ([]PageHead, error) {
	nonce := seal.Nonce(headsCounter)
	plain, err := t.key.Open(nil, nonce[:], sealed, t.footer)
	if err != nil {
		return nil, fmt.Errorf("heads of map pack %s: %w: %w", t.Pack, ErrDamaged, err)
	}
	heads := make([]PageHead, t.Slots())
	for i := range heads {
		if heads[i], plain, err = parseHead(plain); err != nil {
			return nil, fmt.Errorf("heads of map pack %s, slot %d: %w", t.Pack, i, err)
		}
	}
	if len(plain) > 0 {
		return nil, fmt.Errorf("heads of map pack %s: %w: %d bytes too many", t.Pack, ErrDamaged, len(plain))
	}
	return heads, nil
}
