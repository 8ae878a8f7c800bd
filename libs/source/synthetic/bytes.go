package synthetic

import (
	"encoding/binary"
	"math/bits"
)

// What a hash is about, so that no two questions have one answer.
const (
	allClones = 0x11 + iota
	itsOwn
	aWrite
	isCommon
)

// mix is a hash of words, as wyhash folds them: fast, even, and no secret.
func mix(words ...uint64) uint64 {
	h := uint64(0xa0761d6478bd642f)
	for _, w := range words {
		h = fold(h^w, 0xe7037ed1a0b428db)
	}
	return fold(h, 0x8ebc6af09c88c6e3)
}

func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a+0x9e3779b97f4a7c15, b)
	return hi ^ lo
}

// luck says yes with a chance.
func luck(h uint64, chance float64) bool { return float64(h>>11)/(1<<53) < chance }

// A piece is noise and then words that come again and again: together they
// compress about 2:1, at about the speed of real disks.
const (
	noiseBytes = 56
	wordBytes  = 72
	piece      = noiseBytes + wordBytes
	tableBytes = 1 << 10
)

var table = func() (t [tableBytes + wordBytes]byte) {
	for i := range t {
		t[i] = "etaoin shrdlu\n\x00"[mix(uint64(i))%15]
	}
	return t
}()

// fill makes the bytes from an offset on of what a seed names.
func fill(p []byte, from int64, seed uint64) {
	var whole [piece]byte
	for i := from / piece; len(p) > 0; i++ {
		skip := from - i*piece // 0 but for the first
		if skip == 0 && len(p) >= piece {
			fillPiece((*[piece]byte)(p), seed, uint64(i))
			p, from = p[piece:], from+piece
			continue
		}
		fillPiece(&whole, seed, uint64(i))
		n := copy(p, whole[skip:])
		p, from = p[n:], from+int64(n)
	}
}

func fillPiece(p *[piece]byte, seed, i uint64) {
	h := fold(seed^i, 0xe7037ed1a0b428db)
	for k := 0; k < noiseBytes; k += 8 {
		h += 0x9e3779b97f4a7c15
		hi, lo := bits.Mul64(h, h^0xa0761d6478bd642f)
		binary.LittleEndian.PutUint64(p[k:], hi^lo)
	}
	at := h >> 54 // below tableBytes
	*(*[wordBytes]byte)(p[noiseBytes:]) = [wordBytes]byte(table[at:])
}
