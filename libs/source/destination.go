package source

import (
	"context"
	"errors"
	"io"
)

// ReturnMark begins the name of every Return; what follows is the restore's id.
const ReturnMark = "holdfast-restore-"

// ErrRefused means that an order can't be carried out as it stands: what it names
// is not there, or is in the way. Its text says what and why. It is permanent.
var ErrRefused = errors.New("refused")

// Refuse marks err as the fault of the order. nil stays nil.
func Refuse(err error) error {
	if err == nil {
		return nil
	}
	return refused{err}
}

// IsRefused reports whether err is marked so.
func IsRefused(err error) bool { return errors.Is(err, ErrRefused) }

type refused struct{ error }

func (r refused) Unwrap() error        { return r.error }
func (r refused) Is(target error) bool { return target == ErrRefused || target == ErrPermanent }

// Destination is a source that machines can be brought back into: as a new
// machine, or in place, over the disks of the one that is there.
//
// What is begun may stand half made at the destination when Return fails, or when
// the process dies before it returns. So its caller writes the order down first,
// and calls EndReturn for each order that it ever began until Finish or Abort has
// returned nil, in whatever process: a half-made machine bears the order's name,
// and EndReturn finds it by that alone.
//
// Errors are as Source says, and ErrRefused besides: such an order has changed
// nothing.
type Destination interface {
	// Has reports whether a machine of that id is there now.
	Has(ctx context.Context, machine string) (bool, error)

	// Return begins to bring a machine back. All that the order names is looked for
	// before the first byte is asked for. It is called once at a time for an order;
	// after Abort or EndReturn it may be called again.
	Return(ctx context.Context, o Return) (Returning, error)

	// EndReturn removes what an unfinished Return of this order left. If the order
	// was finished, it touches nothing and says what came of it; else it returns
	// nil. It is the same twice, and for an order that was never begun. Of a return
	// in place nothing is left but disks that are partly restored: they stay.
	EndReturn(ctx context.Context, o Return) (*Returned, error)
}

// Return is an order to bring one machine back.
type Return struct {
	Name    string // ReturnMark and the restore's id: whose it is, for people and for hunters
	Machine string // the id that the machine had at its source
	InPlace bool   // over the disks of the machine of that id
	// Copy: the machine is known to live on elsewhere, so that what must be unique
	// in a network (addresses, ids) is made anew. It is made anew as well when
	// there is a machine of that id at the destination itself.
	Copy bool

	// For a new machine. What is empty stays as it was.
	As        string            // its name
	Folder    string            // path as an inventory lists it
	Pool      string            // of computing resources: a name, or as much of its path as is needed
	Datastore string            // for all that it consists of
	Networks  map[string]string // from the name that a network had to the one it has here
	PowerOn   bool              // when it is whole

	Files []File            // the disks
	Kept  map[string][]byte // the files that say what the machine is, by key
}

// Returning is a machine that is being brought back. Its methods are called from
// one goroutine at a time, but for those of a DiskInPlace.
type Returning interface {
	// Stream opens one of the disks to be written whole, from its first byte to its
	// last. Each is opened once, one after the other.
	Stream(ctx context.Context, f File) (DiskStream, error)

	// Disk opens a disk of a return in place, to be compared and changed.
	Disk(ctx context.Context, f File) (DiskInPlace, error)

	// Finish makes it a machine like any other, durable on return, switched on if
	// the order wants it. After an error it may be called again, or Abort.
	Finish(ctx context.Context) (*Returned, error)

	// Abort gives it up: a new machine is gone when it returns, one in place stays
	// as far as it was restored. It is the same twice, and nothing after Finish.
	Abort(ctx context.Context) error
}

// DiskStream takes a disk's bytes in ascending order. What is left out is zero.
type DiskStream interface {
	// Write writes p at off, which no earlier write passed. p is not kept.
	Write(off int64, p []byte) error
	// Close ends it: all that was written is at the destination if it returns nil.
	// Without Close nothing is.
	Close() error
	// Cancel gives it up. After Close it does nothing.
	Cancel()
}

// DiskInPlace is a disk of the machine that is there. ReadAt and WriteAt may be called from many goroutines;
// no byte is read that was written.
type DiskInPlace interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Ranges says whether WriteAt works. Where it does not, the destination takes
	// disks only whole: one that differs from the point goes by Stream.
	Ranges() bool
}

// Returned is a machine that was brought back.
type Returned struct {
	Machine  string // its id at the destination
	Name     string
	Via      string // how bytes went there, for people: "nfc", "datastore ranges", ...
	Kept     bool   // it has the id and the addresses that it had
	Warnings []string
}
