package shard

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/zeebo/blake3"
)

// HeaderBytes is the length of a header: magic 8, pack 24, n, gen, k, m, 4 zeros,
// length u64, hash 32, check 16.
const HeaderBytes = 96

// magic names the format; its last byte is the version.
const magic = "HFshard\x01"

// ErrCorrupt means that bytes are not what was written.
var ErrCorrupt = errors.New("corrupt shard")

// Header stands before the payload of a shard: it says whose shard it is and how
// its payload must hash, so that a scrub needs no key and no other shard, and
// names the code, so that a reader needs no settings.
type Header struct {
	Pack   [24]byte // the pack's id as a record key: birth u64 big-endian, 16 bytes
	N      uint8    // the shard's number: data from 0, then parity
	Gen    uint8    // 0 as first written; a mended shard has the next
	K, M   uint8
	Length uint64   // of the whole pack
	Hash   [32]byte // BLAKE3 of the payload
}

// Seal returns the header of a payload: h with its hash, encoded.
func (h Header) Seal(payload []byte) []byte {
	h.Hash = Sum(payload)
	return h.Append(make([]byte, 0, HeaderBytes))
}

// Sum is the hash of a payload.
func Sum(payload []byte) [32]byte { return blake3.Sum256(payload) }

// Sums are the hashes of the k data shards that Split would make of data, one behind
// the other: who made data tells them, and who ships the shards, and must hash them
// for their headers, compares. Of one shard it is the hash of data.
func Sums(k int, data []byte) []byte {
	l := (len(data) + k - 1) / k
	sums := make([]byte, 0, 32*k)
	for i := range k {
		payload := data[min(i*l, len(data)):min((i+1)*l, len(data))]
		if len(payload) < l {
			payload = append(make([]byte, 0, l), payload...)[:l]
		}
		sum := Sum(payload)
		sums = append(sums, sum[:]...)
	}
	return sums
}

// Append encodes h behind dst.
func (h Header) Append(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, magic...)
	dst = append(dst, h.Pack[:]...)
	dst = append(dst, h.N, h.Gen, h.K, h.M, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint64(dst, h.Length)
	dst = append(dst, h.Hash[:]...)
	sum := blake3.Sum256(dst[at:])
	return append(dst, sum[:16]...)
}

// ParseHeader reads the header that b begins with. ErrCorrupt: it is none, or
// damaged. A good magic of another version is another error.
func ParseHeader(b []byte) (h Header, err error) {
	if len(b) < HeaderBytes {
		return h, fmt.Errorf("%w: %d bytes, a header has %d", ErrCorrupt, len(b), HeaderBytes)
	}
	b = b[:HeaderBytes]
	if !bytes.HasPrefix(b, []byte(magic[:7])) {
		return h, fmt.Errorf("%w: begins with %q", ErrCorrupt, b[:8])
	}
	if b[7] != magic[7] {
		return h, fmt.Errorf("shard of format %d: this program knows %d", b[7], magic[7])
	}
	if sum := blake3.Sum256(b[:HeaderBytes-16]); !bytes.Equal(sum[:16], b[HeaderBytes-16:]) {
		return h, fmt.Errorf("%w: header does not match its own check", ErrCorrupt)
	}
	copy(h.Pack[:], b[8:32])
	h.N, h.Gen, h.K, h.M = b[32], b[33], b[34], b[35]
	h.Length = binary.BigEndian.Uint64(b[40:48])
	copy(h.Hash[:], b[48:80])
	if !bytes.Equal(b[36:40], []byte{0, 0, 0, 0}) || h.K == 0 || int(h.N) >= int(h.K)+int(h.M) || h.Length == 0 {
		return h, fmt.Errorf("%w: shard %d of %d+%d, %d bytes in all", ErrCorrupt, h.N, h.K, h.M, h.Length)
	}
	return h, nil
}

// PayloadBytes is how long the payload must be.
func (h Header) PayloadBytes() uint64 { return (h.Length + uint64(h.K) - 1) / uint64(h.K) }

// Check says whether payload is what the header was made for: by length and hash.
func (h Header) Check(payload []byte) error {
	if uint64(len(payload)) != h.PayloadBytes() {
		return fmt.Errorf("%w: shard %d of pack %x has %d bytes, want %d", ErrCorrupt, h.N, h.Pack, len(payload), h.PayloadBytes())
	}
	if blake3.Sum256(payload) != h.Hash {
		return fmt.Errorf("%w: shard %d of pack %x does not match its hash", ErrCorrupt, h.N, h.Pack)
	}
	return nil
}
