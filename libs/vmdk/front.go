package vmdk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// front reads what lies before the first grain: the descriptor, and the tables if
// they are there.
func (r *Reader) front() error {
	if h := r.head; h.descSectors > 0 {
		if err := r.skipTo(h.descAt); err != nil {
			return err
		}
		b := make([]byte, h.descSectors*sector)
		if _, err := io.ReadFull(r.in, b); err != nil {
			return r.cutOff(err)
		}
		if err := original(b); err != nil {
			return r.corrupt("descriptor: %w", err)
		}
		r.at += int64(len(b))
	}
	if err := r.countFront(); err != nil {
		return err
	}
	return r.skipTo(r.head.firstData)
}

// original refuses the descriptor of a disk that has a parent.
func original(descriptor []byte) error {
	descriptor, _, _ = bytes.Cut(descriptor, []byte{0})
	for line := range bytes.Lines(descriptor) {
		name, value, _ := bytes.Cut(bytes.TrimSpace(line), []byte("="))
		if bytes.EqualFold(bytes.TrimSpace(name), []byte("parentCID")) && !bytes.EqualFold(bytes.TrimSpace(value), []byte("ffffffff")) {
			return fmt.Errorf("parentCID=%.20s: the disk is a child, and its parent is not in the stream", value)
		}
	}
	return nil
}

// countFront counts the grains that a directory before the data tells of, if its
// tables follow it in order, as qemu-img lays them. A table whose place is
// otherwise is not counted: the end marker must do.
func (r *Reader) countFront() error {
	h := r.head
	if h.directory > h.firstData || h.directory*sector < uint64(r.at) || h.directory+h.tableSectors() > h.firstData {
		return nil
	}
	if err := r.skipTo(h.directory); err != nil {
		return err
	}
	first := h.directory + h.directorySectors()
	for i := range h.tables() {
		v, err := r.uint32()
		if err != nil {
			return err
		}
		if uint64(v) != first+i*tableBytes/sector {
			return nil
		}
	}
	if err := r.skipTo(first); err != nil {
		return err
	}
	told := int64(0)
	for range h.tables() * tableSize {
		v, err := r.uint32()
		if err != nil {
			return err
		}
		if v > 1 { // 0 is none, 1 is one of zeros that is not kept
			told++
		}
	}
	r.told = told
	return nil
}

func (r *Reader) uint32() (uint32, error) {
	b, err := r.peek(4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), r.discard(4)
}

// peek returns the next n bytes of the stream, which stay there.
func (r *Reader) peek(n int) ([]byte, error) {
	b, err := r.in.Peek(n)
	if err != nil {
		err = r.cutOff(err)
	}
	return b, err
}

func (r *Reader) discard(n int) error {
	n, err := r.in.Discard(n)
	r.at += int64(n)
	if err != nil {
		return r.cutOff(err)
	}
	return nil
}

func (r *Reader) skip(sectors uint64) error {
	n, err := io.CopyN(io.Discard, r.in, int64(sectors)*sector)
	r.at += n
	if err != nil {
		return r.cutOff(err)
	}
	return nil
}

func (r *Reader) skipTo(at uint64) error {
	n, err := io.CopyN(io.Discard, r.in, int64(at)*sector-r.at)
	r.at += n
	if err != nil {
		return r.cutOff(err)
	}
	return nil
}

// goesOn is err of a stream that must go on.
func goesOn(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (r *Reader) cutOff(err error) error {
	return fmt.Errorf("vmdk: behind byte %d of the stream: %w", r.at, goesOn(err))
}

func (r *Reader) corrupt(format string, args ...any) error {
	return fmt.Errorf("vmdk: %w: byte %d of the stream: %w", ErrCorrupt, r.at, fmt.Errorf(format, args...))
}
