// Package shard cuts bytes into k data shards and m parity shards, any k of which
// give the bytes back (Reed-Solomon over GF(2^8), klauspost's Vandermonde matrix),
// and defines the header that makes a shard explain itself. It is pure: no store.
//
// Data shard i is bytes [i*L, (i+1)*L) with L = ceil(length/k), zeros beyond the
// end. So a range of the whole is a range of one or few data shards, and every
// byte of a parity shard depends only on the same byte of the data shards.
package shard

import (
	"fmt"
	"sync"

	"github.com/klauspost/reedsolomon"
)

// Max is the most shards: a shard's number is one byte, and so is the field.
const Max = 255

// Code is one choice of k and m. It may be used by many goroutines.
type Code struct {
	K, M int
	rs   reedsolomon.Encoder
	bufs sync.Pool // *[]byte: shards that were computed, to be used again
}

// New returns a code of k data and m parity shards. k is 1 or more; m may be 0,
// which protects against nothing; k+m is at most Max.
func New(k, m int) (*Code, error) {
	if k < 1 || m < 0 || k > Max || m > Max || k+m > Max {
		return nil, fmt.Errorf("code of %d+%d shards: want 1 or more data, 0 or more parity, at most %d together", k, m, Max)
	}
	// One goroutine: its 35 GB/s are not the limit, and packs run side by side.
	rs, err := reedsolomon.New(k, m, reedsolomon.WithMaxGoroutines(1))
	if err != nil {
		return nil, fmt.Errorf("code of %d+%d shards: %w", k, m, err)
	}
	return &Code{K: k, M: m, rs: rs}, nil
}

// N is the number of shards.
func (c *Code) N() int { return c.K + c.M }

// ShardBytes is the payload of each shard of length bytes.
func (c *Code) ShardBytes(length int) int { return (length + c.K - 1) / c.K }

// Set is the shards of one length of bytes.
type Set struct {
	Shards [][]byte // k data, then m parity, all equally long
	code   *Code
	buf    *[]byte
}

// Split cuts data. Whole data shards are windows on data, which must not change
// while the set is used; the last one is a copy if it is short. data must have a byte.
func (c *Code) Split(data []byte) (*Set, error) {
	if len(data) == 0 {
		return nil, fmt.Errorf("split 0 bytes")
	}
	l := c.ShardBytes(len(data))
	whole := len(data) / l // data shards that need no padding
	buf := c.take((c.N() - whole) * l)
	clear((*buf)[copy(*buf, data[whole*l:]) : (c.K-whole)*l])
	s := &Set{Shards: make([][]byte, c.N()), code: c, buf: buf}
	for i := range s.Shards {
		if i < whole {
			s.Shards[i] = data[i*l : (i+1)*l : (i+1)*l]
			continue
		}
		at := (i - whole) * l
		s.Shards[i] = (*buf)[at : at+l : at+l]
	}
	if err := c.rs.Encode(s.Shards); err != nil {
		s.Release()
		return nil, fmt.Errorf("encode %d bytes as %d+%d: %w", len(data), c.K, c.M, err)
	}
	return s, nil
}

// Release gives the computed shards back for later sets. Nobody may use the set
// or its shards after. Without it they are garbage, no more.
func (s *Set) Release() {
	if s.buf != nil {
		s.code.bufs.Put(s.buf)
		s.buf, s.Shards = nil, nil
	}
}

func (c *Code) take(n int) *[]byte {
	if b, ok := c.bufs.Get().(*[]byte); ok && cap(*b) >= n {
		*b = (*b)[:n]
		return b
	}
	b := make([]byte, n)
	return &b
}

// Rebuild computes the shards that are nil or empty from k others, in place. It
// works on equal ranges of shards as on whole ones. Wrong bytes in give wrong
// bytes out: check them before.
func (c *Code) Rebuild(shards [][]byte) error { return c.rebuild(shards, c.rs.Reconstruct) }

// RebuildData is Rebuild of the data shards alone.
func (c *Code) RebuildData(shards [][]byte) error { return c.rebuild(shards, c.rs.ReconstructData) }

func (c *Code) rebuild(shards [][]byte, run func([][]byte) error) error {
	have := 0
	for _, s := range shards {
		if len(s) > 0 {
			have++
		}
	}
	if len(shards) != c.N() || have < c.K {
		return fmt.Errorf("rebuild from %d of %d shards: want %d of %d", have, len(shards), c.K, c.N())
	}
	if err := run(shards); err != nil {
		return fmt.Errorf("rebuild from %d of %d shards: %w", have, len(shards), err)
	}
	return nil
}

// Join appends the first length bytes of the data shards to dst. All k must be there.
func (c *Code) Join(dst []byte, shards [][]byte, length int) ([]byte, error) {
	if len(shards) < c.K {
		return dst, fmt.Errorf("join %d shards: want %d", len(shards), c.K)
	}
	l := c.ShardBytes(length)
	for i, s := range shards[:c.K] {
		if len(s) != l {
			return dst, fmt.Errorf("join %d bytes: shard %d has %d, want %d", length, i, len(s), l)
		}
		n := min(l, length)
		dst = append(dst, s[:n]...)
		length -= n
	}
	return dst, nil
}
