// Package blob is the object store contract of the house. A store is one bucket
// or one folder: a vault has k+m of them and trusts none alone.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
)

// Store keeps objects under keys. Objects are written once and never changed.
//
// All methods may be called at any time by any number of goroutines. A context
// that ends makes a call return early where the store can, and says nothing
// about what was done.
//
// Errors are of two kinds. Permanent reports those that no retry can cure while
// the store stays as it is: ErrExist, ErrNotExist, ErrFull, ErrDenied, ErrKey and
// io.ErrUnexpectedEOF. All others are weather, of which ErrBusy is no fault: the
// store works and wants fewer calls. After weather, a Put may or may not have been
// done: the same Put again is the way to know.
type Store interface {
	// Put makes the object of the parts of body, one after another. When it
	// returns nil the object and its name are durable: they outlive a loss of
	// power. There is never a torn object, at no moment, for no reader.
	//
	// ErrExist means that the key is there, whole and durable, whatever its
	// bytes. So of several Puts of one key one wins, and a Put whose answer was
	// lost can be repeated: names that hold random bits need no more, all others
	// compare bytes. A store that can tell without reading them that they are others
	// than body's says ErrDiffers too.
	//
	// ErrFull means that the store has no room. The parts are not kept and not
	// changed, but are read until Put returns.
	Put(ctx context.Context, key string, body ...[]byte) error

	// Get reads n bytes from offset off; all from there on if n < 0. It returns
	// io.ErrUnexpectedEOF if the object ends before. ErrNotExist means that the
	// store is *sure* the key is not there: a folder that is not mounted is not
	// sure of anything.
	Get(ctx context.Context, key string, off, n int64) ([]byte, error)

	// Stat is the object without its bytes. ErrNotExist is as in Get.
	Stat(ctx context.Context, key string) (Info, error)

	// List yields every object whose key begins with prefix, in key order,
	// byte by byte. An object is listed as soon as its Put returned nil or
	// ErrExist; one put or deleted meanwhile may be or not. It ends after an error.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]

	// Delete removes the object. It is no error if there is none.
	Delete(ctx context.Context, key string) error

	// Free is the room left, where the store knows it.
	Free(ctx context.Context) (bytes int64, known bool)
}

// Info is what a store says of an object.
type Info struct {
	Key  string
	Size int64
}

var (
	ErrExist    = errors.New("object exists")
	ErrDiffers  = fmt.Errorf("%w with other bytes", ErrExist)
	ErrNotExist = errors.New("object does not exist")
	ErrFull     = errors.New("store is full")
	// ErrDenied means that somebody must change a key, a right or a name before
	// the store takes such a call.
	ErrDenied = errors.New("store refuses")
	// ErrBusy means that the store asks for fewer calls a second.
	ErrBusy = errors.New("store wants fewer calls")
	ErrKey  = errors.New("bad object key")
)

// Permanent reports whether err is an answer rather than weather: the same call
// again gives the same.
func Permanent(err error) bool {
	for _, p := range []error{ErrExist, ErrNotExist, ErrFull, ErrDenied, ErrKey, io.ErrUnexpectedEOF} {
		if errors.Is(err, p) {
			return true
		}
	}
	return false
}

const (
	// KeyMax is the longest key, in bytes. The longest of the vault is a point's:
	// "points/", an epoch, a machine of 32 digits, two UUIDs: 135.
	KeyMax = 512
	// segmentMax is what every file system takes as one name.
	segmentMax = 255
)

// CheckKey says what is wrong with a key. Keys are names divided by "/", of
// letters, digits, '.', '_' and '-'; no name begins with '.', none is empty. Of
// two keys none may be a folder of the other: "a" and "a/b" can't both be objects.
func CheckKey(key string) error {
	if key == "" || len(key) > KeyMax {
		return fmt.Errorf("%w %.80q: %d bytes, want 1 to %d", ErrKey, key, len(key), KeyMax)
	}
	for name := range strings.SplitSeq(key, "/") {
		if name == "" || name[0] == '.' || len(name) > segmentMax {
			return fmt.Errorf("%w %.80q: name %.40q is empty, hidden or too long", ErrKey, key, name)
		}
	}
	return checkLetters(key)
}

// CheckPrefix says what is wrong with the prefix of a listing: the beginning of
// a key, or empty.
func CheckPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	if strings.HasSuffix(prefix, "/") {
		return CheckKey(prefix + "x")
	}
	return CheckKey(prefix)
}

func checkLetters(key string) error {
	for i := range len(key) {
		c := key[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '_', c == '-', c == '/':
		default:
			return fmt.Errorf("%w %.80q: byte %q", ErrKey, key, c)
		}
	}
	return nil
}
