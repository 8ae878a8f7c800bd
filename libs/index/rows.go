package index

import (
	"encoding/binary"
	"fmt"

	"github.com/holdfast-backup/holdfast/libs/vault"
)

// A key is the part (u16), a kind, and the rest, big-endian:
//
//	'c' chunk id (32)    -> pack no u32, offset u32, framed u32
//	'd' pack (24)        -> nothing: the pack is dead, whatever rows say
//	'p' pack no (u32)    -> pack (24)
//	's'                  -> State
//
// A pack's name is kept once, under a number, so that a chunk costs 47 bytes and
// not 67 before Pebble's own.
const (
	kindChunk = 'c'
	kindDead  = 'd'
	kindPack  = 'p'
	kindState = 's'
	kindEnd   = 'z'

	prefixBytes = 3
	chunkKey    = prefixBytes + 32
	chunkValue  = 12
	packBytes   = 24
)

// State is where a part stands in its table.
type State struct {
	Topic   [16]byte // the generation of the table that the offsets are of
	Next    int64    // the first offset not taken in
	Applied uint64   // the newest epoch whose marks are all taken in
}

const stateBytes = 16 + 8 + 8 + 4

func (s State) append(b []byte, packs uint32) []byte {
	b = append(b, s.Topic[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(s.Next))
	b = binary.BigEndian.AppendUint64(b, s.Applied)
	return binary.BigEndian.AppendUint32(b, packs)
}

func parseState(b []byte) (s State, packs uint32, err error) {
	if len(b) != stateBytes {
		return s, 0, fmt.Errorf("state of %d bytes, want %d", len(b), stateBytes)
	}
	copy(s.Topic[:], b)
	s.Next = int64(binary.BigEndian.Uint64(b[16:]))
	s.Applied = binary.BigEndian.Uint64(b[24:])
	return s, binary.BigEndian.Uint32(b[32:]), nil
}

// key starts a key of a kind in buf, which has room for any.
func (p *Part) key(kind byte) []byte {
	return append(p.buf[:0], byte(p.n>>8), byte(p.n), kind)
}

func (p *Part) packKey(no uint32) []byte { return binary.BigEndian.AppendUint32(p.key(kindPack), no) }

func (p *Part) deadKey(id vault.PackID) []byte {
	k := id.Key()
	return append(p.key(kindDead), k[:]...)
}

// bounds of one kind, or of the part (from kindChunk to kindEnd).
func (p *Part) bounds(from, to byte) (lower, upper []byte) {
	return []byte{byte(p.n >> 8), byte(p.n), from}, []byte{byte(p.n >> 8), byte(p.n), to}
}
