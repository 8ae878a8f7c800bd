// Package pagelog remembers, beside the bytes in flight, what became of each page
// of a backup and what each of its places held. It serves two readers: the
// exporter that takes up a broken export, and the next backup of a machine whose
// source tracks no changes, which reads all and exports what has another digest.
//
// A log is a file in the staging share, named by the lease that wrote it:
//
//	pages/<machine>/<lease>.<random>.open   being written
//	pages/<machine>/<lease>                 sealed: all of the machine is in it
//
// It is a hint with proof, not a record: never fsynced, and each page carries a
// checksum over the lease, its own place in the file and its digests. So a page
// that is torn, stale or another's is as good as none, and what is not in the log
// is exported. Nothing is ever inherited because something is missing here.
//
// It takes 16 bytes for each place that is not zero: 256 MiB a TiB at the 64 KiB
// grid, of which neither side holds more than a page in memory.
package pagelog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/zeebo/blake3"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/schemas"
)

// ErrNone means there is no log of that lease that can be used; all must be exported.
var ErrNone = errors.New("no log of pages")

// Digest is the first half of the BLAKE3 of a place's bytes. The zero Digest is
// that of a place that holds only zeros, or lies beyond the file's end.
type Digest [16]byte

// Digests are those of a page's places.
type Digests [cut.PagePlaces]Digest

// Page is what is known of one page. A page without data need not be logged.
type Page struct {
	No      uint32
	What    schemas.PageRun_What
	Digests *Digests // nil if the source tracks changes itself
}

// What stands in a log: a head, records, an index, a tail. All numbers are
// big-endian; each record ends in 8 bytes of checksum.
const (
	headBytes  = len(magic) + 16 // magic, lease
	tailBytes  = 8 + len(magic)  // offset of the index, magic
	checkBytes = 8
	pageBytes  = 1 + 4 + 1 // kind, no, what
	fileBytes  = 1 + 8 + 4 + 2
	magic      = "HFPAGES1"

	kindFile  = 'f' // size u64, grid u32, key length u16, key
	kindBare  = 'p' // no u32, what u8
	kindPage  = 'd' // the same, 64 digests
	kindIndex = 'x' // count u32, of each file: offset u64, key length u16, key

	// maxKey bounds a key, which is a path: PATH_MAX.
	maxKey = 4096
	// maxIndex bounds the index: source.MaxFiles of the longest keys, and some.
	maxIndex = 8 << 20
)

// Logs are those of one machine, in one staging share.
type Logs struct{ dir string }

// Of names the logs of a machine in the share that lies in dir.
func Of(dir, source, machine string) Logs {
	sum := blake3.Sum256([]byte(source + "\n" + machine))
	return Logs{filepath.Join(dir, "pages", fmt.Sprintf("%x", sum[:16]))}
}

func (l Logs) sealed(lease schemas.UUID) string { return filepath.Join(l.dir, lease.String()) }

// Keep removes all logs of the machine but that of the lease: its point is the
// next base. A lease that has none leaves none.
func (l Logs) Keep(lease schemas.UUID) error {
	return l.remove(func(name string) bool { return name != lease.String() })
}

// Drop removes the log of a lease that came to nothing.
func (l Logs) Drop(lease schemas.UUID) error {
	return l.remove(func(name string) bool { return strings.HasPrefix(name, lease.String()) })
}

func (l Logs) remove(which func(name string) bool) error {
	files, err := os.ReadDir(l.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("remove logs of pages: %w", err)
	}
	for _, f := range files {
		if !which(f.Name()) {
			continue
		}
		if err := os.Remove(filepath.Join(l.dir, f.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove log of pages: %w", err)
		}
	}
	return nil
}

// checker makes checksums that fit one lease and one offset only, so that no
// record is taken for one that once lay in the same blocks.
type checker struct {
	lease schemas.UUID
	h     *blake3.Hasher
}

func newChecker(lease schemas.UUID) *checker { return &checker{lease, blake3.New()} }

func (c *checker) sum(at int64, rec []byte) (check [checkBytes]byte) {
	var head [24]byte
	copy(head[:], c.lease[:])
	binary.BigEndian.PutUint64(head[16:], uint64(at))
	c.h.Reset()
	c.h.Write(head[:])
	c.h.Write(rec)
	var full [32]byte
	c.h.Sum(full[:0])
	copy(check[:], full[:])
	return check
}
