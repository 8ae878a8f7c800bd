package qcow2

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Close writes the counts, the table of tables and, last, the header. It makes
// nothing durable and does not close the file.
func (w *Writer) Close() error {
	blocks, counts := w.counts()
	at := w.next // of the table of counts; its blocks follow
	total := at + counts + blocks
	if err := w.out.Truncate(total * cluster); err != nil {
		return fmt.Errorf("qcow2: %w", err)
	}
	table := func(from, first, n int64, flag uint64) error {
		b := make([]byte, 0, n*8)
		for i := range n {
			b = binary.BigEndian.AppendUint64(b, uint64(first+i)*cluster|flag)
		}
		return w.write(b, from*cluster)
	}
	if err := table(1, w.first, w.tables, copied); err != nil {
		return err
	}
	if err := table(at, at+counts, blocks, 0); err != nil {
		return err
	}
	if err := w.once(at+counts, total); err != nil {
		return err
	}
	return w.write(w.header(at, counts), 0)
}

// counts is how many clusters of counts there are, and of the table that finds
// them: they count themselves, so both grow until all are in.
func (w *Writer) counts() (blocks, table int64) {
	for {
		b := divUp(w.next+blocks+table, blockEntries)
		t := divUp(b, tableEntries)
		if b == blocks && t == table {
			return b, t
		}
		blocks, table = b, t
	}
}

// once counts each cluster of the file: one reference, none is free.
func (w *Writer) once(first, total int64) error {
	b := make([]byte, cluster)
	for i := range b {
		b[i] = byte(i % 2)
	}
	for done := int64(0); done < total; done += blockEntries {
		if err := w.write(b[:2*min(blockEntries, total-done)], first*cluster); err != nil {
			return err
		}
		first++
	}
	return nil
}

func (w *Writer) header(counts, clusters int64) []byte {
	be := binary.BigEndian
	b := be.AppendUint32(nil, magic)
	b = be.AppendUint32(b, 3)
	b = append(b, make([]byte, 12)...) // no backing file
	b = be.AppendUint32(b, clusterBits)
	b = be.AppendUint64(b, uint64(w.size))
	b = be.AppendUint32(b, 0) // not encrypted
	b = be.AppendUint32(b, uint32(w.tables))
	b = be.AppendUint64(b, cluster)
	b = be.AppendUint64(b, uint64(counts)*cluster)
	b = be.AppendUint32(b, uint32(clusters))
	b = append(b, make([]byte, 4+8+3*8)...) // no snapshots, no features
	b = be.AppendUint32(b, refcountOrder)
	b = be.AppendUint32(b, headerBytes)
	return append(b, make([]byte, 8)...) // no extensions
}

func (w *Writer) write(b []byte, at int64) error {
	if _, err := w.out.WriteAt(b, at); err != nil {
		return fmt.Errorf("qcow2: write byte %d of the file: %w", at, err)
	}
	return nil
}

var _ io.WriterAt = (*Writer)(nil)
