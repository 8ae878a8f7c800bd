package s3

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

var errBodyTaken = errors.New("the put is over")

// body reads parts one after another, without a copy of them. After release it reads
// nothing: net/http may go on with a body whose answer is there already, and the
// parts are their owner's again by then.
type body struct {
	size int64

	mu    sync.Mutex
	parts [][]byte
	at    int64
}

func newBody(parts [][]byte) *body {
	b := &body{parts: parts}
	for _, p := range parts {
		b.size += int64(len(p))
	}
	return b
}

func (b *body) Read(into []byte) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.parts == nil && b.size > 0 {
		return 0, errBodyTaken
	}
	skip := b.at
	for _, p := range b.parts {
		if skip >= int64(len(p)) {
			skip -= int64(len(p))
			continue
		}
		n += copy(into[n:], p[skip:])
		if skip = 0; n == len(into) {
			break
		}
	}
	b.at += int64(n)
	if n == 0 && len(into) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (b *body) Seek(off int64, whence int) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		off += b.at
	case io.SeekEnd:
		off += b.size
	}
	if off < 0 {
		return 0, fmt.Errorf("seek to %d of a body", off)
	}
	b.at = off
	return off, nil
}

// release ends all reading. Not Close: the SDK closes what has that name, and a
// body may have to be sent twice.
func (b *body) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.parts = nil
}
