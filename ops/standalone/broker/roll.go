package broker

import (
	"context"
	"errors"
	"fmt"
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
	return true, writeRows(file, func(yield func(row) bool) {
		for at, value := range last {
			if !yield(row{at.part, []byte(at.key), value}) {
				return
			}
		}
	})
}

// load makes the topic anew from file. The log that is there goes only once the
// file is known to be whole.
func load(ctx context.Context, cl *client.Client, s topics.Spec, file string) error {
	for _, err := range readRows(file) {
		if err != nil {
			return fmt.Errorf("%w; the topic's log is left as it is: move the file away to start with that", err)
		}
	}
	if err := cl.Remake(ctx, client.OneMachine, s); err != nil {
		return err
	}
	for r, err := range readRows(file) {
		if err == nil {
			err = cl.Publish(ctx, topics.Event{Topic: s, Key: r.key, Value: r.value, Part: r.part})
		}
		if err != nil {
			return err
		}
	}
	return nil
}
