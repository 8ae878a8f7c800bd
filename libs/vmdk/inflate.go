package vmdk

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zlib"
)

// inflater inflates grains, one at a time, into memory of its own.
type inflater struct {
	in    bytes.Reader
	z     io.ReadCloser
	plain []byte // a byte longer than a grain, so that a longer one is seen
}

var errBomb = errors.New("inflates to more than a grain")

// inflate returns the plain bytes, at most a grain, good until the next call. It
// wraps no io.ErrUnexpectedEOF: a grain that ends early is damage, and the
// stream is not cut.
func (f *inflater) inflate(packed []byte) (p []byte, err error) {
	f.in.Reset(packed)
	if f.z == nil {
		f.z, err = zlib.NewReader(&f.in)
	} else {
		err = f.z.(zlib.Resetter).Reset(&f.in, nil)
	}
	n := 0
	for err == nil && n < len(f.plain) { // to the end, where the checksum is compared
		var k int
		k, err = f.z.Read(f.plain[n:])
		n += k
	}
	switch {
	case n == len(f.plain):
		return nil, errBomb
	case !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("inflate: %v", err)
	}
	return f.plain[:n], nil
}
