// Package source is the contract between Holdfast and whatever holds machines:
// a folder of disk images, a vCenter, an agent. One contract, many providers;
// sourcetest is the same suite for all of them.
//
// A backup asks a source for six things, in this order: list what is there,
// prepare one machine (a snapshot that stands still), say where its bytes may
// have changed, read them, check that it did stand still, and end it. Whatever a
// provider needs to make the machine anew (an OVF, a domain's XML, settings) it
// keeps by giving it as one more file, of kind config or nvram; nothing of a
// machine goes another way.
//
// # What a provider promises
//
// Prepare may leave something behind at the source even when it returns an error,
// or when the process dies before it returns. So its caller writes down the Order
// first, and calls End for each Order that it ever began, as often as it likes:
// End finds what is there by the order's name alone, in another process, years
// later.
//
// The bytes under one snapshot id are one state of the machine. A provider that
// cannot hold the machine still says so in Check, after the last read.
package source

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
)

// MaxFiles is the most files that one machine may have. Each is a base file of
// the next backup's order: 1000 of them with keys of 40 bytes are 64 KiB, what
// the scheduler's row of the machine may hold.
const MaxFiles = 1000

var (
	// ErrGone means the source is sure: there is no such machine, or no snapshot
	// of that name and id. No retry brings it back.
	ErrGone = errors.New("gone from the source")
	// ErrUntracked means the source cannot say what changed since that change id:
	// it keeps none, or it forgot. All must be read; the error's text says why.
	ErrUntracked = errors.New("changes are not tracked")
	// ErrPermanent marks what fails again however often it is tried.
	ErrPermanent = errors.New("permanent")
)

// Permanent marks err as one that no retry can cure. nil stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}

// IsPermanent reports whether err is marked, or says that a thing is gone.
func IsPermanent(err error) bool { return errors.Is(err, ErrPermanent) }

type permanent struct{ error }

func (p permanent) Unwrap() error        { return p.error }
func (p permanent) Is(target error) bool { return target == ErrPermanent }

// Source is one provider. Every method may be called from many goroutines at
// once, for different machines and for the same.
//
// An error is the weather, and what failed may be tried again, unless it is
// marked Permanent or is ErrGone. Each names the machine and the cause.
type Source interface {
	// List returns every machine there is now. What can be seen only in part is
	// listed with findings rather than left out: a machine that is missing from a
	// list counts as gone.
	List(ctx context.Context) (*Inventory, error)

	// Prepare makes the machine stand still: a snapshot that bears the order's
	// name. Resume goes on with it. It is called once for an order, except where an
	// exporter that was thought dead is not: then there may be two, and End is for
	// both.
	// ErrGone: there is no such machine. Permanent: it has nothing to back up, or
	// it cannot be quiesced although the order requires it.
	Prepare(ctx context.Context, o Order) (Snapshot, error)

	// Resume finds what Prepare made for this order: same name, same id, same
	// files in the same order, same bytes. ErrGone if it is not there any more, or
	// is not the same.
	Resume(ctx context.Context, o Order, id string) (Snapshot, error)

	// End removes all that Prepare may have left at the source under the order's
	// name, and returns when it is gone (consolidated, too). It is the same twice,
	// and nil for an order that was never begun.
	End(ctx context.Context, o Order) error
}

// Marked is a source that can tell what at it bears our mark, for who hunts what
// nobody ended: its order is lost with the table that had it.
type Marked interface {
	// Marks lists every snapshot whose name is that of an order of ours, whoever
	// made it. End removes one, by machine and name.
	Marks(ctx context.Context) ([]Mark, error)
}

// Mark is a snapshot of ours, as it is found.
type Mark struct {
	Name    string // an order's
	Machine string // its id at the source
	Since   time.Time
}

// Order says what to prepare, and under which name.
type Order struct {
	Machine string // its id at the source
	Name    string // holdfast-<backup>-<lease>: whose it is, for people and for hunters
	Quiesce schemas.Options_Quiesce
	Exclude []string // disks not to touch: see Excludes
}

// Snapshot is a machine that stands still. Its methods may be called from one
// goroutine at a time.
type Snapshot interface {
	// ID names this state of the machine. It has at most 128 bytes.
	ID() string
	// Files lists what the machine consists of, excluded disks left out, by
	// ascending key; the place in it is the file's number in the backup.
	Files() []File
	// Warnings are for people: what was left out, and why.
	Warnings() []string
	// Changed yields, in ascending order and without overlap, the ranges of a file
	// whose bytes may differ from what they were at the change id since; bytes
	// outside of all ranges are surely the same. With an empty since it yields
	// what may differ from zero. ErrUntracked if since means nothing to the source.
	Changed(ctx context.Context, f File, since string) iter.Seq2[Range, error]
	// Open gives the bytes of a file, from an offset on.
	Open(ctx context.Context, f File, from int64) (Reader, error)
	// Check is called when the last byte was read, and says what the bytes are
	// worth. Permanent if that is less than the order requires.
	Check(ctx context.Context) (Worth, error)
	// Close lets go of what this process holds of the snapshot, not of the
	// snapshot itself: that is End's.
	Close() error
}

// Reader reads one file. Reads come in ascending order, no byte is asked for
// twice and none before the offset of Open, so that a provider may serve them
// from a stream.
type Reader interface {
	// ReadAt fills p with the bytes at off, all of it or it is an error. Bytes that
	// the source holds no data for are zero. It does not keep p.
	ReadAt(ctx context.Context, p []byte, off int64) error
	Close() error
}

// File is one file of a machine.
type File struct {
	Key  string // the same in every backup of the machine, unique within it; valid UTF-8
	Name string // for people
	Kind schemas.FileExported_Kind
	Size int64
	// ChangeID names the state of the file's change tracking in this snapshot: what
	// the next backup passes as since. Empty: none is kept, and the exporter finds
	// changes by reading all and comparing digests.
	ChangeID string
	// Via says how the bytes are read, for people: a word of the provider's own
	// ("nfc", "datastore"), kept on the point. Empty where there is one way. A
	// provider that chooses when the file is opened says it from then on.
	Via string
	// Store names what the bytes lie on where the source has several (a datastore):
	// reads of one are measured together. Empty: all are one. Valid UTF-8.
	Store string
}

// Range is a stretch of a file. Len is never zero.
type Range struct{ Off, Len int64 }

// Worth is what the bytes that were read are good for.
type Worth struct {
	Level    schemas.Consistency
	Warnings []string
}

// Inventory is a source's answer to List.
type Inventory struct {
	Machines []Machine
	Findings []string // of the source itself: what in it is no machine
}

// Machine is one thing to back up.
type Machine struct {
	ID         string // stable, unique within the source; valid UTF-8
	Name       string
	Folder     string
	Tags       []string
	Host       string // where it runs, or would
	Cluster    string // of hosts; empty where there is none
	Datastores []string
	Disks      []Disk
	Tracking   bool     // whether the source itself knows what changed
	Findings   []string // what a person should know before relying on backups of it
}

// Disk is one disk of a machine, as listed.
type Disk struct {
	Key  string
	Size int64
}
