// Package index remembers which pack holds which chunk. It is a cache of the
// table chunks.stored on local disk: one Pebble for all partitions of a process,
// no log of its own, no fsync. Each write carries the table's offset in the same
// batch, so after a crash it is what it was at some earlier offset, and the table
// is read on from there. Whatever is wrong with it, it may be thrown away:
// forgetting a chunk costs a second copy, never data. Remembering a dead pack
// would lose data; dead.go is about that.
package index

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// memtableBytes: Pebble charges memtables to the block cache, so few and
	// small ones leave it room. 8 MiB are 120k chunks.
	memtableBytes = 8 << 20
	// memtables may wait for their flush before writes wait: 4 x 8 MiB.
	memtables = 4
	// CacheDefault holds the memtables and the hot blocks of a few million
	// chunks' filters (10 bits each).
	CacheDefault = 96 << 20
	// CacheMin is what keeps the memtables from pushing every block out.
	CacheMin = 2 * memtables * memtableBytes
	// filterBits a chunk: one miss in a hundred costs a read.
	filterBits = 10
	blockBytes = 8 << 10
)

// Options of a Dir; the zero value is good.
type Options struct {
	CacheBytes int64 // CacheMin at least; 0: CacheDefault
	Log        *slog.Logger
}

// Dir is one directory of index. It is open while a Part of it is. Safe for
// concurrent use.
type Dir struct {
	path string
	fs   vfs.FS
	o    Options

	bad atomic.Pointer[error] // corrupt: every part ends, and the next to open finds it empty

	mu    sync.Mutex
	db    *pebble.DB
	parts map[int32]*Part
}

// At is the index under path, which is made when the first part opens.
func At(path string, o Options) *Dir {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = CacheDefault
	}
	o.CacheBytes = max(o.CacheBytes, CacheMin)
	return &Dir{path: path, fs: vfs.Default, o: o, parts: map[int32]*Part{}}
}

// Part opens the part of one partition. There is one at a time for each number;
// its methods are for one goroutine. An index that cannot be read is emptied; an
// error means that it is in use by another process or cannot be made.
func (d *Dir) Part(n int32) (*Part, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n < 0 || n > 1<<16-1 {
		return nil, fmt.Errorf("index %s: part %d: want 0 to 65535", d.path, n)
	}
	if d.parts[n] != nil {
		return nil, fmt.Errorf("index %s: part %d is open already", d.path, n)
	}
	if err := d.broken(); err != nil && len(d.parts) > 0 {
		return nil, fmt.Errorf("%d parts must end first: %w", len(d.parts), err)
	}
	if d.db == nil {
		if err := d.open(); err != nil {
			return nil, err
		}
	}
	p, err := newPart(d, d.db, n)
	if err != nil {
		if len(d.parts) == 0 {
			err = errors.Join(err, d.shut())
		}
		return nil, fmt.Errorf("index %s: part %d: %w", d.path, n, err)
	}
	d.parts[n] = p
	return p, nil
}

// Flush writes what is in memory to disk. Without it a crash forgets up to
// memtableBytes a memtable, which the table gives back.
func (d *Dir) Flush() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.db == nil {
		return nil
	}
	if err := d.broken(); err != nil {
		return err
	}
	return d.seen(d.db.Flush())
}

// DiskBytes is the size of the index on disk; 0 while it is not open.
func (d *Dir) DiskBytes() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.db == nil {
		return 0
	}
	return d.db.Metrics().DiskSpaceUsage()
}

// open takes the directory's lock first, so that only the owner ever empties it.
func (d *Dir) open() error {
	if err := d.fs.MkdirAll(d.path, 0o700); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	lock, err := pebble.LockDirectory(d.path, d.fs)
	if err != nil {
		return fmt.Errorf("index %s: in use by another process: %w", d.path, err)
	}
	if d.broken() == nil {
		if d.db, err = pebble.Open(d.path, d.options(lock)); err == nil {
			return lock.Close()
		}
		d.bad.Store(&err)
	}
	d.o.Log.Warn("index begins anew", "dir", d.path, "err", d.broken())
	d.bad.Store(nil)
	if err = d.empty(); err == nil {
		d.db, err = pebble.Open(d.path, d.options(lock))
	}
	if err = errors.Join(err, lock.Close()); err != nil {
		return fmt.Errorf("index %s: %w", d.path, err)
	}
	return nil
}

// empty removes what is there, but for the lock that we hold.
func (d *Dir) empty() error {
	names, err := d.fs.List(d.path)
	for _, name := range names {
		if name != "LOCK" {
			err = errors.Join(err, d.fs.RemoveAll(d.fs.PathJoin(d.path, name)))
		}
	}
	return err
}

func (d *Dir) options(lock *pebble.Lock) *pebble.Options {
	o := &pebble.Options{
		FS:                          d.fs,
		Lock:                        lock,
		CacheSize:                   d.o.CacheBytes,
		MemTableSize:                memtableBytes,
		MemTableStopWritesThreshold: memtables,
		DisableWAL:                  true,
		FormatMajorVersion:          pebble.FormatNewest,
		Logger:                      logger{d.o.Log.With("index", d.path)},
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		EventListener: &pebble.EventListener{ // the default ends the process
			DataCorruption: func(i pebble.DataCorruptionInfo) { d.seen(pebble.ErrCorruption) },
		},
	}
	for i := range o.Levels {
		o.Levels[i].BlockSize = blockBytes
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(filterBits)
	}
	// Ids are noise: a compressor would only look at them.
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
	return o
}

// leave closes the database with its last part.
func (d *Dir) leave(n int32) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.parts, n)
	if len(d.parts) > 0 {
		return nil
	}
	return d.shut()
}

func (d *Dir) shut() error {
	db := d.db
	d.db = nil
	if d.broken() != nil {
		_ = db.Close() // what a broken one still wants to say does not matter
		return nil
	}
	return errors.Join(db.Flush(), db.Close())
}

// broken says why every part must end, if it must.
func (d *Dir) broken() error {
	if bad := d.bad.Load(); bad != nil {
		return fmt.Errorf("index %s: broken: %w", d.path, *bad)
	}
	return nil
}

// seen notes corruption.
func (d *Dir) seen(err error) error {
	if err != nil && pebble.IsCorruptionError(err) {
		d.bad.CompareAndSwap(nil, &err)
	}
	return err
}

// logger keeps Pebble's chatter out of ours.
type logger struct{ *slog.Logger }

func (l logger) Infof(string, ...any)      {}
func (l logger) Errorf(f string, a ...any) { l.Warn(fmt.Sprintf(f, a...)) }
func (l logger) Fatalf(f string, a ...any) { panic("index: " + fmt.Sprintf(f, a...)) }
