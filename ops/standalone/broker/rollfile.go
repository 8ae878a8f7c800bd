package broker

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
)

// A file of rows is all that is left of a table while its topic is made anew, so it
// proves itself: magic, rows, and the SHA-256 of both. A row is its partition, the
// length of its key and of its value (u32, big-endian), and their bytes.
const (
	rollMagic = "HFROLL1\n"
	keyMax    = 1 << 20  // a key has some 100 bytes
	valueMax  = 16 << 20 // message.max.bytes is 8 MiB
)

var errTorn = errors.New("torn or damaged")

type row struct {
	part       int32
	key, value []byte
}

// writeRows makes a file, whole and durable under its name or not at all.
func writeRows(path string, rows iter.Seq[row]) error {
	f, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	w := bufio.NewWriter(io.MultiWriter(f, sum))
	w.WriteString(rollMagic) // a bufio.Writer keeps its first error for Flush
	for r := range rows {
		writeRow(w, r)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err = f.Write(sum.Sum(nil))
	if err := errors.Join(err, f.Sync()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path)) // the topic goes next: the name must outlive a loss of power
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// readRows yields the rows of a file, and at the end an error if it is not whole:
// what came before is then worth nothing.
func readRows(path string) iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		err := eachRow(path, func(r row) bool { return yield(r, nil) })
		if err != nil {
			yield(row{}, fmt.Errorf("read %s: %w", path, err))
		}
	}
}

func eachRow(path string, show func(row) bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	body := st.Size() - int64(sha256.Size)
	if body < int64(len(rollMagic)) {
		return fmt.Errorf("%w: %d bytes", errTorn, st.Size())
	}
	sum := sha256.New()
	r := bufio.NewReader(io.TeeReader(io.LimitReader(f, body), sum))
	var magic [len(rollMagic)]byte
	if _, err := io.ReadFull(r, magic[:]); err != nil {
		return err
	}
	if string(magic[:]) != rollMagic {
		return fmt.Errorf("%w, or of another program: it begins with %q", errTorn, magic)
	}
	for {
		one, err := readRow(r)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errTorn, err)
		}
		if !show(one) {
			return nil
		}
	}
	var want [sha256.Size]byte
	if _, err := io.ReadFull(f, want[:]); err != nil {
		return err
	}
	if [sha256.Size]byte(sum.Sum(nil)) != want {
		return fmt.Errorf("%w: its checksum is another", errTorn)
	}
	return nil
}

func writeRow(w *bufio.Writer, r row) {
	var head [12]byte
	binary.BigEndian.PutUint32(head[:], uint32(r.part))
	binary.BigEndian.PutUint32(head[4:], uint32(len(r.key)))
	binary.BigEndian.PutUint32(head[8:], uint32(len(r.value)))
	w.Write(head[:])
	w.Write(r.key)
	w.Write(r.value)
}

func readRow(r io.Reader) (row, error) {
	var head [12]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return row{}, err
	}
	key, value := binary.BigEndian.Uint32(head[4:]), binary.BigEndian.Uint32(head[8:])
	if key > keyMax || value > valueMax {
		return row{}, fmt.Errorf("a row of %d + %d bytes", key, value)
	}
	b := make([]byte, key+value)
	if _, err := io.ReadFull(r, b); err != nil {
		return row{}, fmt.Errorf("torn row: %w", io.ErrUnexpectedEOF)
	}
	return row{int32(binary.BigEndian.Uint32(head[:])), b[:key], b[key:]}, nil
}
