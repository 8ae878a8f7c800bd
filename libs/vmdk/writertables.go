package vmdk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

var errClosed = errors.New("vmdk: the stream is closed")

// Close writes what finds the grains: the last table, the directory, the footer
// and the end marker. Only then is the stream whole.
func (w *Writer) Close() error {
	if w.ended != nil {
		return w.ended
	}
	err := w.endTable()
	if err == nil {
		err = w.tail()
	}
	if w.ended = err; err == nil {
		w.ended = errClosed
	}
	return err
}

// endTable writes the table of the grains since the last one, if there were any.
func (w *Writer) endTable() error {
	if slices.Max(w.table) == 0 {
		return nil
	}
	at, err := w.entries(markTable, w.table)
	if err != nil {
		return err
	}
	w.directory[uint64(w.next-1)/GrainSize/tableSize] = at
	clear(w.table)
	return nil
}

func (w *Writer) tail() error {
	at, err := w.entries(markDirectory, w.directory)
	if err != nil {
		return err
	}
	foot := w.head
	foot.directory = uint64(at)
	b := foot.append(mark(nil, markFooter, 1))
	if err := w.write(mark(b, markEnd, 0)); err != nil {
		return err
	}
	if err := w.out.Flush(); err != nil {
		return fmt.Errorf("vmdk: write sector %d: %w", w.at, err)
	}
	return nil
}

// entries writes a marker and a table, and says in which sector the table lies.
func (w *Writer) entries(kind uint32, table []uint32) (uint32, error) {
	b := make([]byte, 0, 2*sector+4*len(table))
	b = mark(b, kind, divUp(uint64(4*len(table)), sector))
	for _, v := range table {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	at, err := w.here()
	if err != nil {
		return 0, err
	}
	return at + 1, w.write(b)
}

// mark appends a marker: sectors behind it u64, 0 u32, kind u32, in a sector.
func mark(dst []byte, kind uint32, sectors uint64) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, sectors)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	dst = binary.LittleEndian.AppendUint32(dst, kind)
	return append(dst, make([]byte, sector-16)...)
}
