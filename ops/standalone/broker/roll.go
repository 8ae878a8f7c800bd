package broker

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/topics"
)

// A table is rolled when its log is larger than rollBytes and more than
// rollTimes its live rows: 64 MiB are read in half a second at a start.
const (
	rollBytes = 64 << 20
	rollTimes = 4
)

// Roll rewrites tables whose log is mostly old rows. No stage may run.
//
// The live rows go to a file, whole and synced, before the topic is made anew
// from it; so a crash at any line leaves the old log or the file, and the next
// start goes on. chunks.stored is left alone: a day of it is enough, because
// its store lies on the same disk.
func (b *Broker) Roll(ctx context.Context, cl *client.Client, region, dir string) (rolled []string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder for rolls: %w", err)
	}
	for _, s := range topics.All() {
		if s.Kind != topics.Table || s.Name == topics.ChunksStored.Name {
			continue
		}
		file := filepath.Join(dir, s.Name+".rows")
		switch _, err := os.Stat(file); {
		case err == nil: // a crash came after the file was whole
		case !errors.Is(err, os.ErrNotExist):
			return rolled, fmt.Errorf("look for %s: %w", file, err)
		default:
			if b.Bytes(s.In(region)) < rollBytes {
				continue
			}
			worth, err := save(ctx, cl, s, file, b.Bytes(s.In(region)))
			if err != nil {
				return rolled, fmt.Errorf("roll %s: %w", s.Name, err)
			}
			if !worth {
				continue
			}
		}
		if err := load(ctx, cl, s, file); err != nil {
			return rolled, fmt.Errorf("roll %s: %w", s.Name, err)
		}
		if err := os.Remove(file); err != nil {
			return rolled, fmt.Errorf("roll %s: %w", s.Name, err)
		}
		rolled = append(rolled, s.Name)
	}
	return rolled, nil
}

type row struct {
	part       int32
	key, value []byte
}

// save writes s's live rows to file, if that is worth it.
func save(ctx context.Context, cl *client.Client, s topics.Spec, file string, size int64) (bool, error) {
	type where struct {
		part int32
		key  string
	}
	last := map[where][]byte{}
	var live int64
	for rec, err := range cl.Read(ctx, s, 0) {
		if err != nil {
			return false, err
		}
		at := where{rec.Part, string(rec.Key)}
		live -= int64(len(last[at]))
		if rec.Value == nil {
			delete(last, at)
			continue
		}
		last[at] = rec.Value
		live += int64(len(rec.Value))
	}
	if size < rollTimes*live {
		return false, nil
	}
	f, err := os.Create(file + ".new")
	if err != nil {
		return false, err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	for at, value := range last {
		writeRow(w, row{at.part, []byte(at.key), value})
	}
	if err := errors.Join(w.Flush(), f.Sync()); err != nil {
		return false, err
	}
	return true, os.Rename(file+".new", file)
}

func load(ctx context.Context, cl *client.Client, s topics.Spec, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := cl.Remake(ctx, client.OneMachine, s); err != nil {
		return err
	}
	for r := bufio.NewReader(f); ; {
		one, err := readRow(r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
		if err := cl.Publish(ctx, topics.Event{Topic: s, Key: one.key, Value: one.value, Part: one.part}); err != nil {
			return err
		}
	}
}

func writeRow(w *bufio.Writer, r row) {
	var head [12]byte
	binary.BigEndian.PutUint32(head[:], uint32(r.part))
	binary.BigEndian.PutUint32(head[4:], uint32(len(r.key)))
	binary.BigEndian.PutUint32(head[8:], uint32(len(r.value)))
	w.Write(head[:]) // a bufio.Writer keeps its first error for Flush
	w.Write(r.key)
	w.Write(r.value)
}

func readRow(r io.Reader) (row, error) {
	var head [12]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return row{}, err
	}
	key, value := binary.BigEndian.Uint32(head[4:]), binary.BigEndian.Uint32(head[8:])
	if key > 1<<20 || value > 16<<20 {
		return row{}, fmt.Errorf("a row of %d + %d bytes", key, value)
	}
	b := make([]byte, key+value)
	if _, err := io.ReadFull(r, b); err != nil {
		return row{}, fmt.Errorf("torn row: %w", io.ErrUnexpectedEOF)
	}
	return row{int32(binary.BigEndian.Uint32(head[:])), b[:key], b[key:]}, nil
}
