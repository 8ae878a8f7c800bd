package pagelog

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/schemas"
)

// scanner reads records and believes none that fails its checksum.
type scanner struct {
	r     *bufio.Reader
	check *checker
	at    int64
	end   int64
	rec   []byte
}

// newScanner begins after the head of a log, which must be this lease's.
func newScanner(f *os.File, lease schemas.UUID, end int64) (*scanner, error) {
	head := make([]byte, headBytes)
	if _, err := f.ReadAt(head, 0); err != nil || string(head[:len(magic)]) != magic || schemas.UUID(head[len(magic):]) != lease {
		return nil, fmt.Errorf("log of pages has another head: %w", ErrNone)
	}
	return scannerAt(f, lease, int64(headBytes), end), nil
}

func scannerAt(f io.ReaderAt, lease schemas.UUID, at, end int64) *scanner {
	r := io.NewSectionReader(f, at, max(0, end-at))
	return &scanner{r: bufio.NewReaderSize(r, 64<<10), check: newChecker(lease), at: at, end: end}
}

// next returns a record, without its checksum, until the next call. Any error is
// ErrNone, but for those of the file system.
func (s *scanner) next() ([]byte, error) {
	n, err := s.length()
	if err != nil {
		return nil, s.torn(err)
	}
	if cap(s.rec) < n+checkBytes {
		s.rec = make([]byte, n+checkBytes)
	}
	s.rec = s.rec[:n+checkBytes]
	if _, err := io.ReadFull(s.r, s.rec); err != nil {
		return nil, s.torn(err)
	}
	rec := s.rec[:n]
	if check := s.check.sum(s.at, rec); string(check[:]) != string(s.rec[n:]) {
		return nil, fmt.Errorf("log of pages: record at %d fails its checksum: %w", s.at, ErrNone)
	}
	s.at += int64(n + checkBytes)
	return rec, nil
}

func (s *scanner) torn(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = ErrNone
	}
	return fmt.Errorf("log of pages: record at %d: %w", s.at, err)
}

// length looks ahead how long the next record is.
func (s *scanner) length() (int, error) {
	kind, err := s.r.Peek(1)
	if err != nil {
		return 0, err
	}
	switch kind[0] {
	case kindBare:
		return pageBytes, nil
	case kindPage:
		return pageBytes + cut.PagePlaces*len(Digest{}), nil
	case kindFile:
		head, err := s.r.Peek(fileBytes)
		if err != nil {
			return 0, err
		}
		key := int(binary.BigEndian.Uint16(head[fileBytes-2:]))
		if key > maxKey {
			return 0, ErrNone
		}
		return fileBytes + key, nil
	case kindIndex:
		n := s.end - s.at - int64(tailBytes) - checkBytes
		if n < 5 || n > maxIndex {
			return 0, ErrNone
		}
		return int(n), nil
	}
	return 0, ErrNone
}

func parseFile(rec []byte) section {
	return section{size: int64(binary.BigEndian.Uint64(rec[1:])), grid: binary.BigEndian.Uint32(rec[9:]), key: string(rec[fileBytes:])}
}

func parsePage(rec []byte, into *Digests) Page {
	p := Page{No: binary.BigEndian.Uint32(rec[1:]), What: schemas.PageRun_What(rec[5])}
	if into != nil && rec[0] == kindPage {
		for i := range into {
			copy(into[i][:], rec[pageBytes+i*len(Digest{}):])
		}
		p.Digests = into
	}
	return p
}

// parseIndex reads an index that passed its checksum; it still bounds itself, for
// its writer may be a later one.
func parseIndex(rec []byte) (all []section, err error) {
	n := binary.BigEndian.Uint32(rec[1:])
	rec = rec[5:]
	for range n {
		if len(rec) < 10 {
			return nil, fmt.Errorf("log of pages: short index: %w", ErrNone)
		}
		key := int(binary.BigEndian.Uint16(rec[8:]))
		if len(rec) < 10+key {
			return nil, fmt.Errorf("log of pages: short index: %w", ErrNone)
		}
		all = append(all, section{at: int64(binary.BigEndian.Uint64(rec)), key: string(rec[10 : 10+key])})
		rec = rec[10+key:]
	}
	return all, nil
}
