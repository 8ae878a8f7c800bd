// Package seal makes frames of chunks: compressed, then sealed under the content
// key of the pack they lie in. ops/docs/format.md has the bytes. Nothing of a frame
// is believed before its tag was checked, and its plain length bounds what opening
// it may cost.
package seal

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
	"github.com/minio/minlz"
)

// PlainMax bounds the plain bytes of a frame: no chunk is larger than an extent, 16 MiB.
const PlainMax = 16 << 20

// minlzMax is the most that one minlz block may hold by its format.
const minlzMax = minlz.MaxBlockSize

// Codec says how the bytes under the seal are to be unpacked. It is part of the format.
type Codec uint8

const (
	Raw   Codec = 0 // as they are
	Zstd  Codec = 1 // one zstd frame, RFC 8878
	Minlz Codec = 2 // one minlz block
)

func (c Codec) String() string {
	switch c {
	case Raw:
		return "raw"
	case Zstd:
		return "zstd"
	case Minlz:
		return "minlz"
	}
	return fmt.Sprintf("codec %d", uint8(c))
}

// Method says how to compress. It is a vault's setting and no part of the format:
// each frame names its codec.
type Method string

const (
	MethodZstd        Method = "zstd-fastest" // zstd's fastest level: 446 MB/s a core, 2.15:1 on real machines
	MethodZstdDefault Method = "zstd-default" // 36 % more CPU, 2.5 % smaller
	MethodMinlz       Method = "minlz"        // 2.7 times as fast, 12 % larger
	MethodRaw         Method = "none"         // none
)

// Methods lists every method, the default first.
var Methods = []Method{MethodZstd, MethodZstdDefault, MethodMinlz, MethodRaw}

// Compressor compresses chunks. It owns one encoder and is not for concurrent use:
// each worker has its own.
type Compressor struct {
	method Method
	zstd   *zstd.Encoder
}

// NewCompressor returns a compressor for a method; the empty method is zstd.
func NewCompressor(m Method) (*Compressor, error) {
	c := &Compressor{method: m}
	level := zstd.SpeedFastest
	switch m {
	case MethodRaw, MethodMinlz:
		return c, nil
	case "":
		c.method = MethodZstd
	case MethodZstd:
	case MethodZstdDefault:
		level = zstd.SpeedDefault
	default:
		return nil, fmt.Errorf("compression %q: want one of %v", m, Methods)
	}
	var err error
	// No CRC: the tag and the keyed name say more. One block a call, so no goroutines.
	c.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("zstd encoder: %w", err)
	}
	return c, nil
}

// Compress returns the packed form of plain and its codec. The body is in dst's
// memory where it has room, or is plain itself where compression does not pay, so
// it is good only until either is used again. dst and plain must not overlap.
func (c *Compressor) Compress(dst, plain []byte) (body []byte, codec Codec) {
	switch {
	case c.zstd != nil:
		body, codec = c.zstd.EncodeAll(plain, dst[:0]), Zstd
	case c.method == MethodMinlz && len(plain) <= minlzMax:
		body, codec = minlz.TryEncode(dst[:0], plain, minlz.LevelFastest), Minlz
	}
	if codec == Raw || body == nil || len(body) >= len(plain) {
		return plain, Raw
	}
	return body, codec
}

// ErrCorrupt means that bytes are not what their own description says. It is wrapped with the detail.
var ErrCorrupt = errors.New("corrupt")

// expander unpacks bodies. Its memory is bounded by the plain length it is told.
type expander struct{ zstd *zstd.Decoder }

func newExpander() (*expander, error) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true),
		zstd.WithDecoderMaxMemory(PlainMax), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("zstd decoder: %w", err)
	}
	return &expander{d}, nil
}

// expand appends the plain bytes of body, which are exactly n, to dst.
func (x *expander) expand(dst, body []byte, codec Codec, n int) ([]byte, error) {
	was := len(dst)
	if cap(dst)-was < n {
		dst = append(make([]byte, 0, was+n), dst...)
	}
	room := dst[was : was : was+n]
	var out []byte
	var err error
	switch codec {
	case Raw:
		if out = body; len(body) == n {
			out = append(room, body...)
		}
	case Zstd:
		out, err = x.zstd.DecodeAll(body, room)
	case Minlz:
		out, err = expandMinlz(room, body, n)
	default:
		err = errors.New("unknown to this version")
	}
	if err != nil {
		return dst[:was], fmt.Errorf("%w: %s: %w", ErrCorrupt, codec, err)
	}
	if len(out) != n {
		return dst[:was], fmt.Errorf("%w: %s gives %d bytes, the head says %d", ErrCorrupt, codec, len(out), n)
	}
	return dst[:was+n], nil
}

func expandMinlz(room, body []byte, n int) ([]byte, error) {
	ok, size, err := minlz.IsMinLZ(body)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, errors.New("not a minlz block") // the decoder would take snappy for it
	case size != n:
		return nil, fmt.Errorf("block of %d bytes, the head says %d", size, n)
	}
	return minlz.Decode(room, body)
}
